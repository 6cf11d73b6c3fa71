"""Transformer decoder: Vaswani et al. (2017), section 3.1.  Its state is the keys and values of every layer."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..attention.attention import MultiHead
from ..attention.masks import causal, padding
from ..attention.scores import Score
from ..attention.scores.scaled_dot import ScaledDot
from ..families import Make
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding, Output
from ..layers.feedforward import Activation, FeedForward, Residual
from ..layers.linears import Linear
from ..layers.linears.real import Real
from ..layers.positions import Position
from ..layers.positions.sinusoidal import Sinusoidal
from ..types import Encoding
from . import Decoder


class Seen(NamedTuple):
    """Keys and values of one layer, so far."""

    keys: Float[Tensor, "B H S dp"]
    values: Float[Tensor, "B H S d"]


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
        self, x: Float[Tensor, "B T D"], before: Seen, source: Seen | None, masks: tuple[Tensor | None, Tensor | None], position: Position
    ) -> tuple[Float[Tensor, "B T D"], Seen]:
        """The same shape, and the keys and values with those of `x` added."""
        start = before.keys.shape[2]
        seen = before

        def back(y: Tensor) -> Tensor:
            nonlocal seen
            keys, values = self.self_attention.project(y, position, start)
            if start:
                keys, values = torch.cat([before.keys, keys], 2), torch.cat([before.values, values], 2)
            seen = Seen(keys, values)
            return self.self_attention(y, keys, values, masks[0], position, start)

        x = self.looking_back(x, back)
        if self.cross_attention is not None and self.looking_across is not None and source is not None:
            across = self.cross_attention
            x = self.looking_across(x, lambda y: across(y, source.keys, source.values, masks[1]))
        return self.thinking(x, self.feed_forward), seen


class Transformer(Decoder):
    """Layers of masked self-attention, attention to the source and feed-forward; `tied` shares embedding and output matrix.

    `feed_forward` None is 4 x dim, `feed_forward_linear` None is `linear`.
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
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        tied: bool = True,
    ) -> None:
        super().__init__(vocab, memory_dim)

        def heads_over(width: int) -> MultiHead:
            return MultiHead(dim, width, score, heads=heads, dropout=attention_dropout, linear=linear)

        self.position = position(dim, heads)
        self.embedding = Embedding(vocab, dim, scale=True)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            Layer(
                dim,
                heads_over(dim),
                None if memory_dim is None else heads_over(memory_dim),
                FeedForward(dim, feed_forward or 4 * dim, activation=activation, dropout=dropout, linear=feed_forward_linear or linear),
                norm,
                dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()
        self.output = Output(vocab, dim, self.embedding if tied else None)

    @property
    def bounded(self) -> bool:
        """No: keys and values are kept for everything said."""
        return False

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Source, tuple[Seen, ...]]:
        """The source's keys and values for every layer, computed once; nothing said yet."""
        nothing = []
        for layer in self.layers:
            empty = self.embedding.weight.new_zeros(batch, 0, self.embedding.embedding_dim)
            nothing.append(Seen(*layer.self_attention.project(empty)))
        if encoding is None:
            return Source(None, None), tuple(nothing)
        sources = tuple(Seen(*layer.cross_attention.project(encoding.outputs)) for layer in self.layers)
        return Source(sources, padding(encoding.mask)), tuple(nothing)

    def features(self, tokens: Int[Tensor, "B T"], state: tuple[Seen, ...], memory: Source) -> tuple[Float[Tensor, "B T D"], tuple[Seen, ...]]:
        """What the last layer makes of each of `tokens`, and the longer state."""
        start, length = state[0].keys.shape[2], tokens.shape[1]
        x = self.dropout(self.position(self.embedding(tokens), start))
        masks = (causal(length, start + length, x.device)[None, None] if length > 1 else None, memory.mask)
        sources = memory.layers or (None,) * len(state)
        after = []
        for layer, before, source in zip(self.layers, state, sources, strict=True):
            x, seen = layer(x, before, source, masks, self.position)
            after.append(seen)
        return self.norm(x), tuple(after)
