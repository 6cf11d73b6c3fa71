"""A search from end to end: the best is found, what falls behind is stopped, and a killed study goes on where it was."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from saccade.recipe import read_recipe
from saccade.run import Run, load
from saccade.serving.report import read_log
from saccade.space import parse_space, value_of
from saccade.study import BEST, JOURNAL, Began, Reported, Study, Trial
from saccade.training.checkpoint import checkpoints

from .. import toys
from .test_command_line import run, write_recipe

RATES = ["training.learning_rate=1e-4..1e-1 log", "encoder.dropout,decoder.dropout=0.1|0.2"]


def study(folder: Path, texts: list[str], pruner: str = "none", **training: object) -> Study:
    """A study of the toy: six steps, two evaluations, scored by chrF, which is seldom 0."""
    (folder / "data").mkdir(exist_ok=True)
    recipe = toys.recipe(folder / "data", metrics=["chrf"], training={"steps": 6, "evaluate_every": 3, "report_every": 3, **training})
    return Study(recipe, parse_space(texts, recipe), folder / "tune", pruner=pruner)


def ended(events: list) -> list[Trial]:
    return [event for event in events if isinstance(event, Trial)]


def told(trials: list[Trial]) -> list[tuple]:
    """What must not depend on interruptions."""
    return [(trial.run.name, trial.settings, trial.state, trial.value, trial.step) for trial in trials]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """Four trials in one go."""
    made = study(tmp_path_factory.mktemp("searched"), RATES)
    return made, ended(list(made.search(trials=4)))


def test_trials_are_runs_and_the_best_of_them_is_kept_whole(searched):
    made, trials = searched
    assert [trial.run for trial in trials] == [made.folder / f"000{number}" for number in range(1, 5)]
    assert [trial.state for trial in trials] == ["complete"] * 4
    assert told(made.trials) == told(trials)
    assert made.best.value == max(trial.value for trial in trials)
    assert len({trial.value for trial in trials}) > 1
    for trial in trials:
        begun = Run.open(trial.run)
        assert value_of(begun.recipe, "training.learning_rate") == trial.settings["training.learning_rate"]
        assert value_of(begun.recipe, "encoder.dropout") == value_of(begun.recipe, "decoder.dropout") == trial.settings["encoder.dropout,decoder.dropout"]
        evaluations = [record for record in read_log(trial.run / "metrics.jsonl") if record["event"] == "evaluation"]
        assert trial.value == max(record["scores"][0]["value"] for record in evaluations)
        assert bool(checkpoints(trial.run)) == (trial.run == made.best.run)
        assert load(trial.run).about["valid"][0]["value"] == trial.value


def test_the_first_trial_is_the_recipe_as_it_is(searched):
    made, trials = searched
    assert Run.open(trials[0].run).recipe.to_toml() == made.recipe.to_toml()


def test_the_best_recipe_is_written_and_can_be_trained(searched):
    made, _ = searched
    best = read_recipe(made.folder / BEST)
    assert best.to_toml() == Run.open(made.best.run).recipe.to_toml()
    assert (
        (made.folder / BEST)
        .read_text()
        .startswith(f"# The best that saccade tune found: chrf {made.best.value:.6g} on the validation data ({made.best.run})\n")
    )


def test_every_line_of_the_journal_is_json(searched):
    made, trials = searched
    lines = (made.folder / JOURNAL).read_bytes().splitlines()
    assert len([json.loads(line) for line in lines]) > 10 * len(trials)


def test_a_study_that_was_stopped_goes_on_as_if_it_had_not_been(searched, tmp_path):
    made = study(tmp_path, RATES)
    assert len(ended(list(made.search(trials=1)))) == 1
    asked = iter([False] * 16)
    events = list(made.search(trials=4, stop=lambda: next(asked, True)))
    halted = ended(events)[-1]
    assert halted.state == "interrupted"
    assert 0 < halted.step < 6
    again = list(made.search(trials=4))
    first = next(event for event in again if isinstance(event, Began))
    assert (first.run, first.step) == (halted.run, halted.step)
    assert told(made.trials) == told(searched[1])


def test_a_trial_whose_process_died_goes_on_from_its_checkpoint(searched, tmp_path):
    made = study(tmp_path, RATES)
    events = made.search(trials=4)
    for event in events:
        if isinstance(event, Reported) and (event.run.name, event.step) == ("0002", 6):
            events.close()  # as a killed process leaves it: running, says the journal
            break
    (tmp_path / "tune" / "0003").mkdir()
    (tmp_path / "tune" / "0003" / "tokenizers.safetensors").touch()  # a run that was never begun
    begun = [(event.run.name, event.step) for event in made.search(trials=4) if isinstance(event, Began)]
    assert begun == [("0002", 3), ("0003", 0), ("0004", 0)]
    assert told(made.trials) == told(searched[1])
    assert sorted(path.name for path in made.folder.glob("[0-9]*")) == ["0001", "0002", "0003", "0004"]
    records = [json.loads(line) for line in (made.folder / JOURNAL).read_bytes().splitlines()]
    reports = [(record["trial_id"], record["step"]) for record in records if "intermediate_value" in record]
    assert reports == [(0, 3), (0, 6), (1, 3), (1, 6), (2, 3), (2, 6), (3, 3), (3, 6), (4, 3), (4, 6)]  # what 1 had reached was told again by 2


def test_killing_loses_at_most_the_running_trial(tmp_path):
    recipe = write_recipe(tmp_path, steps="steps = 40")
    words = [
        sys.executable,
        "-m",
        "saccade",
        "tune",
        str(recipe),
        "--trials",
        "3",
        "--search",
        "encoder.dim=16|24",
        "--study",
        str(tmp_path / "tune"),
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    until = time.monotonic() + 120
    while not list((tmp_path / "tune").glob("0002/step-*")) and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert killed.stdout.read() == b""
    killed.stdout.close()
    journal = (tmp_path / "tune" / JOURNAL).read_bytes()
    said = subprocess.run(words, capture_output=True, env=environment, check=True)
    assert b"0002  goes on at step" in said.stderr
    found = json.loads(said.stdout)
    assert [Path(trial["run"]).name for trial in found["trials"]] == ["0001", "0002", "0003"]
    assert (tmp_path / "tune" / JOURNAL).read_bytes().startswith(journal)


def test_what_falls_behind_is_stopped(tmp_path):
    made = study(tmp_path, ["training.learning_rate=1e-2|1e-9"], pruner="median", steps=12)
    trials = ended(list(made.search(trials=9)))
    behind = [trial for trial in trials if trial.state == "pruned"]
    assert behind
    assert all(trial.step < 12 and trial.settings["training.learning_rate"] == 1e-9 for trial in behind)
    assert not any(checkpoints(trial.run) for trial in behind)
    assert made.best.settings == {"training.learning_rate": 1e-2}
    assert made.best.step == 12
    assert told(made.trials) == told(trials)


def test_without_a_metric_the_smallest_loss_is_best(tmp_path):
    made = study(tmp_path, ["training.learning_rate=1e-2|1e-9"], pruner="hyperband", evaluate_examples=0)
    list(made.search(trials=2))
    losses = {trial.value for trial in made.trials}
    assert len(made.trials) == 2
    assert made.best.value == min(losses)


def test_a_trial_that_cannot_be_or_diverges_is_one_that_failed(tmp_path):
    made = study(tmp_path, ["encoder.dropout=0.1|1.5"])
    trials = ended(list(made.search(trials=4)))
    assert {trial.state for trial in trials} == {"complete", "failed"}
    assert {trial.why for trial in trials if trial.state == "failed"} == {"encoder.dropout = 1.5; it must be at least 0 and below 1"}
    assert told(made.trials) == told(trials)


def test_time_is_up_and_the_trial_stays_for_the_next_time(tmp_path):
    made = study(tmp_path, RATES)
    events = list(made.search(trials=2, seconds=1e-9))
    assert events == []
    assert len(ended(list(made.search(trials=2)))) == 2


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """A search from the command line, as text and then as data."""
    folder = tmp_path_factory.mktemp("said")
    words = ["tune", write_recipe(folder, steps="steps = 6"), "--trials", "2", "--study", folder / "tune", "--search", "training.learning_rate=1e-3..1e-1 log"]
    return folder, run(*words), run(*words, "--json")


def test_the_best_is_told_as_a_difference_and_a_command(said):
    folder, text, data = said
    assert (text.status, data.status) == (0, 0)
    found = json.loads(data.out)
    best = found["best"]
    lines = text.out.splitlines()
    assert lines[0] == f"best of 2 trials: exact {best['value']:.4g} on the validation data   {best['run']}"
    rate = f"{best['settings']['training.learning_rate']:.6g}"
    assert lines[1] == ("  training.learning_rate  0.01, as it was" if rate == "0.01" else f"  training.learning_rate  0.01 -> {rate}")
    assert lines[2:] == [f"train with them   saccade train {folder / 'tune' / BEST}"]
    assert "Searching  training.learning_rate=0.001..0.1 log" in text.err
    assert f"report     {best['run']}/report.html" in text.err
    assert (Path(best["run"]) / "report.html").is_file()


def test_the_same_as_data(said):
    found = json.loads(said[2].out)
    assert list(found) == ["metric", "larger_is_better", "best", "recipe", "trials"]
    assert (found["metric"], found["larger_is_better"], len(found["trials"])) == ("exact", True, 2)
    assert list(found["best"]) == ["run", "state", "value", "steps", "seconds", "settings", "why"]
    assert found["best"] in found["trials"]
    assert tomllib.loads(Path(found["recipe"]).read_text())["training"]["learning_rate"] == found["best"]["settings"]["training.learning_rate"]


def test_the_best_recipe_trains_from_the_command_line(said):
    folder = said[0]
    assert run("train", folder / "tune" / BEST, "--run", folder / "again").status == 0
    assert run("report", folder / "again").out == f"{folder / 'again' / 'report.html'}\n"


def test_when_nothing_came_of_it(tmp_path):
    words = ["tune", write_recipe(tmp_path), "--trials", "2", "--study", tmp_path / "tune", "--search", "encoder.dropout=1.5|1.6"]
    failed = run(*words)
    assert (failed.status, failed.out) == (6, "")
    lines = failed.err[failed.err.index("error[") :].splitlines()
    assert lines[0] == "error[T070] no trial of 2 came to a good end"
    assert lines[1].startswith("  look  0001 failed: encoder.dropout = 1.")
    assert lines[3] == "  fix   other ranges, in another folder: --study DIR"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "error[C074] --trials 0: there must be at least 1\n  fix   --trials 20\n"),
        (["--timeout", "soon"], "error[C074] --timeout soon: expected a time\n  fix   --timeout 1h, or 30m, or 90s\n"),
        (["--search", "encoder.dim=8..4"], "error[C072] --search 'encoder.dim=8..4': the range is empty, 8 is more than 4\n  fix   encoder.dim=4..8\n"),
    ],
)
def test_what_cannot_be(tmp_path, words, message):
    found = run("tune", write_recipe(tmp_path), "--study", tmp_path / "tune", *words)
    assert (found.status, found.out) == (2, "")
    assert found.err.endswith(message)
    assert not list(tmp_path.glob("tune/0*"))
