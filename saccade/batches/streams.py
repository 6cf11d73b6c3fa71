"""A text as one long stream, cut into rows that are read side by side, or into windows that know nothing of each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..errors import DataError, UsageError
from ..types import EOS, PAD
from .examples import Examples
from .ids import Ids
from .order import permutation


class Excerpt(NamedTuple):
    """Some rows of a text: what is read, and the symbol that follows each (PAD where there is none)."""

    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]


class Stream(Examples):
    """A whole text as one stream of ids; `lines` are its lines, each with its end symbol.

    An example is a place in the stream: the `context` symbols from there on are predicted, each from the one before it (EOS,
    a line's end, before the first).  With `carries` the stream is cut into as many rows as `tokens_per_batch` holds, and every batch goes on
    where the one before stopped (`UsageError` C012 if it holds none); without, into windows that begin elsewhere in every epoch
    and come in a random order.  `DataError` D036 if the text is shorter than one context.
    """

    def __init__(self, lines: Ids, context: int, carries: bool) -> None:
        self.lines, self.context, self.carries = lines, context, carries
        if len(self) < context:
            raise DataError("D036", f"the text has {len(self):,} symbols, one context is {context:,}", fix=f"more text, or context={max(len(self) // 2, 1)}")

    def __len__(self) -> int:
        """How many symbols there are to predict."""
        return len(self.lines.data)

    def plan(self, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """The places of every batch of one epoch: a pure function."""
        rows, size = tokens_per_batch // self.context, len(self)
        if rows < 1:
            fix = f"training.tokens_per_batch={self.context}, or context={max(tokens_per_batch, 1)}"
            raise UsageError("C012", f"training.tokens_per_batch = {tokens_per_batch} holds no row of context = {self.context} symbols", fix=fix)
        if self.carries:
            rows = min(rows, size // self.context)
            steps = -(-size // (rows * self.context))  # the last places of the last rows may lie behind the end
            return list(np.arange(steps)[:, None] * self.context + np.arange(rows) * steps * self.context)
        shift = int(permutation(seed, epoch, self.context, stream=2)[0])
        windows = (size - shift) // self.context or 1
        places = permutation(seed, epoch, windows) * self.context + min(shift, size - self.context)
        return [places[start : start + rows] for start in range(0, windows, rows)]

    def padding(self, batches: Sequence[np.ndarray]) -> float:
        """Behind the end of the text."""
        return max(0.0, 1 - len(self) / (sum(map(len, batches)) * self.context)) if self.carries else 0.0

    def batch(self, rows: Sequence[int]) -> Excerpt:
        """What is read and predicted from each place on."""
        return self.excerpt(np.asarray(rows, dtype=np.int64), self.context)

    def excerpt(self, places: Int[np.ndarray, "B"], length: int) -> Excerpt:
        """`length` symbols from each place on, and those that they follow."""
        wanted, size, data = places[:, None] + np.arange(length), len(self), self.lines.flat
        there = wanted < size
        targets = np.where(there, data[np.minimum(wanted, size - 1)], PAD)
        before = np.where(there & (wanted > 0), data[np.clip(wanted - 1, 0, size - 1)], EOS)
        return Excerpt(*(torch.from_numpy(side.astype(np.int64)) for side in (before, targets)))
