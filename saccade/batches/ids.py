"""Rows of token ids, any number of them: one flat array and where each row begins, in memory or in files that are mapped."""

import json
import mmap
import os
import shutil
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..types import PAD, Padded

if sys.platform != "win32":
    import fcntl

__all__ = ["Ids", "gather", "opened", "prepare"]

HEADER = "IDS.json"
FORMAT = 1
_CODES = {"uint16": "H", "int32": "i"}
_SPILL = 1 << 20  # numbers that wait in memory until they are written

Row = Sequence[int]


class Ids:
    """Rows of ids: row i is `data[offsets[i] : offsets[i + 1]]`; `data` is uint16 or int32, `offsets` int64 with one entry more than rows.

    `files` are those that both are mapped from: every access makes sure first that they are as long as they were, because to
    touch a page that is gone kills the process (`DataError` D034).  A file that is removed stays readable as long as it is mapped.
    """

    def __init__(self, data: np.ndarray, offsets: np.ndarray, files: Mapping[Path, mmap.mmap] | None = None) -> None:
        self.data, self.offsets, self._files = data, offsets, files or {}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        row = range(len(self))[row]
        self._check()
        return self.data[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    @property
    def flat(self) -> np.ndarray:
        """The ids of all rows, one row behind the other."""
        self._check()
        return self.data

    @property
    def lengths(self) -> np.ndarray:
        """How many ids each row has: int64, shape (rows,)."""
        self._check()
        return np.diff(self.offsets)

    def pad(self, rows: Row | np.ndarray) -> Padded:
        """Some rows as one tensor, filled up with PAD at the end to the longest of them; `IndexError` for a row that is not there."""
        chosen = np.asarray(rows, dtype=np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self):
            raise IndexError(f"rows {chosen.min()} to {chosen.max()} of {len(self)}")
        self._check()
        starts = self.offsets[chosen]
        lengths = self.offsets[chosen + 1] - starts
        inside = np.arange(lengths.max(initial=0)) < lengths[:, None]
        ids = np.full(inside.shape, PAD, dtype=np.int64)
        ends = lengths.cumsum()
        ids[inside] = self.data[np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)]
        return Padded(torch.from_numpy(ids), torch.from_numpy(lengths))

    def _check(self) -> None:
        for path, mapped in self._files.items():
            if mapped.size() < len(mapped):
                look = f"the file has {mapped.size():,} bytes, {len(mapped):,} were written"
                raise DataError("D034", f"the prepared ids {path} were cut short while they were in use", look=look, fix="saccade resume prepares them again")


def gather(sizes: Mapping[str, int], examples: Iterable[Sequence[Row]]) -> list[Ids]:
    """The rows of all sides in memory; `sizes` are the vocabularies, one for each row of an example."""
    sides = [(array(_code(size)), array("q", [0])) for size in sizes.values()]
    for example in examples:
        for (data, offsets), row in zip(sides, example, strict=True):
            data.extend(row)
            offsets.append(len(data))
    return [Ids(np.frombuffer(data, dtype=data.typecode), np.frombuffer(offsets, dtype=np.int64)) for data, offsets in sides]


