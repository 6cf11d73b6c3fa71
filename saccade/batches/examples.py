"""Encoded examples: how many there are, which of them share a batch, and the batches themselves."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from ..types import Batch, Padded
from .ids import Ids
from .lengths import plan, waste


class Examples(ABC):
    """What a task made of its data.  `left_out` examples were too long."""

    left_out: int = 0
    carries: bool = False
    """Do the rows of a batch go on where those of the batch before stopped?"""

    @abstractmethod
    def __len__(self) -> int:
        """How many."""

    @abstractmethod
    def plan(self, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The rows of every batch of one epoch (int64): a pure function."""

    @abstractmethod
    def padding(self, batches: Sequence[np.ndarray]) -> float:
        """The share of all cells of these batches that is padding, between 0 and 1."""

    @abstractmethod
    def batch(self, rows: Sequence[int]) -> Any:
        """Some examples as a tree of tensors, batch first."""


class Pairs(Examples):
    """Sources with their targets; the lengths of both decide which share a batch."""

    def __init__(self, source: Ids, target: Ids, left_out: int = 0) -> None:
        self.source, self.target, self.left_out = source, target, left_out

    def __len__(self) -> int:
        return len(self.source)

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of every source and target: int64."""
        return self.source.lengths, self.target.lengths

    def plan(self, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """See `batches.lengths.plan`."""
        return plan(*self.lengths(), tokens_per_batch=tokens_per_batch, seed=seed, epoch=epoch)

    def padding(self, batches: Sequence[np.ndarray]) -> float:
        """Of sources and targets together."""
        return waste(batches, *self.lengths()).total

    def batch(self, rows: Sequence[int]) -> Batch:
        """Padded sources and targets."""
        return Batch(self.source.pad(rows), self.target.pad(rows))


class Texts(Examples):
    """Texts that begin with BOS and end with EOS, each of its own; those of more than `longest` symbols are left out.

    `DataError` D028 if that leaves none.
    """

    def __init__(self, lines: Ids, longest: int | None = None) -> None:
        self.lines = lines
        self.rows = np.flatnonzero(lines.lengths <= (longest or lines.lengths.max(initial=0)))
        self.left_out = len(lines) - len(self.rows)
        if not len(self.rows):
            raise DataError("D028", f"every line is longer than {longest} symbols", fix=f"longest={int(lines.lengths.min())}")

    def __len__(self) -> int:
        return len(self.rows)

    def plan(self, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """Neighbours in length share a batch."""
        lengths = self.lines.lengths[self.rows]
        return [self.rows[batch] for batch in plan(lengths, lengths, tokens_per_batch=tokens_per_batch, seed=seed, epoch=epoch)]

    def padding(self, batches: Sequence[np.ndarray]) -> float:
        """Of the texts."""
        return waste(batches, self.lines.lengths, self.lines.lengths).source

    def batch(self, rows: Sequence[int]) -> Padded:
        """Padded texts."""
        return self.lines.pad(rows)
