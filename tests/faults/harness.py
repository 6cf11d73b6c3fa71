"""A story of several saves, a disk that fails at one point of it, and the question what is left.

The story: a run is begun, saves steps 1 and 2, is opened again, saves steps 3 and 4; around each save the best model is replaced and a
line is logged.  An error is answered as training answers it: the disk is mended, and it is tried again.  Whatever happens,
`recover` must find the last checkpoint that was reported, or the one that was being written, complete and with the right numbers in it.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from saccade import storage
from saccade.errors import ResourceError
from saccade.training.checkpoint import checkpoints, load_model, recover, save_model
from saccade.training.log import Log
from saccade.training.saver import Saver, Snapshot

from .layers import FAULTS, Counting, Faulty, Killed, PowerCut

STEPS = 4
CUT, FAILED_AND_CUT = "power cut", "failed sync, power cut"
KINDS = (*FAULTS, CUT, FAILED_AND_CUT)


class Case(NamedTuple):
    """One fault: how, at which operation, in which story; `seed` draws what a power cut leaves."""

    kind: str
    mode: str
    keep: int
    at: int
    seed: int

    def __str__(self) -> str:
        return f"{self.kind.replace(' ', '-').replace(',', '')}:{self.mode}:{self.keep}:{self.at}:{self.seed}"

    @classmethod
    def read(cls, text: str) -> "Case":
        kind, mode, keep, at, seed = text.split(":")
        return cls(next(name for name in KINDS if str(cls(name, "", 0, 0, 0)).startswith(f"{kind}:")), mode, int(keep), int(at), int(seed))


def snapshot(step: int) -> Snapshot:
    """What is saved at `step`, and at no other; some of it is longer than a sector of the disk."""
    draw = torch.Generator().manual_seed(step)
    weights = {"layer": torch.rand(17, 20, generator=draw), "bias": torch.rand(7, generator=draw)}
    optimizer = {"exp_avg|layer": torch.rand(17, 20, generator=draw), "step|layer": torch.tensor(float(step)), "random|cpu": torch.full((99,), step).byte()}
    return Snapshot({"model.safetensors": weights, "optimizer.safetensors": optimizer}, json.dumps({"step": step}))


def step_of(checkpoint: Path | None) -> int:
    return json.loads((checkpoint / "MANIFEST.json").read_text())["step"] if checkpoint else 0


@contextmanager
def on(disk: storage.Disk) -> Iterator[None]:
    """Everything below is written to `disk`."""
    before, storage.disk = storage.disk, disk
    try:
        yield
    finally:
        storage.disk = before


@dataclass
class Story:
    """What was told to whoever trains: the truth that the disk must bear out."""

    run: Path
    case: Case
    disk: Counting
    saved: int = 0
    begun: int = 0
    model_saved: int = 0
    model_begun: int = 0

    def play(self) -> None:
        """To its end, or to the death of the process."""
        with suppress(Killed), on(self.disk):
            self.patiently(lambda: storage.make_folders(self.run))
            self.train(2)
            found = step_of(self.patiently(lambda: recover(self.run)).checkpoint)
            if found != self.saved:
                raise AssertionError(f"{self.saved} was saved, {found} is found")
            self.patiently(lambda: Log(self.run, since=found))
            self.train(STEPS)

    def train(self, until: int) -> None:
        saver = Saver(self.run, self.case.keep, background=self.case.mode == "background")
        try:
            for step in range(self.saved + 1, until + 1):
                self.keep_model(step)
                self.patiently(lambda step=step: storage.append_line(self.run / "metrics.jsonl", json.dumps({"step": step})))
                self.begun = step
                self.patiently(lambda step=step: saver.save(step, snapshot(step)))
                self.note(self.patiently(saver.poll))
            self.patiently(saver.wait)
            self.note(self.patiently(saver.poll))
            saver.close()
        finally:
            with suppress(BaseException):
                saver.close()
            self.note(saver._committed)  # what it would have said next
            if saver._pending:
                self.begun = saver._pending[0]

    def keep_model(self, step: int) -> None:
        self.model_begun = step
        self.patiently(lambda: save_model(self.run / "model.safetensors", snapshot(step).tensors["model.safetensors"], {}, {"step": step}))
        self.model_saved = step

    def note(self, paths: list[Path]) -> None:
        self.saved = max(self.saved, *(int(path.name[5:]) for path in paths), 0)

    def patiently(self, act: Callable[[], Any]) -> Any:
        """Until it succeeds, as training does when there is no room."""
        for _ in range(4):
            try:
                return act()
            except (ResourceError, OSError):
                self.disk.mend()
        return act()


def find_loss(story: Story, run: Path, log_is_whole: bool) -> str:
    """What is wrong with the run after the fault, in words; nothing if all is well."""
    found = recover(run).checkpoint if run.exists() else None
    step = step_of(found)
    if step not in (story.saved, story.begun):
        return f"step {story.saved} was saved and {story.begun} begun, {step} is found"
    if found:
        wanted = snapshot(step)
        for name, tensors in wanted.tensors.items():
            there = load_file(found / name)
            if there.keys() != tensors.keys() or not all(torch.equal(there[key], tensors[key]) for key in tensors):
                return f"{found.name}/{name} is not what was saved"
        if (found / "state.json").read_text() != wanted.state:
            return f"{found.name}/state.json is not what was saved"
    return _model(story, run) or _log(run, step, log_is_whole) or _one_more(run, step, story.case.keep)


def _model(story: Story, run: Path) -> str:
    path = run / "model.safetensors"
    if not path.exists():
        return f"the model of step {story.model_saved} is gone" if story.model_saved else ""
    step = load_model(path)[1]["step"]
    return "" if step in (story.model_saved, story.model_begun) else f"the model is of step {step}, not {story.model_saved} or {story.model_begun}"


def _log(run: Path, step: int, whole: bool) -> str:
    if not run.exists():
        return ""
    Log(run, since=step)
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.exists() else []
    if not whole:
        return ""
    steps = [json.loads(line)["step"] for line in lines]
    return "" if steps == list(range(1, step + 1)) else f"the log has steps {steps}, the checkpoint is of step {step}"


def _one_more(run: Path, step: int, keep: int) -> str:
    saver = Saver(run, keep, background=False)
    saver.save(step + 1, snapshot(step + 1))
    if step_of(recover(run).checkpoint) != step + 1:
        return "the next checkpoint could not be saved"
    names = {path.name for path in run.iterdir()} - {"model.safetensors", "metrics.jsonl"}
    left = names - {path.name for path in checkpoints(run)}
    return f"left behind: {sorted(left)}" if left else "" if len(names) <= keep else f"{len(names)} checkpoints stay, not {keep}"


def beside(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file() and (root / "run") not in path.parents}


def make_neighbours(root: Path) -> None:
    """Files that are nobody's business, with names like ours."""
    for name in ("step-00000001/model.safetensors", ".tmp-step-00000001/state.json", "model.safetensors"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)


