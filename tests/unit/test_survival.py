"""What a training survives: numbers that are none, too little memory, a full disk, workers that die, damage; and that it comes out the same."""

import errno
import json
import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saccade import storage
from saccade.errors import ModelError, ResourceError, TrainingError
from saccade.run import Run
from saccade.training.checkpoint import checkpoints
from saccade.training.engine import split
from saccade.training.events import Evaluation, Saved, Step, Stopped, Trouble

from .. import toys
from .test_training import bytes_of

PLAIN = {"encoder": {"dropout": 0.0}, "decoder": {"dropout": 0.0}}


class Spoiled:
    """The loss of a run, changed in some of its training updates."""

    def __init__(self, run: Run, spoil, when=lambda call: True) -> None:
        self.calls, self.spoil, self.when, self.loss = 0, spoil, when, run.task.loss
        run.task.loss = self

    def __call__(self, model, batch, smoothing, gold, generator):
        self.calls += model.training
        if model.training and self.when(self.calls):
            return self.spoil(self.loss(model, batch, smoothing, gold, generator), batch)
        return self.loss(model, batch, smoothing, gold, generator)


def times(value: float):
    """A loss multiplied by `value`."""
    return lambda loss, batch: loss._replace(total=loss.total * value)


def losses(events) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_goes_back_and_halves_the_rate(tmp_path, value):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    Spoiled(run, times(value), lambda call: call == 8)
    events = list(run.train())
    error = next(event.error for event in events if isinstance(event, Trouble))
    assert (error.code, error.headline) == ("T001", "the loss stopped being a number at step 8")
    assert error.parts["note"] == ["went back to step 5 and halved the learning rate to 0.0005 (1 of 2 tries)"]
    assert error.parts["look"][0].endswith(f"over the last 4 steps; batch saved to {run.path / 'bad-step-00000008.json'}")
    assert [event.step for event in events if isinstance(event, Step)] == [4, 5, 8, 10, 12]
    assert [event.rate for event in events if isinstance(event, Step)] == [1e-3, 1e-3, 5e-4, 5e-4, 5e-4]
    saved = json.loads((run.path / "bad-step-00000008.json").read_text())
    assert saved["step"] == 8
    assert len(saved["rows"]) == len(saved["source"]) == len(saved["target"]) > 0


def test_a_loss_that_explodes_is_noticed(tmp_path):
    recipe = toys.recipe(tmp_path, training={"steps": 40, "evaluate_every": 20})
    run = Run.begin(recipe, tmp_path / "run")
    Spoiled(run, times(1000.0), lambda call: call == 30)
    events = list(run.train())
    trouble = next(event for event in events if isinstance(event, Trouble))
    assert trouble.error.headline == "the loss exploded at step 30"
    assert trouble.error.parts["note"][0].startswith("went back to step 20 ")
    assert events[-1] == Stopped(40, "finished", events[-1].seconds)


def test_a_run_that_only_got_worse_is_noticed(tmp_path):
    """As with a rate that is too high from the first update on: nothing explodes any more."""
    recipe = toys.recipe(tmp_path, training={"steps": 120, "evaluate_every": 120})
    run = Run.begin(recipe, tmp_path / "run")
    Spoiled(run, times(5.0), lambda call: 1 < call < 105)
    events = list(run.train())
    (trouble,) = (event for event in events if isinstance(event, Trouble))
    assert trouble.error.headline == "the loss still stood far above where it began at step 101"
    assert trouble.error.parts["note"] == ["went back to step 0 and halved the learning rate to 0.0005 (1 of 2 tries)"]
    assert events[-1].step == 120


def test_after_two_tries_it_ends_and_nothing_is_lost(tmp_path):
    recipe = toys.recipe(tmp_path)
    run = Run.begin(recipe, tmp_path / "run")
    Spoiled(run, times(math.nan), lambda call: call > 7)
    events = []
    with pytest.raises(TrainingError) as caught:
        events.extend(run.train())
    error = caught.value
    assert (error.code, error.exit_status, error.headline) == ("T001", 6, "the loss stopped being a number at step 6")
    assert error.parts["note"] == ["the last checkpoint, step-00000005, is as it was"]
    assert error.parts["fix"] == ["a lower rate: training.learning_rate=0.000125"]
    assert [path.name for path in checkpoints(run.path)] == ["step-00000005"]
    list(Run.open(run.path).train())
    list(Run.begin(recipe, tmp_path / "whole").train())
    assert bytes_of(run.path) == bytes_of(tmp_path / "whole")


