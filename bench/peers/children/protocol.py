"""The line protocol of a child: it says what it is, then answers `pass` and `loss` with one line of JSON each, until its input ends.

pass   trains once over all batches                       {"tokens_per_second": 3456.7, "loss": 5.1}
loss   the same batches without dropout and smoothing      {"nll": 4.2}

Loss and likelihood are means over target symbols in nats; padding never counts.  Nothing here imports saccade: it runs in peers' environments.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Batch(NamedTuple):
    """Ids with padding 0: sources (B S) that end with EOS, targets (B T) from BOS to EOS, the sources' lengths, the symbols to be said."""

    source: Tensor
    target: Tensor
    lengths: Tensor
    symbols: int


class System(Protocol):
    """One system on one configuration."""

    model: nn.Module

    def prepare(self, batch: Batch) -> Any:
        """The batch as the system wants it; not timed."""

    def update(self, prepared: Any) -> Tensor | float:
        """Forward, backward, clipping, optimiser: one update; the smoothed loss."""

    def likelihood(self, prepared: Any) -> Tensor:
        """The summed negative log-likelihood, without smoothing."""


def padded(rows: list[list[int]]) -> Tensor:
    """Rows of ids, padded with 0."""
    return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)


def read(path: str) -> tuple[int, list[Batch]]:
    """The size of the vocabulary, and the batches."""
    with open(path, encoding="utf-8") as file:
        held = json.load(file)
    batches = []
    for batch in held["batches"]:
        lengths = torch.tensor([len(row) for row in batch["source"]])
        batches.append(Batch(padded(batch["source"]), padded(batch["target"]), lengths, sum(len(row) - 1 for row in batch["target"])))
    return held["vocabulary"], batches


def hand_loop(model: nn.Module, precision: str, loss: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
    """An update as one writes it by hand: autocast, fused Adam, gradients clipped at 1."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)

    def update(prepared: Any) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            value = loss(prepared)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return value.detach()

    return update


def one_pass(system: System, prepared: list[Any], symbols: int) -> dict[str, float]:
    """Every batch once; target symbols per second."""
    system.model.train()
    begun, losses = time.perf_counter(), []
    for each in prepared:
        losses.append(float(system.update(each)))
    return {"tokens_per_second": symbols / (time.perf_counter() - begun), "loss": sum(losses) / len(losses)}


@torch.no_grad()
def likelihood(system: System, prepared: list[Any], symbols: int) -> dict[str, float]:
    """How well the batches themselves are known by now."""
    system.model.eval()
    return {"nll": sum(float(system.likelihood(each)) for each in prepared) / symbols}


def serve(make: Callable[[str, int, str], System]) -> None:
    """Build the system that the arguments ask for and answer until the input ends; `make` gets configuration, vocabulary and precision."""
    options = argparse.ArgumentParser()
    options.add_argument("--batches", required=True)
    options.add_argument("--configuration", choices=("transformer", "recurrent"), required=True)
    options.add_argument("--precision", choices=("bfloat16", "float32"), default="float32")
    options.add_argument("--threads", type=int, required=True)
    given = options.parse_args()
    out, sys.stdout = sys.stdout, sys.stderr  # what a peer prints must not come between the answers
    torch.set_num_threads(given.threads)
    torch.manual_seed(1)
    vocabulary, batches = read(given.batches)
    system = make(given.configuration, vocabulary, given.precision)
    prepared, symbols = [system.prepare(batch) for batch in batches], sum(batch.symbols for batch in batches)
    answers: dict[str, Callable[[], dict[str, float]]] = {
        "pass": lambda: one_pass(system, prepared, symbols),
        "loss": lambda: likelihood(system, prepared, symbols),
    }
    print(json.dumps({"parameters": sum(weight.numel() for weight in system.model.parameters() if weight.requires_grad)}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answers[line.strip()]()), file=out, flush=True)
