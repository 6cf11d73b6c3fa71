"""Training: the same numbers after an interruption, nothing lost when things go wrong."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saccade.errors import ModelError, ResourceError, UsageError
from saccade.run import Run, load
from saccade.training.checkpoint import checkpoints
from saccade.training.events import Evaluation, Saved, Step, Stopped
from saccade.training.log import Log
from saccade.training.settings import Training, pick_device
from saccade.training.state import average_weights

from .. import toys


def bytes_of(run: Path) -> dict[str, bytes]:
    """The best model and the last checkpoint, without the clock."""
    last = checkpoints(run)[-1]
    state = json.loads((last / "state.json").read_text())
    state.pop("seconds")
    return {
        "best": (run / "model.safetensors").read_bytes(),
        "last": (last / "model.safetensors").read_bytes(),
        "optimizer": (last / "optimizer.safetensors").read_bytes(),
        "state": json.dumps(state).encode(),
    }


@pytest.mark.parametrize(
    ("passes", "batches", "expected"),
    [(0, 3, (3000, 500)), (5, 600, (3000, 500)), (5, 599, (2995, 500)), (5, 120, (600, 100)), (5, 3, (200, 34)), (1, 1, (200, 34))],
)
def test_few_data_are_read_so_often_and_evaluated_on_as_often_as_many(passes, batches, expected):
    found = Training(passes=passes).shortened(batches)
    assert (found.steps, found.evaluate_every) == expected
    assert replace(found, steps=3000, evaluate_every=500) == Training(passes=passes)


def test_a_run_no_longer_than_its_fewest_updates_is_left_alone():
    training = Training(steps=150, passes=1, evaluate_every=7)
    assert training.shortened(1) is training


def test_a_run_is_shortened_when_it_begins_and_as_long_as_asked_for_when_it_goes_on(tmp_path):
    """What is written down is what will happen; the length asked for on the way is the length."""
    begun = Run.begin(toys.recipe(tmp_path, training={"steps": 9000, "passes": 70, "tokens_per_batch": 64}), tmp_path / "run")
    batches = len(begun.task.examples(begun.splits.train).plan(64, begun.recipe.seed, 0))
    assert 200 < 70 * batches < 9000
    assert Run.open(begun.path).recipe.training.steps == 70 * batches == begun.recipe.training.steps
    assert Run.open(begun.path, ["training.steps=9000"]).recipe.training.steps == 9000


def test_events_come_in_order(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    events = list(run.train())
    assert [event.step for event in events if isinstance(event, Step)] == [4, 5, 8, 10, 12]
    assert [event.step for event in events if isinstance(event, Evaluation)] == [5, 10, 12]
    assert [event.step for event in events if isinstance(event, Saved)] == [5, 10, 12]
    assert events[-1] == Stopped(12, "finished", events[-1].seconds)
    assert all(math.isfinite(event.loss) and event.tokens_per_second > 0 for event in events if isinstance(event, Step))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "adadelta"])
def test_stopping_and_going_on_changes_no_byte(tmp_path, optimizer):
    recipe = toys.recipe(tmp_path, training={"optimizer": optimizer, "forcing": "linear", "forcing_pace": 20.0})
    list(Run.begin(recipe, tmp_path / "whole").train())
    for number, at in enumerate((1, 5, 7, 11)):
        path = tmp_path / f"pieces{number}"
        run, calls = Run.begin(recipe, path), iter(range(1000))
        events = list(run.train(lambda calls=calls, at=at: next(calls) >= at))
        assert events[-1].reason == "interrupted"
        torch.manual_seed(99)  # a new process would begin anywhere
        list(Run.open(path).train())
        assert bytes_of(path) == bytes_of(tmp_path / "whole"), f"stopped after {at}"


def test_dying_between_checkpoints_changes_no_byte(tmp_path):
    recipe = toys.recipe(tmp_path)
    list(Run.begin(recipe, tmp_path / "whole").train())
    for event in Run.begin(recipe, tmp_path / "killed").train():
        if isinstance(event, Step) and event.step == 8:
            break  # no goodbye: what was not saved is gone
    list(Run.open(tmp_path / "killed").train())
    assert bytes_of(tmp_path / "killed") == bytes_of(tmp_path / "whole")


def test_another_seed_gives_another_model(tmp_path):
    recipe = toys.recipe(tmp_path)
    for seed in (1, 2):
        list(Run.begin(replace(recipe, seed=seed), tmp_path / str(seed)).train())
    assert bytes_of(tmp_path / "1")["last"] != bytes_of(tmp_path / "2")["last"]


def test_scheduled_sampling_with_every_coin_gold_is_teacher_forcing_bit_for_bit(tmp_path):
    list(Run.begin(toys.recipe(tmp_path), tmp_path / "forced").train())
    sampled = toys.recipe(tmp_path, training={"forcing": "linear", "forcing_floor": 1.0})
    list(Run.begin(sampled, tmp_path / "sampled").train())
    assert bytes_of(tmp_path / "forced")["last"] == bytes_of(tmp_path / "sampled")["last"]


def test_scheduled_sampling_without_gold_is_something_else(tmp_path):
    list(Run.begin(toys.recipe(tmp_path), tmp_path / "forced").train())
    sampled = toys.recipe(tmp_path, training={"forcing": "linear", "forcing_pace": 1e-6})
    list(Run.begin(sampled, tmp_path / "sampled").train())
    assert bytes_of(tmp_path / "forced")["last"] != bytes_of(tmp_path / "sampled")["last"]


PACES = {"linear": 0.5, "exponential": math.exp(-0.5), "inverse_sigmoid": 10 / (10 + math.exp(0.5))}


@pytest.mark.parametrize(("forcing", "halfway"), PACES.items())
def test_the_paces_of_scheduled_sampling(forcing, halfway):
    training = Training(forcing=forcing, forcing_pace=10.0, forcing_floor=0.1)
    assert [training.gold(step) for step in (0, 5, 1000)] == pytest.approx([10 / 11 if forcing == "inverse_sigmoid" else 1.0, halfway, 0.1])


def test_changed_data_are_noticed(tmp_path):
    run = Run.begin(toys.recipe(tmp_path), tmp_path / "run")
    toys.write(tmp_path / "toy.tsv", count=61)
    with pytest.raises(ModelError) as caught:
        Run.open(run.path)
    assert (caught.value.code, caught.value.headline) == ("M016", "cannot resume exactly: 1 data file changed since the run began")


def test_patience_stops_early(tmp_path):
    recipe = toys.recipe(tmp_path, training={"patience": 2, "learning_rate": 1e-9, "steps": 100})
    events = list(Run.begin(recipe, tmp_path / "run").train())
    assert (events[-1].reason, events[-1].step) == ("no improvement", 15)


def test_the_average_of_checkpoints_is_their_mean(tmp_path):
    recipe = toys.recipe(tmp_path, training={"average": 2})
    run = Run.begin(recipe, tmp_path / "run")
    evaluations = [event for event in run.train() if isinstance(event, Evaluation)]
    assert math.isnan(evaluations[-1].train_loss)
    one, two = (load_file(path / "model.safetensors") for path in checkpoints(run.path)[-2:])
    for name, weight in average_weights(run.path, 2).items():
        torch.testing.assert_close(weight, (one[name] + two[name]) / 2)


def test_the_best_model_is_the_one_that_is_kept(tmp_path):
    recipe = toys.recipe(tmp_path, training={"steps": 60, "learning_rate": 0.01})
    run = Run.begin(recipe, tmp_path / "run")
    evaluations = [event for event in run.train() if isinstance(event, Evaluation)]
    best = [event for event in evaluations if event.best][-1]
    assert load(run.path).about["step"] == best.step
    assert best.scores[0].value == max(event.scores[0].value for event in evaluations)


def test_the_log_is_one_json_line_for_each_event(tmp_path):
    recipe = toys.recipe(tmp_path, training={"average": 2})
    run = Run.begin(recipe, tmp_path / "run")
    log, events = Log(run.path), []
    for event in run.train():
        log.write(event)
        events.append(event)
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__.lower() for event in events]
    assert lines[-2]["train_loss"] is None
    assert lines[-2]["scores"][0]["signature"]


def test_gradients_do_not_depend_on_how_a_batch_is_split(tmp_path):
    run = Run.begin(toys.recipe(tmp_path, encoder={"dropout": 0.0}, decoder={"dropout": 0.0}), tmp_path / "run")
    torch.manual_seed(0)
    model, examples, coins = run.task.build(), run.task.examples(run.splits.train), torch.Generator()
    whole = run.task.loss(model, examples.batch(range(10)), 0.1, 1.0, coins)
    parts = [run.task.loss(model, examples.batch(rows), 0.1, 1.0, coins) for rows in (range(3), range(3, 10))]
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert sum(int(part.count) for part in parts) == int(whole.count)


@pytest.mark.parametrize(("name", "value", "least"), [("steps", 0, 1), ("tokens_per_batch", 0, 1), ("evaluate_every", 0, 1), ("clip", -1.0, 0)])
def test_impossible_settings_are_refused(name, value, least):
    with pytest.raises(UsageError, match=f"training.{name} = {value}; it must be at least {least}"):
        Training(**{name: value})


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ResourceError, match="there is no device 'toaster' here"):
        pick_device("toaster")
