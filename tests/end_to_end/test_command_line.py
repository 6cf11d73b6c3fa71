"""The command line from end to end: results on stdout, messages on stderr, the same answers as in Python."""

import io
import json
import os
import signal
import subprocess
import sys
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors import safe_open

import saccade
from saccade import cli, listing
from saccade.families import members
from saccade.recipe import from_table, read_recipe, shipped
from saccade.run import Run, load, plain
from saccade.search import Search
from saccade.text.corpus import read_tsv
from saccade.training.checkpoint import save_model, weights_of

from .. import toys

VERBS = sorted(command.name or command.callback.__name__ for command in cli.app.registered_commands)
WORDS = ["abc", "", "gfedc", "ab"]
RECIPE = """
task = "translate"
tokenizer = "characters"
metrics = ["exact", "chrf"]
data = { folder = "FOLDER", train = "toy.tsv", valid_share = 0.1, test_share = 0.1 }
search = { beam = 2, longest_ratio = 1.0, longest_extra = 4 }

[encoder]
name = "recurrent"
dim = 24
dropout = 0.1

[decoder]
name = "recurrent"
dim = 24
dropout = 0.1

[training]
steps = 24
tokens_per_batch = 96
learning_rate = 1e-2
schedule = "constant"
evaluate_every = 10
report_every = 4
precision = "float32"
device = "cpu"
"""


class Said(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def run(*words: str | Path, stdin: bytes = b"") -> Said:
    """`saccade WORDS < stdin` in this process; an exception that is not a message fails the test."""
    out, err = io.StringIO(), io.StringIO()
    arguments = ["saccade", *map(str, words)]
    before = signal.getsignal(signal.SIGPIPE)
    with mock.patch.object(sys, "argv", arguments), mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))):
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
                cli.main()
        finally:
            signal.signal(signal.SIGPIPE, before)
    assert "Traceback" not in err.getvalue()
    return Said(left.value.code or 0, out.getvalue(), err.getvalue())


def write_recipe(folder: Path, **changed: str) -> Path:
    """The recipe of these tests and its data, in `folder`; `changed` are lines to replace, by their first word."""
    toys.write(folder / "toy.tsv", 80)
    lines = RECIPE.strip().replace("FOLDER", str(folder)).split("\n")
    path = folder / "toy.toml"
    path.write_text("\n".join(changed.pop(line.split(" ")[0], line) for line in lines) + "\n", encoding="utf-8")
    assert not changed
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Said]:
    """A run, and what training it said."""
    folder = tmp_path_factory.mktemp("trained")
    said = run("train", write_recipe(folder), "--run", folder / "run")
    return folder / "run", said


@pytest.fixture(scope="module")
def model(trained) -> saccade.Model:
    return load(trained[0])


def test_training_leaves_a_run_and_says_what_to_do_next(trained):
    path, said = trained
    assert (said.status, said.out) == (0, "")
    for part in ("Reading", "Split", "Tokens", "train loss", "valid loss", "best", "ok  done in", f"saccade predict {path}", "exact|case:mixed"):
        assert part in said.err
    assert sorted(entry.name for entry in path.iterdir() if entry.is_file()) == [
        "begun.json", "metrics.jsonl", "model.safetensors", "recipe.toml", "report.html", "test.json", "tokenizers.safetensors",
    ]  # fmt: skip
    events = [json.loads(line)["event"] for line in (path / "metrics.jsonl").read_text().splitlines()]
    assert events.count("evaluation") == 3
    assert events[-1] == "stopped"


def test_a_finished_run_can_go_on(trained, tmp_path):
    path = tmp_path / "run"
    subprocess.run(["cp", "-r", trained[0], path], check=True)
    before = (path / "model.safetensors").read_bytes()
    assert run("resume", path).status == 0
    assert (path / "model.safetensors").read_bytes() == before
    said = run("resume", path, "training.steps=26")
    assert said.status == 0
    assert f"Resuming   {path} at step 24 of 26" in said.err
    assert Run.open(path).step == 26


def test_the_score_of_a_run_is_the_one_that_training_wrote(trained, model):
    path = trained[0]
    said = run("test", path, "--json")
    assert (said.status, said.err) == (0, "")
    assert json.loads(said.out) == json.loads((path / "test.json").read_text())
    lines = run("test", path).out.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["exact", "chrF2"]
    assert all("|" in line for line in lines)
    files = [path.parent / "test.source", path.parent / "test.target"]
    for side, file in enumerate(files):
        file.write_text("".join(f"{pair[side]}\n" for pair in Run.open(path).splits.test), encoding="utf-8")
    assert json.loads(run("test", path, *files, "--json").out) == json.loads(said.out)
    assert run("test", path, path.parent / "toy.tsv", "--beam", "1").out.startswith("exact")


