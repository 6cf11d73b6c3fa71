"""Strided: Child et al. (2019), section 4.3.  For what has a period, as an image has the width of its rows."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ...layers.dropout import Dropout
from ..masks import strided, window
from ..scores import Score
from ..sparse import blocks, joint_weights
from . import Pairs, Pattern


class Strided(Pattern):
    """The last `stride` places, and every `stride`-th place before."""

    def __init__(self, *, stride: int = 32) -> None:
        super().__init__(stride=stride)

    def sets(self, queries: int, keys: int, device: torch.device | None = None) -> tuple[Bool[Tensor, "Q S"], Bool[Tensor, "Q S"]]:
        """A row's length back; the column above."""
        return window(queries, keys, self.stride, device), strided(queries, keys, self.stride, device)

    def seen_from(self, place: int) -> Pairs:
        """The place itself is both near and far."""
        near, far = min(place + 1, self.stride), place // self.stride + 1
        return Pairs(near, far, near + far - 1)

    def attend(
        self, parts: tuple[Score, Dropout], query: Float[Tensor, "*batch T Dq"], keys: Float[Tensor, "*batch T Dp"], values: Float[Tensor, "*batch T Dv"]
    ) -> Float[Tensor, "*batch T Dv"]:
        """Rows look at themselves and at the row before; turned on their side, columns look up."""
        length, (score, dropout) = query.shape[-2], parts
        query, keys, values = (blocks(x, self.stride) for x in (query, keys, values))
        near = score.compare(query, _with_row_before(keys))
        far = score.compare(_turned(query), _turned(keys))
        row, column = joint_weights(near, _turned(far), self._seen(keys.shape[-3], keys.device), dropout)
        values = values.to(row.dtype)
        context = row @ _with_row_before(values) + _turned(_turned(column) @ _turned(values))
        return context.flatten(-3, -2)[..., :length, :]

    def _seen(self, rows: int, device: torch.device) -> Bool[Tensor, "M L S"]:
        """Of two rows the window; of the column what is above, for the place itself is in the window."""
        near = window(self.stride, 2 * self.stride, self.stride, device).repeat(rows, 1, 1)
        near[0, :, : self.stride] = False  # before the first row stands nothing
        above = torch.ones(rows, rows, dtype=torch.bool, device=device).tril(-1)[:, None]
        return torch.cat([near, above.expand(-1, self.stride, -1)], -1)


def _with_row_before(x: Float[Tensor, "*batch M L d"]) -> Float[Tensor, "*batch M two_L d"]:
    """Each row behind the one before it, zeros before the first."""
    return torch.cat([functional.pad(x, (0, 0, 0, 0, 1, 0))[..., :-1, :, :], x], -2)


def _turned(x: Float[Tensor, "*batch M L d"]) -> Float[Tensor, "*batch L M d"]:
    """Columns as rows, and back."""
    return x.transpose(-3, -2)
