"""Nothing is lost: signals, a full disk, a run in the way, a loss that is no number any more."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saccade import storage
from saccade.run import Run, load
from saccade.training import log
from saccade.training.checkpoint import checkpoints

from .test_bad_input import CHILD, expect_refusal, message
from .test_command_line import run, write_recipe

WAITING = """
import sys, time
from pathlib import Path
from saccade.cli import main
from saccade.training import log

write = log.Log.write

def wait(self, event):
    "The step after the first evaluation waits until the signal was sent, which comes when the checkpoint before it is on the disk."
    write(self, event)
    if type(event).__name__ == "Step" and event.step == 12:
        while not list(Path(self.path.parent).glob("step-*/MANIFEST.json")):
            time.sleep(0.01)
        Path(self.path.parent, "waiting").touch()
        while not Path(self.path.parent, "go").exists():
            time.sleep(0.01)

log.Log.write = wait
main()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    assert run("train", write_recipe(folder), "--run", folder / "run").status == 0
    return folder / "run"


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    """The same, to be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def same_end(one: Path, other: Path) -> bool:
    """Did both runs come to the same best model, last weights and optimizer, byte for byte?"""
    last = [checkpoints(path)[-1] for path in (one, other)]
    files = [(path / "model.safetensors", end / "model.safetensors", end / "optimizer.safetensors") for path, end in zip((one, other), last, strict=True)]
    return last[0].name == last[1].name and all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))


@pytest.mark.parametrize(("number", "status", "step"), [(signal.SIGINT, 130, 12), (signal.SIGTERM, 143, 12), (signal.SIGKILL, -9, 10)])
def test_a_signal_loses_nothing(trained, tmp_path, number, status, step):
    path = tmp_path / "run"
    words = ["train", str(write_recipe(tmp_path)), "--run", str(path)]
    child = subprocess.Popen([sys.executable, "-c", WAITING, *words], env=CHILD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        while not (path / "waiting").exists() and child.poll() is None:
            time.sleep(0.01)
        child.send_signal(number)
        (path / "go").touch()
        out, err = child.communicate(timeout=600)
    finally:
        child.kill()
    assert (child.returncode, out) == (status, "")
    assert "Traceback" not in err
    assert [found.name for found in checkpoints(path)][-1] == f"step-{step:08d}"
    assert load(path).predict(["abc"])[0].text
    if number != signal.SIGKILL:
        assert "\nstopping after this step; press Ctrl-C again to stop without saving\n" in err
        assert f"ok  saved; nothing is lost\n  continue   saccade resume {path}          same numbers as if never stopped\n" in err
    said = run("resume", path)
    assert (said.status, said.out) == (0, "")
    assert said.err.startswith(f"Resuming   {path} at step {step} of 24\n")
    assert same_end(path, trained)


def test_ctrl_c_twice_stops_at_once(tmp_path, monkeypatch):
    def twice(self: log.Log, event: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(log.Log, "write", twice)
    before = signal.getsignal(signal.SIGINT)
    said = run("train", write_recipe(tmp_path), "--run", tmp_path / "run")
    assert (said.status, said.out) == (130, "")
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert run("resume", tmp_path / "run", "training.steps=1").status == 0


def test_ctrl_c_before_training_leaves_no_run(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.Disk, "write", interrupted)
    assert run("train", write_recipe(tmp_path), "--run", tmp_path / "run").status == 130
    assert not (tmp_path / "run").exists()


def test_a_run_never_writes_over_another(copy):
    before = contents(copy)
    fix = f"saccade resume {copy}\nor another directory: --run DIR"
    expect_refusal(run("train", copy / "recipe.toml", "--run", copy), 5, f"[R006] {copy} exists already; a run never writes over another", fix)
    assert contents(copy) == before
    other = copy.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("do not lose")
    expect_refusal(
        run("train", copy / "recipe.toml", "--run", other), 5, f"[R006] {other} exists already; a run never writes over another", "another directory: --run DIR"
    )
    assert list(contents(other)) == ["thesis.txt"]


def test_a_loss_that_is_no_number_stops_before_it_reaches_the_checkpoint(copy):
    before = contents(copy)
    said = run("resume", copy, "training.steps=40", "training.learning_rate=1e38")
    expect_refusal(said, 6, "[T001] the loss stopped being a number at step 26", "a lower rate: training.learning_rate=1.25e+37")
    assert said.err.count("warning[T001] the loss stopped being a number at step 26") == 2
    assert "  note  went back to step 24 and halved the learning rate to 2.5e+37 (2 of 2 tries)\n" in said.err
    assert "  note  the last checkpoint, step-00000024, is as it was\n" in said.err
    after = contents(copy)
    assert {name for name in after if after[name] != before.get(name)} <= {"metrics.jsonl", "recipe.toml", "begun.json", "bad-step-00000026.json"}
    assert run("resume", copy, "training.steps=26", "training.learning_rate=0.001").status == 0


def test_a_loss_beyond_all_measure_is_no_crash(copy):
    assert run("resume", copy, "training.steps=40", "training.learning_rate=1e30").status in (0, 6)


def test_a_run_is_resumed_on_its_own_data_only(copy, tmp_path):
    words = copy / "recipe.toml"
    data = tmp_path / "toy.tsv"
    write_recipe(tmp_path)
    with words.open("a") as file:
        file.write("\n")
    listed = (copy / "begun.json").read_text()
    origin = re.search(r'"(/.*toy\.tsv)"', listed)
    assert origin
    words.write_text(words.read_text().replace(str(Path(origin[1]).parent), str(tmp_path)))
    (copy / "begun.json").write_text(listed.replace(origin[1], str(data)))
    assert Run.open(copy).splits
    data.write_text(data.read_text() + "new\twen\n")
    said = run("resume", copy)
    expect_refusal(
        said,
        4,
        "[M016] cannot resume exactly: 1 data file changed since the run began",
        "restore them, or accept another order of the data: saccade resume --allow-data-change",
    )
    assert f"  look  {data}\n" in said.err


def test_damaged_runs_are_named(copy):
    last = checkpoints(copy)[-1]
    manifest = last / "MANIFEST.json"
    whole = manifest.read_text()
    manifest.write_text(whole[:40])
    fix = "remove step-00000024 to go on from the checkpoint before it"
    expect_refusal(run("resume", copy, "--no-fallback", "training.steps=25"), 4, f"[M010] {last} is damaged", fix)
    manifest.write_text(whole)
    state = (last / "state.json").read_bytes()
    (last / "state.json").write_bytes(state[:-1])
    said = run("resume", copy, "--no-fallback", "training.steps=25")
    expect_refusal(said, 4, f"[M010] {last} is damaged", fix)
    assert f"  look  state.json has {len(state) - 1} bytes, the manifest says {len(state)}\n" in said.err
    said = run("resume", copy)
    assert said.status == 0
    assert f"warning[M010] {last} is damaged\n" in said.err
    assert "  note  the previous checkpoint step-00000020 is complete and will be used\n  fix   to stop instead: --no-fallback\n" in said.err
    (copy / "tokenizers.safetensors").unlink()
    said = run("resume", copy)
    assert (said.status, message(said)[1]) == (4, f"begin again: saccade train {copy}/recipe.toml")
    assert message(said)[0].startswith(f"error[M010] the run {copy} is damaged: ")
    expect_refusal(run("resume", copy / "none"), 4, f"[M001] there is no run at {copy}/none", "a directory that saccade train made: it has a recipe.toml")


# -- the disk --


def test_no_room_to_begin(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.Disk, "write", full)
    said = run("train", write_recipe(tmp_path), "--run", tmp_path / "new" / "run")
    assert (said.status, said.out) == (5, "")
    headline, fix = message(said)
    assert re.fullmatch(rf"error\[R001\] the disk is full: no room for a run, [\d,]+ [kM]B free in {tmp_path}/new/run", headline)
    assert fix == "make room, or another place: --run DIR"
    assert not (tmp_path / "new" / "run").exists()


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "R001"), (errno.EDQUOT, "R001"), (errno.EROFS, "R004")])
def test_no_room_for_the_log(copy, monkeypatch, number, code):
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(storage, "append_line", full)
    said = run("resume", copy, "training.steps=30")
    assert (said.status, said.out) == (5, "")
    headline, fix = message(said)
    if code == "R001":
        assert re.fullmatch(rf"error\[R001\] the disk is full: no room for the log, [\d,]+ [kM]B free in {copy}", headline)
        assert "  note  the last complete checkpoint is step-00000030; nothing was damaged\n" in said.err
        assert fix == f"make room, then: saccade resume {copy}"
    else:
        assert (headline, fix) == (f"error[R004] cannot write to {copy}: [Errno 30] Read-only file system", "another run directory: --run DIR")
    monkeypatch.undo()
    assert Run.open(copy).step == 30, "a log that cannot be written is no reason to stop"
    assert run("resume", copy, "training.steps=32").status == 0


FULL = """
set -e
touch "$MESSAGES"
mount -t tmpfs -o size=$KILOBYTES''k none "$DISK"
saccade() { "$PYTHON" -m saccade "$@" 2>> "$MESSAGES"; }
saccade train "$RECIPE" --run "$DISK/run" training.retry_every=0.2 &
child=$!
until grep -q 'training is paused' "$MESSAGES"; do kill -0 $child; sleep 0.1; done
ls "$DISK/run"
mount -o remount,size=16m "$DISK"
wait $child
cp -r "$DISK/run" "$KEPT"
"""


def test_a_disk_that_is_really_full(trained, tmp_path):
    unshare = shutil.which("unshare")
    probe = ["-Urm", "sh", "-c", 'mount -t tmpfs none "$0"', str(tmp_path)]
    if not unshare or subprocess.run([unshare, *probe], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let us mount a disk of our own (unshare -Urm; mount -t tmpfs): only pretended disks were full")
    # Room for what is there at step 10 and half of what is written at step 20.
    size = {path.name: path.stat().st_size for path in [*trained.iterdir(), *checkpoints(trained)[-1].iterdir()]}
    one = sum(size[name] for name in ("model.safetensors", "optimizer.safetensors")) // 1024
    (tmp_path / "disk").mkdir()
    places = {"PYTHON": sys.executable, "RECIPE": write_recipe(tmp_path), "DISK": tmp_path / "disk", "KEPT": tmp_path / "kept", "MESSAGES": tmp_path / "err"}
    environment = {**CHILD, **{name: str(value) for name, value in places.items()}, "KILOBYTES": str(one * 3 // 2 + size["model.safetensors"] // 1024 + 48)}
    done = subprocess.run([unshare, "-Urm", "sh", "-c", FULL], env=environment, capture_output=True, text=True, check=False)
    said = (tmp_path / "err").read_text()
    assert (done.returncode, done.stderr) == (0, ""), said
    assert "Traceback" not in said
    assert [name for name in done.stdout.split("\n") if name.startswith("step-")] == ["step-00000010"]
    headline = rf"warning\[R001\] the disk is full: needed [1-9]\d* kB for a checkpoint, \d+ kB free in {tmp_path}/disk/run\n"
    kept = r"  note  the last complete checkpoint is step-00000010; nothing was damaged\n"
    assert re.search(headline + kept + r"  note  training is paused and retries every 0\.2 s; Ctrl-C stops it\n", said)
    assert "ok  done in" in said
    ends = [checkpoints(path)[-1] for path in (tmp_path / "kept", trained)]
    for name in ("model.safetensors", "optimizer.safetensors"):
        one, other = (load_file(end / name) for end in ends)
        assert all(torch.equal(one[key], other[key]) for key in one), name
