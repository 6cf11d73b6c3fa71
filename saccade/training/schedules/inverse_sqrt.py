"""Linear warm-up, then decay with the square root of the step: Vaswani et al. (2017), eq. 3."""

import math

from . import History, Schedule
from ._limits import require


class InverseSqrt(Schedule):
    """Rises to `peak` at step `warmup` (counted from 1) and falls as 1 / sqrt(step) ever after, whatever the length of the run.

    The paper's dim^-0.5 x min(step^-0.5, step x warmup^-1.5), step counted from 1, is this with peak = (dim x warmup)^-0.5:
    7.0e-4 for its dim = 512 and warmup = 4000.  `UsageError` C012 if `warmup` is below 1.
    """

    def __init__(self, peak: float, steps: int, *, warmup: int = 4000) -> None:
        super().__init__(peak, steps)
        require(warmup >= 1, "warmup", warmup, "at least 1", 4000)
        self.warmup = warmup

    def rate(self, step: int, history: History = ()) -> float:
        """peak x min((step + 1) / warmup, sqrt(warmup / (step + 1)))."""
        done = (step + 1) / self.warmup
        return self.peak * min(done, math.sqrt(1 / done))
