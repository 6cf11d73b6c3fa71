"""Saving while training goes on: a copy is taken at once, one thread writes it."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from torch import Tensor

from .. import storage
from ..errors import ResourceError
from ..tensors import Lazy, Tensors, tensor_bytes, tensor_chunks
from .checkpoint import commit, prune


class Snapshot(NamedTuple):
    """What a checkpoint will hold: tensors by the name of their file, and `state.json`."""

    tensors: Mapping[str, Tensors]
    state: str

    def copied(self) -> "Snapshot":
        """The same in memory of its own, on the CPU: training may go on while it is written."""
        return Snapshot({file: {name: _copy(tensor) for name, tensor in tensors.items()} for file, tensors in self.tensors.items()}, self.state)

    @property
    def files(self) -> dict[str, storage.Chunks]:
        """Their bytes, made while they are written."""
        return {file: tensor_chunks(tensors) for file, tensors in self.tensors.items()} | {"state.json": [self.state.encode()]}

    @property
    def size(self) -> int:
        """Bytes, nearly."""
        return sum(map(tensor_bytes, self.tensors.values())) + len(self.state)


def _copy(tensor: Tensor | Lazy) -> Tensor:
    made = tensor.make() if isinstance(tensor, Lazy) else tensor
    return made.detach().to("cpu", copy=True)


class Saver:
    """Commits checkpoints of `run` and keeps the last `keep`, in the `background` or before `save` returns: the same bytes either way.

    A failure (`ResourceError` R001, R004) is raised by the next call, whichever it is, and again by `close` unless a checkpoint was
    committed since.  It left nothing behind: `wait` tries a copy again, `save` a newer snapshot.
    """

    def __init__(self, run: Path, keep: int, background: bool = True) -> None:
        self.run, self.keep, self.background = run, keep, background
        self._thread: Thread | None = None
        self._pending: tuple[int, Snapshot] | None = None
        self._committed: list[Path] = []
        self._failure: BaseException | None = None
        self._told = True

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Commit a checkpoint of `step`; one in flight is waited for.  What the snapshot refers to may change when this returns."""
        self._join()
        self._tell()
        self._pending = None  # a newer one takes its place, also in memory
        self._pending = step, snapshot.copied() if self.background else snapshot
        if self.background:
            self._thread = Thread(target=self._write, name=f"saving step {step}")
            self._thread.start()
        else:
            self._write()
            self._tell()

    def poll(self) -> list[Path]:
        """The checkpoints that were committed since the last call; it does not wait for one that is being written."""
        if self._thread and self._thread.is_alive():
            return []
        self._tell()
        committed, self._committed = self._committed, []
        return committed

    def wait(self) -> None:
        """Until all is written; what could not be is tried again."""
        self._join()
        self._tell()
        if self._pending:
            self._write()
            self._tell()

    def close(self) -> None:
        """Until nothing is being written; raises what was not mended."""
        self._join()
        self._told = True
        if self._failure:
            raise self._failure

    def _join(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None

    def _tell(self) -> None:
        if self._failure and not self._told:
            self._told = True
            raise self._failure

    def _write(self) -> None:
        assert self._pending
        step, snapshot = self._pending
        try:
            path = commit(self.run, step, snapshot.files, snapshot.size)
            prune(self.run, self.keep)
        except BaseException as error:
            for part in (error, error.__cause__):
                if part:
                    traceback.clear_frames(part.__traceback__)  # they hold the copy, which may be large
            self._failure, self._told = error, False
            if not self.background:
                self._pending = None  # not a copy: it would be another one when tried again
        else:
            self._pending = self._failure = None
            self._committed.append(path)


def waiting_for_room(write: Callable[[], None], pause: float, stop: Callable[[], bool], error: ResourceError | None = None) -> Iterator[ResourceError]:
    """`write`, unless that has just ended in `error`; while the disk is full, what to say, and every `pause` seconds another try.

    Raises what is no full disk (R001), everything if `pause` is 0, and the last R001 if `stop()` while waiting.
    """
    while True:
        try:
            if error is None:
                return write()
        except ResourceError as refused:
            error = refused
        if error.code != "R001" or pause <= 0:
            raise error
        note = [*error.parts["note"], f"training is paused and retries every {pause:g} s; Ctrl-C stops it"]
        yield ResourceError("R001", error.headline, note=note)
        until = time.monotonic() + pause
        while time.monotonic() < until:
            if stop():
                raise error
            time.sleep(min(0.2, pause))
        error = None
