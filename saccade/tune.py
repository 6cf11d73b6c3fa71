"""`saccade tune`: a study on the terminal, and what to do with what it found."""

import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .display import clock
from .errors import TrainingError, UsageError
from .recipe import Recipe
from .serving.report import write_report
from .space import parse_space, plain, usual_space, value_of
from .study import BEST, Began, Event, Study, Trial

if TYPE_CHECKING:
    from rich.console import Console


def run_tune(
    recipe: Recipe,
    texts: Sequence[str],
    folder: Path,
    trials: int,
    timeout: str | None,
    pruner: str,
    console: "Console",
    as_json: bool,
    stop: Callable[[], bool],
) -> None:
    """Search, showing one line for each trial on stderr; the best settings go to stdout.

    `UsageError` C070 to C075 if it cannot be searched so, `TrainingError` T070 if no trial came to a good end.
    """
    seconds = parse_time(timeout) if timeout else math.inf
    space = parse_space(texts or usual_space(recipe), recipe)
    study = Study(recipe, space, folder, pruner=pruner)
    for dimension in space:
        console.print(f"Searching  {dimension}", markup=False, soft_wrap=True)
    console.print(f"Study      {folder}      stopped, it goes on with the same command", markup=False, soft_wrap=True)
    console.print(f"{'trial':>8}{'steps':>9}{'time':>9}{study.metric:>12}", markup=False)
    last: Event | None = None
    for event in study.search(trials=trials, seconds=seconds, stop=stop):
        _show(console, study, event)
        last = event
    best = study.best
    if best is None:
        if stop():
            return
        ended = study.trials
        look = [f"{trial.run.name} {trial.state}{': ' * bool(trial.why)}{trial.why}" for trial in ended[-3:]]
        late = isinstance(last, Trial) and last.state == "interrupted"
        fix = "more time: --timeout" if late or not ended else "other ranges, in another folder: --study DIR"
        raise TrainingError("T070", f"no trial of {len(ended)} came to a good end", look=look, fix=fix)
    console.print(f"report     {write_report(best.run)}", markup=False, soft_wrap=True)
    print(json.dumps(as_data(study), indent=1) if as_json else "\n".join(_told(study, best)))


def as_data(study: Study) -> dict[str, Any]:
    """What a study found, for programs."""

    def record(trial: Trial) -> dict[str, Any]:
        return {
            "run": str(trial.run),
            "state": trial.state,
            "value": trial.value,
            "steps": trial.step,
            "seconds": round(trial.seconds, 3),
            "settings": {name: value for key, value in trial.settings.items() for name in key.split(",")},
            "why": trial.why,
        }

    best = study.best
    return {
        "metric": study.metric,
        "larger_is_better": study.larger_is_better,
        "best": record(best) if best else None,
        "recipe": str(study.folder / BEST),
        "trials": [record(trial) for trial in study.trials],
    }


def parse_time(text: str) -> float:
    """Seconds: `90`, `45s`, `30m`, `1h30m`; `UsageError` C074 for anything else, and for no time at all."""
    found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    seconds = sum(float(part or 0) * size for part, size in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0.0
    if not seconds:
        raise UsageError("C074", f"--timeout {text}: expected a time", fix="--timeout 1h, or 30m, or 90s")
    return seconds


def _show(console: "Console", study: Study, event: Event) -> None:
    """One line for each trial that ends, and one that goes on where it was."""
    if isinstance(event, Began) and event.step:
        console.print(f"{event.run.name:>8}  goes on at step {event.step:,}", markup=False)
    if not isinstance(event, Trial):
        return
    best = study.best
    mark = "best" if best and best.run == event.run else "" if event.state == "complete" else event.state
    value = "" if event.value is None else f"{event.value:.4g}"
    said = "  ".join(f"{key}={plain(setting)}" for key, setting in event.settings.items())
    console.print(f"{event.run.name:>8}{event.step:9,d}{clock(event.seconds):>9}{value:>12}  {mark:<12}{said}", markup=False, soft_wrap=True)
    if event.why:
        console.print(f"{'':>8}  {event.why}", markup=False, soft_wrap=True)


def _told(study: Study, best: Trial) -> list[str]:
    """The best settings beside those that the recipe had, and how to train with them."""
    lines = [f"best of {len(study.trials)} trials: {study.metric} {best.value:.4g} on the validation data   {best.run}"]
    rows = [(name, plain(value_of(study.recipe, name)), plain(value)) for key, value in best.settings.items() for name in key.split(",")]
    width = max(len(name) for name, _, _ in rows)
    lines += [f"  {name:<{width}}  {was} -> {now}" if was != now else f"  {name:<{width}}  {now}, as it was" for name, was, now in rows]
    return [*lines, f"train with them   saccade train {study.folder / BEST}"]
