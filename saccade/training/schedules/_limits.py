"""How a schedule refuses a setting that is out of bounds."""

from ...errors import UsageError


def require(holds: bool, knob: str, found: int | float, allowed: str, example: int | float) -> None:
    """`UsageError` C012 naming what was found and what is allowed, unless the condition holds."""
    if not holds:
        setting = f"training.schedule.{knob}"
        error = UsageError("C012", f"{setting} = {found}; it must be {allowed}", fix=f"{setting}={example}")
        error.setting = setting
        raise error
