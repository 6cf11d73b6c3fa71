"""Search for better settings: each trial is a run, those that fall behind are stopped early, and nothing is lost when it is killed.

    study = Study(recipe, parse_space(["training.learning_rate=1e-4..1e-2 log"], recipe), Path("tune"))
    for event in study.search(trials=20):
        print(event)                                   # Began | Reported | Trial
    study.best

    tune/study.jsonl      what was tried and what came of it, as JSON, appended as it happens
    tune/0001/            a run, as saccade train makes one; checkpoints are kept of the best alone
    tune/best.toml        the best recipe so far

By optuna's tree-structured Parzen estimator (Bergstra et al. 2011): https://optuna.org.
"""

import math
import os
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ResourceError, TrainingError, UsageError
from .recipe import Recipe, check
from .run import RECIPE, Run, absolute
from .serving.report import read_log
from .space import Dimension, value_of, with_settings
from .training.checkpoint import checkpoints
from .training.events import Evaluation, Stopped
from .training.lock import locked
from .training.log import Log

if TYPE_CHECKING:
    import optuna

JOURNAL, BEST = "study.jsonl", "best.toml"
PRUNERS = ("median", "hyperband", "none")


@dataclass(frozen=True)
class Began:
    """A trial begins, or goes on at `step`."""

    run: Path
    settings: dict[str, Any]
    step: int


@dataclass(frozen=True)
class Reported:
    """How good the running trial is by now."""

    run: Path
    step: int
    value: float


@dataclass(frozen=True)
class Trial:
    """What came of a trial: "complete", "pruned" (it fell behind), "failed" (`why` says it) or "interrupted" (it goes on next time)."""

    run: Path
    settings: dict[str, Any]
    state: str
    value: float | None
    """Of the model it kept: its best evaluation."""
    step: int
    seconds: float
    why: str = ""


Event = Began | Reported | Trial


