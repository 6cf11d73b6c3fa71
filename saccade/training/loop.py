"""The training loop: an iterator of events, no callbacks.

for event in train(task, splits, training, search, run, seed=1):
    print(event)                                        # Started | Step | Evaluation | Saved | Stopped
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..batches.lengths import plan, waste
from ..errors import TrainingError
from ..metrics import Score
from ..metrics.perplexity import Perplexity
from ..search import Search
from ..tasks import Splits, Task
from ..types import Batch, to
from .checkpoint import checkpoints, load_weights, save_model, weights_of
from .optimizers import build_optimizer, set_rates
from .settings import Training, pick_device, pick_precision
from .state import Progress, average_weights, restore_state, save_state


@dataclass(frozen=True)
class Started:
    """What is about to happen."""

    step: int
    weights: int
    device: str
    precision: str
    batches: int
    """In one epoch."""
    padding: float
    """The share of all cells, source and target, that is padding."""
    left_out: int
    """Training examples that are too long."""


@dataclass(frozen=True)
class Step:
    """The updates since the last report."""

    step: int
    epoch: int
    loss: float
    """Mean loss per target symbol in nats, smoothing included."""
    rate: float
    gradient_norm: float
    tokens_per_second: float
    """Target symbols, padding not counted."""
    seconds: float
    """Of training, so far."""


@dataclass(frozen=True)
class Evaluation:
    """How good the model is on the validation data."""

    step: int
    epoch: int
    seconds: float
    train_loss: float
    valid_loss: float
    """Mean negative log-likelihood per target symbol in nats, without smoothing."""
    scores: tuple[Score, ...]
    best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk."""

    step: int
    path: Path


@dataclass(frozen=True)
class Stopped:
    """The run is over: "finished", "no improvement" or "interrupted"."""

    step: int
    reason: str
    seconds: float


Event = Started | Step | Evaluation | Saved | Stopped


