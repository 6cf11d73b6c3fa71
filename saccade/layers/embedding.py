"""Symbols as vectors."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .dropout import Dropout


class Embedding(nn.Embedding):
    """A vector of `dim` numbers for each of `vocab` symbols, drawn from N(0, 1/dim).

    `scale` multiplies what is looked up by sqrt(dim) (Vaswani et al. 2017, section 3.4), so that it weighs as much as a
    position; a tied output matrix uses the weights as they are.
    """

    def __init__(self, vocab: int, dim: int, *, scale: bool = False, dropout: float = 0.0) -> None:
        super().__init__(vocab, dim)
        nn.init.normal_(self.weight, std=dim**-0.5)
        self.factor = dim**0.5 if scale else 1.0
        self.dropout = Dropout(dropout)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """The vectors of `ids`, after dropout."""
        found = super().forward(ids)
        return self.dropout(found if self.factor == 1.0 else found * self.factor)


class Output(nn.Module):
    """From features to one logit for each symbol; `tied` to an embedding it has no matrix of its own (Press and Wolf 2017)."""

    def __init__(self, vocab: int, dim: int, tied: nn.Embedding | None = None) -> None:
        super().__init__()
        self.weight: Tensor = nn.Parameter(torch.empty(vocab, dim)) if tied is None else tied.weight
        if tied is None:
            nn.init.normal_(self.weight, std=dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Unnormalised log-probabilities."""
        return nn.functional.linear(x, self.weight, self.bias)
