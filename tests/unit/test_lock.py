"""Two processes never train one run."""

import errno
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import saccade
from saccade import storage
from saccade.errors import ResourceError
from saccade.training import lock
from saccade.training.lock import locked

HOLDER = """
import os, sys, time
from pathlib import Path
from saccade.training.lock import locked

with locked(Path(sys.argv[1])):
    if len(sys.argv) == 2 or not os.fork():  # a child that says its number has let go
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


def hold(run: Path, *more: str) -> tuple[subprocess.Popen, int]:
    """A process that holds the lock, and the number that it says."""
    environment = {**os.environ, "PYTHONPATH": str(Path(saccade.__file__).parent.parent)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run), *more], stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    return process, int(process.stdout.readline())


def test_a_run_in_use_is_refused_and_a_killed_process_holds_nothing(tmp_path):
    process, number = hold(tmp_path)
    try:
        with pytest.raises(ResourceError) as caught, locked(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    error = caught.value
    assert (error.code, error.exit_status) == ("R005", 5)
    assert re.fullmatch(rf"{tmp_path} is in use by process {number} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", error.headline)
    assert error.parts["fix"] == ["another run directory: --run DIR", f"or stop that process: kill {number}"]
    assert (tmp_path / ".lock").exists()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    assert not (tmp_path / ".lock").exists()


def test_a_child_does_not_hold_the_lock_of_its_dead_parent(tmp_path):
    process, child = hold(tmp_path, "fork")
    try:
        process.kill()
        process.wait()
        os.kill(child, 0)  # it lives on
        with locked(tmp_path):
            assert (tmp_path / ".lock").exists()
    finally:
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_the_lock_is_let_go_however_it_ends(tmp_path):
    def interrupted() -> None:
        with locked(tmp_path):
            with pytest.raises(ResourceError, match=rf"is in use by process {os.getpid()} since"), locked(tmp_path):
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with locked(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "headline", "fix"),
    [
        (
            "process 12 on elsewhere since 2026-01-02 03:04:05\n",
            "process 12 on elsewhere since 2026-01-02 03:04:05",
            ["or stop that process on elsewhere: kill 12"],
        ),
        ("process 12 on " + socket.gethostname() + " since 2026-01-02 03:04:05\n", "process 12 since 2026-01-02 03:04:05", ["or stop that process: kill 12"]),
        ("", "another process", []),
        ("\x1b[2J nonsense", "another process", []),
    ],
)
def test_who_holds_it_is_said_as_far_as_it_is_known(tmp_path, text, headline, fix):
    with locked(tmp_path):
        (tmp_path / ".lock").write_text(text)
        with pytest.raises(ResourceError) as caught, locked(tmp_path):
            pass
    assert caught.value.headline == f"{tmp_path} is in use by {headline}"
    assert caught.value.parts["fix"] == ["another run directory: --run DIR", *fix]


@pytest.mark.parametrize(("number", "code"), [(errno.EROFS, "R004"), (errno.EACCES, "R004"), (errno.ENOSPC, "R001"), (errno.ENOLCK, "R004")])
def test_a_place_that_cannot_be_written(tmp_path, monkeypatch, number, code):
    class Closed(storage.Disk):
        def open(self, path, append=False, exclusive=False):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage, "disk", Closed())
    with pytest.raises(ResourceError) as caught, locked(tmp_path):
        pass
    assert caught.value.code == code
    if code == "R004":
        assert caught.value.headline == f"cannot write to {tmp_path}: [Errno {number}] {os.strerror(number)}"


def test_a_full_disk_does_not_keep_the_lock_from_holding(tmp_path, monkeypatch):
    class Full(storage.Disk):
        def write(self, handle, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "disk", Full())
    with locked(tmp_path), pytest.raises(ResourceError, match=f"^error.R005. {tmp_path} is in use by another process\n"), locked(tmp_path):
        pass


def test_a_lock_that_was_removed_meanwhile_is_made_anew(tmp_path, monkeypatch):
    class Late(storage.Disk):
        opened = 0

        def open(self, path, append=False, exclusive=False):
            handle = super().open(path, append, exclusive)
            self.opened += 1
            if self.opened < 3:  # its holder removes it between the two calls, and another one makes a new one
                path.unlink()
                if self.opened == 2:
                    path.touch()
            return handle

    monkeypatch.setattr(storage, "disk", Late())
    with locked(tmp_path):
        assert (tmp_path / ".lock").stat().st_ino
        with pytest.raises(ResourceError, match="is in use by process"), locked(tmp_path):
            pass
    assert storage.disk.opened == 4


def test_without_locks_of_the_system_the_file_is_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    with locked(tmp_path):
        with pytest.raises(ResourceError) as caught, locked(tmp_path):
            pass
        assert caught.value.parts["fix"][-1] == f"remove {tmp_path}/.lock if that process is gone"
    assert not list(tmp_path.iterdir())
