"""The training loop: an iterator of events, no callbacks.

for event in train(task, splits, training, search, run, seed=1):
    print(event)                                        # Started | Step | Evaluation | Saved | Trouble | Stopped
"""

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from .. import storage
from ..errors import ResourceError, SaccadeError, TrainingError
from ..metrics import Score
from ..metrics.perplexity import Perplexity
from ..search import Search
from ..tasks import Splits, Task
from ..types import leaves, tree_map
from .checkpoint import checkpoints, load_weights, recover, save_model, space_for, weights_of
from .distributed import World, join, lost_neighbours
from .divergence import wrong_with
from .engine import Engine, Update
from .events import Evaluation, Event, Saved, Started, Step, Stopped, Trouble
from .feed import Fed, Feed
from .lock import locked
from .saver import Saver, waiting_for_room
from .settings import Training
from .state import Progress, average_weights, restore_carried, restore_state, take


class _Run:
    """The state of one run; `train` tells the story."""

    def __init__(
        self, task: Task, splits: Splits, training: Training, search: Search, run: Path, seed: int, about: dict[str, Any], store: Path | None, world: World
    ) -> None:
        self.task, self.splits, self.training, self.run, self.seed, self.about, self.world = task, splits, training, run, seed, about, world
        self.greedy = Search(beam=1, length_penalty=0.0, longest_ratio=search.longest_ratio, longest_extra=search.longest_extra)
        self.schedule = training.schedule(training.learning_rate, training.steps)
        with space_for(store or run, 0, "the encoded examples"):
            self.train, self.valid = (task.examples(part, store and store / name) for name, part in (("train", splits.train), ("valid", splits.valid)))
        self.feed = Feed(self.train, tokens_per_batch=training.tokens_per_batch, seed=seed, world=world, workers=training.workers)
        self.saver = Saver(run, max(training.average, training.keep), background=training.saving == "background") if world.first else None
        self.troubles: list[SaccadeError] = []
        self.counted = False
        self.short_of_memory: ResourceError | None = None
        self.restore()

    def restore(self) -> None:
        """Weights, optimizer and progress of the latest checkpoint, or fresh ones."""
        kept = checkpoints(self.run)
        self.engine = engine = Engine(self.task, self.training, self.seed, self.world, fresh=not kept)
        self.progress = restore_state(kept[-1], engine.model, engine.optimizer, engine.averages) if kept else Progress()
        begun = self.task.begin(engine.model, 1) if kept and self.train.carries else None
        if carried := restore_carried(kept[-1]) if begun is not None else []:
            own, parts = self.world.share(range(len(carried[0]))) or range(1), iter(carried)
            engine.rows, engine.carried = len(carried[0]), tree_map(lambda _: next(parts)[list(own)].to(engine.device), begun)

    def count(self) -> None:
        """A model that learns by counting learns all there is before the first update, and makes none."""
        begun, progress = time.perf_counter(), self.progress
        if progress.step == 0 and self.task.fit(self.engine.model, self.train):
            progress.step, progress.seconds, progress.train_loss = self.training.steps, time.perf_counter() - begun, math.nan
            self.counted = True

    def started(self) -> Started:
        weights = sum(weight.numel() for weight in self.engine.model.parameters())
        batches = [] if self.counted else self.feed.plan(self.progress.epoch)
        precision, padding = str(self.engine.precision)[6:], self.train.padding(batches) if batches else 0.0
        return Started(self.progress.step, weights, str(self.engine.device), precision, len(batches), padding, self.train.left_out, self.world.size)

    def rate(self, step: int) -> float:
        """The learning rate of an update: what the schedule says, halved as often as the run diverged."""
        return self.schedule.rate(step, self.progress.history) * 0.5**self.progress.halvings

    def next_batch(self) -> Fed:
        progress = self.progress
        if progress.position >= len(self.feed.plan(progress.epoch)):
            progress.epoch, progress.position = progress.epoch + 1, 0
        progress.position += 1
        return self.feed.batch(progress.epoch, progress.position - 1)

    def update(self, stop: Callable[[], bool]) -> Update:
        """One update; `TrainingError` T001 before a bad number can reach the weights."""
        progress, engine = self.progress, self.engine
        fed = self.next_batch()
        update = engine.gradient(fed, progress.step, stop)
        if engine.parts > self.training.accumulate and not self.short_of_memory:
            note = f"computed in {engine.parts} parts instead of {self.training.accumulate}: the same gradient, more slowly"
            fix = "to do so from the start: training.accumulate=" + str(engine.parts)
            self.short_of_memory = ResourceError("R003", engine.short_of_memory(fed, progress.step), note=note, fix=fix)
            self.troubles.append(self.short_of_memory)
        progress.norms = [*progress.norms[-3:], update.norm]
        mean = update.total / max(update.symbols, 1)
        if trouble := wrong_with(update, mean, progress):
            raise self.diverged(trouble, progress.step + 1, fed)
        progress.first = progress.first or mean
        progress.mean = mean if progress.step == 0 else 0.9 * progress.mean + 0.1 * mean
        engine.update(self.rate(progress.step), self.schedule.momentum(progress.step))
        progress.step, progress.total, progress.count = progress.step + 1, progress.total + update.total, progress.count + update.symbols
        return update

    def diverged(self, what: str, step: int, fed: Fed | None = None) -> TrainingError:
        """What to say; the batch is saved for whoever wants to see it."""
        look = f"gradient norm {', '.join(f'{norm:.3g}' for norm in self.progress.norms)} over the last {len(self.progress.norms)} steps"
        if fed is not None and self.world.first:
            name = f"bad-step-{step:08d}.json"
            sides = {side: leaves(part)[0].tolist() for side, part in fed.batch._asdict().items()}
            with suppress(OSError):  # the disk may be full as well
                storage.replace_file(self.run / name, [json.dumps({"step": step, "rows": fed.rows.tolist(), **sides}).encode()])
                look += f"; batch saved to {self.run / name}"
        fix = f"a lower rate: training.learning_rate={self.training.learning_rate / 2 ** (self.training.tries + 1):g}"
        return TrainingError("T001", f"the {what} at step {step:,}", look=look, fix=fix)

    def go_back(self, error: TrainingError) -> Trouble:
        """To the latest checkpoint, with half the rate; after `tries` times the error is raised."""
        step, halvings, tries = self.progress.step, self.progress.halvings + 1, self.training.tries
        self.settle()
        self.world.wait()
        kept = checkpoints(self.run)
        if halvings > tries:
            note = f"the last checkpoint, {kept[-1].name}, is as it was" if kept else "no checkpoint was saved yet"
            raise TrainingError("T001", error.headline, look=error.parts["look"], note=note, fix=error.parts["fix"]) from error
        seconds = self.progress.seconds
        self.restore()
        self.progress.halvings, self.progress.seconds = halvings, seconds
        rate = self.rate(self.progress.step)
        note = f"went back to step {self.progress.step:,} and halved the learning rate to {rate:.3g} ({halvings} of {tries} tries)"
        return Trouble(step, TrainingError("T001", error.headline, look=error.parts["look"], note=note))

    def evaluate(self) -> Evaluation:
        """Score the validation data, in every process alike."""
        progress, few = self.progress, self.training.evaluate_examples
        with self.engine.evaluating() as model:
            loss, scores = self.task.validate(model, self.valid, self.splits.valid, self.greedy, self.training.tokens_per_batch, few)
        loss = self.world.agreed(loss)
        if not math.isfinite(loss):
            raise self.diverged("validation loss stopped being a number", progress.step)
        deciding = scores[0] if scores else Perplexity().from_loss(loss, 1)
        value = self.world.agreed(deciding.value if deciding.higher_is_better else -deciding.value)
        best = progress.best is None or value > progress.best
        if best:
            progress.best, progress.best_step, progress.without_gain = value, progress.step, 0
        else:
            progress.without_gain += 1
        progress.history.append((progress.step, value))
        progress.evaluated = progress.step
        return Evaluation(progress.step, progress.epoch, progress.seconds, progress.train_loss, loss, tuple(scores), best)

    def keep_model(self, scores: tuple[Score, ...]) -> None:
        """`model.safetensors`: the best so far."""
        about = {**self.about, "step": self.progress.step, "valid": [{"name": s.name, "value": s.value, "signature": s.signature} for s in scores]}
        with self.engine.evaluating() as model:
            weights = {name: weight.clone() for name, weight in weights_of(model).items()}  # gathered ones are about to be given back
            if self.world.first:
                save_model(self.run / "model.safetensors", weights, self.task.state(), about)

    def save(self) -> None:
        """A checkpoint of now; every process takes part in gathering it, the first one writes."""
        engine = self.engine
        carried = [self.world.rows_of_all(part, engine.rows) for part in leaves(engine.carried)]
        snapshot = take(self.progress, engine.model, engine.optimizer, engine.averages, carried)
        if self.saver:
            self.saver.save(self.progress.step, snapshot)

    def save_now(self) -> None:
        """Save, and wait until it is done."""
        self.save()
        if self.saver:
            self.saver.wait()

    def checkpoint(self, stop: Callable[[], bool], due: bool = True, last: bool = False) -> Iterator[Event]:
        """Save if it is due; in the background it is reported when it is done, and done again if it failed."""
        if due:
            yield from self.persist(self.save, stop)
        if self.saver is None:
            return
        if last:
            yield from self.persist(self.saver.wait, stop)
        try:
            reached = self.saver.poll()
        except ResourceError as error:
            yield from self.persist(self.save_now, stop, error)
            reached = self.saver.poll()
        for path in reached:
            yield Saved(int(path.name[5:]), path)

    def persist(self, write: Callable[[], None], stop: Callable[[], bool], error: ResourceError | None = None) -> Iterator[Event]:
        """`write`, unless that has just ended in `error`; while the disk is full, say so, wait, and try again."""
        pause = self.training.retry_every if self.world.alone else 0.0
        for refused in waiting_for_room(write, pause, stop, error):
            yield Trouble(self.progress.step, refused)

    def settle(self) -> None:
        """Leave nothing half written behind, whatever happened."""
        if self.saver:
            with suppress(SaccadeError):
                self.saver.wait()

    def try_average(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """The mean of the last checkpoints' weights is kept if the validation data agree."""
        self.world.wait()
        if self.training.average < 2:
            return
        mine: dict[str, Tensor] = {name: weight.clone() for name, weight in weights_of(self.engine.model).items()}
        load_weights(self.engine.model, average_weights(self.run, self.training.average), self.run)
        self.progress.train_loss = math.nan
        yield from self.judge(stop)
        load_weights(self.engine.model, mine, self.run)

    def due(self) -> bool:
        """Is there an evaluation to be made before the next update?"""
        step = self.progress.step
        return step > 0 and self.progress.evaluated < step and (step % self.training.evaluate_every == 0 or step >= self.training.steps)

    def judge(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Evaluate; keep the model if it is the best so far."""
        found = self.evaluate()
        if found.best:
            yield from self.persist(lambda: self.keep_model(found.scores), stop)
        yield found


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
    store: Path | None = None,
    fallback: bool = True,
) -> Iterator[Event]:
    """Train until `training.steps`, until patience is out, or until `stop()`; in a run that was begun, go on from its latest checkpoint.

    `run/model.safetensors` is the best model so far, complete in itself.  After `stop()` everything is saved and the same
    numbers follow on the next call (CPU, fixed threads).  `store` is where encoded examples are kept between runs; without
    `fallback` a damaged checkpoint is an error (`ModelError` M010) even if the one before it is complete.  Under
    torchrun every process calls this with the same arguments.  Raises `TrainingError` T001, `ResourceError` R001, R003, R005, R007.
    """
    world = join(training.timeout, training.device)
    with locked(run) if world.first else nullcontext(), lost_neighbours(world.alone):
        troubles = recover(run, fallback).warnings if world.first else []
        world.wait()
        state = _Run(task, splits, training, search, run, seed, about or {}, store, world)
        state.count()
        yield state.started()
        for trouble in troubles:
            yield Trouble(state.progress.step, trouble)
        try:
            yield from _go_on(state, stop)
        finally:
            state.settle()


def _go_on(state: _Run, stop: Callable[[], bool]) -> Iterator[Event]:
    training, reason = state.training, "finished"
    while state.due() or (reason == "finished" and state.progress.step < training.steps):
        try:
            if state.due():
                yield from state.judge(stop)
                yield from state.checkpoint(stop)
            elif training.patience and state.progress.without_gain >= training.patience:
                reason = "no improvement"
            elif (yield from _stretch(state, stop)):
                reason = "interrupted"
        except TrainingError as error:
            yield state.go_back(error)
    yield from state.checkpoint(stop, due=False, last=True)
    if reason != "interrupted":
        yield from state.try_average(stop)
    yield Stopped(state.progress.step, reason, state.progress.seconds)


def _stretch(state: _Run, stop: Callable[[], bool]) -> Generator[Event, None, bool]:
    """Updates up to the next report, evaluation or checkpoint; True if asked to stop."""
    progress, training = state.progress, state.training
    save_every = training.save_every or training.evaluate_every
    dues = (progress.step + every - progress.step % every for every in (training.report_every, training.evaluate_every, save_every))
    until = min(training.steps, *dues)
    begun, first, symbols, asked = time.perf_counter(), progress.step, 0, False
    while progress.step < until and not asked:
        if state.world.alone and stop():
            asked = True
            break
        update = state.update(bool if state.world.alone else stop)  # several processes agree on it while they add up
        symbols, asked = symbols + update.symbols, update.asked
        while state.troubles:
            yield Trouble(progress.step, state.troubles.pop(0))
    seconds = time.perf_counter() - begun
    progress.seconds += seconds
    loss = progress.total / max(progress.count, 1)
    if progress.step > first:
        rate = state.rate(progress.step - 1)
        yield Step(progress.step, progress.epoch, loss, rate, progress.norms[-1], symbols / seconds, progress.seconds)
    if progress.step == until:
        progress.train_loss, progress.total, progress.count = loss, 0.0, 0
    yield from state.checkpoint(stop, due=not state.due() and (asked or progress.step % save_every == 0))
    return asked
