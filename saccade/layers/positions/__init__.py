"""Positions: how a Transformer knows the order.  FAMILY: every other file here is one way.

A position may be added to the embedding, turn queries and keys before they meet, or change how they score each other; each member
does one of the three.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Distance(nn.Module):
    """What distance means to one layer: the last T of S places ask, all S answer."""

    def forward(self, query: Float[Tensor, "B H T d"], keys: int) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "#B H T S"]]:
        """The query as the score shall see it, and what is added to its scores of the `keys` places."""
        raise NotImplementedError


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

    def distance(self, *, ahead: bool) -> Distance | None:
        """For each layer one of its own, with its own weights; `ahead`: keys may stand behind their query.  None unless a member says otherwise."""
        return None
