"""One rise and one longer fall over the whole run: Smith and Topin (2018), in the two phases that fast.ai made usual."""

import math
from typing import Literal

from . import History, Schedule
from ._limits import require, require_momenta

Shape = Literal["cosine", "linear"]


class OneCycle(Schedule):
    """From peak / `start_factor` up to `peak` in the first `warmup_share` of the run, then down to peak / `start_factor` / `end_factor` at its last step.

    Beyond the run the rate stays where it ended.  With `cycle_momentum` the momentum runs the other way: from `high_momentum`
    down to `low_momentum` at the peak, and up again (Smith 2018, section 4.3).  `UsageError` C012 unless 0 < warmup_share < 1,
    both factors are at least 1 and 0 <= low_momentum <= high_momentum < 1.
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        *,
        warmup_share: float = 0.3,
        start_factor: float = 25.0,
        end_factor: float = 1e4,
        shape: Shape = "cosine",
        cycle_momentum: bool = False,
        low_momentum: float = 0.85,
        high_momentum: float = 0.95,
    ) -> None:
        super().__init__(peak, steps)
        require(0 < warmup_share < 1, "warmup_share", warmup_share, "above 0 and below 1", 0.3)
        require(start_factor >= 1, "start_factor", start_factor, "at least 1", 25.0)
        require(end_factor >= 1, "end_factor", end_factor, "at least 1", 1e4)
        require_momenta(low_momentum, high_momentum)
        self.warmup_share, self.start, self.end, self.shape = warmup_share, peak / start_factor, peak / start_factor / end_factor, shape
        self.cycle_momentum, self.low_momentum, self.high_momentum = cycle_momentum, low_momentum, high_momentum

    def rate(self, step: int, history: History = ()) -> float:
        """The start, the peak and the end, joined by two lines or two half waves."""
        return self._through(self.start, self.peak, self.end, step)

    def momentum(self, step: int) -> float | None:
        """High, low at the peak of the rate, and high again, in the same shape."""
        return self._through(self.high_momentum, self.low_momentum, self.high_momentum, step) if self.cycle_momentum else None

    def _through(self, start: float, middle: float, end: float, step: int) -> float:
        """Where two joined lines or half waves stand at `step`."""
        top, last = self.warmup_share * self.steps - 1, self.steps - 1
        if step >= last:
            return end
        if step < top:
            return self._between(start, middle, step / top)
        # A run so short that its top lies before step 0 begins on the way down.
        return self._between(middle, end, (step - top) / (last - top))

    def _between(self, start: float, end: float, share: float) -> float:
        """`share` of the way; written so that it can leave neither side."""
        done = share if self.shape == "linear" else (1 - math.cos(math.pi * share)) / 2
        return start * (1 - done) + end * done
