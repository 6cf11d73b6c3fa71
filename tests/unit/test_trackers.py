"""Trackers see what happens and can stop nothing."""

import struct
import sys
import types
from pathlib import Path

import pytest

from saccade.errors import UsageError
from saccade.metrics import Score
from saccade.run import Run
from saccade.training.loop import Evaluation, Saved, Step, Stopped
from saccade.training.trackers import TensorBoard, Tracker, Trackers

from .. import toys

STEP = Step(4, 0, 2.5, 1e-3, 0.75, 100.0, 1.5)
EVALUATION = Evaluation(5, 0, 2.0, 2.5, 2.25, (Score("exact", 12.5, "exact|"), Score("error_rate", 80.0, "error_rate|", False)), True)
EXPECTED = {
    "train/loss": (4, 2.5),
    "train/rate": (4, 1e-3),
    "train/gradient_norm": (4, 0.75),
    "train/tokens_per_second": (4, 100.0),
    "valid/loss": (5, 2.25),
    "valid/exact": (5, 12.5),
    "valid/error_rate": (5, 80.0),
}


class Notebook(Tracker):
    """Writes down what it hears, and breaks when told to."""

    def __init__(self, breaks: str = "") -> None:
        self.heard, self.breaks, self.closed = [], breaks, 0

    def write(self, event) -> None:
        self.heard.append(event)
        if self.breaks == "write":
            raise OSError("the server is away")

    def close(self) -> None:
        self.closed += 1
        if self.breaks == "close":
            raise RuntimeError("never mind")


class Writer:
    """The part of tensorboardX that is used."""

    def __init__(self, folder: str) -> None:
        self.folder, self.scalars, self.calls = folder, {}, []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = (step, value)

    def flush(self) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")


def test_steps_and_evaluations_become_scalars(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Writer))
    board = TensorBoard(tmp_path / "board")
    for event in (STEP, EVALUATION, Saved(5, tmp_path), Stopped(5, "finished", 2.0)):
        board.write(event)
    assert board.writer.scalars == EXPECTED
    board.close()
    assert (board.writer.folder, board.writer.calls) == (str(tmp_path / "board"), ["flush", "close"])


def test_the_files_hold_what_was_written(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    board = TensorBoard(tmp_path)
    for event in (STEP, EVALUATION):
        board.write(event)
    board.close()
    (path,) = tmp_path.glob("events.*")
    content, found = path.read_bytes(), {}
    while content:  # records: length, its checksum, the event, its checksum
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value}
        content = content[16 + size :]
    assert found == {name: (step, pytest.approx(value)) for name, (step, value) in EXPECTED.items()}


def test_without_the_package_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UsageError) as caught:
        TensorBoard(tmp_path)
    assert (caught.value.code, caught.value.headline) == ("C034", "curves for TensorBoard need tensorboardX")
    assert caught.value.parts["fix"] == ["pip install 'saccade[tensorboard]'"]


@pytest.mark.parametrize("breaks", ["write", "close"])
def test_a_tracker_that_breaks_is_reported_once_and_dropped(tmp_path: Path, breaks: str):
    broken, sound, said = Notebook(breaks), Notebook(), []
    trackers, events = Trackers([broken, sound], said.append), []
    for event in Run.begin(toys.recipe(tmp_path), tmp_path / "run").train():
        trackers.write(event)
        events.append(event)
    trackers.close()
    assert isinstance(events[-1], Stopped)
    assert sound.heard == events
    assert (sound.closed, len(broken.heard)) == (1, 1 if breaks == "write" else len(events))
    why = {"write": "OSError: the server is away", "close": "RuntimeError: never mind"}[breaks]
    assert said == [f"Notebook gave up, training goes on without it: {why}"]
