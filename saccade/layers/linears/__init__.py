"""Linear maps: y = W x + b.  FAMILY: every other file here is one way to make the matrix W of fewer or other numbers."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Linear(nn.Module):
    """`maps` maps of one input, each from `in_dim` to `out_dim` features; their answers stand side by side."""

    block: ClassVar[int] = 1
    """So many features next to each other are one number of the member's algebra: a head of attention must hold whole ones."""
    weight: Tensor
    bias: Tensor | None

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, maps: int = 1) -> None:
        super().__init__()

    def glorot(self) -> None:
        """Draw the weights anew, each map by itself, and set the bias to zero (Glorot and Bengio 2010, equation 16)."""
        raise NotImplementedError

    def matrix(self) -> Float[Tensor, "Dout Din"]:
        """The real matrix that all maps together are."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "*batch Din"]) -> Float[Tensor, "*batch Dout"]:
        """Of the last axis."""
        return functional.linear(x, self.matrix(), self.bias)
