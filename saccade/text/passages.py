"""Running text: the lines of one file or several, and parts of them."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

from ..errors import UsageError
from .corpus import read_lines


class Passage(Sequence[str]):
    """The lines of `lines` from `start` to `stop`, read when they are asked for."""

    def __init__(self, lines: Sequence[str], start: int, stop: int) -> None:
        self._lines, self._places = lines, range(len(lines))[start:stop]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self._lines[place] for place in self._places[index]]
        return self._lines[self._places[index]]

    def __iter__(self) -> Iterator[str]:
        return islice(iter(self._lines), self._places.start, self._places.stop)


def read_passages(paths: Sequence[Path], keep_first: int | None = None) -> Sequence[str]:
    """The lines of all files, one file behind the other; of the first `keep_first` lines.  Messages as of `read_lines`."""
    if keep_first is not None and keep_first < 1:
        raise UsageError("C012", f"keep_first = {keep_first}: at least 1 line must be kept", fix="--keep-first 1000")
    files = [read_lines(path) for path in paths]
    lines = files[0] if len(files) == 1 else [line for file in files for line in file]
    return lines if keep_first is None else Passage(lines, 0, keep_first)


def characters_of(lines: Sequence[str]) -> int:
    """How many there are, each line's end counted as one."""
    return sum(map(len, lines)) + len(lines)


def split_at_the_end(lines: Sequence[str], valid: float, test: float) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """The beginning of a text to train on, then `valid` and `test`, as shares of its characters, cut between lines.

    Every part whose share is not 0 gets a line if there are enough.  `UsageError` C012 if the shares leave nothing to train on.
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise UsageError("C012", f"valid_share = {valid:g} and test_share = {test:g} leave nothing to train on", fix="valid_share = 0.05, test_share = 0.05")
    size, count = characters_of(lines), len(lines)
    wanted, read = [size * (1 - valid - test), size * (1 - test)], 0
    edges: list[int] = []
    for number, line in enumerate(lines):
        while len(edges) < 2 and read >= wanted[len(edges)]:
            edges.append(number)
        read += len(line) + 1
    first, second = [*edges, count, count][:2]
    second = min(second, count - 1) if test else count
    first = min(first, second - 1) if valid else second
    return Passage(lines, 0, max(first, 0)), Passage(lines, max(first, 0), second), Passage(lines, second, count)


def sample_of(lines: Sequence[str], limit: int) -> tuple[Sequence[str], int]:
    """All lines, or every Nth of them from the first on, so that they have about `limit` characters at most; and N."""
    step = max(1, -(-characters_of(lines) // limit))
    return (lines, 1) if step == 1 else (list(islice(lines, 0, None, step)), step)
