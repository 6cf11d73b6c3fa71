"""One rise and one longer fall over the whole run: Smith and Topin (2018), in the two phases that fast.ai made usual."""

import math
from typing import Literal

from . import Schedule
from ._limits import require

Shape = Literal["cosine", "linear"]


class OneCycle(Schedule):
    """From peak / `start_factor` up to `peak` in the first `warmup_share` of the run, then down to peak / `start_factor` / `end_factor` at its last step.

    Beyond the run the rate stays where it ended.  `UsageError` C012 unless 0 < warmup_share < 1 and both factors
    are at least 1.
    """

    def __init__(
        self, peak: float, steps: int, *, warmup_share: float = 0.3, start_factor: float = 25.0, end_factor: float = 1e4, shape: Shape = "cosine"
    ) -> None:
        super().__init__(peak, steps)
        require(0 < warmup_share < 1, "warmup_share", warmup_share, "above 0 and below 1", 0.3)
        require(start_factor >= 1, "start_factor", start_factor, "at least 1", 25.0)
        require(end_factor >= 1, "end_factor", end_factor, "at least 1", 1e4)
        self.warmup_share, self.start, self.end, self.shape = warmup_share, peak / start_factor, peak / start_factor / end_factor, shape

    def rate(self, step: int) -> float:
        """The start, the peak and the end, joined by two lines or two half waves."""
        top, last = self.warmup_share * self.steps - 1, self.steps - 1
        if step >= last:
            return self.end
        if step < top:
            return self._between(self.start, self.peak, step / top)
        # A run so short that its top lies before step 0 begins on the way down.
        return self._between(self.peak, self.end, (step - top) / (last - top))

    def _between(self, start: float, end: float, share: float) -> float:
        """`share` of the way; written so that it can leave neither side."""
        done = share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2
        return start * (1 - done) + end * done
