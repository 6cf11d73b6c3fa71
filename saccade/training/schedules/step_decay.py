"""A constant rate that is cut by a factor again and again: Zaremba et al. (2014), section 4.1."""

from . import History, Schedule
from ._limits import require, warm


class StepDecay(Schedule):
    """`peak` for the first `hold` steps, after a `warmup`; from then on times `factor`, and once more every `every` steps.

    Never below `floor` x peak.  An epoch of the paper is `every` steps: its small model holds the rate for four of them and halves
    it with each one that follows.  `UsageError` C012 unless hold >= 0, every >= 1, 0 < factor < 1, 0 < floor <= 1 and warmup >= 0.
    """

    def __init__(self, peak: float, steps: int, *, hold: int = 1000, every: int = 1000, factor: float = 0.5, floor: float = 1e-6, warmup: int = 0) -> None:
        super().__init__(peak, steps)
        require(hold >= 0, "hold", hold, "at least 0", 1000)
        require(every >= 1, "every", every, "at least 1", 1000)
        require(0 < factor < 1, "factor", factor, "above 0 and below 1", 0.5)
        require(0 < floor <= 1, "floor", floor, "above 0 and at most 1, a share of the peak", 1e-6)
        require(warmup >= 0, "warmup", warmup, "at least 0", 0)
        self.hold, self.every, self.factor, self.floor, self.warmup = hold, every, factor, floor, warmup

    def rate(self, step: int, history: History = ()) -> float:
        """peak x factor^(the number of cuts so far)."""
        cuts = 0 if step < self.hold else 1 + (step - self.hold) // self.every
        return self.peak * warm(step, self.warmup) * max(self.factor**cuts, self.floor)
