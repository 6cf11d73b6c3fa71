"""The learning-rate range test: one short training in which the rate rises, to see which rates teach: Smith (2017), section 3.3."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from ..errors import UsageError
from ..tasks import Splits, Task
from ..types import to
from .optimizers import build_optimizer, set_rates, take_step
from .settings import Training, pick_device, pick_precision

Rise = Literal["exponential", "linear"]

_EXPLODED = 4.0  # times the best loss so far
_QUICK = 0.9  # of the running mean that notices an explosion
_WIDTH = 0.03  # of the bell curve that smooths, as a share of the steps


@dataclass(frozen=True)
class RangeTest:
    """What happened at which rate, and the rates that this speaks for; those are None if the loss never fell.

    `steepest`: where the smoothed loss falls fastest (over the logarithm of the rate).  `tenth`: a tenth of the rate with the
    lowest loss.  `low` and `high`: the rates of a cycle, between which the loss makes its way from a tenth to nine tenths of its
    whole fall: where it "starts to decrease", and before it slows, gets ragged or rises, as section 3.3 says of accuracy.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    """Of each update, before it: nats per target symbol, label smoothing included."""
    smoothed: tuple[float, ...]
    exploded: bool
    """It ended early: the loss was no number, or above four times its best."""
    steepest: float | None
    tenth: float | None
    low: float | None
    high: float | None

    def to_json(self) -> str:
        """All of it; the last loss of an explosion may be no number and is then null."""
        record: dict[str, Any] = {"format": "saccade-range-test", "version": 1, **asdict(self)}
        record["losses"] = [loss if math.isfinite(loss) else None for loss in self.losses]
        return json.dumps(record, indent=1, allow_nan=False)


def range_test(
    task: Task, splits: Splits, training: Training, *, seed: int = 1, low: float = 1e-7, high: float = 1.0, steps: int = 200, rise: Rise = "exponential"
) -> RangeTest:
    """Train fresh weights for at most `steps` updates while the rate rises from `low` to `high`; it leaves nothing behind.

    `task` has learned its vocabulary.  Of `training` everything counts but the schedule and the length of the run.  The paper's rise
    is linear; an exponential one (fast.ai's) finds the right power of ten first.  `UsageError` C012 unless 0 < low < high and
    steps >= 10.
    """
    if not 0 < low < high:
        raise UsageError("C012", f"rates from {low} to {high}: the first must be above 0 and below the second", fix="low=1e-7, high=1.0")
    if steps < 10:
        raise UsageError("C012", f"steps = {steps}; it must be at least 10", fix="steps=200")
    shares = [step / (steps - 1) for step in range(steps)]
    rates = [low * (high / low) ** share if rise == "exponential" else low + (high - low) * share for share in shares]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        losses, exploded = _rising(task, splits, training, rates, seed)
    return judged(rates[: len(losses)], losses, exploded, steps)


def judged(rates: list[float], losses: list[float], exploded: bool, steps: int) -> RangeTest:
    """The suggestions for a curve of losses of which the last one may be no number; `steps` were planned."""
    found = np.array([loss for loss in losses if math.isfinite(loss)])
    smoothed = _smooth(found, max(1.0, _WIDTH * steps))
    lowest = int(smoothed.argmin()) if len(smoothed) else 0
    fall = smoothed[: lowest + 1].max() - smoothed[lowest] if len(smoothed) else 0.0
    kept = tuple(rates), tuple(losses), tuple(smoothed.tolist()), exploded
    if lowest < 2 or fall <= 0.01 * smoothed[lowest]:
        return RangeTest(*kept, None, None, None, None)
    start = int(smoothed[: lowest + 1].argmax())
    slopes = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
    # From the highest point down: the last place where a tenth, and the first where nine tenths of the fall are done.
    done = (smoothed[start] - smoothed[start : lowest + 1]) / fall
    early, late = start + int(np.flatnonzero(done <= 0.1).max()), start + int(np.flatnonzero(done >= 0.9).min())
    return RangeTest(*kept, rates[int(slopes.argmin())], rates[lowest] / 10, rates[early], rates[late])


def _rising(task: Task, splits: Splits, training: Training, rates: list[float], seed: int) -> tuple[list[float], bool]:
    """The loss at each rate, and whether it exploded."""
    device = pick_device(training.device)
    precision = pick_precision(training.precision, device)
    model = task.build().to(device).train()
    task.initialise(model)
    optimizer, batches = build_optimizer(training, model), _batches(task, splits, training, seed)
    losses: list[float] = []
    running = best = math.inf
    for step, rate in enumerate(rates):
        batch, coins = to(next(batches), device), torch.Generator().manual_seed(seed * 1_000_003 + step)
        with torch.autocast(device.type, precision, enabled=precision is not torch.float32):
            loss = task.loss(model, batch, training.label_smoothing, training.gold(step), coins)
        optimizer.zero_grad(set_to_none=True)
        mean = loss.total / loss.count
        mean.backward()
        losses.append(mean.item())
        running = losses[0] if step == 0 else _QUICK * running + (1 - _QUICK) * losses[-1]
        best = min(best, running)
        if not math.isfinite(losses[-1]) or running > _EXPLODED * best:
            return losses, True
        nn.utils.clip_grad_norm_(model.parameters(), training.clip or math.inf)
        set_rates(optimizer, rate)
        take_step(optimizer)
    return losses, False


def _batches(task: Task, splits: Splits, training: Training, seed: int) -> Iterator[Any]:
    """Epoch after epoch, without an end."""
    examples, epoch = task.examples(splits.train), 0
    while True:
        for rows in examples.plan(training.tokens_per_batch, seed, epoch):
            yield examples.batch(rows.tolist())
        epoch += 1


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    """A weighted mean of the neighbours on both sides, so that nothing lags behind; at the ends of those there are."""
    places = np.arange(len(values))
    weights = np.exp(-0.5 * ((places[:, None] - places[None, :]) / width) ** 2)
    return (weights @ values) / weights.sum(1) if len(values) else values