class _Run:
    """The state of one run; `train` tells the story."""

    def __init__(self, task: Task, splits: Splits, training: Training, search: Search, run: Path, seed: int, about: dict[str, Any]) -> None:
        self.task, self.splits, self.training, self.run, self.seed, self.about = task, splits, training, run, seed, about
        self.greedy = Search(beam=1, length_penalty=0.0, longest_ratio=search.longest_ratio, longest_extra=search.longest_extra)
        torch.manual_seed(seed)
        self.device = pick_device(training.device)
        self.precision = pick_precision(training.precision, self.device)
        self.model = task.build().to(self.device)
        self.optimizer = build_optimizer(training, self.model)
        self.schedule = training.schedule(training.learning_rate, training.steps)
        self.train, self.valid = task.examples(splits.train), task.examples(splits.valid)
        self.progress = restore_state(run, self.model, self.optimizer) or Progress()
        self.batches = self.plan()

    def plan(self) -> list[Any]:
        return plan(*self.train.lengths(), tokens_per_batch=self.training.tokens_per_batch, seed=self.seed, epoch=self.progress.epoch)

    def started(self) -> Started:
        weights = sum(weight.numel() for weight in self.model.parameters())
        padding = waste(self.batches, *self.train.lengths()).total
        left_out = len(self.splits.train) - len(self.train.source)
        return Started(self.progress.step, weights, str(self.device), str(self.precision)[6:], len(self.batches), padding, left_out)

    def next_batch(self) -> Batch:
        progress = self.progress
        if progress.position >= len(self.batches):
            progress.epoch, progress.position = progress.epoch + 1, 0
            self.batches = self.plan()
        rows = self.batches[progress.position].tolist()
        progress.position += 1
        return to(self.task.batch(self.train, rows), self.device)

    def update(self) -> tuple[float, int, float]:
        """One update: summed loss, target symbols, gradient norm; `TrainingError` T001 before a bad number can reach the weights."""
        training, step = self.training, self.progress.step
        self.model.train()
        batch = self.next_batch()
        set_rates(self.optimizer, self.schedule.rate(step), self.schedule.momentum(step))
        coins = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
            loss = self.task.loss(self.model, batch, training.label_smoothing, training.gold(step), coins)
        self.optimizer.zero_grad(set_to_none=True)
        (loss.total / loss.count).backward()
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), training.clip or math.inf))
        total, count = loss.total.item(), int(loss.count)
        if not math.isfinite(total) or not math.isfinite(norm):
            raise self.diverged("loss", step + 1, f"loss {total}, gradient norm {norm}, learning rate {self.schedule.rate(step):.2g}")
        self.optimizer.step()
        self.progress.step += 1
        return total, count, norm

    def diverged(self, what: str, step: int, look: str) -> TrainingError:
        kept = checkpoints(self.run)
        note = f"the last checkpoint, {kept[-1].name}, is as it was" if kept else "no checkpoint was saved yet"
        fix = f"a lower rate: training.learning_rate={self.training.learning_rate / 2:g}"
        return TrainingError("T001", f"the {what} stopped being a number at step {step:,}", look=look, note=note, fix=fix)

    @torch.no_grad()
    def valid_loss(self) -> float:
        """Per target symbol, in float32, without smoothing."""
        self.model.eval()
        total = torch.zeros((), dtype=torch.float64)
        count = 0
        coins = torch.Generator()
        for rows in plan(*self.valid.lengths(), tokens_per_batch=self.training.tokens_per_batch, seed=0, epoch=0):
            loss = self.task.loss(self.model, to(self.task.batch(self.valid, rows.tolist()), self.device), 0.0, 1.0, coins)
            total, count = total + loss.nll.double().cpu(), count + int(loss.count)
        return float(total) / max(count, 1)

    def evaluate(self, train_loss: float) -> Evaluation:
        """Score the validation data; keep the model if it is the best so far."""
        progress, loss = self.progress, self.valid_loss()
        if not math.isfinite(loss):
            raise self.diverged("validation loss", progress.step, f"validation loss {loss}")
        scores = self.task.evaluate(self.model, self.splits.valid[: self.training.evaluate_examples], self.greedy) if self.training.evaluate_examples else []
        deciding = scores[0] if scores else Perplexity().from_loss(loss, 1)
        value = deciding.value if deciding.higher_is_better else -deciding.value
        best = progress.best is None or value > progress.best
        if best:
            progress.best, progress.best_step, progress.without_gain = value, progress.step, 0
            self.keep_model(scores)
        else:
            progress.without_gain += 1
        progress.evaluated = progress.step
        return Evaluation(progress.step, progress.epoch, progress.seconds, train_loss, loss, tuple(scores), best)

    def keep_model(self, scores: list[Score], weights: dict[str, Tensor] | None = None) -> None:
        about = {**self.about, "step": self.progress.step, "valid": [{"name": s.name, "value": s.value, "signature": s.signature} for s in scores]}
        save_model(self.run / "model.safetensors", weights or weights_of(self.model), self.task.state(), about)

    def save(self) -> Saved:
        return Saved(self.progress.step, save_state(self.run, self.progress, self.model, self.optimizer, keep=max(self.training.average, 2)))

    def finish(self) -> Iterator[Event]:
        """Try the average of the last checkpoints: it is kept if the validation data agree."""
        if self.training.average < 2:
            return
        weights = average_weights(self.run, self.training.average)
        mine = {name: weight.clone() for name, weight in weights_of(self.model).items()}
        load_weights(self.model, weights, self.run)
        yield self.evaluate(math.nan)
        load_weights(self.model, mine, self.run)


def train(
    task: Task,
    splits: Splits,
    training: Training,
    search: Search,
    run: Path,
    *,
    seed: int = 1,
    about: dict[str, Any] | None = None,
    stop: Callable[[], bool] = bool,
) -> Iterator[Event]:
    """Train until `training.steps`, until patience is out, or until `stop()`; in a run that was begun, go on from its latest checkpoint.

    `run/model.safetensors` is the best model so far, complete in itself.  After `stop()` everything is saved and the same
    numbers follow on the next call (CPU, fixed threads).  Raises `TrainingError` T001, `ResourceError` R001.
    """
    state = _Run(task, splits, training, search, run, seed, about or {})
    progress = state.progress
    yield state.started()
    reason = "finished"
    while progress.step < training.steps:
        if training.patience and progress.without_gain >= training.patience:
            reason = "no improvement"
            break
        begun, total, count, norm = time.perf_counter(), 0.0, 0, 0.0
        until = min(training.steps, *(progress.step + every - progress.step % every for every in (training.report_every, training.evaluate_every)))
        stopping = False
        while progress.step < until and not (stopping := stop()):
            loss, symbols, norm = state.update()
            total, count = total + loss, count + symbols
        seconds = time.perf_counter() - begun
        progress.seconds += seconds
        if count:
            yield Step(progress.step, progress.epoch, total / count, state.schedule.rate(progress.step - 1), norm, count / seconds, progress.seconds)
        if stopping:
            yield state.save()
            yield Stopped(progress.step, "interrupted", progress.seconds)
            return
        if progress.step % training.evaluate_every == 0 or progress.step == training.steps:
            yield state.evaluate(total / max(count, 1))
            yield state.save()
    yield from state.finish()
    yield Stopped(progress.step, reason, progress.seconds)
