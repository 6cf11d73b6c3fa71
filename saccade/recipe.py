"""Recipes: TOML <-> parts.  A paper is a recipe, not a class.

    task = "translate"
    seed = 1
    size = "small"                      # tiny | small | base: sets dim, layers, heads; anything explicit wins
    data = { train = ["train.de", "train.en"] }
    tokenizer = { name = "unigram", size = 8000 }
    encoder = { name = "transformer", dim = 256 }
    training = { steps = 6000 }
    search = { beam = 5 }

What is not `task`, `seed`, `size`, `data`, `training` or `search` is a knob of the task.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch.overrides import TorchFunctionMode

from .errors import UsageError, suggestion
from .families import contract_of, find, knobs, name_of, settings, write, write_settings
from .search import Search
from .tasks import Data, Task
from .training.optimizers import weight_groups
from .training.settings import Training

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"dim": 32, "layers": 1, "heads": 2},
    "small": {"dim": 256, "layers": 3, "heads": 4},
    "base": {"dim": 512, "layers": 6, "heads": 8},
}
OWN = ("task", "seed", "size", "data", "training", "search")
VOID = {"steps": ("passes",), "optimizer": ("weight_decay",)}
"""What suits a task no longer once somebody has chosen: a length asked for is not shortened, another optimizer decays otherwise."""
COUNTED = ("dim", "layers", "heads", "feed_forward", "embedding", "hidden")
"""Knobs of any part that must be at least 1."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a run will do, checked before anything is read or built."""

    task: partial[Task]
    data: Data
    training: Training
    search: Search
    seed: int

    def to_toml(self) -> str:
        """Every setting spelled out; reading it back gives an equal recipe."""
        table: dict[str, Any] = {"task": name_of(self.task), "seed": self.seed}
        table |= write_settings(self.task)
        parts: dict[str, Any] = {"data": self.data, "training": self.training, "search": self.search}
        for name, part in parts.items():
            table[name] = write_settings(partial(part.__class__, **vars(part)))
        return tomli_w.dumps(table)


def read_recipe(path: Path | str | None = None, *, overrides: Sequence[str] = (), defaults: dict[str, Any] | None = None) -> Recipe:
    """A recipe from a TOML file (or from nothing but defaults), with overrides like `training.steps=100` on top, checked.

    Raises `UsageError` with the file, the line and what was meant: C003 no such file, C010 unknown part, C011 unknown setting,
    C012 impossible value or parts that do not fit, C013 wrong type, C016 not TOML.
    """
    text, table = "", dict(defaults or {})
    if path is not None:
        text, found = _parse(Path(path))
        table = merge(table, found)
    table = overridden(table, overrides)
    try:
        recipe = from_table(table)
        check(recipe)
    except UsageError as error:
        said = re.match(r"(?:([a-z_.]+): )?(?:([a-z_.]+) = )?", error.headline)
        setting = error.setting or ".".join(filter(None, said.groups() if said else ()))
        turned = {override.partition("=")[0].strip() for override in overrides}
        # What the command line said is not to be looked for in the file.
        place = f"{setting}.name" if error.code == "C010" else setting
        line = None if any(f"{place}.".startswith(f"{key}.") for key in turned) else line_of(text, place)
        if line is None:
            raise
        raise error.reworded(f"{path} line {line}: {error.headline}", setting) from error
    return recipe


def _parse(path: Path) -> tuple[str, dict[str, Any]]:
    """A recipe's text, and what it says; `UsageError` C003 or C016."""
    try:
        text = locate(path).read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        raise UsageError("C016", f"{path} is not TOML: {why}", fix="see the recipes that come with saccade: saccade list recipes") from error


def check(recipe: Recipe) -> None:
    """Build all of it without a number in it (torch's meta device): `UsageError` C012 if a part is impossible or two do not fit."""
    _check_sizes(write_settings(recipe.task), "")
    training = recipe.training
    schedule = training.schedule(training.learning_rate, training.steps)
    if schedule.momentum(0) is not None and training.optimizer == "adadelta":
        fix = "training.optimizer=adam, or training.schedule.cycle_momentum=false"
        raise UsageError("C012", "training.optimizer = adadelta; it has no momentum that a schedule could turn", fix=fix)
    with on_paper():
        weight_groups(training, recipe.task().build())


@contextmanager
def on_paper() -> Iterator[None]:
    """What is built in here has shapes and no numbers: it takes no memory and no time (torch's meta device)."""
    with torch.device("meta"), _NothingDrawn():
        yield


