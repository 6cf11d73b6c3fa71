"""Additive score, v . tanh(W q + U k): Bahdanau, Cho and Bengio (2015), appendix A.1.2."""

from jaxtyping import Float
from torch import Tensor, nn

from . import Score


class Additive(Score):
    """A small network looks at query and key together; `hidden` is its width (None: the query's)."""

    def __init__(self, query_dim: int, key_dim: int, *, hidden: int | None = None) -> None:
        super().__init__(query_dim, key_dim)
        hidden = hidden or query_dim
        self.query = nn.Linear(query_dim, hidden, bias=False)
        self.key = nn.Linear(key_dim, hidden, bias=False)
        self.energy = nn.Linear(hidden, 1, bias=False)

    def prepare(self, keys: Float[Tensor, "*batch S Dk"]) -> Float[Tensor, "*batch S Dp"]:
        """U k"""
        return self.key(keys)

    def compare(self, query: Float[Tensor, "*batch Q Dq"], prepared: Float[Tensor, "*batch S Dp"]) -> Float[Tensor, "*batch Q S"]:
        """v . tanh(W q + U k)"""
        pairs = self.query(query).unsqueeze(-2) + prepared.unsqueeze(-3)
        return self.energy(pairs.tanh_()).squeeze(-1)
