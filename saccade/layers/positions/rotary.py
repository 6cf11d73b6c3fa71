"""Rotary positions: Su et al. (2021), equation 34."""

from functools import lru_cache

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from ...errors import UsageError
from . import Position
from .sinusoidal import KEPT, angles


@lru_cache(maxsize=KEPT)
def turns(start: int, count: int, width: int, base: float, device: torch.device) -> Complex[Tensor, "T half"]:
    """e^(i angle) of each angle, in single precision; not to be changed."""
    found = angles(start, count, width, base, device)
    return torch.complex(found.cos(), found.sin())


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
        """Pairs (2i, 2i + 1) turned by position / base^(2i / d): as complex numbers a quarter of the time of four products and two sums."""
        by = turns(start, x.shape[2], x.shape[3], self.base, x.device)
        if torch.compiler.is_compiling():  # it knows no complex numbers
            return turned(x, by)
        pairs = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(-1, (-1, 2))
        return torch.view_as_real(torch.view_as_complex(pairs) * by).flatten(-2).to(x.dtype)


def turned(x: Float[Tensor, "B H T d"], by: Complex[Tensor, "T half"]) -> Float[Tensor, "B H T d"]:
    """The same without complex products: what `rotate` is tested against."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * by.real - odd * by.imag, even * by.imag + odd * by.real], -1).flatten(-2).to(x.dtype)
