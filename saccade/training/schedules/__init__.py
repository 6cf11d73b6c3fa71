"""Learning-rate schedules: pure functions of the step and of what evaluations found.  FAMILY: every other file here is one schedule."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

History = Sequence[tuple[int, float]]
"""(step, value) of every evaluation so far, in order; `step` counts the updates before it, a higher value is better."""


class Schedule(ABC):
    """`rate(step, history)` for step = 0, 1, 2, ...: the learning rate of that update.  It has no state: resuming needs only what it is asked with.

    `peak` is the highest rate reached; `steps` the length of the run.
    """

    def __init__(self, peak: float, steps: int) -> None:
        self.peak, self.steps = peak, steps

    @abstractmethod
    def rate(self, step: int, history: History = ()) -> float:
        """The learning rate of update `step`, counted from 0; positive, and continuous but for restarts, cuts and plateaus.

        Evaluations in `history` that come after this update are not looked at.
        """

    def momentum(self, step: int) -> float | None:
        """The momentum (SGD) or beta1 (Adam) of update `step`; None leaves the optimizer's own."""
        return None
