"""Disks that fail: at one operation of a story, in one way.

Counting   counts operations, and flushes nothing: the system does not lose its memory in these tests
Faulty     kills the process, or reports an error, at operation `at`
PowerCut   keeps what was not flushed apart from what was; when the power is cut, `after` says what may be found on the disk
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock

from saccade.storage import Disk

SECTOR = 512
NEVER = 1 << 60


class Killed(BaseException):
    """The process is no more: nothing may catch this, and nothing happens on the disk after it."""


class Counting(Disk):
    """A healthy disk on which every operation is numbered."""

    def __init__(self) -> None:
        self.count, self.dead, self.turn = 0, False, Lock()

    def happen(self, name: str) -> None:
        """Number an operation; the dead do nothing, in whichever thread."""
        with self.turn:
            self.count += 1
        if self.dead:
            raise Killed

    def mend(self) -> None:
        """Whatever was wrong with the disk is put right."""

    def make_folder(self, path: Path) -> None:
        self.happen("make_folder")
        super().make_folder(path)

    def open(self, path: Path, append: bool = False, exclusive: bool = False) -> int:
        self.happen("open")
        return super().open(path, append, exclusive)

    def write(self, handle: int, data: memoryview) -> int:
        self.happen("write")
        return super().write(handle, data)

    def sync(self, handle: int) -> None:
        self.happen("sync")

    def close(self, handle: int) -> None:
        super().close(handle)  # which changes nothing that a reader could see
        self.happen("close")

    def rename(self, old: Path, new: Path) -> None:
        self.happen("rename")
        super().rename(old, new)

    def sync_folder(self, path: Path) -> None:
        self.happen("sync_folder")

    def truncate(self, path: Path, size: int) -> None:
        self.happen("truncate")
        super().truncate(path, size)

    def unlink(self, path: Path) -> None:
        self.happen("unlink")
        super().unlink(path)

    def remove_folder(self, path: Path) -> None:
        self.happen("remove_folder")
        super().remove_folder(path)


GROWING = ("make_folder", "open", "write", "sync", "rename")
"""What a full disk refuses."""
FAULTS = ("kill", "torn write", "no space", "error", "short write", "failed sync")


class Faulty(Counting):
    """Fails at operation `at`, or at the first one after it that can fail in this way.

    kill: before it; torn write: half of a write is the last thing that happens; no space: from there on, until `mend`;
    error: once; short write: half is taken; failed sync: an error of a flush.  At operation `until` the process is killed in any case.
    """

    def __init__(self, fault: str, at: int, until: int = NEVER) -> None:
        super().__init__()
        self.fault, self.at, self.until, self.full, self.hit = fault, at, until, False, False

    def happen(self, name: str) -> None:
        super().happen(name)
        if self.count >= self.until:
            self.die()
        if self.full and name in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.hit or self.count < self.at:
            return
        if self.fault == "kill":
            self.die()
        if self.fault == "no space" and name in GROWING:
            self.full = self.hit = True
            if name != "write":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault == "error" or (self.fault == "failed sync" and name in ("sync", "sync_folder")):
            self.hit = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def write(self, handle: int, data: memoryview) -> int:
        due = self.fault in ("torn write", "short write", "no space") and not self.hit and self.count + 1 >= self.at
        taken = super().write(handle, data[: max(1, len(data) // 2)] if due else data)
        self.hit = self.hit or due
        if due and self.fault == "torn write":
            self.die()
        return taken

    def die(self) -> None:
        self.hit = self.dead = True
        raise Killed

    def mend(self) -> None:
        self.full = False


@dataclass
class File:
    """What of a file is on the disk, and the writes that are not yet: (place, bytes), or (size, None) for a cut."""

    kept: bytes = b""
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    size: int = 0


@dataclass
class Folder:
    """The names that are on the disk, and the changes that are not yet; a rename is one change."""

    kept: dict[str, "File | Folder"] = field(default_factory=dict)
    pending: list[Callable[[dict], None]] = field(default_factory=list)
    seen: dict[str, "File | Folder"] = field(default_factory=dict)

    def change(self, how: Callable[[dict], None]) -> None:
        how(self.seen)
        self.pending.append(how)


class PowerCut(Faulty):
    """Dies at operation `at` with all that was not flushed; a flush that fails loses for ever what it should have flushed.

    The folder tree below `root` is followed in memory: what a reader sees, what is on the disk, and what is between them.
    """

    def __init__(self, root: Path, fault: str, at: int, until: int = NEVER) -> None:
        super().__init__(fault, at, until)
        self.root, self.top = root, Folder()
        self.opened: dict[int, File] = {}

    def folder(self, path: Path) -> Folder:
        found: File | Folder = self.top
        for part in path.relative_to(self.root).parts:
            assert isinstance(found, Folder)
            found = found.seen[part]
        assert isinstance(found, Folder)
        return found

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        made = Folder()
        self.folder(path.parent).change(lambda names: names.update({path.name: made}))

    def open(self, path: Path, append: bool = False, exclusive: bool = False) -> int:
        handle = super().open(path, append, exclusive)
        folder = self.folder(path.parent)
        if path.name not in folder.seen:
            made = File()
            folder.change(lambda names: names.update({path.name: made}))
        file = folder.seen[path.name]
        assert isinstance(file, File)
        if not append:
            file.pending.append((0, None))
            file.size = 0
        self.opened[handle] = file
        return handle

    def write(self, handle: int, data: memoryview) -> int:
        taken = super().write(handle, data)
        file = self.opened[handle]
        file.pending.append((file.size, bytes(data[:taken])))
        file.size += taken
        return taken

    def sync(self, handle: int) -> None:
        file = self.opened[handle]
        try:
            super().sync(handle)
        except OSError:
            file.pending = []
            raise
        file.kept, file.pending = applied(file.kept, file.pending), []

    def close(self, handle: int) -> None:
        self.opened.pop(handle)
        super().close(handle)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        assert old.parent == new.parent
        folder = self.folder(old.parent)
        moved = folder.seen[old.name]

        def move(names: dict) -> None:
            names.pop(old.name, None)
            names[new.name] = moved

        folder.change(move)

    def sync_folder(self, path: Path) -> None:
        folder = self.folder(path)
        try:
            super().sync_folder(path)
        except OSError:
            folder.pending = []
            raise
        for change in folder.pending:
            change(folder.kept)
        folder.pending = []

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        file = self.folder(path.parent).seen[path.name]
        assert isinstance(file, File)
        file.pending.append((size, None))
        file.size = size

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self.forget(path)

    def remove_folder(self, path: Path) -> None:
        super().remove_folder(path)
        self.forget(path)

    def forget(self, path: Path) -> None:
        folder = self.folder(path.parent)
        if path.name in folder.seen:
            folder.change(lambda names: names.pop(path.name, None))

    def after(self, where: Path, seed: int) -> None:
        """What may be on the disk when the power is back: 0 nothing that was not flushed, 1 everything, else drawn by chance."""
        restore(self.top, where, Random(seed), seed)


def applied(kept: bytes, pending: list[tuple[int, bytes | None]]) -> bytes:
    content = bytearray(kept)
    for place, data in pending:
        if data is None:
            del content[place:]
        else:
            content[place : place + len(data)] = data
    return bytes(content)


def restore(folder: Folder, where: Path, draw: Random, seed: int) -> None:
    names, changes = dict(folder.kept), list(folder.pending)
    if seed == 0:
        changes = []
    elif seed > 1:
        changes = [change for change in changes if draw.random() < 0.5]
        if draw.random() < 0.5:
            draw.shuffle(changes)
    for change in changes:
        change(names)
    where.mkdir()
    for name, found in sorted(names.items()):
        if isinstance(found, Folder):
            restore(found, where / name, draw, seed)
        else:
            (where / name).write_bytes(torn(found, draw, seed))


def torn(file: File, draw: Random, seed: int) -> bytes:
    """Its content, of which every sector that was not flushed is there or not, and the size is the old one, the new one or one between."""
    if seed == 0 or not file.pending:
        return file.kept
    wanted = applied(file.kept, file.pending)
    if seed == 1:
        return wanted
    size = draw.choice([len(file.kept), len(wanted), draw.randint(0, len(wanted))])
    before, found = file.kept.ljust(size, b"\0"), bytearray(wanted[:size].ljust(size, b"\0"))
    for start in range(0, size, SECTOR):
        if draw.random() < 0.5:
            found[start : start + SECTOR] = before[start : min(start + SECTOR, size)]
    return bytes(found)
