"""What to search over: settings with a range or a choice of values, as people write them.

training.learning_rate=1e-4..1e-2 log         between two numbers, every factor as likely
encoder.dim=64..512 step 64                   whole steps
encoder.layers,decoder.layers=1|2|3           one of several; both settings get the same value
"""

import json
import math
import re
import tomllib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import UsageError
from .recipe import Recipe, from_table, overridden, parse_override

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DECIDING = ("task", "metrics", "data", "training.evaluate_every", "training.evaluate_examples")
"""Settings that decide what is compared: trials that differ in them cannot be."""
EXAMPLES = ["--search 'training.learning_rate=1e-4..1e-2 log'", "--search 'encoder.layers=1|2|3'"]

_RANGE = re.compile(r"(?P<low>\S+?)\.\.(?P<high>\S+)(?:\s+(?P<log>log)|\s+step\s+(?P<step>\S+))?")


Number = int | float


class Dimension(NamedTuple):
    """Settings that are searched over together, and the values they may take: `choices`, or all from `low` to `high`."""

    names: tuple[str, ...]
    choices: tuple[Any, ...] = ()
    low: Number = 0.0
    high: Number = 0.0
    log: bool = False
    step: Number | None = None

    @property
    def key(self) -> str:
        """The settings, as they were asked for."""
        return ",".join(self.names)

    def __str__(self) -> str:
        if self.choices:
            return f"{self.key}={'|'.join(map(plain, self.choices))}"
        return f"{self.key}={self.low:g}..{self.high:g}{' log' * self.log}{f' step {self.step:g}' if self.step else ''}"

    def holds(self, value: Any) -> bool:
        """Whether `value` is one of those that are searched over."""
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and math.isclose(steps, round(steps), abs_tol=1e-9)

    def distribution(self) -> "BaseDistribution":
        """The same for optuna."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def overrides(self, value: Any) -> list[str]:
        """`a.b=c` for each of the settings."""
        return [f"{name}={json.dumps(value)}" for name in self.names]


def plain(value: Any) -> str:
    """A value as it is written in an override: six significant digits are enough to train again."""
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def with_settings(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with overrides on top, those of whole parts first; `UsageError` as for any recipe."""
    whole_parts_first = sorted(overrides, key=lambda text: text.partition("=")[0].count("."))
    return from_table(overridden(tomllib.loads(recipe.to_toml()), whole_parts_first))


def value_of(recipe: Recipe, name: str) -> Any:
    """What a recipe says about a setting; a part's name; None if it has no such setting."""
    found: Any = tomllib.loads(recipe.to_toml())
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found["name"] if isinstance(found, dict) and "name" in found else found


def usual_space(recipe: Recipe) -> list[str]:
    """What is worth searching over if nobody says what: learning rate, batch, label smoothing and dropout, around the recipe's own."""
    training = recipe.training
    rate, batch = training.learning_rate, training.tokens_per_batch
    dropouts = [name for name in ("encoder.dropout", "decoder.dropout", "dropout") if isinstance(value_of(recipe, name), float)]
    found = [f"training.learning_rate={rate / 5:.3g}..{rate * 5:.3g} log", f"training.tokens_per_batch={max(batch // 2, 1)}|{batch}|{batch * 2}"]
    found.append("training.label_smoothing=0.0..0.2")
    return [*found, f"{','.join(dropouts)}=0.0..0.4"] if dropouts else found


def parse_space(texts: Sequence[str], recipe: Recipe) -> list[Dimension]:
    """Each text as a dimension, its values checked against the recipe.

    `UsageError` C071 if one cannot be understood, C072 if it leaves nothing to choose, C073 if it would change what is compared;
    C010 to C013 as for any setting.
    """
    space: list[Dimension] = []
    for text in texts:
        found = _parse(text, recipe)
        twice = next((name for name in found.names if any(name in other.names for other in space)), None)
        if twice:
            raise UsageError("C072", f"--search {text!r}: {twice} is searched over already", fix="one range for each setting")
        try:
            for value in found.choices or (found.low, found.high):
                with_settings(recipe, found.overrides(value))
        except UsageError as error:
            raise error.reworded(f"--search {text!r}: {error.headline}") from error
        space.append(found)
    return space


