"""One process trains a run: an advisory lock that the system takes back when the process ends, however it ends."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import storage
from ..errors import ResourceError
from .checkpoint import space_for

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_held: set[int] = set()


def _let_go() -> None:
    """A forked child, such as one that prepares batches, must not hold the lock when its parent is gone."""
    for handle in _held:
        with suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def locked(run: Path, instead: str = "another run directory: --run DIR") -> Iterator[None]:
    """Hold `run/.lock`; `ResourceError` R005 if another process does, R004 if nothing can be written there.

    `instead` says how to choose another directory.  Where the system has no such locks, the file itself is the lock, and stays behind if the process is killed.
    """
    path = run / NAME
    with space_for(run, 0, "the lock"):
        storage.make_folders(run)
        handle = _acquire(run, path, instead)
    _held.add(handle)
    try:
        with suppress(OSError):  # a full disk: the lock holds without a name on it
            storage.disk.truncate(path, 0)
            text = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
            storage.disk.write(handle, memoryview(text.encode()))
        yield
    finally:
        if handle in _held:  # not in a forked child
            _held.discard(handle)
            if fcntl is None:
                storage.disk.close(handle)  # an open file cannot be removed there
            with suppress(OSError):
                storage.disk.unlink(path)  # before the lock is released: nobody else can hold this file
            if fcntl is not None:
                storage.disk.close(handle)


def _acquire(run: Path, path: Path, instead: str) -> int:
    """The handle of a lock file that is locked, and is still the one at `path`."""
    if fcntl is None:
        try:
            return storage.disk.open(path, append=True, exclusive=True)
        except FileExistsError as error:
            raise _in_use(run, path, instead, f"remove {path} if that process is gone") from error
    while True:
        handle = storage.disk.open(path, append=True)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            there = os.stat(path)
        except FileNotFoundError:
            storage.disk.close(handle)  # its holder has just finished
        except BlockingIOError as error:
            storage.disk.close(handle)
            raise _in_use(run, path, instead) from error
        except OSError:
            storage.disk.close(handle)
            raise
        else:
            if os.path.samestat(there, os.fstat(handle)):
                return handle
            storage.disk.close(handle)


def _in_use(run: Path, path: Path, instead: str, *more: str) -> ResourceError:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:400]
    except OSError:
        text = ""
    holder = re.fullmatch(r"process (\d+) on (\S+) since ([\d: -]+)\n", text)
    if not holder:
        return ResourceError("R005", f"{run} is in use by another process", fix=[instead, *more])
    number, host, since = holder.groups()
    where = "" if host == socket.gethostname() else f" on {host}"
    fix = [instead, f"or stop that process{where}: kill {number}", *more]
    return ResourceError("R005", f"{run} is in use by process {number}{where} since {since}", fix=fix)
