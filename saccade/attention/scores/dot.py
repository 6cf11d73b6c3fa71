"""Dot product, q . k: Luong, Pham and Manning (2015), section 3.1."""

from jaxtyping import Float
from torch import Tensor

from ...errors import UsageError
from . import Score


def same_size(name: str, query_dim: int, key_dim: int) -> None:
    """`UsageError` C012 unless queries and keys can be multiplied as they are."""
    if query_dim != key_dim:
        raise UsageError(
            "C012",
            f"score {name!r} multiplies queries and keys as they are: {query_dim} and {key_dim} features differ",
            fix="equal sizes, or score = 'general'",
        )


class Dot(Score):
    """No weights of its own: queries and keys must have the same size (`UsageError` C012)."""

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__(query_dim, key_dim)
        same_size("dot", query_dim, key_dim)

    def compare(self, query: Float[Tensor, "*batch Q D"], prepared: Float[Tensor, "*batch S D"]) -> Float[Tensor, "*batch Q S"]:
        """q . k"""
        return query @ prepared.mT

    def dot_factor(self, dim: int) -> float:
        """It is the dot product."""
        return 1.0
