"""Learned positions: Gehring et al. (2017), section 3.1."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import UsageError
from . import Position


class Learned(Position):
    """One vector for each of `length` places, added to the embedding; a longer text is refused (`UsageError` C014)."""

    def __init__(self, dim: int, heads: int, *, length: int = 1024) -> None:
        super().__init__(dim, heads)
        self.places = nn.Embedding(length, dim)
        nn.init.normal_(self.places.weight, std=dim**-0.5)

    def forward(self, x: Float[Tensor, "B T D"], start: int = 0) -> Float[Tensor, "B T D"]:
        """x + the vectors of its places."""
        end = start + x.shape[1]
        if end > self.places.num_embeddings:
            fix = f"a shorter text, or train with position = {{ name = 'learned', length = {end} }} or 'sinusoidal'"
            raise UsageError("C014", f"a text of {end} tokens; this model has learned {self.places.num_embeddings} positions", fix=fix)
        return x + self.places(torch.arange(start, end, device=x.device))
