"""What training looks like: a table that grows by one row for each evaluation, and a live line on a terminal.

In a pipe the live line becomes a plain one every 30 seconds.  Everything goes to stderr; stdout carries results only.
"""

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .metrics import Score
from .training.events import Evaluation, Event, Started, Step, Stopped, Trouble

EVERY = 30.0
"""Seconds between two plain lines."""


def clock(seconds: float) -> str:
    """m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def spoken(scores: Iterable[Score]) -> str:
    """Scores in one line, each with its signature on a line of its own below."""
    scores = list(scores)
    return "\n".join(["  ".join(map(str, scores)), *(f"  {score.signature}" for score in scores)])


class Display:
    """Shows events as they come; `steps` is the length of the run."""

    def __init__(self, console: Console, steps: int) -> None:
        self.console, self.steps = console, steps
        self.live = Progress(TextColumn("  {task.description}"), BarColumn(24), TextColumn("{task.fields[rest]}"), console=console, transient=True)
        self.bar = self.live.add_task("training", total=steps, rest="")
        self.spoke = time.monotonic()
        self.headed = False
        self.rate = 0.0
        self.counted = False

    def __enter__(self) -> "Display":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def show(self, event: Event) -> None:
        """One event."""
        if isinstance(event, Step):
            self.step(event)
        elif isinstance(event, Evaluation):
            self.row(event)
        elif isinstance(event, Trouble):
            self.console.print(event.error.render("warning"), markup=False, highlight=False, soft_wrap=True)
        elif isinstance(event, Stopped) and event.reason == "no improvement":
            self.console.print(f"  no improvement for a while: stopped at step {event.step:,}", highlight=False)
        elif isinstance(event, Started):
            self.start(event)

    def start(self, event: Started) -> None:
        """What will be trained, and how much of each batch is padding."""
        processes = f", {event.processes} processes" if event.processes > 1 else ""
        self.counted = event.batches == 0
        if self.counted:
            self.console.print(f"Model      {event.weights:,} numbers, counted", highlight=False, soft_wrap=True)
            return
        model = f"Model      {event.weights / 1e6:.1f} M weights, {event.precision} on {event.device}{processes}"
        batches = f"{event.batches:,} an epoch, {100 * event.padding:.1f} % padding; {self.steps:,} updates, {self.steps / event.batches:.1f} epochs"
        self.console.print(f"{model}\nBatches    {batches}", highlight=False, soft_wrap=True)
        if event.left_out:
            self.console.print(
                f"!          {event.left_out:,} training examples are too long and left out (task setting: longest)", highlight=False, soft_wrap=True
            )

    def step(self, event: Step) -> None:
        """How fast, how long to go."""
        self.rate = event.tokens_per_second
        left = event.seconds / max(event.step, 1) * (self.steps - event.step)
        text = f"step {event.step:,} of {self.steps:,}   loss {event.loss:.4f}   {event.tokens_per_second:,.0f} tokens/s   {clock(left)} to go"
        self.live.update(self.bar, completed=event.step, rest=text)
        if not self.console.is_terminal and time.monotonic() - self.spoke > EVERY:
            self.spoke = time.monotonic()
            self.console.print(f"         {text}", highlight=False, soft_wrap=True)

    def row(self, event: Evaluation) -> None:
        """One row of the table."""
        if not self.headed:
            names = "".join(f"{score.name:>12}" for score in event.scores)
            self.console.print(f"   epoch    step     time   train loss   valid loss{names}     tok/s", highlight=False, soft_wrap=True)
            self.headed = True
        train = f"{event.train_loss:12.4f}" if event.train_loss == event.train_loss else f"{'counted' if self.counted else 'averaged':>12}"
        scores = "".join(f"{score.value:12.2f}" for score in event.scores)
        best = "  best" if event.best else ""
        self.console.print(
            f"{event.epoch + 1:8d}{event.step:8,d}{clock(event.seconds):>9}{train} {event.valid_loss:12.4f}{scores}{self.rate:10,.0f}{best}",
            highlight=False,
            soft_wrap=True,
        )
