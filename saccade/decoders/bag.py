"""A bag of words: the mean of all symbols so far decides what comes next, whatever their order; the context of CBOW, Mikolov et al. (2013)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..attention.attention import Attention
from ..attention.scores import Score
from ..attention.scores.additive import Additive
from ..errors import UsageError
from ..families import Make
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding, Output
from ..types import Encoding
from . import Decoder


class Source(NamedTuple):
    """What may be looked at."""

    keys: Float[Tensor, "B S Dp"]
    values: Float[Tensor, "B S Dv"]
    mask: Bool[Tensor, "B 1 S"]


class Heard(NamedTuple):
    """All symbols so far: the sum of their vectors, and how many they are."""

    total: Float[Tensor, "B *T D"]
    many: Float[Tensor, "B *T 1"]


class Bag(Decoder):
    """A mean, normed, and two linear maps with a bend between them; what the mean finds in a source joins it.

    `decay` below 1 makes a symbol weigh that much less with each one after it: then their order counts a little.
    """

    def __init__(
        self,
        vocab: int,
        memory_dim: int | None,
        *,
        dim: int = 256,
        hidden: int | None = None,
        decay: float = 1.0,
        score: Make[Score] = Additive,
        dropout: float = 0.2,
        tied: bool = True,
    ) -> None:
        super().__init__(vocab, memory_dim)
        if not 0 < decay <= 1:
            raise UsageError("C012", f"decay = {decay}; it must be above 0 and at most 1", fix="decay = 1.0")
        self.dim, self.decay = dim, decay
        self.embedding = Embedding(vocab, dim, dropout=dropout)
        self.norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)
        self.cross_attention = None if memory_dim is None else Attention(score(dim, memory_dim))
        self.expand = nn.Linear(dim + (memory_dim or 0), hidden or 4 * dim)
        self.contract = nn.Linear(hidden or 4 * dim, dim)
        self.output = Output(vocab, dim, self.embedding if tied else None)

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Source | None, Heard]:
        """Prepared keys, and an empty bag."""
        nothing = Heard(self.output.weight.new_zeros(batch, self.dim), self.output.weight.new_zeros(batch, 1))
        if encoding is None or self.cross_attention is None:
            return None, nothing
        return Source(self.cross_attention.prepare(encoding.outputs), encoding.outputs, encoding.mask[:, None]), nothing

    def features(self, tokens: Int[Tensor, "B T"], state: Heard, memory: Source | None) -> tuple[Float[Tensor, "B T D"], Heard]:
        """What the bag up to each of `tokens` says, and the bag after the last."""
        heard = self.gather(self.embedding(tokens), state)
        x = self.norm(heard.total / heard.many)
        if self.cross_attention is not None and memory is not None:
            x = torch.cat([x, self.cross_attention(x, memory.keys, memory.values, memory.mask)[0]], -1)
        return self.dropout(self.contract(self.dropout.relu(self.expand(x)))), Heard(heard.total[:, -1], heard.many[:, -1])

    def gather(self, vectors: Float[Tensor, "B T D"], state: Heard) -> Heard:
        """The bag at every place: all sums at once are one product with a triangle of powers of `decay`."""
        places = torch.arange(vectors.shape[1], device=vectors.device)
        kept = (self.decay ** (places[:, None] - places).clamp_min(0)).tril().to(vectors.dtype)
        faded = (self.decay ** (places + 1)).to(vectors.dtype)[:, None]
        return Heard(kept @ vectors + faded * state.total[:, None], kept.sum(1, keepdim=True) + faded * state.many[:, None])
