"""Scaled dot product, q . k / sqrt(d): Vaswani et al. (2017), equation 1."""

from jaxtyping import Float
from torch import Tensor

from . import Score
from .dot import same_size


class ScaledDot(Score):
    """A dot product whose spread does not grow with the width; queries and keys must have the same size (`UsageError` C012)."""

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__(query_dim, key_dim)
        same_size("scaled_dot", query_dim, key_dim)

    def compare(self, query: Float[Tensor, "*batch Q D"], prepared: Float[Tensor, "*batch S D"]) -> Float[Tensor, "*batch Q S"]:
        """q . k / sqrt(d)"""
        return (query * self.dot_factor(query.shape[-1])) @ prepared.mT

    def dot_factor(self, dim: int) -> float:
        """1 / sqrt(d)"""
        return dim**-0.5
