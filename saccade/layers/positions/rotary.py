"""Rotary positions: Su et al. (2021), equation 34."""

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import UsageError
from . import Position
from .sinusoidal import angles


class Rotary(Position):
    """Each pair of features of a query or key is turned by its place, so that their product knows the distance only."""

    def __init__(self, dim: int, heads: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, heads)
        self.base = base
        if dim // heads % 2:
            raise UsageError(
                "C012",
                f"rotary positions turn pairs of features, but a head has {dim // heads}",
                fix=f"dim and heads so that dim / heads is even, now {dim} / {heads}",
            )

    def rotate(self, x: Float[Tensor, "B H T d"], start: int = 0) -> Float[Tensor, "B H T d"]:
        """Pairs (2i, 2i + 1) turned by position / base^(2i / d)."""
        turns = angles(start, x.shape[2], x.shape[3], self.base, x.device)
        sine, cosine = turns.sin().to(x.dtype), turns.cos().to(x.dtype)
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)
