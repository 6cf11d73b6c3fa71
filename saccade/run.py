"""A run: a directory in which a recipe becomes a model.

run = Run.begin(read_recipe("recipe.toml"), Path("runs/0001-translate"))
for event in run.train():
    print(event)
model = saccade.load("runs/0001-translate")
model.predict(["Guten Morgen."])
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from . import storage
from .errors import DataError, ModelError, ResourceError, SaccadeError, UsageError, printable
from .metrics import Score
from .recipe import Recipe, check, from_table, on_paper, read_recipe
from .search import Search
from .tasks import Data, Prediction, Splits, Task
from .training.checkpoint import checkpoints, load_model, load_weights, space_for
from .training.loop import Event, train
from .training.settings import pick_device
from .types import Look

RECIPE, TOKENIZERS, FILES = "recipe.toml", "tokenizers.safetensors", "data.json"


@dataclass
class Answer:
    """What a model said to one text."""

    source: str
    text: str
    score: float
    """Log-probability in nats, the end symbol included."""
    alternatives: list[Prediction]
    """All that the beam found, best first; the first one is `text`."""
    model: "Model"

    @cached_property
    def attention(self) -> Look:
        """Where the model looked for each piece of `text`."""
        return self.model.task.look(self.model.network, self.source, self.alternatives[0])


class Model:
    """A trained model: raw text in, text out."""

    def __init__(self, recipe: Recipe, task: Task, network: torch.nn.Module, about: dict[str, Any]) -> None:
        self.recipe, self.task, self.network, self.about = recipe, task, network, about

    def predict(self, texts: Sequence[str], *, search: Search | None = None, prefixes: Sequence[str] | None = None) -> list[Answer]:
        """An answer to each text, in order; `prefixes` are how the answers must begin (`UsageError` C023 if one cannot)."""
        if isinstance(texts, str):
            raise TypeError("predict takes a list of texts: predict([text])")
        found = self.task.predict(self.network, texts, search or self.recipe.search, prefixes)
        for number, said in enumerate(found):
            if not said or said[0].score == -math.inf:
                raise _speechless(prefixes[number] if prefixes else "")
        return [Answer(text, said[0].text, said[0].score, said, self) for text, said in zip(texts, found, strict=True)]

    def test(self, pairs: Sequence[Any], *, search: Search | None = None) -> list[Score]:
        """The task's metrics on these examples."""
        return self.task.evaluate(self.network, pairs, search or self.recipe.search)


def _speechless(prefix: str) -> SaccadeError:
    if prefix:
        return UsageError("C023", f"no answer can begin with {printable(prefix)!r}", why="it holds symbols that the model never learned", fix="another prefix")
    return ModelError("M015", "the model gives every answer probability 0: its weights are no use", fix="copy it again, or train with a lower rate")


def load(path: Path | str, *, device: str = "auto") -> Model:
    """The best model of a run directory, or a model.safetensors.  Runs no code from the file.

    `ModelError` M001-M014 says what the file is if it is not a model; `ResourceError` R002 if there is no such device.
    """
    given = Path(path)
    file = given / "model.safetensors" if given.is_dir() else given
    tensors, about = load_model(file)
    recipe = _recipe_of(file, about)
    task = recipe.task()
    try:
        task.restore({name: tensor for name, tensor in tensors.items() if name.startswith("tokenizer.")})
    except KeyError as error:
        raise ModelError("M011", f"{file} has no {error.args[0]}", fix="copy the model again from where it came from") from error
    with on_paper():  # a file that promises more than it holds is refused before there is memory for it
        load_weights(task.build(), tensors, file)
    network = task.build()
    load_weights(network, tensors, file)
    return Model(recipe, task, network.to(pick_device(device)).eval(), about)


def _recipe_of(file: Path, about: dict[str, Any]) -> Recipe:
    """The recipe in a model's header; `ModelError` M013 if this saccade cannot follow it."""
    try:
        if not isinstance(about.get("recipe"), dict):
            raise UsageError("C013", "it has no recipe")
        recipe = from_table(about["recipe"])
        check(recipe)
    except UsageError as error:
        fix = "pip install -U saccade, or copy the model again from where it came from"
        raise ModelError("M013", f"{file} cannot be built: {error.headline}", look=error.parts["fix"], fix=fix) from error
    return recipe


