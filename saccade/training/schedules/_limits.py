"""What schedules share: how a setting that is out of bounds is refused, and the warm-up."""

from ...errors import UsageError


def require(holds: bool, knob: str, found: int | float, allowed: str, example: int | float) -> None:
    """`UsageError` C012 naming what was found and what is allowed, unless the condition holds."""
    if not holds:
        setting = f"training.schedule.{knob}"
        error = UsageError("C012", f"{setting} = {found}; it must be {allowed}", fix=f"{setting}={example}")
        error.setting = setting
        raise error


def require_momenta(low: float, high: float) -> None:
    """`UsageError` C012 unless 0 <= low <= high < 1."""
    require(0 <= high < 1, "high_momentum", high, "at least 0 and below 1", 0.95)
    require(0 <= low <= high, "low_momentum", low, f"at least 0 and at most high_momentum = {high}", min(0.85, high))


def warm(step: int, warmup: int) -> float:
    """The share of the peak at update `step`: (step + 1) / warmup, at most 1 (Goyal et al. 2017, section 2.2)."""
    return 1.0 if step + 1 >= warmup else (step + 1) / warmup
