"""One update, exactly: sums over parts and processes, divided once."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import ResourceError
from ..tasks import Task
from ..types import State, Tree, detach, join, leaves, to, tree_map
from .distributed import World, full, gathered, local, only_last
from .feed import Fed
from .optimizers import build_optimizer, set_rates, take_step
from .settings import Training, pick_device, pick_precision


class Update(NamedTuple):
    """What one update saw, over all processes."""

    total: float
    """Summed loss in nats."""
    symbols: int
    """Of the targets."""
    norm: float
    """Of the gradient of the mean loss, before clipping."""
    asked: bool
    """Did any process ask to stop?"""

    @property
    def finite(self) -> bool:
        """Can the weights take it?"""
        return math.isfinite(self.total) and math.isfinite(self.norm)


class _Whole(nn.Module):
    """Model and loss as one module: what is wrapped for many processes, and compiled."""

    def __init__(self, task: Task, model: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.model, self.task, self.smoothing = model, task, smoothing

    def forward(self, batch: Any, carried: State | None, gold: float, coins: torch.Generator) -> tuple[Tensor, Tensor, State | None]:
        """Summed loss, number of symbols, and what the next batch needs to go on."""
        found, carried = self.task.carried_loss(self.model, batch, carried, self.smoothing, gold, coins)
        return found.total, found.count, carried


class Engine:
    """Weights, optimizer, and how a batch changes them.

    Random numbers of an update are a pure function of (seed, step, process): nothing about them needs to be saved.
    """

    def __init__(self, task: Task, training: Training, seed: int, world: World, fresh: bool = True) -> None:
        self.training, self.seed, self.world = training, seed, world
        self.device = pick_device(training.device)
        self.precision = pick_precision(training.precision, self.device)
        torch.manual_seed(seed)
        self.model = task.build().to(self.device)
        if fresh:
            task.initialise(self.model)
        self.whole: nn.Module = world.wrap(_Whole(task, self.model, training.label_smoothing), training.parallel, self.device)
        if training.compile:
            self.whole = torch.compile(self.whole)  # type: ignore[assignment]
        self.optimizer = build_optimizer(training, self.model)
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.averages = [local(weight).detach().clone() for weight in self.model.parameters()] if training.ema else []
        self.parts = training.accumulate
        self.carried: State | None = None
        """What the next batch needs to go on where the latest one stopped: of this process's share of its `rows`."""
        self.rows = 0

    def gradient(self, fed: Fed, step: int, stop: Callable[[], bool]) -> Update:
        """The gradient of the mean loss per symbol, summed over parts and processes, now in the weights' `grad`.

        Out of memory, the batch is computed in twice as many parts: the same sum.  `ResourceError` R003 if one row is too many.
        """
        batch, self.parts = (to(fed.batch, self.device), None if fed.first else self.carried), self.training.accumulate
        while True:
            try:
                self.optimizer.zero_grad(set_to_none=True)
                total, count, carried = self._backward(batch, self.parts, step, 0.0 if fed.empty else 1.0)
                update = self._reduced(total, count, stop)
                self.carried, self.rows = carried, len(fed.rows)
                return update
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                rows = len(leaves(fed.batch)[0])
                if self.parts >= rows or not self.world.alone:
                    fix = "training.tokens_per_batch smaller, or longest" if self.world.alone else f"training.accumulate={2 * self.parts}"
                    raise ResourceError("R003", self.short_of_memory(fed, step), note="what was saved is unharmed", fix=fix) from error
                self.parts = min(2 * self.parts, rows)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def short_of_memory(self, fed: Fed, step: int) -> str:
        """What did not fit."""
        sides = leaves(fed.batch)
        longest = max(side.shape[1] for side in sides if side.ndim > 1)
        return f"out of memory at step {step + 1:,}: {len(sides[0])} rows, longest {longest} tokens"

    def _backward(self, batch: tuple[Any, State | None], parts: int, step: int, weight: float) -> tuple[float, int, State | None]:
        """Sums of loss and symbols of this process, and what it carries on."""
        training = self.training
        own = int(np.random.SeedSequence(self.seed, spawn_key=(step, self.world.rank)).generate_state(1)[0])
        torch.manual_seed(own)
        coins = torch.Generator().manual_seed(own)
        self.whole.train()
        total, count, carried = torch.zeros((), dtype=torch.float64), 0, []
        pieces = [(piece, weight) for piece in split(batch, parts)]
        real = len(pieces)
        if not self.world.alone:  # weights that are shared out are gathered by all together: every process computes as many parts
            pieces += [(pieces[0][0], 0.0)] * (parts - len(pieces))
        for number, (piece, counts) in enumerate(pieces, 1):
            with only_last(self.whole, number == len(pieces)):
                with torch.autocast(self.device.type, self.precision, enabled=self.precision is not torch.float32):
                    loss, symbols, after = self.whole(*piece, training.gold(step), coins)
                (loss * counts).backward()
            carried.append(detach(after))
            total += loss.detach().double().cpu() * counts
            count += int(symbols) * int(counts)
        return float(total), count, join(carried[:real])

    def _reduced(self, total: float, count: int, stop: Callable[[], bool]) -> Update:
        """Sums over processes; the gradient is divided, once, by the number of all symbols, and clipped."""
        total, symbols, asked = self.world.sums([total, float(count), float(stop())])
        for weight in self.weights:
            if weight.grad is not None and weight.grad.is_sparse:  # every row once, or the norm would be another
                weight.grad = weight.grad.coalesce()
        gradients = [found.values() if found.is_sparse else found for found in (weight.grad for weight in self.weights) if found is not None]
        raw = float(full(nn.utils.get_total_norm(gradients, foreach=True)))
        scale = self.world.size / max(symbols, 1)  # what averages over processes has divided by their number
        norm, clip = raw * scale, self.training.clip or math.inf
        torch._foreach_mul_([local(gradient) for gradient in gradients], scale * min(1.0, clip / (norm + 1e-6)))
        return Update(total, int(symbols), norm, asked > 0)

    def update(self, rate: float, momentum: float | None) -> None:
        """The weights take the gradient."""
        set_rates(self.optimizer, rate, momentum)
        take_step(self.optimizer)
        if self.averages:
            with torch.no_grad():
                torch._foreach_lerp_(self.averages, [local(weight) for weight in self.model.parameters()], 1 - self.training.ema)

    @contextmanager
    def evaluating(self) -> Iterator[nn.Module]:
        """The model as it is judged: all its weights, averaged if there is an average, nothing dropped."""
        mine = [local(weight).detach().clone() for weight in self.model.parameters()] if self.averages else []
        with torch.no_grad():
            self._take(self.averages)
            with gathered(self.whole):
                yield self.model.eval()
            self._take(mine)

    def _take(self, values: Sequence[Tensor]) -> None:
        for weight, value in zip(self.model.parameters(), values, strict=False):
            local(weight).copy_(value)


def split(batch: Tree, parts: int) -> Iterator[Tree]:
    """The rows of a batch in at most `parts` groups, one after the other."""
    rows = len(leaves(batch)[0])
    size = math.ceil(rows / max(1, min(parts, rows)))
    for start in range(0, rows, size):
        rows_of = slice(start, start + size)
        yield batch if size >= rows else tree_map(lambda leaf, rows_of=rows_of: leaf[rows_of], batch)  # type: ignore[misc]


def out_of_memory(error: BaseException) -> bool:
    """Is it memory that is missing, on a GPU or on a CPU?"""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error) or "not enough memory" in str(error)