class Run:
    """A run directory with its data read and its tokenizers learned: what is needed to train."""

    def __init__(self, path: Path, recipe: Recipe, task: Task, splits: Splits) -> None:
        self.path, self.recipe, self.task, self.splits = path, recipe, task, splits

    @classmethod
    def begin(cls, recipe: Recipe, path: Path) -> "Run":
        """A new run; `ResourceError` R006 if the directory is there already and is not empty."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            fix = [f"saccade resume {path}", "or another directory: --run DIR"] if (path / RECIPE).exists() else "another directory: --run DIR"
            raise ResourceError("R006", f"{path} exists already; a run never writes over another", fix=fix)
        check(recipe)
        pick_device(recipe.training.device)
        recipe = replace(recipe, data=absolute(recipe.data))
        task = recipe.task()
        splits = task.read(recipe.data)
        for name, part in (("train", splits.train), ("valid", splits.valid)):
            if not part:
                raise DataError(
                    "D029",
                    f"there is nothing to {name} on: {len(splits.train)} training and {len(splits.valid)} validation examples",
                    fix=f"more data, or data.{name}",
                )
        task.learn(splits)
        _write(path, recipe, task)
        return cls(path, recipe, task, splits)

    @classmethod
    def open(cls, path: Path, overrides: Sequence[str] = ()) -> "Run":
        """A run that was begun.  `ModelError` M001 if there is none, M016 if its data changed since."""
        if not (path / RECIPE).is_file():
            raise ModelError("M001", f"there is no run at {path}", fix="a directory that saccade train made: it has a recipe.toml")
        recipe = read_recipe(path / RECIPE, overrides=overrides)
        try:
            before, tokenizers = json.loads((path / FILES).read_text()), load_file(path / TOKENIZERS)
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError("M010", f"the run {path} is damaged: {error}", fix=f"begin again: saccade train {path / RECIPE}") from error
        now = fingerprints(recipe.data)
        changed = [name for name in before if now.get(name) != before[name]]
        if changed:
            raise ModelError(
                "M016",
                f"cannot resume exactly: {len(changed)} data file{'s' * (len(changed) > 1)} changed since the run began",
                look=changed[:3],
                fix="restore them, or start a new run: saccade train",
            )
        task = recipe.task()
        task.restore(tokenizers)
        return cls(path, recipe, task, task.read(recipe.data))

    def train(self, stop: Callable[[], bool] = bool) -> Iterator[Event]:
        """Train, or go on from the latest checkpoint; see `saccade.training.train`."""
        about = {"recipe": plain(self.recipe)}
        return train(self.task, self.splits, self.recipe.training, self.recipe.search, self.path, seed=self.recipe.seed, about=about, stop=stop)

    @property
    def step(self) -> int:
        """Of the latest checkpoint; 0 if there is none."""
        found = checkpoints(self.path)
        return int(found[-1].name[5:]) if found else 0


def _write(path: Path, recipe: Recipe, task: Task) -> None:
    """Make the run directory, the recipe last: without one it is none, and what was written is removed again."""
    with space_for(path, 0, "a run"):
        try:
            storage.make_folders(path)
            storage.write_tensors(path / TOKENIZERS, task.state())
            storage.replace_file(path / FILES, [json.dumps(fingerprints(recipe.data), indent=1).encode()])
            storage.replace_file(path / RECIPE, [recipe.to_toml().encode()])
        finally:
            if path.is_dir() and not (path / RECIPE).exists():
                with suppress(OSError):
                    for name in (FILES, TOKENIZERS):
                        storage.disk.unlink(path / name)
                    storage.disk.remove_folder(path)


def plain(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON can hold it, without the places of the data: they are nobody's business but the owner's."""
    import tomllib

    table = tomllib.loads(recipe.to_toml())
    table.pop("data")
    return table


def absolute(data: Data) -> Data:
    """The same data, wherever the run is resumed from."""
    return replace(data, folder=str(Path(data.folder).expanduser().resolve()))


def fingerprints(data: Data) -> dict[str, str]:
    """A hash of every data file: a run resumes exactly only on the data it began with."""
    paths = [path for split in ("train", "valid", "test") if getattr(data, split) for path in data.paths(split)]
    found = {}
    for path in paths:
        if path.is_file():
            with path.open("rb") as file:
                found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def next_run(parent: Path, task: str) -> Path:
    """`runs/0001-translate`, `runs/0002-translate`, ..."""
    taken = [int(path.name[:4]) for path in parent.glob("[0-9][0-9][0-9][0-9]-*")] if parent.is_dir() else []
    return parent / f"{max(taken, default=0) + 1:04d}-{task}"


def held_out(run: Path) -> list[Any]:
    """The test data of a run directory, as they were set aside when it began; `ModelError` M001 if it is no run."""
    begun = Run.open(run)
    if not begun.splits.test:
        raise DataError("D029", f"the run {run} has no test data", fix=f"saccade test {run} source.txt target.txt")
    return begun.splits.test
