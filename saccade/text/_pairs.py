"""A text and what it is to become, millions of times, without holding them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import tee
from typing import NamedTuple, overload

import numpy as np

from ._lines import Lines

_CHUNK = 1 << 16  # line numbers that are Python integers at a time


class Pair(NamedTuple):
    """A text and the text it is to become."""

    source: str
    target: str


class Pairs(Sequence[Pair]):
    """Pairs that are read when they are asked for: which `rows` of a file, at most 8 bytes each, and how to `read` them.

    A slice is another view of the same file.
    """

    def __init__(self, read: Callable[[Iterable[int]], Iterator[Pair]], rows: range | np.ndarray) -> None:
        self._read, self._rows = read, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> "Pairs": ...
    def __getitem__(self, index: "int | slice") -> "Pair | Pairs":
        if isinstance(index, slice):
            return Pairs(self._read, self._rows[index])
        return next(self._read([int(self._rows[index])]))

    def __iter__(self) -> Iterator[Pair]:
        return self._read(_numbers(self._rows))

    def chosen(self, places: np.ndarray) -> "Pairs":
        """The pairs at these places."""
        if isinstance(self._rows, range) and self._rows == range(len(self)):
            return Pairs(self._read, places)
        return Pairs(self._read, np.asarray(self._rows)[places])


def beside(sources: Lines, targets: Lines, rows: Iterable[int]) -> Iterator[Pair]:
    """Line N of one file with line N of another."""
    one, other = tee(rows)
    return map(Pair, sources.at(one), targets.at(other))


def columns_of(lines: Lines, first: int, second: int, rows: Iterable[int]) -> Iterator[Pair]:
    """Two columns (from 0) of tab-separated lines."""
    for line in lines.at(rows):
        cells = line.split("\t")
        yield Pair(cells[first], cells[second])


def _numbers(rows: range | np.ndarray) -> Iterable[int]:
    """The same numbers, as Python's own."""
    if isinstance(rows, range):
        return rows
    return (row for start in range(0, len(rows), _CHUNK) for row in rows[start : start + _CHUNK].tolist())
