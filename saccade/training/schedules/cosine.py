"""Half a cosine wave from the peak to the floor, once or again and again: Loshchilov and Hutter (2017), eq. 5."""

import math

from . import History, Schedule
from ._limits import require, warm


class Cosine(Schedule):
    """Up to `peak` in `warmup` steps, then down a half wave towards `floor` x peak, which it would reach one step after the last.

    With a `period` (0: the whole run is one) the rate starts again from the peak after so many steps, and every period is
    `stretch` times as long as the one before (the paper's T_0 and T_mult).  Beyond the run the rate stays where it ended.
    `UsageError` C012 unless warmup >= 0, 0 <= floor <= 1, period >= 0 and stretch >= 1.
    """

    def __init__(self, peak: float, steps: int, *, warmup: int = 0, floor: float = 0.0, period: int = 0, stretch: int = 1) -> None:
        super().__init__(peak, steps)
        require(warmup >= 0, "warmup", warmup, "at least 0", 0)
        require(0 <= floor <= 1, "floor", floor, "between 0 and 1, a share of the peak", 0.0)
        require(period >= 0, "period", period, "at least 0", 0)
        require(stretch >= 1, "stretch", stretch, "at least 1", 1)
        self.warmup, self.floor, self.period, self.stretch = warmup, floor, period, stretch

    def rate(self, step: int, history: History = ()) -> float:
        """peak x (floor + (1 - floor) x (1 + cos(pi x the share of the period that is over)) / 2)."""
        step = min(step, self.steps - 1)
        if step < self.warmup:
            return self.peak * warm(step, self.warmup)
        over, period = self._place(step - self.warmup)
        # The square of a cosine, unlike the paper's 1 + cos, does not lose its digits near the end.
        height = math.cos(math.pi / 2 * over / period) ** 2
        return self.peak * (self.floor * (1 - height) + height)

    def _place(self, step: int) -> tuple[int, int]:
        """How many steps of the present period are over, and how long it is."""
        period = self.period or self.steps - self.warmup
        if self.stretch == 1:
            return step % period, period
        while step >= period:
            step, period = step - period, period * self.stretch
        return step, period
