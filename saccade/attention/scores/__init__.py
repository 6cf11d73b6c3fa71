"""Scores: how well does each key answer each query?  FAMILY: every other file here is one score."""

from jaxtyping import Float
from torch import Tensor, nn


class Score(nn.Module):
    """`score(query, keys)` compares every query with every key; any leading axes (a head is one more).

    What depends on the keys alone is computed once by `prepare`; a member writes `compare`, and `prepare` if it has
    something to prepare.
    """

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__()

    def prepare(self, keys: Float[Tensor, "*batch S Dk"]) -> Float[Tensor, "*batch S Dp"]:
        """What `compare` wants to know of the keys."""
        return keys

    def compare(self, query: Float[Tensor, "*batch Q Dq"], prepared: Float[Tensor, "*batch S Dp"]) -> Float[Tensor, "*batch Q S"]:
        """Unnormalised weights."""
        raise NotImplementedError

    def forward(self, query: Float[Tensor, "*batch Q Dq"], keys: Float[Tensor, "*batch S Dk"]) -> Float[Tensor, "*batch Q S"]:
        """Unnormalised weights of raw keys."""
        return self.compare(query, self.prepare(keys))

    def dot_factor(self, dim: int) -> float | None:
        """The factor by which this score is `query @ keys.T`, so that a fused kernel may stand in; None if it is not."""
        return None
