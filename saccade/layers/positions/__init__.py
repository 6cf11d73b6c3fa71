"""Positions: how a Transformer knows the order.  FAMILY: every other file here is one way.

A position may be added to the embedding, or turn queries and keys before they meet; each member does one of the two.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Position(nn.Module):
    """`start` is the place of the first column of `x` in its sentence, so that decoding in pieces equals decoding at once."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """Embeddings that know their place; unchanged unless a member says otherwise."""
        return x

    def rotate(self, x: Float[Tensor, "B H T d"], start: int = 0) -> Float[Tensor, "B H T d"]:
        """Queries or keys of one layer, turned by their place; unchanged unless a member says otherwise."""
        return x
