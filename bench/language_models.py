"""Training speed of language models side by side: random symbols, the state carried, passes interleaved, medians.

    python -m bench.language_models [--setting words characters] [--passes 5] [--output language-models.json]

A pass is four updates (forward, backward, clipping, fused Adam, float32, one thread); the figure is symbols per second of the processor's time,
which stands a busy machine.  "words" is as on the Penn Treebank (10,000 symbols, 20 rows of 35), "characters" as on Shakespeare (68, 32 rows of 128).
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.types import detach


class Setting(NamedTuple):
    """The text, and the models to compare on it; the first is what the others are measured by."""

    vocab: int
    rows: int
    context: int
    models: dict[str, dict[str, Any]]


def lstm(dim: int) -> dict[str, Any]:
    return {"name": "recurrent", "cell": "lstm", "dim": dim, "layers": 2, "dropout": 0.1}


def glu(dim: int, layers: int, kernel: int, **chosen: Any) -> dict[str, Any]:
    return {"name": "convolutional", "dim": dim, "layers": layers, "kernel": kernel, "dropout": 0.1, **chosen}


SETTINGS = {
    "words": Setting(
        10_000, 20, 35, {"lstm 2 x 200": lstm(200), "glu 4 x 200, kernel 2": glu(200, 4, 2), "glu 6 x 200, bottleneck 96": glu(200, 6, 4, bottleneck=96)}
    ),
    "characters": Setting(
        68,
        32,
        128,
        {
            "lstm 2 x 200": lstm(200),
            "glu 6 x 136": glu(136, 6, 3),
            "glu 6 x 96": glu(96, 6, 3),
            "glu 6 x 96, dilated": glu(96, 6, 3, dilation="doubling", cycle=6),
            "glu 6 x 64": glu(64, 6, 3),
        },
    ),
}


class Runner(NamedTuple):
    """A model in training and the figures of its passes."""

    model: Decoder
    optimizer: torch.optim.Optimizer
    rates: list[float]


def one_pass(runner: Runner, setting: Setting, updates: int = 4) -> float:
    """Symbols per second."""
    model, size = runner.model, (setting.rows, setting.context)
    memory, state = model.start(None, setting.rows)
    begun = time.process_time()
    for _ in range(updates):
        loss, state = model.loss(torch.randint(4, setting.vocab, size), torch.randint(4, setting.vocab, size), detach(state), memory)
        runner.optimizer.zero_grad(set_to_none=True)
        (loss.total / loss.count).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        runner.optimizer.step()
    return updates * setting.rows * setting.context / (time.process_time() - begun)


def compare(name: str, passes: int) -> dict[str, Any]:
    """Medians of one setting."""
    setting, runners = SETTINGS[name], {}
    for key, chosen in setting.models.items():
        model = choose(Decoder, **chosen)(setting.vocab, None).train()
        runners[key] = Runner(model, torch.optim.Adam(model.parameters(), lr=1e-3, fused=True), [])
    for number in range(passes + 1):
        for runner in runners.values():
            runner.rates.extend([one_pass(runner, setting)] * (number > 0))  # the first pass warms up
    weights = {key: sum(weight.numel() for weight in runner.model.parameters()) for key, runner in runners.items()}
    return {"setting": name, "weights": weights, "rates": {key: runner.rates for key, runner in runners.items()}}


def show(row: dict[str, Any]) -> None:
    """One setting."""
    print(row["setting"])
    medians = {key: statistics.median(rates) for key, rates in row["rates"].items()}
    first = next(iter(medians.values()))
    for key, rate in medians.items():
        print(f"  {key:<28} {row['weights'][key]:10,} weights {rate:8,.0f} symbols/s  {rate / first:5.2f} x")


def main() -> None:
    """Print the tables; keep everything as JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--output", type=Path)
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    print(f"torch {torch.__version__}, one thread, {platform.machine()}, medians of {given.passes} interleaved passes")
    rows = []
    for name in given.setting:
        rows.append(compare(name, given.passes))
        show(rows[-1])
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
