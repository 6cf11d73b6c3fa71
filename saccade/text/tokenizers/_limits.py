"""What the sizes of tokenizers may be."""

from ...errors import UsageError


def at_least(smallest: int, *, why: str = "", **knob: int) -> None:
    """`UsageError` C012 if the knob, given by its name, is smaller than that."""
    for name, value in knob.items():
        if value < smallest:
            error = UsageError("C012", f"tokenizer.{name} = {value}; it must be at least {smallest}", why=why or (), fix=f"tokenizer.{name}={smallest}")
            error.setting = f"tokenizer.{name}"
            raise error
