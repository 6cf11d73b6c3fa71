"""Lower the rate when evaluations stop getting better: the rule of Bottou (2012) and He et al. (2016), as torch's ReduceLROnPlateau states it."""

import math
from typing import Literal

from . import History, Schedule
from ._limits import require, warm


class Plateau(Schedule):
    """`peak`, after a `warmup`; times `factor` after more than `patience` evaluations without gain, again and again, never below `floor` x peak.

    A gain is a value more than `threshold` above the best so far: a share of the best ("relative") or a difference ("absolute").
    After a cut, `cooldown` evaluations do not count; nor do those before the warm-up is over.  `UsageError` C012 unless
    0 < factor < 1, 0 < floor <= 1 and the rest is at least 0, a relative threshold below 1.
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        *,
        factor: float = 0.5,
        patience: int = 2,
        threshold: float = 1e-4,
        compare: Literal["relative", "absolute"] = "relative",
        cooldown: int = 0,
        floor: float = 0.001,
        warmup: int = 0,
    ) -> None:
        super().__init__(peak, steps)
        require(0 < factor < 1, "factor", factor, "above 0 and below 1", 0.5)
        require(patience >= 0, "patience", patience, "at least 0", 2)
        require(threshold >= 0 and (compare == "absolute" or threshold < 1), "threshold", threshold, "at least 0, and below 1 if relative", 1e-4)
        require(cooldown >= 0, "cooldown", cooldown, "at least 0", 0)
        require(0 < floor <= 1, "floor", floor, "above 0 and at most 1, a share of the peak", 0.001)
        require(warmup >= 0, "warmup", warmup, "at least 0", 0)
        self.factor, self.patience, self.threshold, self.compare = factor, patience, threshold, compare
        self.cooldown, self.floor, self.warmup = cooldown, floor, warmup

    def rate(self, step: int, history: History = ()) -> float:
        """max(peak x factor^cuts, peak x floor), where the cuts are counted anew from the whole history."""
        values = [value for at, value in history if self.warmup <= at <= step]
        return self.peak * max(self.factor ** self._cuts(values), self.floor) * warm(step, self.warmup)

    def _cuts(self, values: list[float]) -> int:
        best, bad, resting, cuts = -math.inf, 0, 0, 0
        for value in values:
            if value > self._bar(best):
                best, bad = value, 0
            else:
                bad += 1
            if resting:
                resting, bad = resting - 1, 0
            if bad > self.patience:
                cuts, resting, bad = cuts + 1, self.cooldown, 0
        return cuts

    def _bar(self, best: float) -> float:
        """What must be passed; a share of the size of `best`, since values may be negative (a loss is turned round)."""
        if self.compare == "absolute":
            return best + self.threshold
        return best * (1 + self.threshold if best > 0 else 1 - self.threshold)
