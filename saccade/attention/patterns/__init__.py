"""Patterns: which of the places before it a place looks at, where all would be too many.  FAMILY: every other file here is one pattern.

A pattern is two sets, one near and one far, and every head sees both ("merged heads": Child et al. 2019, equation 7).  Two layers then
carry a word from anywhere to anywhere later, and if the stride is the root of the length n they look at n^1.5 pairs instead of n^2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import UsageError
from ...layers.dropout import Dropout
from ..scores import Score


class Pairs(NamedTuple):
    """How many pairs of places are near, far, and one or the other."""

    near: int
    far: int
    either: int


class Pattern:
    """A mask, and a kernel that spends next to nothing on what the mask hides."""

    def __init__(self, *, stride: int) -> None:
        if stride < 1:
            raise UsageError("C012", f"stride = {stride}: a pattern needs a stride of 1 or more", fix="about the root of the context: 32 for 1,024 tokens")
        self.stride = stride

    def sets(self, queries: int, keys: int, device: torch.device | None = None) -> tuple[Bool[Tensor, "Q S"], Bool[Tensor, "Q S"]]:
        """What is near and what is far; query i stands at place keys - queries + i, and what it sees is not after it."""
        raise NotImplementedError

    def mask(self, queries: int, keys: int, device: torch.device | None = None) -> Bool[Tensor, "Q S"]:
        """All that is seen."""
        near, far = self.sets(queries, keys, device)
        return near | far

    def seen_from(self, place: int) -> Pairs:
        """The pairs of one place."""
        raise NotImplementedError

    def pairs(self, length: int) -> Pairs:
        """The pairs of a text, exactly."""
        return Pairs(*map(sum, zip(*map(self.seen_from, range(length)), strict=True)))

    def pays(self, queries: int, keys: int) -> bool:
        """Does `attend` apply, all places asking at once, and are they so many that it is worth it?"""
        return queries == keys > self.stride

    def attend(
        self, parts: tuple[Score, Dropout], query: Float[Tensor, "*batch T Dq"], keys: Float[Tensor, "*batch T Dp"], values: Float[Tensor, "*batch T Dv"]
    ) -> Float[Tensor, "*batch T Dv"]:
        """What `Attention` of these parts gathers under `mask(T, T)`."""
        raise NotImplementedError
