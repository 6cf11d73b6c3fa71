"""Transformer encoder: Vaswani et al. (2017), section 3.1."""

from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..attention.attention import MultiHead
from ..attention.masks import padding
from ..attention.scores import Score
from ..attention.scores.scaled_dot import ScaledDot
from ..families import Make
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..layers.feedforward import Activation, FeedForward, Residual
from ..layers.linears import Linear
from ..layers.linears.real import Real
from ..layers.positions import Position
from ..layers.positions.sinusoidal import Sinusoidal
from ..types import Encoding, Padded
from . import Encoder


class Layer(nn.Module):
    """Look around, then think."""

    def __init__(self, dim: int, attention: MultiHead, feed_forward: FeedForward, norm: Literal["pre", "post"], dropout: float) -> None:
        super().__init__()
        self.self_attention, self.feed_forward = attention, feed_forward
        self.looking, self.thinking = (Residual(dim, norm=norm, dropout=dropout) for _ in range(2))

    def forward(self, x: Float[Tensor, "B S D"], mask: Bool[Tensor, "B 1 1 S"], position: Position) -> Float[Tensor, "B S D"]:
        """The same shape."""
        x = self.looking(x, lambda y: self.self_attention(y, *self.self_attention.project(y, position), mask, position))
        return self.thinking(x, self.feed_forward)


class Transformer(Encoder):
    """Layers of self-attention and feed-forward; `norm` "post" as published, "pre" trains more easily.

    `feed_forward` None is 4 x dim, `feed_forward_linear` None is `linear`.
    """

    def __init__(
        self,
        vocab: int,
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
    ) -> None:
        super().__init__(vocab)
        self.dim = dim
        self.position = position(dim, heads)
        self.embedding = Embedding(vocab, dim, scale=True)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            Layer(
                dim,
                MultiHead(dim, dim, score, heads=heads, dropout=attention_dropout, linear=linear, distance=self.position.distance(ahead=True)),
                FeedForward(dim, feed_forward or 4 * dim, activation=activation, dropout=dropout, linear=feed_forward_linear or linear),
                norm,
                dropout,
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(dim) if norm == "pre" else nn.Identity()

    def forward(self, source: Padded) -> Encoding:
        """Read a batch of sources; `final` is the mean of the outputs."""
        mask = source.mask
        x = self.dropout(self.position(self.embedding(source.ids)))
        for layer in self.layers:
            x = layer(x, padding(mask), self.position)
        x = self.norm(x)
        kept = mask[..., None].to(x.dtype)
        return Encoding(x, mask, (x * kept).sum(1) / kept.sum(1), source.ids)
