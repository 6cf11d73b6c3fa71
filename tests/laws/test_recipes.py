"""Recipes all parse, build at size tiny, and learn eight examples by heart."""

import copy
import math
import tomllib

import pytest
import torch

from saccade.decoders import Decoder
from saccade.families import find
from saccade.recipe import from_table, read_recipe, shipped
from saccade.tasks import Splits
from saccade.types import detach, to

from .. import toys

RECIPES = sorted(path.stem for path in shipped().glob("*.toml"))
TABLES = {name: tomllib.loads((shipped() / f"{name}.toml").read_text(encoding="utf-8")) for name in RECIPES}
TRANSLATING = [name for name in RECIPES if TABLES[name]["task"] == "translate"]
LANGUAGE_MODELS = [name for name in RECIPES if TABLES[name]["task"] == "language_model"]
COUNTING = [name for name, table in TABLES.items() if "decoder" in table and find(Decoder, table["decoder"]["name"]).learns == "counts"]
TINY = {"dim": 32, "layers": 1, "heads": 2, "feed_forward": 64, "embedding": 32, "bottleneck": 16, "dropout": 0.0}


def small(table):
    """The same recipe with every size small and no dropout; which parts it has stays as it is."""
    for side in ("encoder", "decoder"):
        table[side] = {key: TINY.get(key, value) for key, value in table[side].items()} | {"dropout": 0.0}
        if isinstance(table[side].get("score"), dict):
            table[side]["score"] = {**table[side]["score"], "hidden": 32}
    if table["tokenizer"] != "words":
        table["tokenizer"] = "characters"
    table["target_tokenizer"] = table.get("target_tokenizer", "none") if table.get("target_tokenizer") == "none" else "characters"
    return table


def test_there_are_recipes():
    assert {"sutskever2014", "bahdanau2015", "luong2015", "vaswani2017", "multi30k-transformer", "cmudict-spelling"} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_being_written_and_read(name):
    recipe = read_recipe(name)
    assert from_table(tomllib.loads(recipe.to_toml())).to_toml() == recipe.to_toml()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_begins_by_saying_what_it_is(name):
    first, second = (shipped() / f"{name}.toml").read_text(encoding="utf-8").split("\n")[:2]
    assert first.startswith("# ")
    assert second == "#"


@pytest.mark.parametrize("name", COUNTING)
def test_a_recipe_that_counts_expects_what_it_has_read(name):
    """More than anything else, and at once."""
    task = read_recipe(name).task()
    raw = [" ".join(pair.source) for pair in toys.pairs(8)]
    task.learn(Splits(raw, [], []))
    model = task.build()

    def nats(texts):
        loss = task.loss(model, task.examples(texts).batch(list(range(8))), 0.0, 1.0, torch.Generator())
        return float(loss.nll / loss.count)

    before = nats(raw)
    assert before == pytest.approx(math.log(task.tokenizer.size - 2))
    assert task.fit(model, task.examples(raw))
    assert nats(raw) < min(nats([line[::-1] for line in raw]), before) - 0.3


@pytest.mark.parametrize("name", TRANSLATING)
def test_a_recipe_learns_eight_examples_by_heart(name):
    table = small(copy.deepcopy(TABLES[name]))
    task = from_table(table).task()
    raw = [pair._replace(source=" ".join(pair.source)) for pair in toys.pairs(8)]
    task.learn(Splits(raw, [], []))
    torch.manual_seed(0)
    model = task.build()
    batch = task.examples(raw).batch(range(8))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(400):
        loss = task.loss(model, to(batch, "cpu"), 0.0, 1.0, torch.Generator())
        optimizer.zero_grad()
        (loss.total / loss.count).backward()
        optimizer.step()
        if loss.total < 0.002 * loss.count:
            break
    said = [answers[0].text for answers in task.predict(model, [pair.source for pair in raw], from_table(table).search)]
    assert said == [pair.target for pair in raw]


@pytest.mark.parametrize("name", [name for name in LANGUAGE_MODELS if name not in COUNTING])
def test_a_recipe_learns_eight_lines_by_heart(name):
    """A single layer of convolutions would not hear enough of them; weights drawn for wide layers would let nothing through small ones."""
    table = copy.deepcopy(TABLES[name])
    sizes = TINY | ({"layers": 4} if table["decoder"]["name"] == "convolutional" else {})
    table["decoder"] = {key: sizes.get(key, value) for key, value in table["decoder"].items() if key != "uniform"} | {"dropout": 0.0}
    lines = [" ".join(pair.source) for pair in toys.pairs(8)]
    task = from_table({**table, "tokenizer": "characters", "context": 16}).task()
    task.learn(Splits(lines, [], []))
    torch.manual_seed(0)
    model, examples = task.build(), task.examples(lines)
    # scores of relative positions begin as noise: a higher rate would carry them away
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003 if table["decoder"].get("position") == "relative" else 0.005)
    for _ in range(400):
        carried = None
        for places in examples.plan(16, 0, 0):
            loss, carried = task.carried_loss(model, examples.batch(places.tolist()), detach(carried), 0.0, 1.0, torch.Generator())
            optimizer.zero_grad()
            (loss.total / loss.count).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        if loss.nll < 0.05 * loss.count:
            break
    assert loss.nll / loss.count < 0.1
