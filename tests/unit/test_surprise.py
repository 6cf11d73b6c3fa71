"""The lines that surprised a language model most, and how they are drawn."""

import math

import pytest
import torch

from saccade.recipe import from_table
from saccade.run import Model
from saccade.serving.surprise import LEVELS, drawn, surprising
from saccade.tasks import Splits

from .test_report import TAGS, Page

LINES = ["aa", "", "abab", "<b>&", "zz"]


@pytest.fixture(scope="module")
def model() -> Model:
    recipe = from_table({"task": "language_model", "tokenizer": "characters", "decoder": {"name": "recurrent", "dim": 8}})
    task = recipe.task()
    task.learn(Splits(LINES, LINES, []))
    torch.manual_seed(0)
    network = task.build()
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    return Model(recipe, task, network.eval(), {})


def test_the_costliest_lines_come_first(model):
    found = surprising(model, LINES)
    assert {one.line for one in found} == {"aa", "abab", "<b>&", "zz"}
    assert [one.cost for one in found] == sorted((one.cost for one in found), reverse=True)
    for one in found:
        assert one.cost == pytest.approx(-sum(symbol.logprob for symbol in model.explain(one.line)) / len(one.line) / math.log(2))
    assert [one.line for one in surprising(model, LINES, kept=2)] == [one.line for one in found[:2]]


def test_a_line_is_drawn_symbol_by_symbol_and_stays_text(model):
    (one,) = (found for found in surprising(model, LINES) if found.line == "<b>&")
    page = Page(drawn(one))
    assert set(page.tags) == {"span"} <= TAGS
    assert "".join(page.pieces) == "<b>&"
    levels = [int(value[1:]) for name, value in page.attributes if name == "class"]
    assert levels == [sum(math.exp(symbol.logprob) < edge for edge in LEVELS) for symbol in one.symbols]
