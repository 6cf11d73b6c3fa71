"""The systems of the table, and how their passes are interleaved."""

import json
import shlex
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .commands import COMMANDS, Command
from .environments import PROBE, ROOT, Installed, install
from .running import Child, Failed, Pass, follow, one_run

NOISE = 0.08
"""Passes during which others had more than this share of the cores are set aside."""
# A peer is shown at the fastest precision it offers; saccade and the plain loop also in float32, beside the peers that have nothing else.
OWN = "this"
"""The interpreter that runs the bench: for saccade, and for the plain loop around torch.nn."""
CHILDREN = (
    ("saccade", "saccade_model", OWN, ("bfloat16", "float32")),
    ("torch.nn loop", "torch_nn", OWN, ("bfloat16", "float32")),
    ("transformers Marian", "marian", "transformers", ("bfloat16",)),
    ("joeynmt, our batches", "joey", "joeynmt", ("float32",)),
)
CONFIGURATIONS = {
    "transformer": "Transformer, width 256, 3 + 3 layers, 4 heads, feed-forward 1024, vocabulary 8000, dropout 0.1",
    "recurrent": "biLSTM 256 in each direction, LSTM decoder 256 with general attention and input feeding, vocabulary 8000, dropout 0.1",
}
RECURRENT = ("saccade", "torch.nn loop", "joeynmt, our batches")
"""transformers has no recurrent translation model."""


@dataclass
class Row:
    """One system on one configuration."""

    system: str
    configuration: str
    precision: str
    batches: str
    """"given": the table's own; "own": made by the system's trainer from the same corpus."""
    command: str
    settings: dict[str, Any] = field(default_factory=dict)
    """What stands in the file that the command reads."""
    versions: str = ""
    parameters: int = 0
    passes: list[Pass] = field(default_factory=list)
    nll: float | None = None
    error: str = ""

    @property
    def clean(self) -> list[float]:
        return [each.tokens_per_second for each in self.passes if each.foreign <= NOISE]

    @property
    def median(self) -> float | None:
        return statistics.median(self.clean) if self.clean else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"passes": [each._asdict() for each in self.passes], "median": self.median, "clean": len(self.clean)}


@dataclass(frozen=True)
class Plan:
    """What is run, and how often."""

    work: Path
    environments: Path
    threads: int
    passes: int
    minutes: float
    only: tuple[str, ...]
    """Peers to run; all if empty."""

    def wants(self, peer: str) -> bool:
        return not self.only or peer in self.only

    def installed(self, peer: str) -> Installed:
        if peer != OWN:
            return install(peer, self.environments)
        versions = subprocess.run([sys.executable, "-c", PROBE, "saccade", "torch"], capture_output=True, text=True, check=True, cwd=ROOT)
        return Installed(sys.executable, versions.stdout.strip(), "")


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def children(plan: Plan, configuration: str) -> Iterator[list[tuple[Row, Child | None]]]:
    """All systems with a Python interface, started; one that does not start has an error and no child."""
    started: list[tuple[Row, Child | None]] = []
    try:
        for system, module, peer, precisions in CHILDREN:
            if not plan.wants(peer if peer != OWN else system) or (configuration == "recurrent" and system not in RECURRENT):
                continue
            installed = plan.installed(peer)
            for precision in precisions:
                arguments = ["-m", f"bench.peers.children.{module}", "--batches", str(plan.work / "batches.json")]
                arguments += ["--configuration", configuration, "--precision", precision, "--threads", str(plan.threads)]
                shown = shlex.join(["python", *arguments]).replace(str(plan.work), "WORK")
                row = Row(system, configuration, precision, "given", shown, versions=installed.versions, error=installed.error)
                started.append((row, None))
                if not row.error:
                    started[-1] = (row, start(row, installed.python, arguments, plan.threads))
        yield started
    finally:
        for _, child in started:
            if child is not None:
                child.close()


def start(row: Row, python: str, arguments: list[str], threads: int) -> Child | None:
    """A child that has warmed up, or None and the row's error."""
    say(f"starting {row.system}, {row.configuration}, {row.precision}")
    try:
        child = Child(python, arguments, threads)
        child.one_pass()
    except Failed as failure:
        row.error = str(failure)
        return None
    row.parameters = child.parameters
    return child


def trainers(plan: Plan, configuration: str) -> list[tuple[Row, Command, str]]:
    """All systems that are driven by their own trainer: row, command, interpreter."""
    found = []
    for command in COMMANDS:
        if command.configuration == configuration and plan.wants(command.peer):
            installed = plan.installed(command.peer)
            shown = shlex.join(["python", *command.arguments])
            row = Row(f"{command.peer}, own trainer", configuration, command.precision, "own", shown, versions=installed.versions, error=installed.error)
            found.append((row, command, installed.python))
    return found


def run_trainer(row: Row, command: Command, python: str, plan: Plan, wanted: int) -> None:
    """One whole run of a trainer, its passes added to the row."""
    folder = plan.work / "-".join((command.peer, command.configuration, command.precision))
    shutil.rmtree(folder, ignore_errors=True)  # some refuse to write where something stands
    say(f"running {row.system}, {row.configuration}, {row.precision}")
    try:
        lines = follow(command, python, plan.work, folder, plan.threads, limit=240.0)
        passes, row.parameters = one_run(command, lines, wanted)
        row.passes += passes
    except Failed as failure:
        row.error = str(failure)
    if (settings := folder / "settings.yaml").exists():
        row.settings = json.loads(settings.read_text().replace(str(plan.work), "WORK"))


def measure(plan: Plan, configuration: str) -> list[Row]:
    """Cycles of interleaved passes until every row has enough clean ones or the time is over; the last thing asked is how far each has learned."""
    until, per_cycle = time.monotonic() + plan.minutes * 60, -(-plan.passes // 2)
    commands = trainers(plan, configuration)
    with children(plan, configuration) as started:
        rows = [row for row, _ in started] + [row for row, _, _ in commands]
        cycle = 0
        while cycle < 2 or (time.monotonic() < until and any(not row.error and len(row.clean) < plan.passes for row in rows)):
            for _ in range(per_cycle):
                for row, child in started:
                    one_pass(row, child)
            for row, command, python in commands:
                if not row.error and len(row.clean) < plan.passes:
                    run_trainer(row, command, python, plan, per_cycle)
            cycle += 1
            say(f"cycle {cycle} of {configuration}: clean passes {', '.join(str(len(row.clean)) for row in rows)}")
        for row, child in started:
            row.nll = child.ask("loss")["nll"] if child is not None and not row.error else None
    return rows


def one_pass(row: Row, child: Child | None) -> None:
    """One pass of a child, added to its row; a child that breaks is left out from then on."""
    if child is None or row.error:
        return
    try:
        row.passes.append(child.one_pass())
    except Failed as failure:
        row.error = str(failure)
