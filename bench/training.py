"""Training speed beside a plain torch.nn loop of the same model: same batches, same precision, passes interleaved, medians.

    python -m bench.training --data DIR [--setting NAME ...] [--precision bfloat16 ...] [--passes 5] [--threads 2] [--cpu-time] [--device cuda]
                             [--output speed.json]

DIR holds Multi30k (train.de, train.en, ..., also as .gz).  A pass is eight batches spread over the lengths; the figure is target
symbols per second, padding not counted.  Beside it stand what shows that the work was equal: the numbers of weights, and the loss
of both after the same number of updates from the same data (float32, without dropout and smoothing).  `--cpu-time` counts the
processor's time instead of the clock's: with one thread it stands a busy machine.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.plain import PlainLstm, PlainRecurrent, PlainTransformer
from saccade.batches.lengths import plan
from saccade.recipe import read_recipe
from saccade.types import Batch, to


class Setting(NamedTuple):
    """A recipe with what is changed in it, the plain loops to stand beside it, and the matrix products of one target symbol, forward and backward."""

    recipe: str
    overrides: list[str]
    peers: dict[str, Callable[[int], nn.Module]]
    megaflops: float | None = None


DROPOUT = ["encoder.dropout=0.1", "decoder.dropout=0.1"]
FEEDING = {"plain loop": lambda vocab: PlainLstm(vocab, dropout=0.1)}
SETTINGS = {
    "multi30k-transformer": Setting("multi30k-transformer", [], {"torch.nn": lambda vocab: PlainTransformer(vocab, dropout=0.15)}, 45.7),
    "multi30k-bahdanau": Setting("multi30k-bahdanau", [], {"torch.nn": PlainRecurrent}),
    "transformer": Setting("multi30k-transformer", DROPOUT, {"torch.nn": lambda vocab: PlainTransformer(vocab, dropout=0.1)}, 45.7),
    "luong": Setting("multi30k-luong", DROPOUT, FEEDING, 25.7),
    "luong-fused": Setting(
        "multi30k-luong",
        [*DROPOUT, "decoder.input_feeding=false"],
        {**FEEDING, "plain, no feeding": lambda vocab: PlainLstm(vocab, dropout=0.1, input_feeding=False)},
    ),
}
SHAPES = ((4096, 256, 1024), (2048, 256, 8000))


class System(NamedTuple):
    """A model, and its mean loss per symbol of a batch: smoothed as in training, and without smoothing."""

    model: nn.Module
    loss: Callable[[Batch], Tensor]
    nll: Callable[[Batch], Tensor]


def batches_of(setting: Setting, folder: str, count: int = 8) -> tuple[Any, list[Batch]]:
    """The recipe's task with its tokenizer learned, and `count` of its own batches, short and long; all of an epoch if 0."""
    recipe = read_recipe(setting.recipe, overrides=[f"data.folder={json.dumps(folder)}", *setting.overrides])
    task = recipe.task()
    splits = task.read(recipe.data)
    task.learn(splits)
    examples = task.examples(splits.train)
    planned = plan(*examples.lengths(), tokens_per_batch=4096, seed=1, epoch=0)
    return task, [examples.batch(planned[i * len(planned) // (count or len(planned))].tolist()) for i in range(count or len(planned))]


def ours(task: Any, device: str = "cpu") -> System:
    """As saccade trains."""
    model, coins = task.build().to(device), torch.Generator()

    def loss(batch: Batch) -> Tensor:
        found = task.loss(model, batch, 0.1, 1.0, coins)
        return found.total / found.count

    def nll(batch: Batch) -> Tensor:
        found = task.loss(model, batch, 0.0, 1.0, coins)
        return found.nll / found.count

    return System(model.train(), loss, nll)


def theirs(model: nn.Module) -> System:
    """As a plain loop trains."""

    def loss(batch: Batch, smoothing: float = 0.1) -> Tensor:
        read, wanted = batch.target.ids[:, :-1], batch.target.ids[:, 1:]
        logits = model(batch.source.ids, read)
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=0, label_smoothing=smoothing)

    return System(model.train(), loss, lambda batch: loss(batch, 0.0))


def update(system: System, optimizer: torch.optim.Optimizer, batch: Batch, precision: torch.dtype) -> None:
    """Forward, backward, clipping, step."""
    with torch.autocast(batch.source.ids.device.type, precision, enabled=precision is not torch.float32):
        value = system.loss(batch)
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    nn.utils.clip_grad_norm_(system.model.parameters(), 1.0)
    optimizer.step()


def one_pass(system: System, optimizer: torch.optim.Optimizer, batches: list[Batch], precision: torch.dtype, clock: Callable[[], float]) -> float:
    """Target symbols per second over all `batches`."""
    symbols = sum(int(batch.target.lengths.sum()) - len(batch.target.lengths) for batch in batches)
    begun = clock()
    for batch in batches:
        update(system, optimizer, batch, precision)
    return symbols / (clock() - begun)


@torch.no_grad()
def mean_nll(system: System, batches: list[Batch]) -> float:
    """Over the batches, in evaluation."""
    system.model.eval()
    found = statistics.mean(float(system.nll(batch)) for batch in batches)
    system.model.train()
    return found


def timer(device: str, cpu_time: bool) -> Callable[[], float]:
    """Seconds, all work so far being done."""

    def clock() -> float:
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.process_time() if cpu_time else time.perf_counter()

    return clock


def fastest_products(precision: torch.dtype, clock: Callable[[], float], device: str) -> float:
    """GFLOP/s of torch.mm at the better of two shapes of the Transformer: what no training step can exceed."""
    best = 0.0
    for rows, inner, columns in SHAPES:
        left, right = (torch.randn(shape, device=device).to(precision) for shape in ((rows, inner), (inner, columns)))
        for _ in range(12):
            begun = clock()
            for _ in range(5):
                left @ right
            best = max(best, 5 * 2 * rows * inner * columns / (clock() - begun) / 1e9)
    return best


def compare(name: str, folder: str, precisions: list[torch.dtype], passes: int, clock: Callable[[], float], device: str = "cpu") -> list[dict[str, Any]]:
    """Rows of medians for one setting."""
    setting = SETTINGS[name]
    task, batches = batches_of(setting, folder)
    batches = to(batches, device)
    torch.manual_seed(0)
    systems = {"saccade": ours(task, device), **{key: theirs(peer(task.source.size).to(device)) for key, peer in setting.peers.items()}}
    rows = []
    for precision in precisions:
        optimizers = {key: torch.optim.Adam(system.model.parameters(), lr=1e-3, fused=True) for key, system in systems.items()}
        rates: dict[str, list[float]] = {key: [] for key in systems}
        for number in range(passes + 1):
            for key, system in systems.items():
                rate = one_pass(system, optimizers[key], batches, precision, clock)
                rates[key] += [rate] * (number > 0)  # the first pass warms up
        rows.append(
            {
                "setting": name,
                "precision": str(precision)[6:],
                "rates": {key: statistics.median(each) for key, each in rates.items()},
                "weights": {key: sum(weight.numel() for weight in system.model.parameters()) for key, system in systems.items()},
                "nll": {key: mean_nll(system, batches) for key, system in systems.items()},
                "updates": (passes + 1) * len(batches) * (len(rows) + 1),
                "limit": setting.megaflops and fastest_products(precision, clock, device) * 1e3 / setting.megaflops,
                "passes": rates,
            }
        )
    return rows


def show(row: dict[str, Any]) -> None:
    """One setting in one precision."""
    mine = row["rates"]["saccade"]
    limit = f"   {mine / row['limit']:.0%} of the products' limit of {row['limit']:,.0f}" if row["limit"] else ""
    print(f"{row['setting']} {row['precision']}, after {row['updates']} updates{limit}")
    for key, rate in row["rates"].items():
        print(f"  {key:<18} {rate:8,.0f} symbols/s   saccade is {mine / rate:4.2f} x   {row['weights'][key]:,} weights   nll {row['nll'][key]:.3f}")


def main() -> None:
    """Print the table; keep everything as JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options.add_argument("--precision", nargs="+", choices=["bfloat16", "float32"], default=["bfloat16", "float32"])
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--cpu-time", action="store_true")
    options.add_argument("--device", default="cpu")
    options.add_argument("--output", type=Path)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    clock = timer(given.device, given.cpu_time)
    machine = platform.machine() if given.device == "cpu" else torch.cuda.get_device_name(given.device)
    print(f"torch {torch.__version__}, {given.threads} threads, {machine}, medians of {given.passes} interleaved passes")
    rows = []
    for name in given.setting:
        found = compare(name, given.data, [getattr(torch, each) for each in given.precision], given.passes, clock, given.device)
        for row in found:
            show(row)
        rows += found
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
