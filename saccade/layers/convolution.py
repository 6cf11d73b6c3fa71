"""Causal convolution over time, dilated or not, with its left context as state: Waibel et al. (1989); van den Oord et al. (2016), section 2.1."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class CausalConv(nn.Module):
    """`output, context = conv(x, context)`: each place sees itself and `kernel - 1` earlier ones, `dilation` apart.

    The context is the last (kernel - 1) * dilation inputs, zeros at the start: a queue that makes a step cost the same however long
    the sequence has grown (Paine et al. 2016).  Neighbours are laid side by side and multiplied once, which on a CPU is faster than
    torch's conv1d and than one product for each of them (docs/performance.md).
    """

    def __init__(self, input_dim: int, dim: int, *, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.input_dim, self.kernel, self.dilation = input_dim, kernel, dilation
        self.linear = nn.Linear(kernel * input_dim, dim)  # the oldest input first

    @property
    def context(self) -> int:
        """How many earlier inputs it needs."""
        return (self.kernel - 1) * self.dilation

    def start(self, batch: int) -> Float[Tensor, "B C Din"]:
        """Before the first input: zeros."""
        return self.linear.weight.new_zeros(batch, self.context, self.input_dim)

    def forward(self, x: Float[Tensor, "B T Din"], context: Float[Tensor, "B C Din"]) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "B C Din"]]:
        """All places of `x`, and the context of the next."""
        if self.kernel == 1:
            return self.linear(x), context
        known, length = torch.cat([context, x], 1), x.shape[1]
        return self.linear(_Neighbours.apply(known, length, self.dilation)), known[:, length:]

    def extra_repr(self) -> str:
        return f"kernel={self.kernel}, dilation={self.dilation}"


class _Neighbours(torch.autograd.Function):
    """The inputs of `length` places side by side, those of each `dilation` apart: B L D to B T kD, in half the time of cut and joined slices."""

    @staticmethod
    def forward(ctx: Any, known: Tensor, length: int, dilation: int) -> Tensor:
        ctx.shape, ctx.dilation = known.shape, dilation
        return known.unfold(1, length, dilation).permute(0, 3, 1, 2).flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        found, length, width = slope.new_zeros(ctx.shape), slope.shape[1], ctx.shape[2]
        for number, part in enumerate(slope.split(width, -1)):
            found.narrow(1, number * ctx.dilation, length).add_(part)
        return found, None, None
