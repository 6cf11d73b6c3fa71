"""What to search over: everything that people can write, and what is said to what cannot be."""

import builtins
import json
import math

import pytest

from saccade.errors import ResourceError, UsageError
from saccade.space import Dimension, parse_space, plain, usual_space, value_of, with_settings
from saccade.study import JOURNAL, Study
from saccade.tune import parse_time

from .. import toys


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return toys.recipe(tmp_path_factory.mktemp("recipe"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("training.learning_rate=1e-4..1e-2 log", Dimension(("training.learning_rate",), low=1e-4, high=1e-2, log=True)),
        ("encoder.dropout = 0.0..0.3", Dimension(("encoder.dropout",), low=0.0, high=0.3)),
        ("encoder.dropout=0..0.3 step 0.1", Dimension(("encoder.dropout",), low=0.0, high=0.3, step=0.1)),
        ("training.clip=0..5", Dimension(("training.clip",), low=0, high=5)),
        ("encoder.dim=16..64 step 16", Dimension(("encoder.dim",), low=16, high=64, step=16)),
        ("training.tokens_per_batch=1e3..1e4 log", Dimension(("training.tokens_per_batch",), low=1000, high=10000, log=True)),
        ("encoder.layers=1|2|3", Dimension(("encoder.layers",), (1, 2, 3))),
        ("encoder.cell=gru|lstm", Dimension(("encoder.cell",), ("gru", "lstm"))),
        ("decoder.input_feeding=true|false", Dimension(("decoder.input_feeding",), (True, False))),
        ("encoder.dropout, decoder.dropout=0.1|0.2", Dimension(("encoder.dropout", "decoder.dropout"), (0.1, 0.2))),
    ],
)
def test_what_to_search_over(recipe, text, found):
    space = parse_space([text], recipe)
    assert space == [found]
    assert [type(value) for value in (space[0].low, space[0].high)] == [type(value) for value in (found.low, found.high)]
    assert parse_space([str(found)], recipe) == [found]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            ["training.learning_rate"],
            "error[C071] --search 'training.learning_rate': expected NAME=LOW..HIGH or NAME=A|B|C\n"
            "  fix   --search 'training.learning_rate=1e-4..1e-2 log'\n  fix   --search 'encoder.layers=1|2|3'",
        ),
        (
            ["encoder.layers=1"],
            "error[C071] --search 'encoder.layers=1': expected NAME=LOW..HIGH or NAME=A|B|C\n"
            "  fix   --search 'training.learning_rate=1e-4..1e-2 log'\n  fix   --search 'encoder.layers=1|2|3'",
        ),
        (
            ["encoder.cell=a..b"],
            "error[C071] --search 'encoder.cell=a..b': encoder.cell is not a number\n  look  it is gru\n  fix   name its values: NAME=A|B|C",
        ),
        (
            ["encoder.dropout=0.3..0.1"],
            "error[C072] --search 'encoder.dropout=0.3..0.1': the range is empty, 0.3 is more than 0.1\n  fix   encoder.dropout=0.1..0.3",
        ),
        (
            ["encoder.dim=32..32"],
            "error[C072] --search 'encoder.dim=32..32': 32 is the only value there is\n  fix   set it, and do not search: encoder.dim=32",
        ),
        (
            ["training.clip=0..1 log"],
            "error[C072] --search 'training.clip=0..1 log': a logarithmic range begins above 0, not at 0\n  fix   leave out log, or begin a little higher",
        ),
        (
            ["encoder.dim=16..32 step 64"],
            "error[C072] --search 'encoder.dim=16..32 step 64': from 16 to 32 there is no step of 64\n  fix   a step between 0 and 16",
        ),
        (["encoder.layers=1|2|1"], "error[C072] --search 'encoder.layers=1|2|1': a value is named twice\n  fix   encoder.layers=1|2"),
        (
            ["encoder.layers=1|2", "decoder.layers,encoder.layers=1|2"],
            "error[C072] --search 'decoder.layers,encoder.layers=1|2': encoder.layers is searched over already\n  fix   one range for each setting",
        ),
        (
            ["metrics=bleu|chrf"],
            "error[C073] --search 'metrics=bleu|chrf': metrics decides what is compared, so it cannot be searched over\n  fix   set it once: metrics=VALUE",
        ),
        (
            ["data.keep_first=10..20"],
            "error[C073] --search 'data.keep_first=10..20': data.keep_first decides what is compared, so it cannot be searched over\n"
            "  fix   set it once: data.keep_first=VALUE",
        ),
        (
            ["training.learning_rte=1e-4..1e-2"],
            "error[C011] --search 'training.learning_rte=1e-4..1e-2': unknown setting training.learning_rte\n  fix   did you mean learning_rate?",
        ),
        (["encoder.cell=gru|gruu"], "error[C010] --search 'encoder.cell=gru|gruu': no cell called 'gruu'\n  fix   did you mean gru?"),
        (
            ["encoder.layers=0.5..2"],
            "error[C013] --search 'encoder.layers=0.5..2': encoder.layers: expected a whole number, found 0.5\n  fix   encoder.layers takes a whole number",
        ),
    ],
)
def test_what_cannot_be_searched_over(recipe, texts, message):
    with pytest.raises(UsageError) as raised:
        parse_space(texts, recipe)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "text", ["=1..2", "a b=1..2", "encoder.dim=1..", "encoder.dim=1|", "encoder.dim=..2", "encoder.dim=1..2 lag", "x=nan..1", "x=1..inf", "x=[1]|[2]", ""]
)
def test_what_cannot_be_understood(recipe, text):
    with pytest.raises(UsageError) as raised:
        parse_space([text], recipe)
    assert raised.value.code == "C071"
    assert raised.value.headline == f"--search {text!r}: expected NAME=LOW..HIGH or NAME=A|B|C"


