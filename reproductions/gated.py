"""Gated convolutions train faster than an LSTM of the same worth: Dauphin et al. (2017), sections 4.2 and 5.2.

    python -m reproductions.gated DIR [--updates 1000]        DIR holds tiny Shakespeare's input.txt; about ten minutes on one core

An LSTM of two layers of 200 learns a million characters at two rates; the better one's validation loss is to be reached.  Then gated
convolutions, smaller than the LSTM: same batches (4,096 characters, the state carried), as many updates, same optimizer and schedule.
Claim: one of them is as good, and trains at least twice as many symbols a second, by the processor's time.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from saccade.recipe import from_table
from saccade.run import Run
from saccade.training.events import Evaluation, Started, Step

LSTM = {"name": "recurrent", "cell": "lstm", "dim": 200, "layers": 2, "dropout": 0.1}
GATED = {"name": "convolutional", "gate": "glu", "kernel": 3, "layers": 6, "dropout": 0.1}
MODELS: dict[str, tuple[dict[str, Any], float]] = {
    "lstm 2 x 200": (LSTM, 4e-3),
    "lstm 2 x 200, slower": (LSTM, 2e-3),
    "glu 6 x 80": ({**GATED, "dim": 80}, 4e-3),
    "glu 6 x 64": ({**GATED, "dim": 64}, 4e-3),
}
TOKENS = 4096


class Learned(NamedTuple):
    """How good a model got, and how fast."""

    weights: int
    nats: float
    rate: float
    """Symbols a second of processor time, evaluations not counted."""


def learn(folder: Path, data: Path, name: str, updates: int) -> Learned:
    """Train one of the models."""
    decoder, rate = MODELS[name]
    training = {"steps": updates, "tokens_per_batch": TOKENS, "optimizer": "adam", "learning_rate": rate, "schedule": "one_cycle"}
    training |= {"evaluate_every": updates, "precision": "float32"}
    texts = {"folder": str(data), "train": "input.txt", "valid_share": 0.1, "test_share": 0.0}
    table = {"task": "language_model", "data": texts, "tokenizer": "characters", "context": 128, "carry": True, "decoder": decoder, "training": training}
    weights, seconds, nats = 0, 0.0, 0.0
    events = Run.begin(from_table(table), folder).train()
    begun = time.process_time()
    for event in events:
        if isinstance(event, Started):
            weights, begun = event.weights, time.process_time()
        if isinstance(event, Evaluation):
            nats = event.valid_loss
        if isinstance(event, Step) and event.step == updates:  # before the evaluation
            seconds = time.process_time() - begun
    return Learned(weights, nats, updates * TOKENS / seconds)


def main() -> None:
    """The table, and whether the claim holds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path)
    options.add_argument("--updates", type=int, default=1000)
    given = options.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Learned] = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = one = learn(Path(folder) / "run", given.data, name, given.updates)
        print(f"{name:<22} {one.weights:9,} weights   {one.nats:.4f} nats a character   {one.rate:8,.0f} symbols/s", flush=True)
    lstm = min((one for name, one in found.items() if name.startswith("lstm")), key=lambda one: one.nats)
    for name, one in found.items():
        if name.startswith("glu"):
            print(f"{name}: {one.rate / lstm.rate:.2f} times as fast as the LSTM, {one.nats - lstm.nats:+.4f} nats")


if __name__ == "__main__":
    main()
