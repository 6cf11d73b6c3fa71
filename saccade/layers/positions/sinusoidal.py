"""Sinusoidal positions: Vaswani et al. (2017), section 3.5."""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from . import Position

KEPT = 4
"""Tables that wait for whoever asks next: layers, queries and keys of one step ask for the same."""


def angles(start: int, count: int, width: int, base: float, device: torch.device) -> Float[Tensor, "T half"]:
    """position / base^(2i / width), in float32 whatever the model computes in."""
    places = torch.arange(start, start + count, device=device, dtype=torch.float32)
    frequencies = base ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    return places[:, None] * frequencies


@lru_cache(maxsize=KEPT)
def waves(start: int, count: int, width: int, base: float, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "T width"]:
    """sin and cos of each angle, interleaved; not to be changed."""
    turns = angles(start, count, width, base, device)
    return torch.stack([turns.sin(), turns.cos()], -1).flatten(-2)[:, :width].to(dtype)


class Sinusoidal(Position):
    """sin and cos of position / base^(2i / dim), added to the embedding; reaches any length."""

    def __init__(self, dim: int, heads: int, *, base: float = 10000.0) -> None:
        super().__init__(dim, heads)
        self.base = base

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """x + sin/cos, interleaved."""
        return x + waves(start, x.shape[1], x.shape[2], self.base, x.device, x.dtype)