def test_a_recorded_score_can_be_had_again(trained, model):
    records = map(json.loads, (trained[0] / "metrics.jsonl").read_text().splitlines())
    best = next(record for record in records if record["event"] == "evaluation" and record["step"] == model.about["step"])
    greedy = Search(beam=1, length_penalty=0.0, longest_ratio=1.0, longest_extra=4)
    again = model.test(Run.open(trained[0]).splits.valid, search=greedy)
    assert [score.value for score in again] == [score["value"] for score in best["scores"]] == [score["value"] for score in model.about["valid"]]


def test_answers_come_in_order_from_stdin_arguments_and_files(trained, model, tmp_path):
    path = trained[0]
    expected = [answer.text for answer in model.predict(WORDS)]
    assert expected[1] == ""
    assert all(expected[i] for i in (0, 2, 3))
    text = "\n".join(WORDS) + "\n"
    said = run("predict", path, stdin=text.encode())
    assert said == (0, "".join(f"{line}\n" for line in expected), "")
    assert run("predict", path, stdin=b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode().rstrip()).out == said.out
    (tmp_path / "words.txt").write_text(text, encoding="utf-8")
    assert run("predict", path, tmp_path / "words.txt").out == said.out
    assert run("predict", path, *WORDS).out == said.out
    assert run("predict", path / "model.safetensors", "abc").out == f"{expected[0]}\n"


def test_more_answers_with_their_scores(trained, model):
    path = trained[0]
    best = model.predict(["abc"], search=Search(beam=3, longest_ratio=1.0, longest_extra=4))[0].alternatives
    rows = [line.split("\t") for line in run("predict", path, "abc", "--n-best", "3", "--scores").out.splitlines()]
    assert rows == [[str(rank), said.text, f"{said.score:.4f}"] for rank, said in enumerate(best, 1)]
    assert len({row[1] for row in rows}) == 3
    assert [len(line.split("\t")) for line in run("predict", path, "abc", "--scores").out.splitlines()] == [2]
    found = [json.loads(line) for line in run("predict", path, "abc", "ab", "--n-best", "2", "--json").out.splitlines()]
    assert [(row["source"], row["rank"]) for row in found] == [("abc", 1), ("abc", 2), ("ab", 1), ("ab", 2)]
    assert set(found[0]) == {"source", "rank", "text", "score", "complete"}


def test_an_answer_can_be_made_to_begin_with_something(trained):
    answers = run("predict", trained[0], "abc", "gfe", "--prefix", "ff", "--n-best", "2").out.splitlines()
    assert len(answers) == 4
    assert all(answer.split("\t")[1].startswith("ff") for answer in answers)


@pytest.mark.parametrize("ending", ["html", "json", "png"])
def test_a_picture_of_where_the_model_looked(trained, tmp_path, ending):
    path = tmp_path / f"look.{ending}"
    said = run("predict", trained[0], "abc", "ab", "--attention", path)
    assert (said.status, said.out.count("\n")) == (0, 2)
    assert said.err.startswith(f"wrote {path}\n")
    content = path.read_bytes()
    assert content.startswith({"html": b"<!doctype html>", "json": b'{"format":"saccade-attention"', "png": b"\x89PNG"}[ending])
    if ending == "json":
        looks = json.loads(content)["looks"]
        assert [look["source"] for look in looks] == ["abc", "ab"]
        assert np.array(looks[0]["layers"][0]["heads"][0]).shape == (len(said.out.split("\n")[0]) + 1, 4)


def test_an_empty_answer_has_a_picture_too(trained, tmp_path):
    said = run("predict", trained[0], "--attention", tmp_path / "look.json", stdin=b"\nabc\n")
    assert (said.status, said.out.split("\n")[0]) == (0, "")
    looks = json.loads((tmp_path / "look.json").read_text(encoding="utf-8"))["looks"]
    assert np.array(looks[0]["layers"][0]["heads"][0]).shape == (1, 1)


def test_the_same_in_python(trained):
    answer = saccade.load(trained[0]).predict(["abc"])[0]
    assert answer.text == run("predict", trained[0], "abc").out.rstrip("\n")
    look = answer.attention
    assert (look.source, look.output) == ("abc", answer.text)
    weights = look.weights["decoder.cross_attention"]
    assert weights.shape == (1, len(answer.text) + 1, 4)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-5)
    with pytest.raises(TypeError, match="predict takes a list"):
        saccade.load(trained[0]).predict("abc")