class Study:
    """Trials of one recipe in one folder; opened again, it goes on where it was.

    `UsageError` C070 without optuna, C074 for a pruner that is none of `PRUNERS`, C075 if the folder holds a study of something else.
    """

    def __init__(self, recipe: Recipe, space: Sequence[Dimension], folder: Path, *, pruner: str = "median") -> None:
        if pruner not in PRUNERS:
            raise UsageError("C074", f"--pruner {pruner}: it must be {', '.join(PRUNERS[:-1])} or {PRUNERS[-1]}", fix="--pruner median")
        self.recipe = Recipe(recipe.task, absolute(recipe.data), recipe.training, recipe.search, recipe.seed)
        self.space, self.folder, self.pruner = list(space), folder, pruner
        metrics = recipe.task().metrics if recipe.training.evaluate_examples else []
        self.metric = type(metrics[0]).__module__.rpartition(".")[2] if metrics else "loss"
        self.larger_is_better = bool(metrics) and metrics[0].higher_is_better
        _optuna()

    def search(self, *, trials: int = 20, seconds: int | float = math.inf, stop: Callable[[], bool] = bool) -> Iterator[Event]:
        """Try until `trials` have come to an end, those of earlier calls included, until the time is up, or until `stop()`.

        `UsageError` C074 unless there is at least one trial and some time; `ResourceError` R005 if another process is at it.
        """
        if trials < 1:
            raise UsageError("C074", f"--trials {trials}: there must be at least 1", fix="--trials 20")
        if not seconds > 0:
            raise UsageError("C074", f"--timeout {seconds:g}: there must be some time", fix="--timeout 1h")
        deadline = time.monotonic() + seconds

        def over() -> bool:
            return stop() or time.monotonic() > deadline

        try:
            with locked(self.folder, "another folder: --study DIR"):
                study = self._open()
                while len(_finished(study)) < trials and not over():
                    yield from self._try(study, over)
        except OSError as error:
            fix = "make room if the disk is full, then the same command again; or another folder: --study DIR"
            raise ResourceError("R004", f"cannot write to {self.folder}: {error.strerror}", fix=fix) from error

    @property
    def trials(self) -> list[Trial]:
        """Those that came to an end, in the order in which they did."""
        return [_ended(self.folder, trial) for trial in _finished(self._load())] if (self.folder / JOURNAL).exists() else []

    @property
    def best(self) -> Trial | None:
        """The best of those that were neither pruned nor failed."""
        done = [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]
        sign = 1 if self.larger_is_better else -1
        return max(done, key=lambda trial: sign * (trial.value or 0.0), default=None)

    def recipe_of(self, settings: dict[str, Any]) -> Recipe:
        """The recipe of a trial."""
        return with_settings(self.recipe, [text for dimension in self.space for text in dimension.overrides(settings[dimension.key])])

    def _load(self) -> "optuna.Study":
        optuna = _optuna()
        backend = optuna.storages.journal
        path = str(self.folder / JOURNAL)
        storage = optuna.storages.JournalStorage(backend.JournalFileBackend(path, backend.JournalFileOpenLock(path)))
        direction = "maximize" if self.larger_is_better else "minimize"
        try:
            return optuna.load_study(study_name="saccade", storage=storage, pruner=self._pruner())
        except KeyError:
            return optuna.create_study(study_name="saccade", storage=storage, direction=direction, pruner=self._pruner())

    def _open(self) -> "optuna.Study":
        """The study, ready to go on: what a killed process left half done is put in order."""
        _repair(self.folder / JOURNAL)
        begun = (self.folder / JOURNAL).exists()
        study = self._load()
        mine = {"format": 1, "recipe": tomllib.loads(self.recipe.to_toml()), "search": [str(dimension) for dimension in self.space], "pruner": self.pruner}
        found = study.user_attrs.get("saccade")
        if begun and found and found != mine:
            differ = [key for key in mine if found.get(key) != mine[key]]
            raise UsageError(
                "C075", f"the study in {self.folder} is about something else: its {' and '.join(differ)} differs", fix="another folder: --study DIR"
            )
        if not found:
            study.set_user_attr("saccade", mine)
            own = {dimension.key: value_of(self.recipe, dimension.names[0]) for dimension in self.space}
            if all(dimension.holds(own[dimension.key]) for dimension in self.space):
                study.enqueue_trial(own)  # the settings that are there already, to compare with
        states = _optuna().trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            study.tell(trial.number, state=states.FAIL)
            study.enqueue_trial(trial.params, user_attrs={key: value for key, value in trial.user_attrs.items() if key == "run"})
        if best := self.best:
            self._write_best(best)
        return study

    def _pruner(self) -> "optuna.pruners.BasePruner":
        pruners, training = _optuna().pruners, self.recipe.training
        if self.pruner == "hyperband":
            return pruners.HyperbandPruner(min_resource=training.evaluate_every, max_resource=max(training.steps, training.evaluate_every))
        return pruners.MedianPruner(n_startup_trials=4) if self.pruner == "median" else pruners.NopPruner()

    def _ask(self, study: "optuna.Study") -> "optuna.Trial":
        """The next trial, in a directory of its own; drawn anew for each, so that a study that was stopped goes on as if it had not been."""
        taken = [int(name) for trial in study.get_trials(deepcopy=False) if (name := trial.user_attrs.get("run"))]
        number = max(taken, default=0) + 1
        study.sampler = _optuna().samplers.TPESampler(seed=self.recipe.seed * 1_000_003 + number, n_startup_trials=6)
        trial = study.ask({dimension.key: dimension.distribution() for dimension in self.space})
        if "run" not in trial.user_attrs:
            trial.set_user_attr("run", f"{number:04d}")
        return trial

    def _try(self, study: "optuna.Study", over: Callable[[], bool]) -> Iterator[Event]:
        """One trial; what is interrupted is not told to the study, and goes on next time."""
        trial = self._ask(study)
        path, state, why = self.folder / trial.user_attrs["run"], "complete", ""
        progress = _Progress(trial, larger_is_better=self.larger_is_better)
        try:
            recipe = self.recipe_of(trial.params)
            check(recipe)
            run = _begin(recipe, path)
            progress.replay(read_log(path / "metrics.jsonl"), run.step)
            yield Began(path, trial.params, run.step)
            yield from progress.follow(run, over)
            state = "pruned" if progress.pruned else "complete" if progress.finished else "interrupted"
        except (TrainingError, ResourceError, UsageError) as error:
            if not isinstance(error, TrainingError) and error.code not in ("C010", "C011", "C012", "C013", "R003"):
                raise
            state, why = "failed", error.headline
        if state != "interrupted":
            self._tell(study, trial, progress, state, why)
        yield Trial(path, trial.params, state, progress.best, progress.step, progress.seconds, why)

    def _tell(self, study: "optuna.Study", trial: "optuna.Trial", progress: "_Progress", state: str, why: str) -> None:
        """Into the journal; then what is no longer needed is removed, and the best is written down."""
        for key, value in {"ended": state, "value": progress.best, "step": progress.step, "seconds": progress.seconds, "why": why}.items():
            trial.set_user_attr(key, value)
        if state == "complete":
            study.tell(trial, progress.best)
        else:
            study.tell(trial, state=_optuna().trial.TrialState.PRUNED)
        best = self.best
        for ended in self.trials:
            if best is None or ended.run != best.run:
                _slim(ended.run)
        if best and best.run.name == trial.user_attrs["run"]:
            self._write_best(best)

    def _write_best(self, best: Trial) -> None:
        said = f"# The best that saccade tune found: {self.metric} {best.value:.6g} on the validation data ({best.run})\n"
        unfinished = self.folder / f".{BEST}"
        unfinished.write_text(said + self.recipe_of(best.settings).to_toml(), encoding="utf-8")
        os.replace(unfinished, self.folder / BEST)


