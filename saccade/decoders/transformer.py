"""Transformer decoder: Vaswani et al. (2017), section 3.1; without a source GPT (Radford et al. 2018, 2019) and Transformer-XL (Dai et al. 2019).

Its state is the keys and values of every layer.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..attention.attention import MultiHead
from ..attention.growing import copied, end_of, has_room, joined, written
from ..attention.masks import causal, padding
from ..attention.patterns import Pattern
from ..attention.scores import Score
from ..attention.scores.scaled_dot import ScaledDot
from ..errors import UsageError
from ..families import Make
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding, Output
from ..layers.feedforward import Activation, FeedForward, Residual
from ..layers.initialisation import Initialisation, initialise
from ..layers.linears import Linear
from ..layers.linears.real import Real
from ..layers.positions import Position
from ..layers.positions.sinusoidal import Sinusoidal
from ..types import Encoding
from . import Decoder

Append = Callable[[Tensor, Tensor], Tensor]
BLOCK = {"cpu": 128}
"""Queries that look together: fewer compute less of what a mask hides, more make larger products (docs/performance.md).  On a GPU 1,024."""


class Seen(NamedTuple):
    """Keys and values of one layer, so far."""

    keys: Float[Tensor, "B H S dp"]
    values: Float[Tensor, "B H S d"]


class Block(NamedTuple):
    """Queries `first` to `last` see keys `begin` to `end`, all of them unless there is a mask."""

    first: int
    last: int
    begin: int
    end: int
    mask: Bool[Tensor, "1 1 Q S"] | None


class Said(NamedTuple):
    """What every layer has seen; where older symbols are forgotten, how many there were; and how much of the buffers is `taken`."""

    layers: tuple[Seen, ...]
    place: Int[Tensor, "B"] | None
    taken: Int[Tensor, "B"] | None = None

    @property
    def start(self) -> int:
        """The place of the next symbol."""
        return self.layers[0].keys.shape[2] if self.place is None else int(self.place[0])


class Source(NamedTuple):
    """What each layer may look at in the source; None for a language model."""

    layers: tuple[Seen, ...] | None
    mask: Bool[Tensor, "B 1 1 S"] | None


class Layer(nn.Module):
    """Look back, look at the source, then think."""

    def __init__(
        self, dim: int, looking_back: MultiHead, looking_across: MultiHead | None, feed_forward: FeedForward, norm: Literal["pre", "post"], dropout: float
    ) -> None:
        super().__init__()
        self.self_attention, self.cross_attention, self.feed_forward = looking_back, looking_across, feed_forward
        self.looking_back, self.thinking = (Residual(dim, norm=norm, dropout=dropout) for _ in range(2))
        self.looking_across = Residual(dim, norm=norm, dropout=dropout) if looking_across else None

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        before: Seen,
        source: Seen | None,
        masks: tuple[Sequence[Block], Tensor | None],
        position: Position,
        start: int = 0,
        append: Append = joined,
    ) -> tuple[Float[Tensor, "B T D"], Seen]:
        """The same shape, and the keys and values with those of `x`, which begins at place `start`, appended."""
        seen = before

        def back(y: Tensor) -> Tensor:
            nonlocal seen
            keys, values = self.self_attention.project(y, position, start)
            if before.keys.shape[2]:
                keys, values = append(before.keys, keys), append(before.values, values)
            seen = Seen(keys, values)
            said = []
            for first, last, begin, end, mask in masks[0]:
                said.append(self.self_attention(y[:, first:last], keys[:, :, begin:end], values[:, :, begin:end], mask, position, start + first))
            return said[0] if len(said) == 1 else torch.cat(said, 1)

        x = self.looking_back(x, back)
        if self.cross_attention is not None and self.looking_across is not None and source is not None:
            across = self.cross_attention
            x = self.looking_across(x, lambda y: across(y, source.keys, source.values, masks[1]))
        return self.thinking(x, self.feed_forward), seen

    def adding(self) -> list[nn.Module]:
        """The maps whose results are added to what passes through."""
        across = [] if self.cross_attention is None else [self.cross_attention.output]
        return [self.self_attention.output, *across, self.feed_forward.contract]


class Transformer(Decoder):
    """Layers of masked self-attention, attention to the source and feed-forward; `tied` shares embedding and output matrix.

    `feed_forward` None is 4 x dim, `feed_forward_linear` None is `linear`.
    With a `span` every query sees so many symbols, itself the last, and the state keeps no more of them than the next one sees: memory
    and time per symbol stay the same however long the text (docs/decisions/0004-sliding-span.md).  `embedding_scale` multiplies embeddings
    by sqrt(dim); `activation_dropout` (None: like `dropout`) is that between the two maps of a feed-forward layer.
    With a `pattern` it sees the places that this one shows.  `UsageError` C012 if the span is below 1, or if there are both.
    """

    def __init__(
        self,
        vocab: int,
        memory_dim: int | None,
        *,
        dim: int = 256,
        layers: int = 3,
        heads: int = 4,
        feed_forward: int | None = None,
        activation: Activation = "relu",
        norm: Literal["pre", "post"] = "pre",
        position: Make[Position] = Sinusoidal,
        score: Make[Score] = ScaledDot,
        linear: Make[Linear] = Real,
        feed_forward_linear: Make[Linear] | None = None,
        pattern: Make[Pattern] | None = None,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float | None = None,
        embedding_scale: bool = True,
        initialisation: Initialisation = "xavier",
        span: int | None = None,
        tied: bool = True,
    ) -> None:
        super().__init__(vocab, memory_dim)
        _check(span, pattern)
        self.pattern = None if pattern is None else pattern()
        self.span, bent = span, dropout if activation_dropout is None else activation_dropout
        attention = partial(MultiHead, dim, score=score, heads=heads, dropout=attention_dropout, linear=linear)
        self.position = position(dim, heads)
        self.embedding = Embedding(vocab, dim, scale=embedding_scale)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            Layer(
                dim,
                attention(dim, distance=self.position.distance(ahead=False), pattern=self.pattern),
                None if memory_dim is None else attention(memory_dim),
                FeedForward(dim, feed_forward or 4 * dim, activation=activation, dropout=bent, linear=feed_forward_linear or linear),
                norm,
                dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.output = Output(vocab, dim, self.embedding if tied else None)
        initialise(self, initialisation, [part for layer in self.layers for part in layer.adding()])

    @property
    def bounded(self) -> bool:
        """With a span; else keys and values are kept for everything said."""
        return self.span is not None

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Source, Said]:
        """The source's keys and values for every layer, computed once; nothing said yet."""
        nothing = []
        for layer in self.layers:
            empty = self.embedding.weight.new_zeros(batch, 0, self.embedding.embedding_dim)
            nothing.append(Seen(*layer.self_attention.project(empty)))
        said = Said(tuple(nothing), None if self.span is None else torch.zeros(batch, dtype=torch.long, device=self.embedding.weight.device))
        if encoding is None:
            return Source(None, None), said
        sources = tuple(Seen(*layer.cross_attention.project(encoding.outputs)) for layer in self.layers)
        return Source(sources, padding(encoding.mask)), said

    def features(self, tokens: Int[Tensor, "B T"], state: Said, memory: Source) -> tuple[Float[Tensor, "B T D"], Said]:
        """What the last layer makes of each of `tokens`, and the state with them."""
        length, start, known = tokens.shape[1], state.start, state.layers[0].keys.shape[2]
        x = self.dropout(self.position(self.embedding(tokens), start))
        masks = self.blocks(length, known, x.device), memory.mask
        sources = memory.layers or (None,) * len(state.layers)
        append, after = self.appending(state, x), []
        for layer, before, source in zip(self.layers, state.layers, sources, strict=True):
            x, seen = layer(x, before, source, masks, self.position, start, append)
            after.append(seen)
        return self.norm(x), self.remembered(tuple(after), state, length, append if known else joined)

    def appending(self, state: Said, x: Float[Tensor, "B T D"]) -> Append:
        """How keys and values are appended to those of `state`: in place, if nobody learns and nobody was there before."""
        if torch.is_grad_enabled():
            return joined
        kind, front = x.device.type, state.layers[0].keys
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        return written if has_room(front, state.taken, x.shape[1], dtype) else copied

    def blocks(self, length: int, known: int, device: torch.device) -> list[Block]:
        """Who sees what, of `length` new symbols behind `known` old ones; one block where a pattern says so itself or somebody watches."""
        if self.pattern is not None:
            return [Block(0, length, 0, known + length, None)]
        size = length if self.layers[0].self_attention.attention.watched() else BLOCK.get(device.type, 1024)
        found = []
        for first in range(0, length, max(size, 1)):
            last = min(first + size, length)
            begin, end = 0 if self.span is None else max(0, known + first - self.span + 1), known + last
            mask = None if last - first == 1 else causal(last - first, end - begin, device, self.span)[None, None]
            found.append(Block(first, last, begin, end, mask))
        return found

    def remembered(self, layers: tuple[Seen, ...], before: Said, length: int, append: Append) -> Said:
        """All of it; or, with a span, what the next symbol sees."""
        keys, taken, place = layers[0].keys, None, before.place
        if append is written and before.taken is not None:
            taken = before.taken.fill_(end_of(keys))  # whoever holds the same past sees it
        elif append is copied:
            taken = torch.full((len(keys),), end_of(keys), device=keys.device)
        if self.span is not None and place is not None:
            first, place = max(0, keys.shape[2] - self.span + 1), place + length
            layers = tuple(Seen(*(part[:, :, first:] for part in seen)) for seen in layers)
        return Said(layers, place, taken)


def _check(span: int | None, pattern: Make[Pattern] | None) -> None:
    """Is what a symbol sees said once, and does it see itself?"""
    if span is not None and span < 1:
        raise UsageError("C012", f"span = {span}: a symbol sees itself at least", fix='span = 1 or more, or "none"')
    if span is not None and pattern is not None:
        raise UsageError("C012", f"span = {span} beside a pattern: each says what a symbol sees", fix='span = "none", or pattern = "none"')
