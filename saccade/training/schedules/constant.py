"""One rate for the whole run, after a linear warm-up (Goyal et al. 2017, section 2.2)."""

from . import History, Schedule
from ._limits import require, warm


class Constant(Schedule):
    """`peak` throughout; with a `warmup`, the first steps rise to it in equal parts.  `UsageError` C012 if `warmup` is negative."""

    def __init__(self, peak: float, steps: int, *, warmup: int = 0) -> None:
        super().__init__(peak, steps)
        require(warmup >= 0, "warmup", warmup, "at least 0", 0)
        self.warmup = warmup

    def rate(self, step: int, history: History = ()) -> float:
        """peak x min((step + 1) / warmup, 1)."""
        return self.peak * warm(step, self.warmup)
