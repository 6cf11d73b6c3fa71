"""Attention: a score, a mask, a softmax and a weighted sum."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from ..errors import UsageError
from ..families import Make
from ..layers.dropout import Dropout
from ..layers.linears import Linear
from ..layers.linears.real import Real
from ..layers.positions import Distance, Position
from .patterns import Pattern
from .scores import Score
from .softmax import masked_softmax

FUSED_KEYS_ON_CPU = {torch.float32: 64, torch.bfloat16: 1024}
"""From this many keys on, the CPU's fused kernel beats two products and a softmax, forward and backward (docs/performance.md)."""


class Attention(nn.Module):
    """`context, weights = attention(query, keys, values, mask)`, with any leading axes.

    `keys` are as `prepare` returned them.  A query that may see nothing gathers zeros, with zero gradients.
    """

    def __init__(self, score: Score, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.score = score
        self.dropout = Dropout(dropout)

    def prepare(self, keys: Float[Tensor, "*batch S Dk"]) -> Float[Tensor, "*batch S Dp"]:
        """What is derivable from the keys alone, computed once."""
        return self.score.prepare(keys)

    def forward(
        self,
        query: Float[Tensor, "*batch Q Dq"],
        keys: Float[Tensor, "*batch S Dp"],
        values: Float[Tensor, "*batch S Dv"],
        mask: Bool[Tensor, "*#batch #Q S"] | None = None,
        bias: Float[Tensor, "*#batch #Q S"] | None = None,
    ) -> tuple[Float[Tensor, "*batch Q Dv"], Float[Tensor, "*batch Q S"]]:
        """What each query gathered, and the weights it gathered with (before dropout); `bias` is added to the score."""
        scores = self.score.compare(query, keys)
        weights = masked_softmax(scores if bias is None else scores + bias, mask)
        return self.dropout(weights) @ values.to(weights.dtype), weights

    def watched(self) -> bool:
        """Is somebody collecting the weights?  Then the plain path must run."""
        return bool(self._forward_hooks)


class MultiHead(nn.Module):
    """H attentions side by side; to the score, the head axis is one more batch axis (Vaswani et al. 2017, section 3.2.2).

    Of a text that looks at itself: `distance` is what places mean to its scores, `pattern` which places it looks at.
    """

    def __init__(
        self,
        query_dim: int,
        memory_dim: int,
        score: Make[Score],
        *,
        heads: int,
        dropout: float = 0.0,
        linear: Make[Linear] = Real,
        distance: Distance | None = None,
        pattern: Pattern | None = None,
    ) -> None:
        super().__init__()
        if query_dim % heads:
            able = ", ".join(str(h) for h in range(1, query_dim + 1) if query_dim % h == 0 and h <= 16)
            raise UsageError("C012", f"heads = {heads} does not divide dim = {query_dim}", fix=f"heads could be {able}")
        self.heads, width = heads, query_dim // heads
        self.query = linear(query_dim, query_dim)
        self.key_value = linear(memory_dim, query_dim, maps=2)
        self.output = linear(query_dim, query_dim)
        if width % self.query.block:
            raise UsageError(
                "C012",
                f"heads = {heads} of dim = {query_dim} are {width} features each, which cuts numbers of {self.query.block} features in two",
                fix=f"a dim that is a multiple of {self.query.block * heads}, other heads, or linear = 'real'",
            )
        self.attention = Attention(score(width, width), dropout=dropout)
        self.distance, self.pattern = distance, pattern
        for part in (self.query, self.key_value, self.output):
            part.glorot()

    def split(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B H T d"]:
        """One slice of the features for each head."""
        return x.view(*x.shape[:-1], self.heads, x.shape[-1] // self.heads).transpose(1, 2)

    def project(
        self, memory: Float[Tensor, "B S D"], position: Position | None = None, start: int = 0
    ) -> tuple[Float[Tensor, "B H S dp"], Float[Tensor, "B H S d"]]:
        """Prepared keys and values, to be computed once and kept."""
        keys, values = map(self.split, self.key_value(memory).chunk(2, -1))
        return self.attention.prepare(position.rotate(keys, start) if position else keys), values

    def forward(
        self,
        query: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B H S dp"],
        values: Float[Tensor, "B H S d"],
        mask: Bool[Tensor, "#B #H #T S"] | None = None,
        position: Position | None = None,
        start: int = 0,
    ) -> Float[Tensor, "B T D"]:
        """What each place of `query` gathered from all heads.  A pattern brings its own mask, and needs none where it goes by blocks."""
        asked = self.split(self.query(query))
        if position is not None:
            asked = position.rotate(asked, start)
        bias = None
        if self.distance is not None:
            asked, bias = self.distance(asked, keys.shape[2])
        if self.pattern is not None:
            if bias is None and self.pattern.pays(asked.shape[2], keys.shape[2]) and not self.attention.watched():
                context = self.pattern.attend((self.attention.score, self.attention.dropout), asked, keys, values)
                return self.output(context.transpose(1, 2).flatten(-2))
            mask = self.pattern.mask(asked.shape[2], keys.shape[2], asked.device)
        if self.fused(asked, keys):
            factor = self.attention.score.dot_factor(asked.shape[-1])
            dropout = self.attention.dropout.rate if self.training else 0.0
            allowed = mask if bias is None or mask is None else bias.masked_fill(~mask, float("-inf"))
            context = functional.scaled_dot_product_attention(asked, keys, values, bias if allowed is None else allowed, dropout_p=dropout, scale=factor)
        else:
            context, _ = self.attention(asked, keys, values, mask, bias)
        return self.output(context.transpose(1, 2).flatten(-2))

    def fused(self, query: Tensor, keys: Tensor) -> bool:
        """Does torch's fused kernel say the same and pay?  On a CPU at sentence length it costs up to seven times the plain path."""
        if self.attention.watched() or self.attention.score.dot_factor(query.shape[-1]) is None:
            return False
        return query.device.type == "cuda" or keys.shape[2] >= FUSED_KEYS_ON_CPU.get(query.dtype, 64)
