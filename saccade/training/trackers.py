"""Trackers: training as curves in other people's programs.

trackers = Trackers([TensorBoard(run / "tensorboard")], report=print)
for event in train(...):
    trackers.write(event)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import UsageError
from .events import Evaluation, Event, Step, Stopped


class Tracker(ABC):
    """Somewhere else to look at a run."""

    @abstractmethod
    def write(self, event: Event) -> None:
        """Take note of an event, or leave it."""

    @abstractmethod
    def close(self) -> None:
        """The run is over."""


class TensorBoard(Tracker):
    """Writes scalars for TensorBoard, `tensorboard --logdir FOLDER`; a run that is resumed goes on in the same curves.

    Per step `train/loss`, `train/rate`, `train/gradient_norm` and `train/tokens_per_second`; per evaluation `valid/loss` and
    `valid/` with the name of every metric.  `UsageError` C034 without tensorboardX.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UsageError("C034", "curves for TensorBoard need tensorboardX", fix="pip install 'saccade[tensorboard]'") from error
        self.writer = SummaryWriter(str(folder))

    def write(self, event: Event) -> None:
        """Steps and evaluations; the disk has an evaluation before training goes on."""
        if isinstance(event, Step):
            scalars = {f"train/{name}": getattr(event, name) for name in ("loss", "rate", "gradient_norm", "tokens_per_second")}
        elif isinstance(event, Evaluation):
            scalars = {"valid/loss": event.valid_loss, **{f"valid/{score.name}": score.value for score in event.scores}}
        else:
            return
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, event.step)
        if isinstance(event, Evaluation):
            self.writer.flush()

    def close(self) -> None:
        """Everything is on the disk."""
        self.writer.close()


class Trackers:
    """Several trackers, none of which can stop training: one that raises is reported once, by `report`, and dropped."""

    def __init__(self, trackers: Sequence[Tracker], report: Callable[[str], None]) -> None:
        self.trackers, self.report = list(trackers), report

    def write(self, event: Event) -> None:
        """Tell all of them; after `Stopped` they are closed."""
        self._each(lambda tracker: tracker.write(event))
        if isinstance(event, Stopped):
            self.close()

    def close(self) -> None:
        """Close all of them; a second time does nothing."""
        self._each(lambda tracker: tracker.close())
        self.trackers = []

    def _each(self, do: Callable[[Tracker], None]) -> None:
        for tracker in list(self.trackers):
            try:
                do(tracker)
            except Exception as error:  # whatever goes wrong in there, it is not worth a training run
                self.trackers.remove(tracker)
                self.report(f"{type(tracker).__name__} gave up, training goes on without it: {type(error).__name__}: {error}")