class _Progress:
    """What is known of the running trial."""

    def __init__(self, trial: "optuna.Trial", *, larger_is_better: bool) -> None:
        self.trial, self.larger_is_better = trial, larger_is_better
        self.best: float | None = None
        self.step, self.seconds = 0, 0.0
        self.told: set[int] = set()
        self.pruned = self.finished = False

    def replay(self, records: Sequence[dict[str, Any]], until: int) -> None:
        """What the trial had reached before it was interrupted."""
        for record in records:
            if record["event"] == "evaluation" and record["step"] <= until:
                self.take(record["step"], record["scores"][0]["value"] if record["scores"] else record["valid_loss"])

    def take(self, step: int, value: int | float) -> None:
        """The value of an evaluation."""
        better = self.best is None or (value > self.best if self.larger_is_better else value < self.best)
        self.best, self.step = value if better else self.best, step
        if step not in self.told:
            self.trial.report(value, step)
            self.told.add(step)

    def follow(self, run: Run, over: Callable[[], bool]) -> Iterator[Reported]:
        """Train; a trial that falls behind is stopped as Ctrl-C would stop it."""
        log = Log(run.path)
        for event in run.train(lambda: self.pruned or over()):
            log.write(event)
            if isinstance(event, Evaluation):
                value = event.scores[0].value if event.scores else event.valid_loss
                self.take(event.step, value)
                yield Reported(run.path, event.step, value)
                self.pruned = event.step < run.recipe.training.steps and self.trial.should_prune()
            elif isinstance(event, Stopped):
                self.step, self.seconds, self.finished = event.step, event.seconds, event.reason != "interrupted"


def _optuna() -> Any:
    """The module; `UsageError` C070 if it is not installed."""
    try:
        import optuna
        import optuna.storages.journal
    except ImportError as error:
        raise UsageError("C070", "searching for settings needs optuna", fix="pip install 'saccade[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _finished(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    states = _optuna().trial.TrialState
    return study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))


def _ended(folder: Path, trial: "optuna.trial.FrozenTrial") -> Trial:
    told = trial.user_attrs
    return Trial(folder / told["run"], trial.params, told["ended"], told["value"], told["step"], told["seconds"], told["why"])


def _begin(recipe: Recipe, path: Path) -> Run:
    """The run of a trial: begun, or gone on with; a directory that was left before it was a run is made anew."""
    if (path / RECIPE).is_file():
        return Run.open(path)
    shutil.rmtree(path, ignore_errors=True)
    return Run.begin(recipe, path)


def _slim(run: Path) -> None:
    """Remove the checkpoints of a trial that will not go on, each by a rename first; the model stays."""
    for checkpoint in checkpoints(run):
        trash = run / f".trash-{checkpoint.name}"
        os.replace(checkpoint, trash)
        shutil.rmtree(trash, ignore_errors=True)


def _repair(journal: Path) -> None:
    """Cut off the line that a killed process did not finish, and let go of its lock."""
    journal.with_name(f"{journal.name}.lock").unlink(missing_ok=True)
    if journal.exists() and not (content := journal.read_bytes()).endswith(b"\n"):
        os.truncate(journal, content.rfind(b"\n") + 1)
