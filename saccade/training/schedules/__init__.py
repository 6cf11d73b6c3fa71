"""Learning-rate schedules: pure functions of the step.  FAMILY: every other file here is one schedule."""

from abc import ABC, abstractmethod


class Schedule(ABC):
    """`rate(step)` for step = 0, 1, 2, ...: the learning rate of that update.  It has no state: resuming needs only the step.

    `peak` is the highest rate reached; `steps` the length of the run.
    """

    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0; positive and continuous."""
