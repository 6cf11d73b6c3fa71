"""The range test says which rates teach, and leaves nothing behind."""

import json
import math
import xml.etree.ElementTree as ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from saccade.errors import ResourceError, UsageError
from saccade.run import Run
from saccade.serving.chart import draw, write_range_test
from saccade.training.range_test import RangeTest, judged, range_test

from .. import toys

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("range")
    return Run.begin(toys.recipe(folder, training={"tokens_per_batch": 256}), folder / "run")


def rising(run: Run, **asked) -> RangeTest:
    return range_test(run.task, run.splits, run.recipe.training, **{"steps": 60, "low": 1e-5, "high": 10.0, **asked})


def test_a_real_model_learns_at_the_suggested_rates(run):
    found = rising(run)
    assert found.low < found.steepest
    assert found.low < found.high
    best = min(found.smoothed)
    assert found.smoothed[found.rates.index(found.high)] < found.smoothed[0] - 0.8 * (found.smoothed[0] - best)
    assert found.smoothed[found.rates.index(found.low)] > found.smoothed[0] - 0.2 * (found.smoothed[0] - best)
    assert found.tenth == pytest.approx(found.rates[found.smoothed.index(best)] / 10)


def test_the_rate_rises_as_it_was_asked_to(run):
    found = rising(run, steps=11, low=1e-4, high=1e-2)
    assert found.rates == pytest.approx([1e-4 * 10 ** (step / 5) for step in range(11)])
    assert rising(run, steps=11, low=1e-4, high=1e-2, rise="linear").rates == pytest.approx([1e-4 + 99e-5 * step for step in range(11)])
    assert len(found.rates) == len(found.losses) == len(found.smoothed)


def test_its_first_updates_are_those_of_training_with_these_rates(run, tmp_path):
    """A loss is taken before the update of its rate: the second one has seen the first rate, and no other."""
    one, two = rising(run, steps=10, low=1e-3, high=1.0), rising(run, steps=10, low=1e-3, high=0.5)
    assert one.losses[:2] == two.losses[:2]
    assert one.losses[2] != two.losses[2]


def test_it_leaves_nothing_behind(run):
    def everything(folder: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before, state = everything(run.path.parent), torch.get_rng_state()
    assert rising(run, steps=12).losses == rising(run, steps=12).losses
    assert everything(run.path.parent) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert rising(run, steps=12, seed=2).losses != rising(run, steps=12).losses


@pytest.mark.parametrize(("poison", "factor"), [(math.nan, math.nan), (None, 30.0)])
def test_an_explosion_ends_it(run, monkeypatch, poison, factor):
    loss, calls = run.task.loss, iter(range(1000))

    def exploding(*arguments):
        found = loss(*arguments)
        return found._replace(total=found.total * (factor if next(calls) >= 20 else 1.0))

    monkeypatch.setattr(run.task, "loss", exploding)
    found = rising(run)
    assert found.exploded
    assert len(found.rates) == len(found.losses) == (21 if poison is not None else 22)
    assert json.loads(found.to_json())["losses"][-1] == (None if poison is not None else found.losses[-1])


def test_a_curve_with_known_turns():
    rates = [10 ** (step / 20 - 5) for step in range(100)]  # 1e-5 to 1: flat, down from 1e-3 to 1e-2, flat, up
    losses = [3.0 if rate < 1e-3 else 3 - 2 * math.log10(rate / 1e-3) if rate < 1e-2 else 1.0 + 10 * max(0.0, rate - 0.1) for rate in rates]
    found = judged(rates, losses, False, 100)
    assert found.low == pytest.approx(10**-2.9, rel=0.2)
    assert found.high == pytest.approx(10**-2.1, rel=0.2)
    assert 10**-2.9 < found.steepest < 10**-2.1
    assert 10**-2.9 < found.tenth < 10**-1.9
    falling = judged(rates, [3.0 - step / 100 for step in range(100)], False, 100)
    assert (falling.low < falling.high, falling.tenth) == (True, pytest.approx(rates[-1] / 10))


@pytest.mark.parametrize("losses", [[3.0] * 30, [3.0 + step for step in range(30)], [math.nan], [math.inf]])
def test_where_nothing_is_learned_nothing_is_suggested(losses):
    found = judged([1e-4 * 1.2**step for step in range(len(losses))], losses, False, 30)
    assert (found.steepest, found.tenth, found.low, found.high) == (None, None, None, None)


@pytest.mark.parametrize(
    ("asked", "headline", "fix"),
    [
        ({"low": 0.0}, "rates from 0.0 to 10.0: the first must be above 0 and below the second", "low=1e-7, high=1.0"),
        ({"low": 10.0}, "rates from 10.0 to 10.0: the first must be above 0 and below the second", "low=1e-7, high=1.0"),
        ({"steps": 9}, "steps = 9; it must be at least 10", "steps=200"),
    ],
)
def test_impossible_tests_are_refused(run, asked, headline, fix):
    with pytest.raises(UsageError) as caught:
        rising(run, **asked)
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"]) == ("C012", headline, [fix])


# ---- what is written


def test_data_and_picture_are_written(tmp_path):
    found = RangeTest((1e-3, 1e-2, 1e-1), (3.0, 2.0, math.inf), (3.0, 2.0), True, None, 1e-3, 2e-3, 3e-3)
    paths = write_range_test(found, tmp_path / "new")
    assert [path.name for path in paths] == ["range-test.json", "range-test.svg"]
    said = json.loads(paths[0].read_text())
    assert (said["format"], said["losses"], said["high"], said["steepest"]) == ("saccade-range-test", [3.0, 2.0, None], 3e-3, None)
    texts = [text.text for text in ElementTree.parse(paths[1]).iter(f"{SVG}text")]
    assert {"low 0.002", "a tenth of the best 0.001", "high 0.003", "each update", "smoothed", "1e-2"} <= set(texts)
    assert not any(text.startswith("steepest") for text in texts)
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write"):
        write_range_test(found, tmp_path / "file")


def points(svg: str) -> list[list[tuple[float, float]]]:
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in ElementTree.fromstring(svg).iter(f"{SVG}polyline")]


def test_lines_are_drawn_to_scale():
    (line,) = points(draw("t", {"a": [(0, 0), (1, 10), (2, 5), (3, math.nan)]}, x="x", y="y"))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.2)
    (line,) = points(draw("t", {"a": [(0.0, 1), (0.01, 1), (0.1, 2), (1.0, 3)]}, x="x", y="y", logarithmic=True))
    assert [b[0] - a[0] for a, b in pairwise(line)] == [pytest.approx((line[-1][0] - line[0][0]) / 2, abs=0.2)] * 2
    assert points(draw("t", {"a": [], "b": [(1.0, 1.0)]}, x="x", y="y"))[0] == []


def test_names_in_a_picture_are_text():
    tree = ElementTree.fromstring(draw('<a href="x">', {"<b>&": [(0, 1), (1, 2)]}, x="&", y="<", marks={"<i>": 0.5}))
    assert {'<a href="x">', "<b>&", "&", "<", "<i>"} <= {text.text for text in tree.iter(f"{SVG}text")}
    assert {element.tag for element in tree.iter()} <= {f"{SVG}{tag}" for tag in ("svg", "rect", "text", "line", "polyline")}
