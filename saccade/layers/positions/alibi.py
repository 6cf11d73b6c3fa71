"""Attention with linear biases: Press, Smith and Lewis (2022), section 3."""

import torch
from jaxtyping import Float
from torch import Tensor

from . import Distance, Position


class Alibi(Position):
    """Every step of distance costs a head a fixed amount of score; nothing is learned, and any length is reached."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__(dim, heads)
        self.heads = heads

    def distance(self, *, ahead: bool) -> Distance:
        """The same for every layer."""
        return _Slopes(self.heads)


def slopes_of(heads: int) -> list[float]:
    """2^(-8/n), 2^(-16/n), ... for n heads; between powers of two, every other one of the next power's (the authors' code)."""
    power = 1 << (heads.bit_length() - 1)
    first = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
    return first if power == heads else first + slopes_of(2 * power)[0::2][: heads - power]


class _Slopes(Distance):
    slopes: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("slopes", torch.tensor(slopes_of(heads))[:, None, None], persistent=False)

    def forward(self, query: Float[Tensor, "B H T d"], keys: int) -> tuple[Float[Tensor, "B H T d"], Float[Tensor, "1 H T S"]]:
        """-slope x |distance|"""
        places = torch.arange(keys, device=query.device)
        away = (places[keys - query.shape[2] :, None] - places).abs()
        return query, (self.slopes * -away)[None].to(query.dtype)