@pytest.mark.parametrize(("kind", "tokenizer"), [("recurrent", "characters"), ("transformer", "characters"), ("recurrent", "bytes"), ("transformer", "words")])
def test_a_model_says_the_same_after_it_was_saved(tmp_path, kind, tokenizer):
    parts = {side: {"name": kind, "dim": 16, "layers": 1} for side in ("encoder", "decoder")}
    recipe = from_table({**toys.TABLE, **parts, "tokenizer": tokenizer})
    task = recipe.task()
    task.learn(saccade.tasks.Splits(toys.pairs(30), [], []))
    network = task.build()
    before = task.predict(network, ["abc", "gg", "de f"], recipe.search)
    save_model(tmp_path / "model.safetensors", weights_of(network), task.state(), {"recipe": plain(recipe), "step": 0, "valid": []})
    after = load(tmp_path / "model.safetensors", device="cpu").predict(["abc", "gg", "de f"])
    assert [answer.alternatives for answer in after] == before


def test_a_model_file_says_nothing_about_the_place_it_was_made_in(trained):
    path = trained[0]
    with safe_open(path / "model.safetensors", framework="pt") as file:
        header = json.dumps(file.metadata())
    assert "data" not in json.loads(json.loads(header)["saccade"])["recipe"]
    for secret in (str(path.parent), path.parent.name, os.path.expanduser("~/"), "toy.tsv"):
        assert secret not in header


def test_list_names_every_family_and_every_member():
    lines = run("list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(listing.FAMILIES)
    for line, (name, package) in zip(lines, listing.FAMILIES.items(), strict=True):
        assert line.split()[1:] == members(package)
        shown = run("list", name)
        assert (shown.status, shown.err) == (0, "")
        assert [row.split()[0] for row in shown.out.splitlines() if not row.startswith(" ")] == members(package)
    assert "heads = 4" in run("list", "encoders").out
    assert [row.split()[0] for row in run("list", "recipes").out.splitlines()] == sorted(path.stem for path in shipped().glob("*.toml"))


def test_show_spells_out_a_run_a_model_and_a_recipe(trained):
    path = trained[0]
    said = run("show", path)
    assert said.out == run("show", path / "model.safetensors").out
    assert said.out.startswith(f"# saccade {saccade.__version__}, step ")
    assert tomllib.loads(said.out)["encoder"]["dim"] == 24
    assert run("show", "bahdanau2015").out == read_recipe("bahdanau2015").to_toml()
    assert run("show", path / "recipe.toml").out == (path / "recipe.toml").read_text(encoding="utf-8")


def test_doctor_and_version():
    assert run("doctor").out.startswith(f"saccade {saccade.__version__}   Python {sys.version_info.major}.")
    assert run("--version") == (0, f"saccade {saccade.__version__}\n", "")
    assert torch.__version__ in run("doctor").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    said = run(verb, "--help")
    assert (said.status, said.err) == (0, "")
    assert said.out.lstrip().startswith(f"Usage: saccade {verb} ")
    assert f"  {verb} " in run("--help").out


def test_help_needs_no_torch():
    script = "import sys; from saccade.cli import main\ntry: main()\nexcept SystemExit: assert 'torch' not in sys.modules and 'saccade' in sys.modules"
    done = subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, cwd=Path(saccade.__file__).parent.parent, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "train" in done.stdout


def test_training_straight_from_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = ["tokenizer=characters", "training.steps=2", "training.evaluate_examples=2", "training.device=cpu", "search.beam=1", "search.longest_extra=1"]
    toys.write(tmp_path / "toy.tsv", 80)
    for side in (0, 1):
        (tmp_path / f"side{side}").write_text("".join(f"{pair[side]}\n" for pair in read_tsv("toy.tsv")), encoding="utf-8")
    said = run("train", "side0", "side1", "--size", "tiny", "--keep-first", "70", *settings)
    assert said.status == 0
    assert "resume any time with:  saccade resume runs/0001-translate" in said.err
    begun = Run.open(Path("runs/0001-translate"))
    assert sum(map(len, begun.splits)) == 70
    assert begun.recipe.to_toml().count("dim = 32") == 2
    assert run("train", "toy.tsv", "--size", "tiny", *settings).status == 0
    assert sorted(path.name for path in Path("runs").glob("[0-9]*")) == ["0001-translate", "0002-translate"]