def _parse(text: str, recipe: Recipe) -> Dimension:
    key, _, values = (part.strip() for part in text.partition("="))
    names = tuple(name.strip() for name in key.split(","))
    if not values or not all(re.fullmatch(r"[A-Za-z_][\w.]*", name) for name in names):
        raise _misunderstood(text)
    for name in names:
        if any(f"{name}.".startswith(f"{deciding}.") for deciding in DECIDING):
            raise UsageError("C073", f"--search {text!r}: {name} decides what is compared, so it cannot be searched over", fix=f"set it once: {name}=VALUE")
    if "|" in values:
        return _choices(text, names, [value.strip() for value in values.split("|")])
    given = _RANGE.fullmatch(values)
    if not given:
        raise _misunderstood(text)
    now = value_of(recipe, names[0])
    if isinstance(now, (str, bool)):
        raise UsageError("C071", f"--search {text!r}: {names[0]} is not a number", look=f"it is {plain(now)}", fix="name its values: NAME=A|B|C")
    numbers = [_number(text, given[part], whole=isinstance(now, int)) for part in ("low", "high")]
    step = _number(text, given["step"], whole=isinstance(now, int)) if given["step"] else None
    if any(isinstance(each, float) for each in numbers):
        numbers = [float(each) for each in numbers]
    found = Dimension(names, (), numbers[0], numbers[1], bool(given["log"]), step)
    _check(text, found)
    return found


def _choices(text: str, names: tuple[str, ...], words: list[str]) -> Dimension:
    if not all(words):
        raise _misunderstood(text)
    values = [next(iter(parse_override(f"value={word}").values())) for word in words]
    if not all(isinstance(value, (str, int, float, bool)) for value in values):
        raise _misunderstood(text)
    different = list(dict.fromkeys(map(plain, values)))
    if len(different) < len(values):
        raise UsageError("C072", f"--search {text!r}: a value is named twice", fix=f"{','.join(names)}={'|'.join(different)}")
    return Dimension(names, tuple(values))


def _number(text: str, word: str, *, whole: bool) -> Number:
    """A whole number if it is written as one, or if the setting takes no other (1e3)."""
    try:
        value = float(word)
    except ValueError:
        raise _misunderstood(text) from None
    if not math.isfinite(value):
        raise _misunderstood(text)
    return int(value) if value.is_integer() and (whole or re.fullmatch(r"[+-]?\d+", word)) else value


def _check(text: str, found: Dimension) -> None:
    """`UsageError` C072 if nothing, or one value only, is left to choose."""
    low, high = plain(found.low), plain(found.high)
    if found.low > found.high:
        raise UsageError("C072", f"--search {text!r}: the range is empty, {low} is more than {high}", fix=f"{found.key}={high}..{low}")
    if found.low == found.high:
        raise UsageError("C072", f"--search {text!r}: {low} is the only value there is", fix=f"set it, and do not search: {found.names[0]}={low}")
    if found.log and found.low <= 0:
        raise UsageError("C072", f"--search {text!r}: a logarithmic range begins above 0, not at {low}", fix="leave out log, or begin a little higher")
    if found.step is not None and not 0 < found.step <= found.high - found.low:
        raise UsageError(
            "C072",
            f"--search {text!r}: from {low} to {high} there is no step of {plain(found.step)}",
            fix=f"a step between 0 and {plain(found.high - found.low)}",
        )


def _misunderstood(text: str) -> UsageError:
    return UsageError("C071", f"--search {text!r}: expected NAME=LOW..HIGH or NAME=A|B|C", fix=EXAMPLES)