def prepare(folder: Path, sizes: Mapping[str, int], examples: Iterable[Sequence[Row]], about: Mapping[str, Any]) -> None:
    """Write the rows of all sides to a new `folder`, a few megabytes of them in memory at a time.

    All is written under another name, the header (sizes and `about`) last, and flushed before the folder gets its name: what
    was interrupted is never taken for complete.  One process prepares while others wait; what is complete already and about
    the same is left as it is.  `OSError` if it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    hidden, trash = (folder.with_name(f".{folder.name}-{what}") for what in ("unfinished", "old"))
    with _alone(folder.with_name(f".{folder.name}-lock")):
        try:
            opened(folder, about)
            return
        except DataError:
            pass
        for leftover in (hidden, trash):
            shutil.rmtree(leftover, ignore_errors=True)
        hidden.mkdir()
        try:
            header = {"format": FORMAT, "byteorder": sys.byteorder, "sides": _write(hidden, sizes, examples), "about": dict(about)}
            with (hidden / HEADER).open("w", encoding="utf-8") as file:
                json.dump(header, file, indent=1)
                _flush(file.fileno())
            if folder.exists():
                os.replace(folder, trash)
            os.replace(hidden, folder)
            _flush_folder(folder.parent)
        finally:
            for leftover in (hidden, trash):
                shutil.rmtree(leftover, ignore_errors=True)


def opened(folder: Path, about: Mapping[str, Any]) -> list[Ids]:
    """The sides that `prepare` wrote, mapped; `DataError` D034 if they are not there, incomplete, damaged or about something else."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if (header["format"], header["byteorder"]) != (FORMAT, sys.byteorder):
            raise _unfit(folder, "were written by another saccade or another machine")
        if header["about"] != json.loads(json.dumps(about)):
            raise _unfit(folder, "are those of other data or another tokenizer")
        return [_mapped(folder, name, side) for name, side in header["sides"].items()]
    except OSError as error:
        raise _unfit(folder, f"cannot be read: {(error.strerror or 'unknown reason').lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unfit(folder, f"are damaged: {HEADER} is not what was written") from error


def ids_of(store: Path | None, sizes: Mapping[str, int], examples: Iterable[Sequence[Row]], about: Mapping[str, Any]) -> list[Ids]:
    """What `store` holds, prepared now if that is not the same; without a store, all in memory."""
    if store is None:
        return gather(sizes, examples)
    try:
        return opened(store, about)
    except DataError:
        prepare(store, sizes, examples, about)
        return opened(store, about)


def _unfit(folder: Path, why: str) -> DataError:
    return DataError("D034", f"the prepared ids in {folder} {why}", fix="saccade resume prepares them again")


def _code(size: int) -> str:
    """The smallest type that holds every id of a vocabulary."""
    return _CODES["uint16" if size <= 1 << 16 else "int32"]


def _write(folder: Path, sizes: Mapping[str, int], examples: Iterable[Sequence[Row]]) -> dict[str, dict[str, Any]]:
    """The files of every side and what the header says of them."""
    writers = [_Writer(folder, name, _code(size)) for name, size in sizes.items()]
    try:
        for example in examples:
            for writer, row in zip(writers, example, strict=True):
                writer.add(row)
        return {name: writer.finish() for name, writer in zip(sizes, writers)}
    finally:
        for writer in writers:
            writer.close()


class _Writer:
    """One side on its way to its two files."""

    def __init__(self, folder: Path, name: str, code: str) -> None:
        self.files = {kind: (folder / f"{name}.{kind}").open("wb") for kind in ("ids", "offsets")}
        self.data, self.offsets = array(code), array("q", [0])
        self.rows, self.written = 0, 0

    def add(self, row: Row) -> None:
        self.data.extend(row)
        self.offsets.append(self.written + len(self.data))
        self.rows += 1
        if len(self.data) + len(self.offsets) >= _SPILL:
            self.spill()

    def spill(self) -> None:
        """Write what waits, and wait for nothing."""
        self.data.tofile(self.files["ids"])
        self.offsets.tofile(self.files["offsets"])
        self.written += len(self.data)
        self.data, self.offsets = array(self.data.typecode), array("q")

    def finish(self) -> dict[str, Any]:
        self.spill()
        for file in self.files.values():
            file.flush()
            _flush(file.fileno())
        type_ = next(name for name, code in _CODES.items() if code == self.data.typecode)
        return {"type": type_, "rows": self.rows, "ids": self.written}

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _mapped(folder: Path, name: str, side: Mapping[str, Any]) -> Ids:
    """One side, if its files have the sizes that the header says."""
    if Path(name).name != name or side["type"] not in _CODES:
        raise ValueError(name)
    arrays: list[np.ndarray] = []
    files: dict[Path, mmap.mmap] = {}
    for kind, type_, count in (("ids", side["type"], side["ids"]), ("offsets", "int64", side["rows"] + 1)):
        path, wanted = folder / f"{name}.{kind}", np.dtype(type_).itemsize * count
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != wanted:
                raise _unfit(folder, f"are damaged: {path.name} has {found:,} bytes, {wanted:,} were written")
            if wanted:  # an empty file cannot be mapped
                files[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays.append(np.frombuffer(files.get(path, b""), dtype=type_))
    return Ids(arrays[0], arrays[1], files)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is here; the system lets go of the lock of one that dies."""
    with lock.open("wb") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(number: int) -> None:
    os.fsync(number)


def _flush_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
