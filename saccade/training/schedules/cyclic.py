"""Up and down between two rates, again and again: Smith (2017), section 3.1."""

from typing import Literal

from . import History, Schedule
from ._limits import require, require_momenta

Mode = Literal["triangular", "triangular2", "exp_range"]


class Cyclic(Schedule):
    """From `low` up to `peak` in `half_cycle` steps and down again; without a `low`, from a tenth of the peak.

    "triangular2" halves the height above `low` with every cycle, "exp_range" multiplies it by `gamma` with every step.  A half
    cycle of 2 to 10 epochs works well (section 3.2); end the run on a whole number of cycles, at the low rate.  With
    `cycle_momentum` the momentum runs the other way, from `high_momentum` at the low rate to `low_momentum` at the peak.
    `UsageError` C012 unless 0 < low <= peak, half_cycle >= 1, 0 < gamma <= 1 and 0 <= low_momentum <= high_momentum < 1.
    """

    def __init__(
        self,
        peak: float,
        steps: int,
        *,
        low: float | None = None,
        half_cycle: int = 2000,
        mode: Mode = "triangular",
        gamma: float = 0.9999,
        cycle_momentum: bool = False,
        low_momentum: float = 0.85,
        high_momentum: float = 0.95,
    ) -> None:
        super().__init__(peak, steps)
        low = peak / 10 if low is None else low
        require(0 < low <= peak, "low", low, f"above 0 and at most the peak rate {peak}", peak / 10)
        require(half_cycle >= 1, "half_cycle", half_cycle, "at least 1", 2000)
        require(0 < gamma <= 1, "gamma", gamma, "above 0 and at most 1", 0.9999)
        require_momenta(low_momentum, high_momentum)
        self.low, self.half_cycle, self.mode, self.gamma = low, half_cycle, mode, gamma
        self.cycle_momentum, self.low_momentum, self.high_momentum = cycle_momentum, low_momentum, high_momentum

    def rate(self, step: int, history: History = ()) -> float:
        """low + (peak - low) x the height of the triangle x the mode's scale."""
        return self.low + (self.peak - self.low) * self._height(step)

    def momentum(self, step: int) -> float | None:
        """high_momentum - (high_momentum - low_momentum) x the height of the triangle x the mode's scale."""
        return self.high_momentum - (self.high_momentum - self.low_momentum) * self._height(step) if self.cycle_momentum else None

    def _height(self, step: int) -> float:
        """Between 0 and 1: of the triangle, times the mode's scale."""
        # Whole numbers as long as possible: the paper's 1 - |step / half_cycle - 2 cycle + 1| loses digits as the run goes on.
        cycle, position = divmod(step, 2 * self.half_cycle)
        height = min(position, 2 * self.half_cycle - position) / self.half_cycle
        return height * {"triangular": 1.0, "triangular2": 0.5**cycle, "exp_range": self.gamma**step}[self.mode]