def test_without_a_checkpoint_it_begins_again(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    Spoiled(run, times(math.nan), lambda call: call == 3)
    events = list(run.train())
    trouble = next(event for event in events if isinstance(event, Trouble))
    assert trouble.error.parts["note"] == ["went back to step 0 and halved the learning rate to 0.0005 (1 of 2 tries)"]
    assert events[-1].step == 12


def test_weights_that_are_no_use_are_not_kept(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    loss = run.task.loss
    run.task.loss = lambda model, *rest: loss(model, *rest) if model.training else loss(model, *rest)._replace(nll=torch.tensor(math.nan))
    with pytest.raises(TrainingError, match="the validation loss stopped being a number at step 5"):
        list(run.train())
    assert not (run.path / "model.safetensors").exists()
    assert not checkpoints(run.path)


def scarce(rows: int):
    """Memory for so many rows at a time and no more."""

    def spoil(loss, batch):
        if len(batch.source.lengths) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss

    return spoil


def test_out_of_memory_the_batch_is_split_and_the_gradient_is_the_same(tmp_path):
    recipe = toys.recipe(tmp_path, **PLAIN)
    whole = Run.begin(recipe, tmp_path / "whole")
    events = list(whole.train())
    run = Run.begin(recipe, tmp_path / "run")
    Spoiled(run, scarce(3))
    found = list(run.train())
    assert losses(found) == pytest.approx(losses(events), abs=1e-5)
    troubles = [event for event in found if isinstance(event, Trouble)]
    assert troubles[0].error.code == "R003"
    assert troubles[0].error.headline.startswith("out of memory at step 1: ")
    assert troubles[0].error.parts["note"][0].startswith("computed in 4 parts instead of 1")
    assert len(troubles) == 1, "said once"


def test_out_of_memory_on_a_single_row_ends_the_run(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    Spoiled(run, scarce(0), lambda call: call > 6)
    with pytest.raises(ResourceError) as caught:
        list(run.train())
    assert (caught.value.code, caught.value.exit_status) == ("R003", 5)
    assert caught.value.headline.startswith("out of memory at step 7: ")
    assert caught.value.parts["fix"] == ["training.tokens_per_batch smaller, or longest"]


def test_another_error_is_not_taken_for_missing_memory(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")

    def broken(loss, batch):
        raise RuntimeError("shapes do not fit")

    Spoiled(run, broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(run.train())


@pytest.mark.parametrize("parts", [2, 3, 100])
def test_accumulated_gradients_are_the_gradient(tmp_path, parts):
    recipe = toys.recipe(tmp_path, **PLAIN)
    events = list(Run.begin(recipe, tmp_path / "whole").train())
    run = Run.begin(replace(recipe, training=replace(recipe.training, accumulate=parts)), tmp_path / "parts")
    seen = Spoiled(run, lambda loss, batch: loss)
    assert losses(run.train()) == pytest.approx(losses(events), abs=1e-5)
    assert seen.calls > 12


def test_a_batch_is_split_into_all_its_rows():
    batch = {"ids": torch.arange(14).view(7, 2)}
    for parts in range(1, 10):
        pieces = [piece["ids"] for piece in split(batch, parts)]
        assert torch.equal(torch.cat(pieces), batch["ids"])
        assert len(pieces) <= parts


@pytest.mark.parametrize("changed", [{"saving": "blocking"}, {"workers": 2}, {"saving": "blocking", "save_every": 2}, {"report_every": 1}])
def test_how_it_is_done_changes_no_byte(tmp_path, changed):
    recipe = toys.recipe(tmp_path, training={"forcing": "linear", "forcing_pace": 20.0})
    list(Run.begin(recipe, tmp_path / "whole").train())
    list(Run.begin(replace(recipe, training=replace(recipe.training, **changed)), tmp_path / "other").train())
    one, other = (load_file(checkpoints(tmp_path / name)[-1] / "optimizer.safetensors") for name in ("whole", "other"))
    assert bytes_of(tmp_path / "whole")["last"] == bytes_of(tmp_path / "other")["last"]
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_workers_that_die_are_replaced(tmp_path):
    recipe = toys.recipe(tmp_path, training={"workers": 1})
    list(Run.begin(recipe, tmp_path / "whole").train())
    run, killed = Run.begin(recipe, tmp_path / "run"), []
    for event in run.train():
        if isinstance(event, Step) and not killed:
            children = [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.getpid() and _is_worker(name)]
            for child in children:
                os.kill(child, signal.SIGKILL)
            killed += children
    assert killed
    assert bytes_of(run.path) == bytes_of(tmp_path / "whole")


def _parent(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def _is_worker(process: str) -> bool:
    """A forked copy of this process, not a program it started."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes() == Path("/proc/self/cmdline").read_bytes()
    except OSError:
        return False


class FullDisk(storage.Disk):
    """No room for the optimizer's file of some checkpoints."""

    def __init__(self, times: int) -> None:
        self.left, self.path = times, ""

    def open(self, path, append=False, exclusive=False):
        self.path = str(path)
        return super().open(path, append, exclusive)

    def write(self, handle, data):
        if self.left and self.path.endswith("optimizer.safetensors"):
            self.left -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(handle, data)


@pytest.mark.parametrize("saving", ["blocking", "background"])
def test_a_full_disk_pauses_training_until_there_is_room(tmp_path, monkeypatch, saving):
    recipe = toys.recipe(tmp_path, training={"saving": saving, "retry_every": 0.05})
    list(Run.begin(recipe, tmp_path / "whole").train())
    run = Run.begin(recipe, tmp_path / "run")
    monkeypatch.setattr(storage, "disk", FullDisk(3))
    events = list(run.train())
    troubles = [event.error for event in events if isinstance(event, Trouble)]
    assert len(troubles) == 3
    assert troubles[0].code == "R001"
    assert troubles[0].parts["note"] == ["no checkpoint was complete yet", "training is paused and retries every 0.05 s; Ctrl-C stops it"]
    assert events[-1].reason == "finished"
    assert bytes_of(run.path) == bytes_of(tmp_path / "whole")


def test_a_full_disk_and_ctrl_c(tmp_path, monkeypatch):
    recipe = toys.recipe(tmp_path, training={"saving": "blocking", "retry_every": 60.0})
    run = Run.begin(recipe, tmp_path / "run")
    stop: list[bool] = []
    events = run.train(lambda: bool(stop))
    assert until(events, Saved).step == 5
    monkeypatch.setattr(storage, "disk", FullDisk(1000))
    assert until(events, Trouble).error.code == "R001"
    stop.append(True)
    with pytest.raises(ResourceError) as caught:
        next(events)
    assert (caught.value.code, caught.value.exit_status) == ("R001", 5)
    assert caught.value.parts["note"] == ["the last complete checkpoint is step-00000005; nothing was damaged"]
    assert [path.name for path in run.path.iterdir() if path.name.startswith(".tmp")] == []
    monkeypatch.undo()
    list(Run.open(run.path).train())
    list(Run.begin(recipe, tmp_path / "whole").train())
    assert bytes_of(run.path) == bytes_of(tmp_path / "whole")


def until(events, kind: type):
    """The next event of a kind."""
    return next(event for event in events if isinstance(event, kind))


def damage(run: Run, number: int) -> None:
    file = checkpoints(run.path)[number] / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-8])


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    list(run.train())
    before = bytes_of(run.path)
    damage(run, -1)
    events = list(Run.open(run.path).train())
    trouble = events[1]
    assert isinstance(trouble, Trouble)
    assert trouble.error.code == "M010"
    assert trouble.error.parts["note"] == ["the previous checkpoint step-00000010 is complete and will be used"]
    assert events[0].step == 10
    assert bytes_of(run.path) == before


def test_a_damaged_checkpoint_is_refused_if_asked_to(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    list(run.train())
    damage(run, -1)
    with pytest.raises(ModelError) as caught:
        list(Run.open(run.path).train(fallback=False))
    assert caught.value.code == "M010"
    assert "optimizer.safetensors has" in caught.value.parts["look"][0]


def test_the_moving_average_is_what_is_judged_and_kept(tmp_path):
    recipe = toys.recipe(tmp_path, training={"ema": 0.5, "steps": 5, "evaluate_every": 5, "save_every": 1, "keep": 9})
    run = Run.begin(recipe, tmp_path / "run")
    torch.manual_seed(recipe.seed)
    average = {name: weight.detach().clone() for name, weight in run.task.build().named_parameters()}
    evaluations = [event for event in run.train() if isinstance(event, Evaluation)]
    for path in checkpoints(run.path):
        for name, weight in load_file(path / "model.safetensors").items():
            average[name] = 0.5 * average[name] + 0.5 * weight
    kept = load_file(run.path / "model.safetensors")
    assert evaluations[0].best
    for name, weight in average.items():
        torch.testing.assert_close(kept[name], weight)
    assert not torch.equal(kept[name], load_file(checkpoints(run.path)[-1] / "model.safetensors")[name])


def test_stopping_with_a_moving_average_changes_no_byte(tmp_path):
    recipe = toys.recipe(tmp_path, training={"ema": 0.9})
    list(Run.begin(recipe, tmp_path / "whole").train())
    calls = iter(range(1000))
    list(Run.begin(recipe, tmp_path / "pieces").train(lambda: next(calls) >= 6))
    list(Run.open(tmp_path / "pieces").train())
    assert bytes_of(tmp_path / "pieces") == bytes_of(tmp_path / "whole")


def test_two_trainings_do_not_share_a_run(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    first = run.train()
    next(first)
    with pytest.raises(ResourceError) as caught:
        next(Run.open(run.path).train())
    assert caught.value.code == "R005"
    assert caught.value.headline.startswith(f"{run.path} is in use by process {os.getpid()} since ")
    first.close()
    assert isinstance(list(Run.open(run.path).train())[-1], Stopped)
