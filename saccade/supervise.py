"""Follow a training from a terminal: signals, a table, the log, trackers; at the end the test."""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from . import storage
from .display import Display
from .run import Run
from .training.distributed import World, environment, leave
from .training.events import Started, Stopped
from .training.log import Log
from .training.trackers import Tracker, Trackers

if TYPE_CHECKING:
    from rich.console import Console

ASKED = ("SIGINT", "SIGTERM", "SIGHUP")
"""Signals that ask to stop: Ctrl-C, `kill`, a closed terminal."""


def follow(console: "Console", run: Run, *, trackers: Sequence[Tracker] = (), fallback: bool = True) -> Stopped:
    """Train to the end or to a signal, telling people what happens; `SystemExit` 128 + the signal's number after saving.

    Of several processes only the first one speaks and writes.
    """
    rank, size, _ = environment()
    world, last, log = World(rank, size), None, None
    watchers = Trackers(trackers if world.first else (), lambda text: console.print(text, markup=False, soft_wrap=True))
    with signals(world.first) as caught, Display(console if world.first else _silent(), run.recipe.training.steps) as display:
        for event in run.train(lambda: bool(caught), fallback=fallback):
            if world.first and isinstance(event, Started):
                log = Log(run.path, since=event.step)
            if log:
                log.write(event)
            with suppress(OSError):  # nobody is looking any more: training goes on
                display.show(event)
            watchers.write(event)
            last = event
    if log:
        log.close()
    leave()
    if isinstance(last, Stopped) and last.reason != "interrupted":
        return last
    with suppress(OSError):
        console.print("ok  saved; nothing is lost", markup=False)
        console.print(f"  continue   saccade resume {run.path}          same numbers as if never stopped", markup=False, soft_wrap=True)
    sys.exit(128 + (caught[0] if caught else signal.SIGTERM))


def _silent() -> "Console":
    from rich.console import Console

    return Console(quiet=True)


@contextmanager
def signals(speak: bool = True) -> Iterator[list[int]]:
    """Collect the signals that ask to stop: the first one stops after this step, the second Ctrl-C at once; writing to nobody is no reason to die."""
    caught: list[int] = []

    def catch(number: int, _frame: object) -> None:
        if caught and number == signal.SIGINT:
            raise KeyboardInterrupt
        caught.append(number)
        with suppress(OSError):
            if speak:
                print("\nstopping after this step; press Ctrl-C again to stop without saving", file=sys.stderr)

    before = {getattr(signal, name): signal.signal(getattr(signal, name), catch) for name in ASKED if hasattr(signal, name)}
    if hasattr(signal, "SIGPIPE"):
        before[signal.SIGPIPE] = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def final_test(run: Run) -> str:
    """Score the best model on the run's own test data, keep the scores in `test.json`, and say them; "" without test data."""
    from .display import spoken
    from .run import load

    if not run.splits.test:
        return ""
    scores = load(run.path, device=run.recipe.training.device).test(run.splits.test)
    storage.replace_file(run.path / "test.json", [(json.dumps([score._asdict() for score in scores], indent=1) + "\n").encode()])
    return spoken(scores)
