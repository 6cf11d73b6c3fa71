"""Hamilton product with a matrix of quaternions, a quarter of the weights: Tay et al. (2019), equations 2 and 3."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import UsageError
from . import Linear


class Quaternion(Linear):
    """Four features next to each other are one quaternion r + xi + yj + zk; W = R + Xi + Yj + Zk multiplies each from the left.

    The paper keeps [all r | all x | all y | all z].  Here quaternions stay together, so that wherever attention cuts the
    features into heads, each head holds whole quaternions and weights of its own; cut the paper's way, four heads would
    share one set of weights up to signs.  But for the heads the two orders are the same map.  Biases are real.  The matrix
    is built at each call and is dense: fewer weights, not fewer multiplications.
    """

    block = 4

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, maps: int = 1) -> None:
        super().__init__(in_dim, out_dim, bias, maps)
        for dim in (in_dim, out_dim):
            if dim % 4:
                near = f"{dim // 4 * 4} or {dim // 4 * 4 + 4}" if dim > 4 else "4"
                raise UsageError("C012", f"a quaternion is four features: {dim} cannot be divided by 4", fix=f"{near} features, or linear = 'real'")
        self.weight = nn.Parameter(torch.empty(maps, 4, out_dim // 4, in_dim // 4))
        self.bias = nn.Parameter(torch.zeros(maps * out_dim)) if bias else None
        self.glorot()

    def glorot(self) -> None:
        """Each of R, X, Y, Z by itself, as the paper draws them."""
        for component in self.weight.flatten(0, 1):
            nn.init.xavier_uniform_(component)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def matrix(self) -> Float[Tensor, "Dout Din"]:
        """Rows and columns of the product's 4 x 4 signs, for every pair of an input and an output quaternion."""
        r, x, y, z = self.weight.unbind(1)
        rows = [[r, -x, -y, -z], [x, r, -z, y], [y, z, r, -x], [z, -y, x, r]]
        return torch.stack([torch.stack(row, -1) for row in rows], 2).flatten(3).flatten(0, 2)
