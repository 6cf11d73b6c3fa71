"""Relative positions: Dai et al. (2019), section 3.3, Transformer-XL.

    q . k  +  q . W R(i - j)  +  u . k  +  v . W R(i - j)

R are the waves of `sinusoidal` over distances, not places; W, u and v are learned by each layer.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import Distance, Position
from .sinusoidal import waves


class Relative(Position):
    """A query asks each key what it says (q . k), how far it is (q . W R), and both without being asked (u . k, v . W R)."""

    def __init__(self, dim: int, heads: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, heads)
        self.dim, self.heads, self.base = dim, heads, base

    def distance(self, *, ahead: bool) -> Distance:
        """With W, u and v of its own."""
        return _Waves(self.dim, self.heads, self.base, ahead)


class _Waves(Distance):
    def __init__(self, dim: int, heads: int, base: float, ahead: bool) -> None:
        super().__init__()
        self.base, self.ahead = base, ahead
        self.key = nn.Linear(dim, dim, bias=False)
        self.asks_what = nn.Parameter(torch.zeros(heads, 1, dim // heads))
        self.asks_where = nn.Parameter(torch.zeros(heads, 1, dim // heads))
        nn.init.xavier_uniform_(self.key.weight)

    def forward(self, query: Float[Tensor, "B H T d"], keys: int) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "B H T S"]]:
        """q + u, and (q + v) . W R(i - j) / sqrt(d)."""
        asking, width = query.shape[2:]
        behind = max(1, asking - 1 if self.ahead else 1)  # where nobody looks ahead one column more is enough for `shift`
        far = self.key(waves(-behind, keys + behind, self.key.in_features, self.base, query.device, query.dtype).flip(0))
        scores = ((query + self.asks_where) * width**-0.5) @ far.unflatten(-1, (-1, width)).permute(1, 2, 0)
        return query + self.asks_what, shift(scores, keys)


def shift(scores: Float[Tensor, "B H T W"], keys: int) -> Float[Tensor, "B H T S"]:
    """From columns by distance, S - 1 first, to columns by key: each row begins one column before the row above it.

    Read as one line, all rows but the last are one entry too long for that: so nothing is gathered, only viewed.  Of keys behind
    their query, columns that stand for no such distance hold something meaningless.
    """
    asking, columns = scores.shape[2:]
    return scores.flatten(2)[..., asking - 1 : -1].unflatten(-1, (asking, columns - 1))[..., :keys]
