"""Dropout: Srivastava et al. (2014), with masks from random bytes, a fifth of the cost of Bernoulli draws on a CPU."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

BITS = {torch.float64: torch.int64, torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}
"""The integers that an entry of each type is made of."""


class Draw(NamedTuple):
    """What one call of dropout keeps (-1, all bits set) and drops (0), and what the kept entries are multiplied by."""

    kept: Int8[Tensor, "*shape"]
    scale: float


class Dropout(nn.Module):
    """Zero a share `rate` of the entries in training and scale the rest, so that the mean stays.

    On a CPU one random byte decides one entry: the rate is rounded to a 256th and the scale follows the rounded rate, so the
    mean is exact.  The masks come from torch's own generator: the same seed gives the same mask, and resuming is exact.
    `add` and `relu` join dropout to what stands next to it; each draws what `forward` would have drawn.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The same shape and type, some entries zero; in evaluation, or at rate 0, `x` itself."""
        if self.idle():
            return x
        draw = self.draw(x)
        return functional.dropout(x, self.rate) if draw is None else _Dropped.apply(x, *draw)

    def add(self, x: Float[Tensor, "*shape"], y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """x + dropout(y), in the type of `x`."""
        draw = None if self.idle() else self.draw(y)
        return x + self(y) if draw is None else _AddDropped.apply(x, y, *draw)

    def relu(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """dropout(relu(x))"""
        draw = None if self.idle() else self.draw(x)
        return self(x.relu()) if draw is None else _ReluDropped.apply(x, *draw)

    def idle(self) -> bool:
        return not self.training or self.rate == 0.0

    def draw(self, x: Float[Tensor, "*shape"]) -> Draw | None:
        """None where torch's own dropout has to do: on other devices, and at rates below half a 256th or next to 1."""
        dropped = round(self.rate * 256)
        if x.device.type != "cpu" or not 0 < dropped < 256:
            return None
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        first = dropped - 128
        kept = words.view(torch.int8).clamp_(first - 1, first).sub_(first - 1).neg_()  # integers run through the vector units, booleans do not
        return Draw(kept[: x.numel()].view(x.shape), 256 / (256 - dropped))

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def _keep(x: Tensor, kept: Tensor) -> Tensor:
    """`x` where `kept` has all bits, zero where it has none."""
    bits = BITS[x.dtype]
    return (x.view(bits) & kept.to(bits)).view(x.dtype)


class _Dropped(torch.autograd.Function):
    """A byte an entry is all that is saved."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return _keep(x, kept).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        return _keep(slope, ctx.saved_tensors[0]).mul_(ctx.scale), None, None


class _AddDropped(torch.autograd.Function):
    """x + dropout(y)"""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale, ctx.type = scale, y.dtype
        return torch.add(x, _keep(y.to(x.dtype), kept), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None, None]:
        return slope, _keep(slope.to(ctx.type), ctx.saved_tensors[0]).mul_(ctx.scale), None, None


class _ReluDropped(torch.autograd.Function):
    """What was dropped and what was below zero are both zero in the output: nothing else needs saving."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        output = _keep(x.relu(), kept).mul_(scale)
        ctx.save_for_backward(output)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        return torch.ops.aten.threshold_backward(slope, ctx.saved_tensors[0], 0).mul_(ctx.scale), None, None
