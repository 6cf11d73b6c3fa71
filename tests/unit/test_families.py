"""A family is a folder, a signature is the schema, and a name can reach nothing outside its folder."""

import sys
from functools import partial
from pathlib import Path
from typing import Literal

import pytest

from saccade.attention.scores import Score
from saccade.attention.scores.additive import Additive
from saccade.decoders import Decoder
from saccade.decoders.recurrent import Recurrent
from saccade.encoders import Encoder
from saccade.encoders.transformer import Transformer
from saccade.errors import UsageError
from saccade.families import Make, choose, contract_of, find, knobs, members, name_of, read, settings, write, write_settings
from saccade.layers.cells import Cell
from saccade.layers.cells.lstm import Lstm
from saccade.listing import FAMILIES
from saccade.training.settings import Training


def refusal(call: partial) -> tuple[str, str, list[str], str | None]:
    """The code, the headline, how to mend it, and which setting it is about."""
    with pytest.raises(UsageError) as caught:
        call()
    return caught.value.code, caught.value.headline, caught.value.parts["fix"], caught.value.setting


@pytest.mark.parametrize("package", FAMILIES.values())
def test_every_file_of_a_family_is_one_member_under_its_name(package):
    folder = Path(sys.modules[package].__file__).parent if package in sys.modules else Path(__import__(package, fromlist="_").__file__).parent
    assert members(package) == sorted(path.stem for path in folder.glob("*.py") if path.stem[0] != "_")
    assert members(package)


def test_a_member_is_found_by_its_name():
    assert find(Score, "additive") is Additive
    assert name_of(Additive) == name_of(partial(Additive, hidden=3)) == "additive"


@pytest.mark.parametrize(
    "name",
    [
        *("__init__", "__import__", "__main__", "_limits", "", ".", "..", "os", "os.system", "builtins.eval", "../evil", "/etc/passwd"),
        *("recurrent.os", ".recurrent", "recurrent ", "recurrent\n", "Recurrent", "encoders", "saccade.encoders.recurrent", "..decoders.recurrent"),
    ],
)
def test_a_name_reaches_nothing_outside_the_folder(name):
    before = set(sys.modules)
    code, headline, _, setting = refusal(partial(find, Encoder, name, "encoder"))
    assert (code, headline, setting) == ("C010", f"no encoder called {name!r}", "encoder")
    assert set(sys.modules) == before


def test_a_name_that_is_nearly_right():
    assert refusal(partial(find, Encoder, "recurent", "encoder"))[2] == ["did you mean recurrent?"]
    assert refusal(partial(find, Cell, "zzz", "cell"))[2] == ["there is elman, gru, lstm"]


@pytest.mark.parametrize(("text", "count"), [("class One(Animal): pass\nclass Two(Animal): pass", 2), ("class Stone: pass", 0), ("from . import Animal", 0)])
def test_a_file_holds_exactly_one_member(tmp_path, monkeypatch, text, count):
    package = tmp_path / f"zoo{count}{len(text)}"
    package.mkdir()
    (package / "__init__.py").write_text("class Animal: pass\n")
    (package / "good.py").write_text("from . import Animal\nclass Good(Animal): pass\nclass _Helper(Animal): pass\n")
    (package / "other.py").write_text(f"from . import Animal\n{text}\n")
    monkeypatch.syspath_prepend(tmp_path)
    contract = __import__(package.name).Animal
    assert members(package.name) == ["good", "other"]
    assert find(contract, "good").__name__ == "Good"
    with pytest.raises(TypeError, match=f"{package.name}.other must define exactly one Animal, it defines {count}"):
        find(contract, "other")


def test_knobs_are_what_stands_after_the_star():
    assert knobs(Additive) == {"hidden": (int | None, None)}
    assert knobs(Lstm) == {"forget_bias": (float, 1.0)}
    assert "vocab" not in knobs(Recurrent)
    assert "steps" in knobs(Training)


