"""General (bilinear) score, q . W k: Luong, Pham and Manning (2015), section 3.1."""

from jaxtyping import Float
from torch import Tensor, nn

from . import Score


class General(Score):
    """A learned matrix between query and key: any two sizes."""

    def __init__(self, query_dim: int, key_dim: int) -> None:
        super().__init__(query_dim, key_dim)
        self.key = nn.Linear(key_dim, query_dim, bias=False)

    def prepare(self, keys: Float[Tensor, "*batch S Dk"]) -> Float[Tensor, "*batch S Dq"]:
        """W k"""
        return self.key(keys)

    def compare(self, query: Float[Tensor, "*batch Q Dq"], prepared: Float[Tensor, "*batch S Dq"]) -> Float[Tensor, "*batch Q S"]:
        """q . W k"""
        return query @ prepared.mT

    def dot_factor(self, dim: int) -> float:
        """Of prepared keys it is the dot product."""
        return 1.0
