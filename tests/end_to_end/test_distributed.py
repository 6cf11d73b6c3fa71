"""Several processes on loopback: the same curves as one, sharded or not, and no silent stall."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from saccade.errors import ResourceError, UsageError
from saccade.run import load
from saccade.training.checkpoint import checkpoints
from saccade.training.distributed import environment, join

from .. import toys
from ..kills import CHILD, command

SETTINGS = [
    "tokenizer=characters",
    "encoder.name=recurrent",
    "decoder.name=recurrent",
    "encoder.dim=24",
    "decoder.dim=24",
    "encoder.dropout=0.0",
    "decoder.dropout=0.0",
    "metrics=['exact']",
    "training.steps=12",
    "training.evaluate_every=6",
    "training.report_every=1",
    "training.tokens_per_batch=40",
    "training.precision=float32",
    "training.device=cpu",
]


def train(folder: Path, name: str, processes: int, *words: str, verb: str = "train") -> Path:
    """A finished run."""
    run = folder / name
    begun = [str(folder / "toy.tsv"), *SETTINGS, *words, "--directory", str(run)] if verb == "train" else [str(run), *words]
    done = subprocess.run(command(processes, verb, *begun), cwd=folder, env=CHILD, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return run


def losses(run: Path) -> list[float]:
    """Of every update."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["event"] == "step"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Toy data; with 40 tokens a batch the last batches have a row or two, fewer than processes."""
    found = tmp_path_factory.mktemp("distributed")
    toys.write(found / "toy.tsv")
    return found


@pytest.fixture(scope="module")
def alone(folder) -> Path:
    """What one process does."""
    return train(folder, "alone", 1)


@pytest.mark.parametrize(("name", "processes", "words"), [("ddp", 2, []), ("fsdp", 2, ["training.parallel=fsdp", "training.accumulate=2"]), ("three", 3, [])])
def test_many_processes_learn_what_one_learns(folder, alone, name, processes, words):
    run = train(folder, name, processes, *words)
    assert losses(run) == pytest.approx(losses(alone), abs=1e-4)
    assert len(losses(run)) == 12
    texts = [pair.source for pair in toys.pairs(20)]
    ours, theirs = (load(path, device="cpu").predict(texts) for path in (run, alone))
    assert [answer.text for answer in ours] == [answer.text for answer in theirs]


def test_a_run_goes_on_in_another_number_of_processes(folder, alone):
    run = train(folder, "growing", 1, "training.steps=6", "training.schedule=constant")
    whole = train(folder, "constant", 1, "training.schedule=constant")
    train(folder, "growing", 2, "training.steps=12", verb="resume")
    assert losses(run) == pytest.approx(losses(whole), abs=1e-4)
    assert [path.name for path in checkpoints(run)] == ["step-00000006", "step-00000012"]


def test_a_process_that_is_gone_is_an_error_and_no_stall(folder):
    """Started by hand, as on several machines: no torchrun is there to end the others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    words = [sys.executable, "-m", "saccade", "train", str(folder / "toy.tsv"), *SETTINGS, "training.steps=100000", "--run", str(folder / "gone")]
    places = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port} for rank in range(2)]
    first, second = (subprocess.Popen(words, cwd=folder, env=CHILD | place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for place in places)
    try:
        deadline = time.monotonic() + 120
        while not checkpoints(folder / "gone") and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.1)
        os.kill(second.pid, signal.SIGKILL)
        _, said = first.communicate(timeout=30)
    finally:
        for child in (first, second):
            child.kill()
            child.communicate()
    assert first.returncode == 5
    assert "error[R007] another process of this training is gone or has been silent for too long" in said
    assert "Traceback" not in said
    assert checkpoints(folder / "gone")


@pytest.mark.parametrize("place", [{"WORLD_SIZE": "0", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "2"}, {"WORLD_SIZE": "two", "RANK": "0"}])
def test_an_impossible_place_is_refused(monkeypatch, place):
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        environment()
    assert caught.value.code == "C024"
    assert caught.value.headline == f"this is no place among processes: RANK={place['RANK']}, WORLD_SIZE={place['WORLD_SIZE']}, LOCAL_RANK=0"


@pytest.mark.parametrize(("there", "said"), [(1, "there is 1"), (2, "there are 2")])
def test_more_processes_than_gpus_are_refused_before_anybody_waits(monkeypatch, there, said):
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": str(there)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ResourceError) as caught:
        join(1.0)
    assert (caught.value.code, caught.value.headline) == ("R002", f"process {there + 1} of this machine has no GPU: {said}")
    assert caught.value.parts["fix"] == [f"torchrun --nproc-per-node {there}, or training.device=cpu"]


def test_several_processes_need_a_directory_that_they_share(folder):
    words = ["train", str(folder / "toy.tsv"), *SETTINGS]
    done = subprocess.run(
        [sys.executable, "-m", "saccade", *words], cwd=folder, env=CHILD | {"WORLD_SIZE": "2", "RANK": "0"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert "error[C025] 2 processes need to be told where to work together" in done.stderr
