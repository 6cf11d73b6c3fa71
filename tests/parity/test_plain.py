"""Against the plain twin of every fast path, all of them at once: two trainings learn the same, update by update."""

import json
import subprocess
import sys

import pytest

from .. import toys
from ..kills import CHILD

SMALL = ["heads=2", "layers=2", "dim=16", "dropout=0.0"]
SETTINGS = [
    "tokenizer=characters",
    *(f"{side}.{knob}" for side in ("encoder", "decoder") for knob in ("name=transformer", *SMALL)),
    "metrics=['exact']",
    "training.steps=12",
    "training.evaluate_every=12",
    "training.report_every=1",
    "training.tokens_per_batch=80",
    "training.precision=float32",
    "training.device=cpu",
]


def test_the_plain_twins_learn_the_same(tmp_path):
    toys.write(tmp_path / "toy.tsv")
    losses = []
    for module in ("saccade", "reproductions.plain"):
        run = tmp_path / module
        words = ["train", str(tmp_path / "toy.tsv"), *SETTINGS, "--run", str(run)]
        done = subprocess.run([sys.executable, "-m", module, *words], cwd=tmp_path, env=CHILD, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        losses.append([record["loss"] for record in records if record["event"] == "step"])
    fast, plain = losses
    assert len(fast) == 12
    assert fast == pytest.approx(plain, abs=1e-5)
    assert fast != plain