def test_a_maker_names_its_family():
    assert contract_of(Make[Score]) is Score
    assert contract_of(Make[Score] | None) is Score
    assert contract_of(int) is contract_of(int | None) is contract_of(Literal["a"]) is None


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (int, 3, 3),
        (float, 3, 3.0),
        (float, 0.5, 0.5),
        (bool, True, True),
        (str, "3", "3"),
        (int | None, "none", None),
        (int | None, None, None),
        (Literal["a", "b"], "b", "b"),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple[int, ...], [], ()),
        (str | tuple[str, ...], ["a"], ("a",)),
        (str | tuple[str, ...], "a", "a"),
        (Make[Score] | None, "none", None),
        (dict[str, float], {"a.*": 1, "b": 0.5}, {"a.*": 1.0, "b": 0.5}),
        (dict[str, float] | None, {}, {}),
        (dict[str, float] | None, "none", None),
    ],
)
def test_values_are_read(hint, value, expected):
    found = read(hint, value, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("hint", "value", "headline", "fix"),
    [
        (int, "4k", "x: expected a whole number, found '4k'", "x=4000"),
        (int, "1_000", "x: expected a whole number, found '1_000'", "x=1000"),
        (int, 1.5, "x: expected a whole number, found 1.5", "x takes a whole number"),
        (int, True, "x: expected a whole number, found True", "x takes a whole number"),
        (bool, 1, "x: expected true or false, found 1", "x takes true or false"),
        (float, "fast", "x: expected a number, found 'fast'", "x takes a number"),
        (str, 1, "x: expected text, found 1", "x takes text"),
        (int | None, "no", "x: expected a whole number or \"none\", found 'no'", 'x takes a whole number or "none"'),
        (Literal["pre", "post"], "past", "x: expected 'pre' or 'post', found 'past'", "did you mean post?"),
        (tuple[int, ...], [1, "2"], "x: expected a list, found [1, '2']", "x takes a list"),
        (dict[str, float], {"a.*": "fast"}, "x.\"a.*\": expected a number, found 'fast'", 'x."a.*" takes a number'),
        (dict[str, float] | None, 3, 'x: expected a table or "none", found 3', 'x takes a table or "none"'),
        (Make[Cell], 3, "x should be a name or a table with a name, found 3", 'x = "elman"'),
        (Make[Cell], {"dim": 3}, "x should be a name or a table with a name, found {'dim': 3}", 'x = "elman"'),
    ],
)
def test_values_of_another_type_are_refused(hint, value, headline, fix):
    assert refusal(partial(read, hint, value, "x")) == ("C013", headline, [fix], headline.partition(" should")[0].partition(": ")[0])


def test_settings_are_checked_before_anything_is_built():
    assert settings(Lstm, {"forget_bias": 2}, "encoder.cell") == {"forget_bias": 2.0}
    found = refusal(partial(choose, Decoder, "recurrent", "decoder", score={"name": "additive", "hiden": 5}))
    assert found == ("C011", "unknown setting decoder.score.hiden", ["did you mean hidden?"], "decoder.score.hiden")
    assert refusal(partial(settings, Lstm, {"self": 1}, "cell"))[1] == "unknown setting cell.self"
    assert refusal(partial(settings, Transformer, {"vocab": 1}, "encoder"))[1] == "unknown setting encoder.vocab"


def test_a_knob_of_a_part_that_is_there_anyway_needs_no_name():
    made = settings(Recurrent, {"score": {"hidden": 7}}, "decoder")["score"]
    assert write(made) == {"name": "additive", "hidden": 7}


def test_a_part_that_cannot_be_built_says_where_it_stands():
    encoder = choose(Encoder, "transformer", "encoder", heads=3, dim=32)
    found = refusal(partial(encoder, 10))
    assert found == ("C012", "encoder: heads = 3 does not divide dim = 32", ["heads could be 1, 2, 4, 8, 16"], "encoder.heads")
    decoder = choose(Decoder, "recurrent", "decoder", dim=8, score={"name": "dot"})
    code, headline, _, setting = refusal(partial(decoder, 10, 6))
    assert (code, setting) == ("C012", "decoder.score")
    assert headline.startswith("decoder.score: ")


def test_what_was_chosen_can_be_written_and_read_again():
    made = choose(Decoder, "recurrent", "decoder", cell={"name": "lstm", "forget_bias": 2.0}, score="none", dim=64)
    table = write(made)
    assert (table["name"], table["cell"], table["score"], table["dim"]) == ("recurrent", {"name": "lstm", "forget_bias": 2.0}, "none", 64)
    assert table.keys() == {"name", *knobs(Recurrent)}
    name = table.pop("name")
    assert write(choose(Decoder, name, "decoder", **table)) == {"name": name, **table}
    assert write_settings(Lstm) == {"forget_bias": 1.0}