class _NothingDrawn(TorchFunctionMode):
    """Leaves out the drawing of fresh weights: the first draw without numbers makes torch import a second's worth of modules."""

    def __torch_function__(self, function: Callable, types: object, arguments: tuple = (), named: dict[str, Any] | None = None) -> Any:
        named = named or {}
        if getattr(function, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_", "random_"):
            return arguments[0] if arguments else named["tensor"]
        return function(*arguments, **named)


def _check_sizes(table: dict[str, Any], where: str) -> None:
    for knob, value in table.items():
        setting = f"{where}.{knob}".lstrip(".")
        if isinstance(value, dict):
            _check_sizes(value, setting)
        elif knob in COUNTED and isinstance(value, int) and value < 1:
            raise UsageError("C012", f"{setting} = {value}; it must be at least 1", fix=f"{setting}=1")
        elif knob.endswith("dropout") and value != "none" and not 0 <= value < 1:
            raise UsageError("C012", f"{setting} = {value}; it must be at least 0 and below 1", fix=f"{setting}=0.1")


def from_table(table: dict[str, Any]) -> Recipe:
    """A recipe from what TOML says."""
    task_name = table.get("task", "translate")
    if not isinstance(task_name, str):
        raise UsageError("C013", f"task: expected a name, found {task_name!r}", fix='task = "translate"')
    member = find(Task, task_name, "task")
    own = {key: table[key] for key in OWN if key in table}
    chosen = sized(member, {key: value for key, value in table.items() if key not in OWN}, own.get("size"))
    for name in ("data", "training", "search"):
        if not isinstance(own.get(name, {}), dict):
            raise UsageError("C013", f"{name}: expected a table, found {own[name]!r}", fix=f"[{name}]")
    seed = own.get("seed", 1)
    if type(seed) is not int or seed < 0:
        raise UsageError("C013", f"seed: expected a whole number from 0 on, found {seed!r}", fix="seed = 1")
    try:
        task = partial(member, **settings(member, chosen, ""))
    except UsageError as error:
        if error.code == "C011" and "." not in str(error.setting):
            error.parts["fix"] = [suggestion(str(error.setting), [*knobs(member), *OWN])]
            raise error.reworded(error.headline) from error
        raise
    own["training"] = merge(_suited(member, own.get("training", {})), own.get("training", {}))
    data, training, search = (settings(kind, own.get(name, {}), name) for name, kind in (("data", Data), ("training", Training), ("search", Search)))
    return Recipe(task, Data(**data), Training(**training), Search(**search), seed)


def _suited(member: type[Task], said: dict[str, Any]) -> dict[str, Any]:
    """The settings of training that suit a task, but for those that what is `said` makes void: a part said by name is that part as it comes."""
    named = [name for name, value in said.items() if isinstance(value, dict) and "name" in value]
    void = {*named, *(key for name in said for key in VOID.get(name, ()))}
    return {key: value for key, value in member.suited.items() if key not in void}


def sized(member: type, chosen: dict[str, Any], size: Any) -> dict[str, Any]:
    """Fill in what `size` says about every part that has those knobs; anything explicit wins."""
    if size is None:
        return chosen
    if not isinstance(size, str) or size not in SIZES:
        raise UsageError("C012", f"size = {size!r}; it must be {' or '.join(SIZES)}", fix=suggestion(str(size), SIZES))
    chosen = dict(chosen)
    for key, (hint, default) in knobs(member).items():
        contract = contract_of(hint)
        if contract is None or key not in ("encoder", "decoder"):
            continue
        given = chosen.get(key, {})
        part = {"name": given} if isinstance(given, str) else given
        if not isinstance(part, dict) or not isinstance(part.get("name", ""), str):
            continue  # the reader of settings says what is wrong with it
        name = part.get("name", name_of(default))
        known = knobs(find(contract, name, key))
        whole = {"name": name} if "name" in part else write(default)
        chosen[key] = {**whole, **{knob: value for knob, value in SIZES[size].items() if knob in known}, **part}
    return chosen


def parse_override(text: str) -> dict[str, Any]:
    """`a.b=c` as a nested table, the last key of which may be quoted; what is not a TOML value is text.  `UsageError` C017 without an equals sign."""
    key, equals, value = text.partition("=")
    parts = re.fullmatch(r"""([A-Za-z_][\w.]*?)(?:\."([^"]*)")?""", key.strip())
    if not equals or not parts:
        raise UsageError("C017", f"{text!r} is not an override", fix="name=value, as in training.steps=2000")
    try:
        parsed = tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed([*parts[1].split("."), *filter(None, [parts[2]])]):
        parsed = {part: parsed}
    return parsed


def overridden(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """`table` with each of `overrides` on top; a length asked for is not shortened, unless that is asked for too."""
    named = {override.partition("=")[0].strip() for override in overrides}
    if "training.steps" in named:
        overrides = ["training.passes=0", *overrides]
    for override in overrides:
        table = merge(table, parse_override(override))
    return table


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` wins, table by table; a part named by a word becomes a table when a knob of it is turned, and one that was left out comes back."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, dict) and isinstance(below, str) and key not in OWN:
            below = {} if below == "none" else {"name": below}
        changed = isinstance(value, dict) and isinstance(below, dict) and value.get("name", below.get("name")) != below.get("name")
        merged[key] = merge(below, value) if isinstance(value, dict) and isinstance(below, dict) and not changed else value
    return merged


def line_of(text: str, setting: str) -> int | None:
    """The line of a TOML file that speaks of `setting`, or of the table around it."""
    section, longest, best = "", 0, None
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[([\w.]+)\]", line):
            section, name = header[1], header[1]
        elif key := re.match(r"""\s*((?:[\w.]|"[^"]*")+)\s*=""", line):
            name = f"{section}.{key[1]}".lstrip(".")
        else:
            continue
        if f"{setting}.".startswith(f"{name}.") and len(name) > longest:
            longest, best = len(name), number
    return best


def shipped() -> Path:
    """The folder of recipes that come with saccade."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def locate(path: Path) -> Path:
    """A recipe's file: as given, or by name among those that come with saccade; `UsageError` C003 if there is none."""
    for candidate in (path, shipped() / path.name, shipped() / f"{path.name}.toml"):
        if candidate.is_file():
            return candidate
    raise UsageError("C003", f"there is no recipe {path}", fix=suggestion(path.stem, [recipe.stem for recipe in shipped().glob("*.toml")]))
