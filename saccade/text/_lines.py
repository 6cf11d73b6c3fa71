"""Lines of a file: those of a small one in a list, those of a large one read when they are asked for.

In memory is only where about every 64th kibibyte begins and which line that is: 16 bytes for each, 5 MB for 20 GB of text.
"""

import os
import tempfile
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from ._complaints import changed, gone, no_room


class Place(ABC):
    """Where the bytes are."""

    @abstractmethod
    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` on; `DataError` D032 if they are not there any more."""

    @abstractmethod
    def refuse(self) -> Exception:
        """What to say if they are not what they were."""


class InPlace(Place):
    """The user's own file.  It is opened anew for every block, so that one that is replaced is noticed like one that is changed."""

    def __init__(self, path: Path, seen: os.stat_result) -> None:
        self.path, self.seen, self._whole = path, seen, path.absolute()

    def read(self, start: int, size: int) -> bytes:
        """`DataError` D032 if the file is gone, or has another size or time than when it was indexed."""
        try:
            with open(self._whole, "rb", buffering=0) as file:
                now = os.fstat(file.fileno())
                if (now.st_size, now.st_mtime_ns) != (self.seen.st_size, self.seen.st_mtime_ns):
                    raise changed(self.path, self.seen, now)
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise gone(self.path, self.seen, error) from None

    def refuse(self) -> Exception:
        return changed(self.path, self.seen, self.seen)


class Unpacked(Place):
    """A copy of what was unpacked, or came through a pipe; more than `in_memory` bytes go to a file without a name, which is gone with the copy."""

    def __init__(self, path: Path, in_memory: int) -> None:
        self.path, self._lock = path, threading.Lock()
        self._file = tempfile.SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115 (closed with the copy)

    def add(self, block: bytes) -> None:
        """Write what comes next; `ResourceError` R001 if there is no room."""
        try:
            self._file.write(block)
        except OSError as error:
            raise no_room(self.path, tempfile.gettempdir(), error) from error

    def read(self, start: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)

    def refuse(self) -> Exception:
        return OSError(f"the unpacked copy of {self.path} changed")

    def __del__(self) -> None:
        self._file.close()


class Lines(Sequence[str]):
    """The lines of a file without their breaks, read a block at a time; the block read last is kept.

    Block b has the bytes from `starts[b]` to `starts[b + 1]` and the lines from `firsts[b]` to `firsts[b + 1]`.
    Reading raises `DataError` D032 if the file is not what it was when it was indexed.
    """

    def __init__(self, place: Place, starts: Sequence[int], firsts: Sequence[int]) -> None:
        self._place, self._starts, self._firsts = place, starts, firsts
        self._held: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return self._firsts[-1]

    @property
    def memory(self) -> int:
        """About how many bytes a list of all lines would take."""
        return self._starts[-1] + 64 * len(self)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return list(self.at(range(len(self))[index]))
        return next(self.at([range(len(self))[index]]))

    def __iter__(self) -> Iterator[str]:
        for block in range(len(self._starts) - 1):
            yield from self._block(block)

    def at(self, rows: Iterable[int]) -> Iterator[str]:
        """The lines with these numbers (from 0); neighbours cost one reading."""
        first = last = 0
        lines: list[str] = []
        for row in rows:
            if not first <= row < last:
                block = bisect_right(self._firsts, row) - 1
                first, last = self._firsts[block], self._firsts[block + 1]
                held, lines = self._held
                if held != block:
                    lines = self._block(block)
                    self._held = (block, lines)
            yield lines[row - first]

    def _block(self, block: int) -> list[str]:
        start, end = self._starts[block], self._starts[block + 1]
        content = self._place.read(start, end - start)
        lines = content.removesuffix(b"\n").split(b"\n")
        if len(content) != end - start or len(lines) != self._firsts[block + 1] - self._firsts[block]:
            raise self._place.refuse()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise self._place.refuse() from None
        found = text.removesuffix("\n").split("\n")
        return [line.removesuffix("\r") for line in found] if "\r" in text else found
