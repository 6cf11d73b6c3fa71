"""Sentences in a random order, for what does not care how long they are."""

from collections.abc import Sequence

import numpy as np
import torch

from ..types import PAD, Padded
from .examples import Examples
from .ids import Ids
from .order import permutation


class Sentences(Examples):
    """Lines of ids, those of more than `longest` cut into pieces of so many."""

    def __init__(self, lines: Ids, longest: int, left_out: int = 0) -> None:
        self.lines, self.left_out = lines, left_out
        lengths = lines.lengths
        counts = -(-lengths // longest)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        self.starts = np.repeat(lines.offsets[:-1], counts) + (np.arange(len(first)) - first) * longest
        self.stops = np.minimum(self.starts + longest, np.repeat(lines.offsets[1:], counts))

    def __len__(self) -> int:
        return len(self.starts)

    def plan(self, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
        """In a random order, a new batch wherever another `tokens_per_batch` symbols are full: the batches hold as many on the average."""
        order = permutation(seed, epoch, len(self))
        lengths = (self.stops - self.starts)[order]
        full = (np.cumsum(lengths) - lengths) // tokens_per_batch
        return np.split(order, np.flatnonzero(np.diff(full)) + 1)

    def padding(self, batches: Sequence[np.ndarray]) -> float:
        """None: it costs nothing here, since words are picked out of their rows before anything is computed."""
        return 0.0

    def batch(self, rows: Sequence[int]) -> Padded:
        """Padded pieces."""
        chosen = np.asarray(rows, dtype=np.int64)
        lengths = self.stops[chosen] - self.starts[chosen]
        columns = np.arange(lengths.max(initial=0))
        inside = columns < lengths[:, None]
        ids = np.full(inside.shape, PAD, dtype=np.int64)
        ids[inside] = self.lines.flat[(self.starts[chosen][:, None] + columns)[inside]]
        return Padded(torch.from_numpy(ids), torch.from_numpy(lengths))