def test_without_a_wish_the_usual_settings_are_searched_around_those_of_the_recipe(recipe):
    space = parse_space(usual_space(recipe), recipe)
    assert [str(dimension) for dimension in space] == [
        "training.learning_rate=0.0002..0.005 log",
        "training.tokens_per_batch=32|64|128",
        "training.label_smoothing=0..0.2",
        "encoder.dropout,decoder.dropout=0..0.4",
    ]
    assert all(dimension.holds(value_of(recipe, dimension.names[0])) for dimension in space)


def test_settings_of_a_chosen_part_go_to_that_part(recipe):
    changed = with_settings(recipe, ["encoder.dropout=0.3", 'encoder="transformer"', "training.steps=3"])
    assert value_of(changed, "encoder") == "transformer"
    assert value_of(changed, "encoder.dropout") == 0.3
    assert value_of(changed, "training.steps") == 3
    assert (changed.data, changed.search, value_of(changed, "decoder.dim")) == (recipe.data, recipe.search, 24)
    assert value_of(recipe, "encoder.nothing") is None


def test_tied_settings_get_the_same_value():
    assert Dimension(("a.x", "b.x"), ("y", "z")).overrides("z") == ['a.x="z"', 'b.x="z"']
    assert Dimension(("a.x",), low=0.0, high=1.0).overrides(1e-05) == ["a.x=1e-05"]


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Dimension(("a",), (1, 2)), [1, 2], [3, None]),
        (Dimension(("a",), low=0.0, high=0.3), [0.0, 0.3, 0.123], [-0.1, 0.31, None, "x", True]),
        (Dimension(("a",), low=0.0, high=0.3, step=0.1), [0.0, 0.1, 0.2, 0.3], [0.05, 0.25]),
        (Dimension(("a",), low=16, high=64, step=16), [16, 48], [24, 80]),
    ],
)
def test_which_values_are_searched_over(dimension, inside, outside):
    assert [dimension.holds(value) for value in inside] == [True] * len(inside)
    assert [dimension.holds(value) for value in outside] == [False] * len(outside)


