"""A linear warm-up, then a straight line down to the end of the run: the schedule of Devlin et al. (2019), appendix A.2."""

from . import History, Schedule
from ._limits import require, warm


class Linear(Schedule):
    """Up to `peak` in `warmup` steps, then down in equal parts towards `floor` x peak, which it would reach one step after the last.

    Beyond the run the rate stays where it ended.  Where others begin a warm-up at a rate of 0, this one begins at peak / warmup.
    `UsageError` C012 unless warmup >= 0 and 0 <= floor <= 1.
    """

    def __init__(self, peak: float, steps: int, *, warmup: int = 0, floor: float = 0.0) -> None:
        super().__init__(peak, steps)
        require(warmup >= 0, "warmup", warmup, "at least 0", 0)
        require(0 <= floor <= 1, "floor", floor, "between 0 and 1, a share of the peak", 0.0)
        self.warmup, self.floor = warmup, floor

    def rate(self, step: int, history: History = ()) -> float:
        """peak x (floor + (1 - floor) x the share of the fall that is still to come)."""
        step = min(step, self.steps - 1)
        if step < self.warmup:
            return self.peak * warm(step, self.warmup)
        left = (self.steps - step) / (self.steps - self.warmup)
        return self.peak * (self.floor * (1 - left) + left)
