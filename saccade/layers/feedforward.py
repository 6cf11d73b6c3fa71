"""What a Transformer does between two looks: Vaswani et al. (2017), section 3.3 and figure 1."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..families import Make
from .dropout import Dropout
from .linears import Linear
from .linears.real import Real

Activation = Literal["relu", "gelu", "gelu_tanh"]
"""gelu is x times the chance of a normal draw below x (Hendrycks and Gimpel 2016); "gelu_tanh" their formula with a tanh, which GPT uses."""


class FeedForward(nn.Module):
    """Two linear maps with a bend between them, at each position alone: W2 f(W1 x)."""

    def __init__(self, dim: int, hidden: int, *, activation: Activation = "relu", dropout: float = 0.0, linear: Make[Linear] = Real) -> None:
        super().__init__()
        self.expand, self.contract = linear(dim, hidden), linear(hidden, dim)
        self.activation = activation
        self.dropout = Dropout(dropout)
        self.expand.glorot()
        self.contract.glorot()

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """The same shape."""
        wide = self.expand(x)
        if self.activation == "relu":
            return self.contract(self.dropout.relu(wide))
        return self.contract(self.dropout(functional.gelu(wide, approximate="tanh" if self.activation == "gelu_tanh" else "none")))


class Residual(nn.Module):
    """x + layer(norm(x)) ("pre") or norm(x + layer(x)) ("post", as published)."""

    def __init__(self, dim: int, *, norm: Literal["pre", "post"], dropout: float) -> None:
        super().__init__()
        self.norm, self.first = nn.LayerNorm(dim), norm == "pre"
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "B T D"], layer: Callable[[Tensor], Tensor]) -> Float[Tensor, "B T D"]:
        """`layer` gets the normed (pre) or the raw (post) `x` and answers in the same shape."""
        if self.first:
            return self.dropout.add(x, layer(self.norm(x)))
        return self.norm(self.dropout.add(x, layer(x)))
