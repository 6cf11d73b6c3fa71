"""The only module that changes anything on a disk, so that what it promises can be tested by failing every operation of it.

    write_file     a new file from chunks, flushed to the disk; its size and SHA-256 are computed on the way
    replace_file   the same into a hidden sibling, then one rename: a reader finds the old file or the new one, never half of one
    append_line    at the end, whole or not at all
    make_folders   a folder and those above it, each entered in its parent for good
    remove         a file or a folder

A rename is atomic, but it and every new name may be lost with the power until the folder that holds the name is flushed too.
"""

import errno
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

HIDDEN = ".tmp-"
_PIECE = 1 << 20  # bytes hashed and written at a time: what was hashed is still in the cache when it is written


class Disk:
    """The operations that change a disk, each once; a test puts one that fails in the place of `disk`."""

    def make_folder(self, path: Path) -> None:
        path.mkdir()

    def open(self, path: Path, append: bool = False, exclusive: bool = False) -> int:
        """For writing; a link in the place of a new file is refused, since it may lead anywhere, and with `exclusive` any file is."""
        how = (os.O_APPEND if append else os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)) | (os.O_EXCL if exclusive else 0)
        return os.open(path, os.O_WRONLY | os.O_CREAT | how | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o666)

    def write(self, handle: int, data: memoryview) -> int:
        """How many bytes were taken: any number from 1 on."""
        return os.write(handle, data)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def close(self, handle: int) -> None:
        os.close(handle)

    def rename(self, old: Path, new: Path) -> None:
        os.replace(old, new)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk, where the system can do that."""
        if os.name == "nt":
            return
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems of others, which flush names themselves
                raise
        finally:
            os.close(handle)

    def truncate(self, path: Path, size: int) -> None:
        os.truncate(path, size)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def remove_folder(self, path: Path) -> None:
        path.rmdir()


disk = Disk()


class Written(NamedTuple):
    """What a file must have when it is read again."""

    bytes: int
    sha256: str


Chunks = Iterable[bytes | memoryview]


def write_file(path: Path, chunks: Chunks) -> Written:
    """Write a new file and wait until the disk has its content; its name is there for good only when the folder is flushed as well."""
    digest, size = hashlib.sha256(), 0
    handle = disk.open(path)
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), _PIECE):
                piece = memoryview(chunk)[start : start + _PIECE]
                digest.update(piece)
                _write_all(handle, piece)
            size += len(chunk)
        disk.sync(handle)
    finally:
        disk.close(handle)
    return Written(size, digest.hexdigest())


def _write_all(handle: int, data: memoryview) -> None:
    while data:
        data = data[disk.write(handle, data) :]


def replace_file(path: Path, chunks: Chunks) -> Written:
    """Write a file in one step: whatever happens, `path` is what it was or what it shall be."""
    hidden = path.with_name(f"{HIDDEN}{path.name}-{os.getpid()}")
    try:
        written = write_file(hidden, chunks)
        disk.rename(hidden, path)
    except BaseException:
        with suppress(OSError):
            disk.unlink(hidden)
        raise
    disk.sync_folder(path.parent)
    return written


def append_line(path: Path, line: str, durable: bool = False) -> None:
    """Add one line; if there is no room for all of it, none of it stays.  `durable` waits for the disk."""
    before = path.stat().st_size if path.exists() else 0
    try:
        handle = disk.open(path, append=True)
        try:
            _write_all(handle, memoryview(f"{line}\n".encode()))
            if durable:
                disk.sync(handle)
        finally:
            disk.close(handle)
    except OSError:
        with suppress(OSError):
            disk.truncate(path, before)
        raise


def make_folders(path: Path) -> None:
    """Make a folder and those above it, if they are not there."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            disk.make_folder(folder)
            try:
                disk.sync_folder(folder.parent)
            except OSError:
                with suppress(OSError):
                    disk.remove_folder(folder)  # a later flush might confirm a name that was lost
                raise


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; nothing is there already: so much the better."""
    if path.is_dir() and not path.is_symlink():
        for inside in sorted(path.iterdir()):
            remove(inside)
        disk.remove_folder(path)
    else:
        disk.unlink(path)