def disk_for(case: Case, root: Path) -> Faulty:
    if case.kind == CUT:
        return PowerCut(root, "kill", case.at)
    if case.kind == FAILED_AND_CUT:
        return PowerCut(root, "failed sync", case.at, until=case.at + Random(case.seed).randint(1, 80))
    return Faulty(case.kind, case.at)


def try_case(case: Case, folder: Path) -> str:
    """Play a story with this fault in it, in an empty folder; what was lost, in words, or nothing."""
    root = folder / "disk"
    make_neighbours(root)
    disk, before = disk_for(case, root), beside(root)
    story = Story(root / "run", case, disk)
    run = story.run
    try:
        story.play()
        if isinstance(disk, PowerCut):
            disk.after(folder / "after", case.seed)
            run = folder / "after" / "run"
        found = find_loss(story, run, log_is_whole=not isinstance(disk, PowerCut))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return found or ("" if beside(root) == before else "something beside the run was changed")


def length(mode: str, keep: int, folder: Path) -> int:
    """How many operations a story has when nothing fails."""
    disk = Counting()
    make_neighbours(folder)
    story = Story(folder / "run", Case("none", mode, keep, 0, 0), disk)
    story.play()
    assert story.saved == STEPS
    return disk.count


def cases(count: int, seed: int, folder: Path) -> list[Case]:
    """About `count` faults, as many of each kind: first every operation of every story, then again with other seeds."""
    lengths = {}
    for mode in ("blocking", "background"):
        for keep in (1, 2):
            lengths[mode, keep] = length(mode, keep, folder / f"{mode}{keep}")
    draw, each, found = Random(seed), -(-count // len(KINDS)), []
    for kind in KINDS:
        points = [(mode, keep, at) for (mode, keep), operations in lengths.items() for at in range(1, operations + 1)]
        draw.shuffle(points)
        found += [Case(kind, *points[number % len(points)], seed=number // 8 * 8 + number % 8) for number in range(each)]
    return found


def lost(wanted: list[Case], folder: Path) -> dict[Case, str]:
    """The cases in which something was lost, and what."""
    found = {}
    for case in wanted:
        place = folder / str(case)
        place.mkdir(parents=True)
        said = try_case(case, place)
        shutil.rmtree(place)
        if said:
            found[case] = said
    return found
