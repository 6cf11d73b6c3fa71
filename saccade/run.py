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

from . import __version__, storage
from .errors import DataError, ModelError, ResourceError, SaccadeError, UsageError, printable
from .metrics import Score
from .recipe import Recipe, check, from_table, on_paper, read_recipe
from .search import Sampling, Search
from .tasks import Data, Prediction, Splits, Task
from .tensors import write_tensors
from .training.checkpoint import checkpoints, load_model, load_weights, space_for
from .training.distributed import join
from .training.events import Event
from .training.loop import train
from .training.settings import Training, pick_device
from .types import Look, Symbol

RECIPE, TOKENIZERS, BEGUN = "recipe.toml", "tokenizers.safetensors", "begun.json"
FORMAT = 1
"""Of a run directory."""
CACHE = ".cache"
"""Beside the runs: tokenizers and encoded examples, by what they were made from.  It may be removed at any time."""
MAY_CHANGE = ("training.", "search.", "data.folder")
"""What may be set anew when a run goes on."""


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

    def stream(self, prompt: str, sampling: Sampling | None = None, *, stops: Sequence[str] = ()) -> Iterator[str]:
        """Go on with a prompt, piece by piece, up to one of `stops` or `sampling.longest` symbols; `UsageError` C026 if this model answers instead."""
        return self.task.stream(self.network, prompt, sampling or Sampling(), stops)

    def explain(self, text: str, *, prompt: str = "", alternatives: int = 5) -> list[Symbol]:
        """How likely each symbol of a text was; `UsageError` C026 if this model answers instead."""
        return self.task.explain(self.network, text, prompt, alternatives)

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
        """A new run; `ResourceError` R006 if the directory is there already and is not empty.

        Under torchrun the first process begins it and the others open it.
        """
        world = join(recipe.training.timeout, recipe.training.device)
        if not world.first:
            world.wait()
            return cls.open(path, alone=False)
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
        run = cls(path, recipe, task, splits)
        run._learn()
        with on_paper():
            task.initialise(task.build())  # what does not fit is said before there is a run
        run.recipe = replace(recipe, training=run._long_enough())
        run._write()
        world.wait()
        return run

    def _learn(self) -> None:
        """Tokenizers, from the cache if these data were seen before with these settings."""
        kept = self.store / TOKENIZERS
        try:
            self.task.restore(load_file(kept))
        except (OSError, SafetensorError, KeyError, ModelError):
            self.task.learn(self.splits)
            with suppress(OSError, SafetensorError):
                storage.make_folders(kept.parent)
                write_tensors(kept, self.task.state())

    def _long_enough(self) -> Training:
        """How to train, no longer than data of this size are good for."""
        training, store = self.recipe.training, self.store / "train"
        if not training.passes:
            return training
        with space_for(self.path, 0, "a run"):
            examples = self.task.examples(self.splits.train, store)
        return training.shortened(len(examples.plan(training.tokens_per_batch, self.recipe.seed, 0)))

    @classmethod
    def open(cls, path: Path, overrides: Sequence[str] = (), *, alone: bool = True, allow_data_change: bool = False) -> "Run":
        """A run that was begun; `overrides` of `training` and `search` are kept in its recipe.

        `ModelError` M001 if there is none, M010 if it is damaged, M012 if a newer saccade began it, M014 if its recipe now asks
        for another model, M016 if its data changed since and `allow_data_change` does not accept that.
        """
        if not (path / RECIPE).is_file():
            raise ModelError("M001", f"there is no run at {path}", fix="a directory that saccade train made: it has a recipe.toml")
        recipe = read_recipe(path / RECIPE, overrides=overrides)
        try:
            begun, tokenizers = json.loads((path / BEGUN).read_text()), load_file(path / TOKENIZERS)
            _check_format(path, begun)
            differ = [f"{key} = {now!r}, was {was!r}" for key, was, now in _changes(begun["recipe"], plain(recipe))]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError("M010", f"the run {path} is damaged: {error}", fix=f"begin again: saccade train {path / RECIPE}") from error
        if differ:
            headline = f"cannot resume: {len(differ)} setting{'s' * (len(differ) > 1)} of the model changed since the run began"
            raise ModelError("M014", headline, look=differ[:3], fix="drop the changes, or start a new run: saccade train")
        now = fingerprints(recipe.data)
        changed = [name for name in begun["files"] if now.get(name) != begun["files"][name]]
        if changed and not allow_data_change:
            gone = [name for name in changed if name not in now]
            raise ModelError(
                "M016",
                f"cannot resume exactly: {len(changed)} data file{'s' * (len(changed) > 1)} changed since the run began",
                look=[f"{name} is gone" if name in gone else name for name in changed[:3]],
                fix="restore them, or accept another order of the data: saccade resume --allow-data-change",
            )
        task = recipe.task()
        task.restore(tokenizers)
        run = cls(path, recipe, task, task.read(recipe.data))
        if alone and (overrides or changed):
            storage.replace_file(path / RECIPE, [recipe.to_toml().encode()])
            run._note()
        return run

    @cached_property
    def files(self) -> dict[str, str]:
        """A hash of every data file."""
        return fingerprints(self.recipe.data)

    @cached_property
    def store(self) -> Path:
        """Where these data, read with these settings, are kept encoded; other data or settings are kept elsewhere."""
        settings = {key: value for key, value in plain(self.recipe).items() if key not in ("training", "search", "seed", "encoder", "decoder")}
        data = {key: value for key, value in vars(self.recipe.data).items() if key not in ("folder", "vectors")}
        made_from = json.dumps([__version__, settings, data, sorted(self.files.items())], sort_keys=True)
        return self.path.absolute().parent / CACHE / hashlib.sha256(made_from.encode()).hexdigest()[:16]

    def train(self, stop: Callable[[], bool] = bool, *, fallback: bool = True) -> Iterator[Event]:
        """Train, or go on from the latest checkpoint; see `saccade.training.train`."""
        recipe, about = self.recipe, {"recipe": plain(self.recipe)}
        return train(
            self.task,
            self.splits,
            recipe.training,
            recipe.search,
            self.path,
            seed=recipe.seed,
            about=about,
            stop=stop,
            store=self.store,
            fallback=fallback,
        )

    @property
    def step(self) -> int:
        """Of the latest checkpoint; 0 if there is none."""
        found = checkpoints(self.path)
        return int(found[-1].name[5:]) if found else 0

    def _note(self) -> None:
        """What the run began with: it goes on only with the same."""
        begun = {"format": FORMAT, "saccade": __version__, "files": self.files, "recipe": plain(self.recipe)}
        storage.replace_file(self.path / BEGUN, [json.dumps(begun, indent=1).encode()])

    def _write(self) -> None:
        """Make the run directory, the recipe last: without one it is none, and what was written is removed again."""
        path = self.path
        with space_for(path, 0, "a run"):
            try:
                storage.make_folders(path)
                write_tensors(path / TOKENIZERS, self.task.state())
                self._note()
                storage.replace_file(path / RECIPE, [self.recipe.to_toml().encode()])
            finally:
                if path.is_dir() and not (path / RECIPE).exists():
                    with suppress(OSError):
                        for name in (BEGUN, TOKENIZERS):
                            storage.disk.unlink(path / name)
                        storage.disk.remove_folder(path)


def _check_format(path: Path, begun: dict[str, Any]) -> None:
    if begun["format"] > FORMAT:
        headline = f"the run {path} was begun by saccade {begun['saccade']} (format {begun['format']}); this is saccade {__version__} (reads format {FORMAT})"
        raise ModelError("M012", headline, fix="pip install -U saccade")


def _changes(before: dict[str, Any], now: dict[str, Any], where: str = "") -> list[tuple[str, Any, Any]]:
    """Settings that may not change and did: (name, then, now)."""
    found = []
    for key in sorted({*before, *now}):
        name, was, is_now = f"{where}{key}", before.get(key), now.get(key)
        if isinstance(was, dict) and isinstance(is_now, dict):
            found += _changes(was, is_now, f"{name}.")
        elif was != is_now and not name.startswith(MAY_CHANGE):
            found.append((name, was, is_now))
    return found


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


def held_out(run: Path) -> Sequence[Any]:
    """The test data of a run directory, as they were set aside when it began; `ModelError` M001 if it is no run."""
    begun = Run.open(run)
    if not begun.splits.test:
        raise DataError("D029", f"the run {run} has no test data", fix=f"saccade test {run} source.txt target.txt")
    return begun.splits.test
