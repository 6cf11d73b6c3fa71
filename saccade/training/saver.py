"""Saving while training goes on: a copy is taken at once, one thread writes it."""

import traceback
from pathlib import Path
from threading import Thread

from .checkpoint import commit, prune
from .state import Snapshot


class Saver:
    """Commits checkpoints of `run` and keeps the last `keep`, in the `background` or before `save` returns: the same bytes either way.

    Every method returns the checkpoints that were committed since the last call.  A failure (`ResourceError` R001, R004) is raised once,
    by the next call, and again by `close` unless a later checkpoint was committed.  It left nothing behind: `save` may be called again.
    """

    def __init__(self, run: Path, keep: int, background: bool = True) -> None:
        self.run, self.keep, self.background = run, keep, background
        self._thread: Thread | None = None
        self._committed: list[Path] = []
        self._failure: BaseException | None = None
        self._told = True

    def save(self, step: int, snapshot: Snapshot) -> list[Path]:
        """Commit a checkpoint of `step`; one in flight is waited for.  What the snapshot refers to may change when this returns."""
        self._wait()
        committed = self._report()
        if not self.background:
            self._write(step, snapshot)
            return committed + self._report()
        self._thread = Thread(target=self._write, args=(step, snapshot.copied()), name=f"saving step {step}")
        self._thread.start()
        return committed

    def poll(self) -> list[Path]:
        """What was committed meanwhile; nothing while one is being written."""
        return [] if self._thread and self._thread.is_alive() else self._report()

    def wait(self) -> list[Path]:
        """Until nothing is being written."""
        self._wait()
        return self._report()

    def close(self) -> list[Path]:
        """At the end of training: nothing is being written when this returns, and nothing went wrong that was not mended."""
        self._wait()
        self._told = self._failure is None
        return self._report()

    def _wait(self) -> None:
        if self._thread:
            self._thread.join()
            self._thread = None

    def _report(self) -> list[Path]:
        if self._failure and not self._told:
            self._told = True
            raise self._failure
        committed, self._committed = self._committed, []
        return committed

    def _write(self, step: int, snapshot: Snapshot) -> None:
        try:
            path = commit(self.run, step, snapshot.files, snapshot.size)
            prune(self.run, self.keep)
        except BaseException as error:
            for part in (error, error.__cause__):
                if part:
                    traceback.clear_frames(part.__traceback__)  # they hold the copy, which may be large
            self._failure, self._told = error, False
        else:
            self._failure = None
            self._committed.append(path)
