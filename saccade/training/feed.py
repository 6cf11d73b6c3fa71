"""Batches in their order: a pure function of (seed, epoch, position), whoever prepares them."""

import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ..batches.examples import Examples
from .distributed import World

DEATHS = 2
"""How often workers may die in one epoch before it is an error."""


class Fed(NamedTuple):
    """One batch, this process's share of it."""

    batch: Any
    rows: np.ndarray
    empty: bool
    """There was nothing left for this process: the batch holds a row that must not count."""
    first: bool
    """Of its epoch: nothing is carried into it."""


class _Prepared(Dataset):
    """What a worker does: rows -> batch."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, rows: list[int]) -> Any:
        return self.examples.batch(rows)


class Feed:
    """The batches of an epoch from a position on; `workers` processes prepare them ahead, 0 prepares them here."""

    def __init__(self, examples: Examples, *, tokens_per_batch: int, seed: int, world: World, workers: int) -> None:
        self.prepared = _Prepared(examples)
        self.tokens_per_batch, self.seed, self.world, self.workers = tokens_per_batch, seed, world, workers
        self.epoch = -1
        self.batches: list[np.ndarray] = []
        self.ahead: Iterator[Any] | None = None
        self.place = -1
        self.deaths = 0

    def plan(self, epoch: int) -> list[np.ndarray]:
        """The rows of every batch of `epoch`, for all processes together."""
        if epoch != self.epoch:
            self.batches = self.prepared.examples.plan(self.tokens_per_batch, self.seed, epoch)
            self.epoch, self.ahead, self.deaths = epoch, None, 0
        return self.batches

    def batch(self, epoch: int, position: int) -> Fed:
        """Batch `position` of `epoch`; asked for in order it was prepared ahead.  `RuntimeError` if workers keep dying."""
        rows = self.plan(epoch)[position]
        mine = self._mine(rows)
        return Fed(self._next(position) if self.workers else self.prepared[mine], rows, len(rows) <= self.world.rank, position == 0)

    def _mine(self, rows: np.ndarray) -> list[int]:
        """A process with no row of its own gets one all the same: all must take part in every sum."""
        return list(self.world.share(rows.tolist())) or rows[:1].tolist()

    def _next(self, position: int) -> Any:
        if self.ahead is None or position != self.place + 1:
            self.ahead = self._start(position)
        self.place = position
        try:
            return next(self.ahead)
        except (RuntimeError, OSError, EOFError):
            # A worker that dies takes nothing with it: the order is known, others begin where it stood.
            self.ahead, self.deaths = None, self.deaths + 1
            if self.deaths > DEATHS:
                raise
            self.place = position - 1
            return self._next(position)

    def _start(self, position: int) -> Iterator[Any]:
        order = [self._mine(rows) for rows in self.batches[position:]]
        own = torch.Generator()  # so that starting workers moves no other random numbers
        with warnings.catch_warnings(), _deaths_noticed_later():
            warnings.simplefilter("ignore")  # about more workers than cores: they were asked for
            return iter(DataLoader(self.prepared, batch_size=None, sampler=order, num_workers=self.workers, generator=own, worker_init_fn=_deaf))


@contextmanager
def _deaths_noticed_later() -> Iterator[None]:
    """A DataLoader raises from a signal handler, in the middle of anything, when a worker dies; without it the next batch says so."""
    listens = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGCHLD) if listens else None
    yield
    if listens:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _deaf(_number: int) -> None:
    """Ctrl-C is for the process that trains: it stops the workers when it is ready."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
