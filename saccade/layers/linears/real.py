"""The usual linear map: a weight of its own for each pair of an input and an output feature."""

from jaxtyping import Float
from torch import Tensor, nn

from . import Linear


class Real(Linear):
    """Begins as torch.nn.Linear begins."""

    def __init__(self, in_dim: int, out_dim: int, bias: bool = True, maps: int = 1) -> None:
        super().__init__(in_dim, out_dim, bias, maps)
        drawn = nn.Linear(in_dim, maps * out_dim, bias)
        self.maps, self.weight, self.bias = maps, drawn.weight, drawn.bias

    def glorot(self) -> None:
        """Each map has its own fans, whatever stands beside it."""
        for weight in self.weight.chunk(self.maps):
            nn.init.xavier_uniform_(weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def matrix(self) -> Float[Tensor, "Dout Din"]:
        """The weights as they are."""
        return self.weight
