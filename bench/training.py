"""Training speed beside a plain torch.nn loop of the same model: same batches, same precision, passes interleaved, medians.

    python -m bench.training --data DIR [--passes 5] [--threads 2] [--output speed.json]

DIR holds Multi30k (train.de, train.en, ..., also as .gz).  A pass is eight batches spread over the lengths; the figure is target
symbols per second, padding not counted.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from bench.plain import PlainRecurrent, PlainTransformer
from saccade.batches.lengths import plan
from saccade.recipe import read_recipe
from saccade.types import Batch

RECIPES = {"multi30k-transformer": PlainTransformer, "multi30k-bahdanau": PlainRecurrent}


def batches_of(name: str, folder: str, count: int = 8) -> tuple[object, list[Batch]]:
    """The recipe's task with its tokenizer learned, and `count` of its own batches, short and long."""
    recipe = read_recipe(name, overrides=[f"data.folder={json.dumps(folder)}"])
    task = recipe.task()
    splits = task.read(recipe.data)
    task.learn(splits)
    examples = task.examples(splits.train)
    planned = plan(*examples.lengths(), tokens_per_batch=4096, seed=1, epoch=0)
    return task, [task.batch(examples, planned[i * len(planned) // count].tolist()) for i in range(count)]


def ours(task: object) -> Callable[[Batch], torch.Tensor]:
    """One loss as saccade computes it, mean over symbols."""
    model, coins = task.build().train(), torch.Generator()

    def loss(batch: Batch) -> torch.Tensor:
        found = task.loss(model, batch, 0.1, 1.0, coins)
        return found.total / found.count

    loss.model = model
    return loss


def theirs(model: nn.Module) -> Callable[[Batch], torch.Tensor]:
    """One loss as a plain loop computes it."""

    def loss(batch: Batch) -> torch.Tensor:
        read, wanted = batch.target.ids[:, :-1], batch.target.ids[:, 1:]
        logits = model(batch.source.ids, read)
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=0, label_smoothing=0.1)

    loss.model = model.train()
    return loss


def one_pass(loss: Callable[[Batch], torch.Tensor], optimizer: torch.optim.Optimizer, batches: list[Batch], precision: torch.dtype) -> float:
    """Target symbols per second over all `batches`: forward, backward, clipping, update."""
    begun, symbols = time.perf_counter(), 0
    for batch in batches:
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            value = loss(batch)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(loss.model.parameters(), 1.0)
        optimizer.step()
        symbols += int(batch.target.lengths.sum()) - len(batch.target.lengths)
    return symbols / (time.perf_counter() - begun)


def compare(name: str, folder: str, passes: int) -> list[dict[str, object]]:
    """Rows of medians for one recipe, in both precisions."""
    task, batches = batches_of(name, folder)
    torch.manual_seed(0)
    systems = {"saccade": ours(task), "torch.nn": theirs(RECIPES[name](task.source.size))}
    rows = []
    for precision in (torch.bfloat16, torch.float32):
        optimizers = {key: torch.optim.Adam(loss.model.parameters(), lr=1e-4, fused=True) for key, loss in systems.items()}
        rates: dict[str, list[float]] = {key: [] for key in systems}
        for number in range(passes + 1):
            for key, loss in systems.items():
                rate = one_pass(loss, optimizers[key], batches, precision)
                rates[key] += [rate] * (number > 0)  # the first pass warms up
        median = {key: statistics.median(each) for key, each in rates.items()}
        rows.append({"recipe": name, "precision": str(precision)[6:], **median, "ratio": median["saccade"] / median["torch.nn"], "passes": rates})
    return rows


def main() -> None:
    """Print the table; keep everything as JSON if asked."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--output", type=Path)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    rows = [row for name in RECIPES for row in compare(name, given.data, given.passes)]
    print(f"torch {torch.__version__}, {given.threads} threads, {platform.machine()}, medians of {given.passes} interleaved passes, target symbols per second")
    for row in rows:
        print(f"{row['recipe']:<22} {row['precision']:<9} saccade {row['saccade']:8,.0f}   torch.nn {row['torch.nn']:8,.0f}   ratio {row['ratio']:.2f}")
    if given.output:
        given.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
