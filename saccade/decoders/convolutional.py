"""Convolutional decoder: Dauphin et al. (2017), gated linear units; van den Oord et al. (2016), WaveNet; Gehring et al. (2017), attention."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ..attention.attention import Attention
from ..attention.scores import Score
from ..attention.scores.general import General
from ..errors import UsageError
from ..families import Make
from ..layers.convolution import CausalConv
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding, Output
from ..types import Encoding
from . import Decoder

Gate = Literal["glu", "tanh", "relu"]
Queues = tuple[Float[Tensor, "B _ Di"], ...]
"""The state: the latest inputs of every layer's convolution, as many as it needs."""


class Source(NamedTuple):
    """What each layer may look at; None for a language model."""

    keys: tuple[Float[Tensor, "B S Dp"], ...]
    values: Float[Tensor, "B S Dv"]
    mask: Bool[Tensor, "B 1 S"]


class Layer(nn.Module):
    """Convolve, gate, look at the source; what comes of it is added to what came in.

    `onward` leads back to the stack's width; a layer without it, the last under skip sums, adds nothing.
    """

    def __init__(
        self, conv: CausalConv, gate: Gate, narrow: nn.Module | None, onward: nn.Module | None, look: Attention | None, memory_dim: int | None
    ) -> None:
        super().__init__()
        self.narrow, self.conv, self.gate, self.onward, self.cross_attention = narrow, conv, gate, onward, look
        self.answer = None if look is None or memory_dim is None else nn.Linear(memory_dim, conv.input_dim)

    def forward(
        self, x: Float[Tensor, "B T D"], queue: Float[Tensor, "B C Di"], source: tuple[Tensor, Tensor, Tensor] | None, dropout: Dropout
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B T Di"], Float[Tensor, "B C Di"]]:
        """What the next layer reads, what this one found, and its queue after the last place."""
        y, queue = self.conv(x if self.narrow is None else self.narrow(x), queue)
        found = gated(y, self.gate)
        if self.cross_attention is not None and source is not None:
            found = found + self.answer(self.cross_attention(found, *source)[0])
        found = dropout(found)
        return x if self.onward is None else x + self.onward(found), found, queue


def gated(x: Float[Tensor, "*batch Dg"], gate: Gate) -> Float[Tensor, "*batch D"]:
    """a * sigmoid(b) (Dauphin, equation 1), tanh(a) * sigmoid(b) (van den Oord, equation 2), the halves being a and b; or max(x, 0)."""
    if gate == "relu":
        return x.relu()
    if gate == "glu":
        return functional.glu(x, -1)
    a, b = x.chunk(2, -1)
    return a.tanh() * b.sigmoid()


class Convolutional(Decoder):
    """Layers of causal convolution, each with a gate and a way around it.

    `dilation` "doubling" spaces a layer's inputs 1, 2, 4 ... apart, for `cycle` layers, then again from 1.  `bottleneck` is the width inside a
    layer, between two linear maps (Dauphin, section 2).  With `skip` the output reads not the last layer but the sum of linear
    images of all of them, so many features wide, through two rectifiers (van den Oord, figure 4).  With a source every layer
    looks at it once (Gehring, section 3.3).  `UsageError` C012 if `layers`, `kernel` or `cycle` is below 1 or `tied` cannot be.
    """

    def __init__(
        self,
        vocab: int,
        memory_dim: int | None,
        *,
        dim: int = 256,
        layers: int = 6,
        kernel: int = 3,
        dilation: Literal["none", "doubling"] = "none",
        cycle: int = 10,
        gate: Gate = "glu",
        bottleneck: int | None = None,
        skip: int | None = None,
        embedding: int | None = None,
        score: Make[Score] = General,
        dropout: float = 0.1,
        tied: bool = True,
    ) -> None:
        super().__init__(vocab, memory_dim)
        for name, value in {"layers": layers, "kernel": kernel, "cycle": cycle}.items():
            if value < 1:
                raise UsageError("C012", f"{name} = {value}: at least 1", fix=f"{name} = 1 or more")
        width, inner, said = embedding or dim, bottleneck or dim, skip or dim
        if tied and width != said:
            raise UsageError(
                "C012", f"a tied output reads as many features as a symbol has: found {said} and {width}", fix="tied = false, or embedding of that size"
            )
        self.embedding = Embedding(vocab, width, scale=True, dropout=dropout)
        self.enter = nn.Identity() if width == dim else nn.Linear(width, dim)

        def layer(number: int) -> Layer:
            spaced = 2 ** (number % cycle) if dilation == "doubling" else 1
            conv = CausalConv(inner, inner if gate == "relu" else 2 * inner, kernel=kernel, dilation=spaced)
            back = nn.Linear(inner, dim) if bottleneck or skip else nn.Identity()
            look = None if memory_dim is None else Attention(score(inner, memory_dim))
            return Layer(conv, gate, nn.Linear(dim, inner) if bottleneck else None, None if skip and number == layers - 1 else back, look, memory_dim)

        self.layers = nn.ModuleList(layer(number) for number in range(layers))
        self.skip = nn.Linear(layers * inner, skip) if skip else None  # the sum of the layers' images is the image of all side by side
        self.mix = nn.Linear(skip, skip) if skip else None
        self.dropout = Dropout(dropout)
        self.output = Output(vocab, said, self.embedding if tied else None)

    @property
    def receptive_field(self) -> int:
        """How many symbols, the last included, an output depends on."""
        return 1 + sum(layer.conv.context for layer in self.layers)

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Source | None, Queues]:
        """The source's keys for every layer; nothing said yet."""
        queues = tuple(layer.conv.start(batch) for layer in self.layers)
        if encoding is None:
            return None, queues
        keys = tuple(layer.cross_attention.prepare(encoding.outputs) for layer in self.layers)
        return Source(keys, encoding.outputs, encoding.mask[:, None]), queues

    def features(self, tokens: Int[Tensor, "B T"], state: Queues, memory: Source | None) -> tuple[Float[Tensor, "B T D"], Queues]:
        """What is said after each of `tokens`, and the queues after the last."""
        x, found, after = self.enter(self.embedding(tokens)), [], []
        for number, (layer, queue) in enumerate(zip(self.layers, state, strict=True)):
            source = None if memory is None else (memory.keys[number], memory.values, memory.mask)
            x, heard, queue = layer(x, queue, source, self.dropout)
            found.append(heard)
            after.append(queue)
        if self.skip is not None and self.mix is not None:
            x = self.mix(self.skip(torch.cat(found, -1)).relu()).relu()
        return self.dropout(x), tuple(after)