def test_values_are_written_as_overrides_are():
    assert [plain(value) for value in (True, 3, "gru", 0.00123456789, 1e-05, None)] == ["true", "3", "gru", "0.00123457", "1e-05", "null"]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("45s", 45), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("1.5h", 5400), ("2m5s", 125)])
def test_times_as_people_write_them(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1d", "30m1h"])
def test_a_time_that_is_none(text):
    with pytest.raises(UsageError) as raised:
        parse_time(text)
    assert str(raised.value) == f"error[C074] --timeout {text}: expected a time\n  fix   --timeout 1h, or 30m, or 90s"


def test_a_study_has_at_least_one_trial_some_time_and_a_pruner(recipe, tmp_path):
    study = Study(recipe, parse_space(["encoder.dim=8|16"], recipe), tmp_path)
    with pytest.raises(UsageError) as raised:
        next(study.search(trials=0))
    assert str(raised.value) == "error[C074] --trials 0: there must be at least 1\n  fix   --trials 20"
    with pytest.raises(UsageError) as raised:
        next(study.search(seconds=math.nan))
    assert str(raised.value) == "error[C074] --timeout nan: there must be some time\n  fix   --timeout 1h"
    with pytest.raises(UsageError) as raised:
        Study(recipe, [], tmp_path, pruner="sharp")
    assert str(raised.value) == "error[C074] --pruner sharp: it must be median, hyperband or none\n  fix   --pruner median"


def test_without_optuna_the_message_says_what_to_install(recipe, tmp_path, monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments):
        if name.startswith("optuna"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UsageError) as raised:
        Study(recipe, [], tmp_path)
    assert str(raised.value) == "error[C070] searching for settings needs optuna\n  fix   pip install 'saccade[tune]'"


def test_what_decides_is_known_before_the_first_trial(tmp_path):
    def of(**changed):
        study = Study(toys.recipe(tmp_path, **changed), [], tmp_path / "tune")
        return study.metric, study.larger_is_better

    assert of() == ("exact", True)
    assert of(metrics=["error_rate", "exact"]) == ("error_rate", False)
    assert of(training={"evaluate_examples": 0}) == ("loss", False)


def begin(study: Study) -> None:
    """Open the study, and do nothing."""
    assert list(study.search(stop=lambda: True)) == []


def test_the_journal_is_json_and_a_torn_line_is_cut_off(recipe, tmp_path):
    study = Study(recipe, parse_space(["encoder.dim=8|24"], recipe), tmp_path)
    begin(study)
    journal = tmp_path / JOURNAL
    whole = journal.read_bytes()
    assert [type(json.loads(line)) for line in whole.splitlines()] == [dict] * whole.count(b"\n")
    journal.write_bytes(whole + b'{"op_code":4,"study')
    (tmp_path / f"{JOURNAL}.lock").touch()
    begin(study)
    assert journal.read_bytes() == whole
    assert study.trials == []
    assert study.best is None


def test_a_folder_holds_one_study(recipe, tmp_path):
    begin(Study(recipe, parse_space(["encoder.dim=8|24"], recipe), tmp_path))
    other = Study(toys.recipe(tmp_path, seed=2), parse_space(["encoder.dim=8|16"], recipe), tmp_path)
    with pytest.raises(UsageError) as raised:
        begin(other)
    message = f"error[C075] the study in {tmp_path} is about something else: its recipe and search differs\n  fix   another folder: --study DIR"
    assert str(raised.value) == message


def test_one_process_at_a_time(recipe, tmp_path):
    import fcntl

    study = Study(recipe, parse_space(["encoder.dim=8|24"], recipe), tmp_path)
    begin(study)
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ResourceError) as raised:
            begin(study)
    assert str(raised.value) == f"error[R005] {tmp_path} is in use by another process\n  fix   another folder: --study DIR"
    begin(study)


def test_a_place_that_cannot_be_written(recipe, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError) as raised:
        begin(Study(recipe, [], tmp_path / "file" / "tune"))
    assert raised.value.code == "R004"
    assert raised.value.headline.startswith(f"cannot write to {tmp_path}/file/tune: [Errno ")
