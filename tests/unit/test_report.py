"""The report of a run: true to what the run left behind, closed to the world, and text in it stays text."""

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from saccade.errors import ModelError
from saccade.recipe import from_table
from saccade.run import Run, load
from saccade.serving.drawing import Line, _ticks, curves, heat_map, number
from saccade.serving.looks import WordLook
from saccade.serving.pages import hashed
from saccade.serving.report import read_log, settings_of, write_report
from saccade.serving.worst import texts_of, worst
from saccade.text.corpus import Pair
from saccade.training.log import Log

from .. import toys
from .test_picture import HOSTILE

TAGS = {
    "html", "head", "meta", "title", "link", "style", "body", "header", "svg", "path", "circle", "div", "h1", "h2", "p", "main", "section", "dl",
    "dt", "dd", "span", "code", "figure", "figcaption", "b", "text", "g", "rect", "table", "thead", "tbody", "tr", "th", "td", "ol", "li", "small",
    "details", "summary", "footer", "wbr",
}  # fmt: skip


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.pieces: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["wbr"]:  # a place where a word may be broken, and not the end of it
            self.tags.append("")
            self.pieces[-1] += data
        else:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.pieces).split())


def train(folder: Path, **changed: object) -> Path:
    run = Run.begin(toys.recipe(folder, **changed), folder / "0001-toy")
    log = Log(run.path)
    for event in run.train():
        log.write(event)
    return run.path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of twelve steps with two metrics, tested."""
    path = train(tmp_path_factory.mktemp("report"), metrics=["exact", "chrf"])
    scores = load(path).test(Run.open(path).splits.test)
    (path / "test.json").write_text(json.dumps([score._asdict() for score in scores]))
    return path


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / finished.name))


@pytest.fixture(scope="module")
def page(finished) -> Page:
    return Page(write_report(finished).read_text(encoding="utf-8"))


def test_the_page_stands_in_the_run_and_says_how_good_it_is(finished, page):
    assert (finished / "report.html").is_file()
    for score in json.loads((finished / "test.json").read_text()):
        assert f"{score['name']} on test data {score['value']:.2f} {score['signature']}" in page.text
    best = [record for record in read_log(finished / "metrics.jsonl") if record.get("best")][-1]
    assert f"The model kept is that of step {best['step']}, the best by the validation data." in page.text


def test_the_page_shows_every_curve_and_every_evaluation(finished, page):
    assert page.tags.count("figure") == 6
    for title in ("Loss", "exact, validation", "chrF2, validation", "Learning rate", "Gradient norm", "Tokens per second"):
        assert title in page.text
    evaluations = [record for record in read_log(finished / "metrics.jsonl") if record["event"] == "evaluation"]
    assert len(evaluations) == 3
    for record in evaluations:
        assert f"{record['train_loss']:.4f} {record['valid_loss']:.4f} {record['scores'][0]['value']:.2f}" in page.text


def test_the_page_tells_machine_weights_and_the_hashes_of_the_data(finished, page):
    started = read_log(finished / "metrics.jsonl")[0]
    files = json.loads((finished / "begun.json").read_text())["files"]
    assert f"{started['weights']:,} weights" in page.text
    assert "Trained on cpu, float32" in page.text
    assert [f"{Path(name).name} {sha}" in page.text for name, sha in files.items()] == [True]
    assert str(finished.parent) not in page.text


def test_the_page_needs_nothing_and_runs_nothing(finished, page):
    text = (finished / "report.html").read_text(encoding="utf-8")
    policy = next(value for name, value in page.attributes if name == "content" and value and value.startswith("default-src 'none'"))
    style = re.search(r"<style>(.*?)</style>", text, re.S)[1]
    assert f"style-src '{hashed(style)}'" in policy
    assert set(page.tags) <= {*TAGS, ""}
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("style", "src", "srcset", "action")]
    assert {value for name, value in page.attributes if name == "href"} == {"data:,"}
    assert "url(" not in style
    assert "@import" not in style


def test_any_text_stays_text(tmp_path):
    pairs = [*toys.pairs(4), *(Pair(f"{text} {i}".replace("\n", " "), text) for i, text in enumerate(HOSTILE) if text.isprintable())]
    lines = [f"{pair.source}\t{pair.target}\n" for pair in pairs]
    (tmp_path / "hostile.tsv").write_text("".join(lines), encoding="utf-8")
    data = {"train": "hostile.tsv", "valid": "hostile.tsv", "test": "hostile.tsv"}
    path = train(tmp_path, data=data, training={"steps": 2, "evaluate_every": 2})
    renamed = path.rename(path.with_name("<img src=x onerror=alert(1)>"))
    found = Page(write_report(renamed).read_text(encoding="utf-8"))
    assert set(found.tags) <= {*TAGS, ""}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert found.text.startswith("<img src=x onerror=alert(1)>")
    shown = {pair.source for pair in pairs if pair.source in found.text}
    assert any("<script>" in source for source in shown) or any("<b " in source for source in shown)


def test_the_worst_come_first_by_the_first_metric(finished):
    begun, model = Run.open(finished), load(finished)
    every = worst(model, begun.splits.train, judged=12, kept=12)
    assert len(every) == 12
    ranks = [(found.score.value, found.log_probability) for found in every]
    assert ranks == sorted(ranks)
    assert [found.texts for found in worst(model, begun.splits.train, judged=12, kept=4)] == [found.texts for found in every[:4]]
    one = every[7]
    pair = Pair(one.texts[0][1], one.texts[1][1])
    assert pair in begun.splits.train
    assert one.score == model.task.metrics[0]([one.answer.text], [pair.target])
    assert one.log_probability == pytest.approx(one.answer.score / (len(one.answer.text) + 1))


def test_the_worst_are_taken_from_all_of_the_data(finished):
    begun, model = Run.open(finished), load(finished)
    found = {one.texts[0][1] for one in worst(model, begun.splits.train, judged=5, kept=5)}
    sources = [pair.source for pair in begun.splits.train]
    assert found == {sources[len(sources) * i // 5] for i in range(5)}
    assert worst(model, [], judged=5) == []


def test_a_smaller_error_rate_is_better(tmp_path):
    path = train(tmp_path, metrics=["error_rate"], training={"steps": 2})
    found = worst(load(path), Run.open(path).splits.train, judged=8)
    rates = [one.score.value for one in found]
    assert rates == sorted(rates, reverse=True)
    assert len(set(rates)) > 1


def test_examples_of_any_task_have_texts():
    assert texts_of(Pair("a", "b")) == [("source", "a"), ("target", "b")]
    assert texts_of("alone") == [("source", "alone")]


def test_where_it_looked_is_drawn_for_the_first_five(page, tmp_path):
    assert page.tags.count("details") == min(5, page.tags.count("li")) + 1
    assert "Where it looked" in page.text
    blind = train(tmp_path, decoder={"score": "none"}, training={"steps": 2})
    assert "Where it looked" not in write_report(blind).read_text(encoding="utf-8")


def test_a_heat_map_tells_every_weight():
    words = WordLook(["<a>", "⏎"], ["x", "⏎"], np.array([[0.25, 0.75], [1.0, 0.0]]))
    found = Page(heat_map(words))
    assert found.pieces.count("<a>") == 1
    assert [piece for piece in found.pieces if "looked at" in piece] == [
        "x looked at <a>: 0.25",
        "x looked at ⏎: 0.75",
        "⏎ looked at <a>: 1.00",
        "⏎ looked at ⏎: 0.00",
    ]
    assert [value for name, value in found.attributes if name == "fill-opacity"] == ["0.250", "0.750", "1.000", "0.000"]


def test_what_was_done_over_again_counts_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    told = [("started", 0), ("step", 5), ("evaluation", 5), ("step", 10), ("evaluation", 10), ("step", 15)]
    told += [("started", 10), ("step", 20), ("evaluation", 20), ("evaluation", 20)]
    path.write_text("".join(json.dumps({"event": event, "step": step}) + "\n" for event, step in told) + '{"event": "step", "st')
    kept = [(record["event"], record["step"]) for record in read_log(path)]
    assert kept == [*told[:5], *told[6:]]
    with path.open("a") as file:
        file.write("\n[1]\n" + json.dumps({"event": "step", "step": 10}) + "\n")  # gone back after trouble
    assert [(record["event"], record["step"]) for record in read_log(path)] == [*told[:3], ("started", 10), ("step", 10)]
    assert read_log(tmp_path / "none.jsonl") == []


def test_settings_that_differ_are_marked_beside_the_defaults_of_their_own_part(tmp_path):
    recipe = toys.recipe(tmp_path, encoder={"name": "recurrent", "dim": 24}, training={"schedule": {"name": "one_cycle", "warmup_share": 0.4}})
    found = {setting.name: setting[1:] for setting in settings_of(recipe)}
    assert found["encoder"] == ("recurrent", "transformer")
    assert found["encoder.dim"] == ("24", "256")
    assert found["encoder.layers"] == ("1", "1")
    assert found["training.steps"] == ("12", "3000")
    assert found["training.schedule"] == ("one_cycle", "one_cycle")
    assert found["training.schedule.warmup_share"][0] == "0.4" != found["training.schedule.warmup_share"][1]
    assert found["share_embeddings"] == ("true", "true")
    assert found["data.folder"] == (tmp_path.name, ".")
    assert all(setting.value == setting.default for setting in settings_of(from_table({})))


def test_only_settings_that_differ_stand_outside_of_the_fold(finished):
    text = write_report(finished).read_text(encoding="utf-8")
    section = text[text.index('id="settings"') : text.index('id="ground"')]
    before, _, after = section.partition("<details>")
    assert "training.<wbr>steps" in before
    assert "training.<wbr>clip" not in before
    assert "training.<wbr>clip" in after


def test_what_is_gone_is_left_out_and_the_page_says_why(run):
    (run / "test.json").unlink()
    table = (run / "recipe.toml").read_text(encoding="utf-8")
    folder = re.search(r'folder = "(.*)"', table)[1]
    (run / "recipe.toml").write_text(table.replace(folder, str(run / "away")), encoding="utf-8")
    text = Page(write_report(run).read_text(encoding="utf-8")).text
    assert "It was not scored on test data." in text
    assert "exact on validation data" in text
    assert "Not shown: cannot resume exactly: 1 data file changed since the run began." in text
    assert "The data files are not where they were." in text


def test_a_run_that_was_only_begun_has_a_page(tmp_path):
    begun = Run.begin(toys.recipe(tmp_path), tmp_path / "begun")
    text = Page(write_report(begun.path).read_text(encoding="utf-8")).text
    assert "Nothing was evaluated yet." in text
    assert "Nothing was trained yet." in text
    assert f"Not shown: there is no model at {begun.path}/model.safetensors." in text


def test_no_run_no_report(tmp_path):
    with pytest.raises(ModelError) as raised:
        write_report(tmp_path)
    assert str(raised.value) == f"error[M001] there is no run at {tmp_path}\n  fix   a directory that saccade train made: it has a recipe.toml"


def test_curves_are_drawn_of_finite_numbers_only():
    assert curves("none", [Line("a", []), Line("b", [(1, math.nan)])]) == ""
    found = Page(curves("A < B", [Line("x", [(0, 1.0), (50, math.inf), (100, 3.0)])]))
    assert "step 0: x 1" in found.text
    assert "step 100: x 3" in found.text
    assert "step 50" not in found.text
    places = [float(value) for name, value in found.attributes if name in ("cx", "cy")]
    assert places[0:2] == [46.0, 176.0]
    assert places[-2:] == [350.0, 10.0]


def test_a_long_line_is_averaged_and_ends_where_it_ends():
    found = Page(curves("long", [Line("x", [(float(step), 2.0) for step in range(1, 1001)])]))
    assert found.tags.count("title") <= 160
    assert "step 1,000: x 2" in found.text


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (2.3, 2.3), (0.0, 0.0), (-5.0, -1.2), (1e-9, 3e-4), (9_900.0, 10_100.0), (-1e-3, 1e6), (99.0, 100.0)])
def test_ticks_are_round_few_and_around_all_values(low, high):
    ticks = _ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert ticks[0] <= low + 1e-9 * abs(low)
    assert ticks[-1] >= high - 1e-9 * abs(high)
    assert len({number(tick) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(("value", "said"), [(0, "0"), (1.6e-8, "1.6e-8"), (1e-4, "1e-4"), (0.00123456, "0.001235"), (12.3456, "12.35"), (123456.7, "123,457")])
def test_numbers_are_short(value, said):
    assert number(value) == said
