"""Hamilton product with a matrix of quaternions, a quarter of the weights: Tay et al. (2019), arXiv 1906.04393."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ...errors import UsageError
from . import Linear

PRODUCT = ((1, -2, -3, -4), (2, 1, -4, 3), (3, 4, 1, -2), (4, -3, 2, 1))
"""What r, x, y, z of the right factor are multiplied by, for each component of the product; 1, 2, 3, 4 are r, x, y, z of the left one."""


class Quaternion(Linear):
    """Four features next to each other are one quaternion r + xi + yj + zk; W is a matrix of quaternions that multiply from the left.

    The paper keeps [all r | all x | all y | all z].  Here quaternions stay together, so that wherever attention cuts the
    features into heads, each head holds whole quaternions and weights of its own, and a dot product of features is the inner
    product of quaternions; cut the paper's way, heads share their weights by fours, up to signs.  But for the heads the two
    orders are the same map.  Biases are real.  There are fewer weights, not fewer multiplications.  `UsageError` C012 if a
    size is not divisible by 4.
    """

    block = 4
    signs: Float[Tensor, "4 4 4"]

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, maps: int = 1) -> None:
        super().__init__(in_dim, out_dim, bias, maps)
        for dim in (in_dim, out_dim):
            if dim % 4:
                near = f"{dim // 4 * 4} or {dim // 4 * 4 + 4}" if dim > 4 else "4"
                raise UsageError("C012", f"a quaternion is four features: {dim} cannot be divided by 4", fix=f"{near} features, or linear = 'real'")
        self.maps = maps
        self.weight = nn.Parameter(torch.empty(maps * out_dim // 4, in_dim // 4, 4))
        self.bias = nn.Parameter(torch.zeros(maps * out_dim)) if bias else None
        numbers = torch.tensor(PRODUCT)
        signs = functional.one_hot(numbers.abs() - 1, 4).mT * numbers.sign()[:, None]
        self.register_buffer("signs", signs.to(self.weight.dtype), persistent=False)
        self.glorot()

    def glorot(self) -> None:
        """Every component by the fans of its whole map, since each output feature adds up all input features."""
        rows, columns, _ = self.weight.shape
        bound = (6 / (4 * rows / self.maps + 4 * columns)) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def matrix(self) -> Float[Tensor, "Dout Din"]:
        """Every quaternion of W as the 4 x 4 matrix that multiplies by it."""
        return (self.weight[:, None] @ self.signs).flatten(2).flatten(0, 1)

    def forward(self, x: Float[Tensor, "*batch Din"]) -> Float[Tensor, "*batch Dout"]:
        """Of few rows, as in a step of search, the rows are spread into 4 x 4 matrices instead: a quarter of the weights is then all that is read."""
        if x.shape[:-1].numel() >= len(self.weight) // 2:
            return super().forward(x)
        spread = x.unflatten(-1, (-1, 4))[..., None, :, :] @ self.signs.mT
        y = functional.linear(spread.flatten(-2), self.weight.flatten(1)).mT.flatten(-2)
        return y if self.bias is None else y + self.bias.to(y.dtype)
