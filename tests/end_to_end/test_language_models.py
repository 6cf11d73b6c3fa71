"""A language model from a text to its continuation, by the command line; what is carried survives interruptions and processes."""

import json
import math
import subprocess
from pathlib import Path

import pytest
import torch

from saccade.run import Run, load
from saccade.search import Sampling
from saccade.training.checkpoint import checkpoints
from saccade.types import PAD

from ..kills import CHILD, command
from .test_bad_input import expect_refusal
from .test_command_line import Said, run, write_recipe
from .test_distributed import losses
from .test_distributed import train as train_processes
from .test_interruptions import same_end

SETTINGS = [
    "--task",
    "language_model",
    "tokenizer=characters",
    "decoder={name='recurrent', cell='lstm', dim=16}",
    "context=6",
    "training.steps=30",
    "training.tokens_per_batch=24",
    "training.evaluate_every=10",
    "training.report_every=1",
    "training.precision=float32",
    "training.device=cpu",
]


def write_text(folder: Path) -> Path:
    """Lines that repeat themselves, so that a small model learns them."""
    path = folder / "text.txt"
    path.write_text("".join(f"the {animal} sat on the {place}\n" for animal in ("cat", "dog", "hen") for place in ("mat", "sofa", "roof") * 3))
    return path


def train(folder: Path, *words: str) -> tuple[Path, Said]:
    return folder / "run", run("train", write_text(folder), *SETTINGS, *words, "--run", folder / "run")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run and its model."""
    path, said = train(tmp_path_factory.mktemp("trained"))
    assert said.status == 0, said.err
    assert "Text       read in rows of 6 symbols, the state carried on" in said.err
    return path


def test_training_carries_the_state_from_batch_to_batch(tmp_path):
    """With a rate of almost nothing the losses are those of the rows read without a cut; every epoch begins anew."""
    path, _ = train(tmp_path, "decoder.dropout=0.0", "training.learning_rate=1e-20", "training.schedule=constant", "training.clip=0.0", "training.device=cpu")
    opened = Run.open(path)
    examples, model = opened.task.examples(opened.splits.train), load(path, device="cpu").network
    plan = examples.plan(24, opened.recipe.seed, 0)
    assert 10 < len(plan) < 30
    batches = [examples.batch(places.tolist()) for places in plan]
    whole = type(batches[0])(*(torch.cat(side, 1) for side in zip(*batches, strict=True)))
    memory, state = model.decoder.start(None, len(whole.tokens))
    scores, _ = model.decoder.logprobs(whole.tokens, whole.targets, state, memory)
    pairs = zip(scores.detach().split(6, 1), whole.targets.split(6, 1), strict=True)
    expected = [-float(score[targets != PAD].mean()) for score, targets in pairs]
    expected += expected
    assert losses(path) == pytest.approx(expected[:30], abs=1e-5)


@pytest.mark.parametrize("words", [[], ["reach=10"], ["training.accumulate=2"]])
def test_a_run_that_was_stopped_goes_on_with_the_state_it_carried(tmp_path, words):
    """Stopped in the middle of an epoch, it ends with the same bytes."""
    path, _ = train(tmp_path, *words)
    other = tmp_path / "other"
    recipe = Run.open(path).recipe
    steps = iter(range(1000))
    for _ in Run.begin(recipe, other).train(lambda: next(steps) >= 8):
        pass
    assert checkpoints(other)[-1].name == "step-00000008"
    for _ in Run.open(other).train():
        pass
    assert same_end(path, other)


def test_two_processes_carry_what_one_carries(tmp_path):
    """And a run goes on in another number of processes."""
    write_text(tmp_path).rename(tmp_path / "toy.tsv")
    words = [word for word in SETTINGS if word not in ("--task", "language_model")]
    settings = ["task=language_model", *words, "decoder.dropout=0.0", "training.save_every=11"]
    settings = ["--task", "language_model", *settings[1:]]
    one, two = (train_language_model(tmp_path, str(count), count, settings) for count in (1, 2))
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    changed = train_language_model(tmp_path, "changed", 2, [*settings, "training.steps=11", "training.schedule=constant"])
    again = train_language_model(tmp_path, "again", 1, [*settings, "training.schedule=constant"])
    train_processes(tmp_path, "changed", 1, "training.steps=30", verb="resume")
    assert losses(changed) == pytest.approx(losses(again), abs=1e-4)


def train_language_model(folder: Path, name: str, processes: int, settings: list[str]) -> Path:
    """`train` of the distributed tests begins with settings for translation."""
    words = [str(folder / "toy.tsv"), *settings, "--directory", str(folder / name)]
    done = subprocess.run(command(processes, "train", *words), cwd=folder, env=CHILD, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / name


def test_it_goes_on_with_a_prompt(trained):
    said = run("predict", trained, "the cat", "--length", "30", "--temperature", "0")
    assert said.status == 0
    assert said.out == "".join(load(trained).stream("the cat", Sampling(temperature=0.0, longest=30))) + "\n"
    stopped = run("predict", trained, "the cat", "--length", "30", "--temperature", "0", "--stop", said.out[5:7])
    assert stopped.out == said.out[: said.out.index(said.out[5:7])] + "\n"
    several = run("predict", trained, "the cat", "--length", "5", "--samples", "3", "--json")
    assert [json.loads(line)["sample"] for line in several.out.splitlines()] == [1, 2, 3]
    assert run("predict", trained, "the", "--prefix", " hen", "--length", "3").out.startswith(" hen")


def test_a_stop_string_that_never_comes_is_bounded_by_the_length(trained):
    said = run("predict", trained, "the cat", "--length", "12", "--stop", "this never comes")
    assert len(said.out) == 12 + 1


def test_explaining_shows_every_symbol(trained):
    said = run("predict", trained, "the cat", "--length", "4", "--explain")
    lines = said.out.splitlines()
    assert lines[0].split() == ["symbol", "probability", "rank", "entropy", "likeliest"]
    assert len(lines) == 5
    assert all(0 <= float(line[6:].split()[0]) <= 1 for line in lines[1:])
    record = json.loads(run("predict", trained, "the cat", "--length", "4", "--explain", "--json").out)
    assert len(record["symbols"]) == 4
    assert set(record["symbols"][0]) == {"text", "start", "end", "logprob", "rank", "entropy", "alternatives"}


def test_where_it_looked_back_is_drawn(trained, tmp_path):
    words = [*SETTINGS[:3], "decoder={name='transformer', dim=8, layers=1, heads=2}", "context=8", "training.steps=2", "training.evaluate_every=2"]
    assert run("train", write_text(tmp_path), *words, "--run", tmp_path / "run").status == 0
    said = run("predict", tmp_path / "run", "the", "--length", "5", "--attention", tmp_path / "look.html")
    assert said.status == 0, said.err
    assert said.err == f"wrote {tmp_path}/look.html\n"
    assert "self_attention" in (tmp_path / "look.html").read_text()
    said = run("predict", trained, "the", "--length", "5", "--attention", tmp_path / "none.html")
    assert said.status == 2
    assert "error[C033]" in said.err


def test_scores_are_those_of_the_test(trained, tmp_path):
    text = write_text(tmp_path)
    said, tested = run("score", trained, text), json.loads(run("test", trained, text, "--json").out)
    found = [float(line.split("\t")[0]) for line in said.out.splitlines()]
    assert len(found) == len(text.read_text())
    assert math.exp(-sum(found) / len(found)) == pytest.approx(tested[0]["value"], rel=1e-3)
    assert [score["name"] for score in tested] == ["perplexity", "bits/char", "bits/word"]
    assert said.err.splitlines()[-1].endswith(f"{sum(found) / len(found):.4f} a symbol") or said.err


def test_a_text_from_stdin_is_scored_as_one(trained, tmp_path):
    text = write_text(tmp_path)
    assert run("score", trained, stdin=text.read_bytes()).out == run("score", trained, text).out


def test_an_ngram_model_is_counted_written_as_arpa_and_read_again(tmp_path):
    text = write_text(tmp_path)
    words = ["--task", "language_model", "decoder=ngram", "decoder.order=3", "tokenizer={name='words', split='spaces'}", "documents=true"]
    said = run("train", text, *words, "--run", tmp_path / "run")
    assert said.status == 0, said.err
    assert "numbers, counted" in said.err
    assert run("export", tmp_path / "run", tmp_path / "model.arpa").status == 0
    assert run("import", tmp_path / "model.arpa", tmp_path / "other.safetensors").status == 0
    before, after = (json.loads(run("test", model, text, "--json").out) for model in (tmp_path / "run", tmp_path / "other.safetensors"))
    assert [score["value"] for score in after] == pytest.approx([score["value"] for score in before], rel=1e-6)
    explained = run("predict", tmp_path / "other.safetensors", "the cat", "--explain").out.splitlines()
    assert explained[0].split()[:5] == ["symbol", "probability", "rank", "entropy", "order"]
    assert explained[1].split()[4] == "3"


# -- what people get wrong --


def test_what_cannot_be_exported(trained, tmp_path):
    expect_refusal(
        run("export", trained, tmp_path / "model.onnx"),
        2,
        f"[C028] {tmp_path}/model.onnx: no way to write .onnx",
        "a name that ends in .arpa (n-grams), .vec or .txt (word vectors)",
    )
    expect_refusal(run("export", trained, tmp_path / "x.arpa"), 2, "[C028] only a model that counts can be written as ARPA", "a model with decoder = ngram")
    expect_refusal(run("export", trained, tmp_path / "x.vec"), 2, "[C028] only word vectors can be written as text", "a model with task = word_vectors")


@pytest.mark.parametrize(
    ("option", "value", "headline"),
    [("--temperature", "-1", "temperature = -1.0"), ("--top-p", "0", "top_p = 0.0"), ("--top-k", "-3", "top_k = -3"), ("--length", "0", "longest = 0")],
)
def test_impossible_sampling(trained, option, value, headline):
    said = run("predict", trained, "the", option, value)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"error[C012] sampling: {headline}\n")


def test_a_prompt_of_unknown_symbols(trained):
    said = run("predict", trained, "жж")
    assert said.status == 2
    assert "error[C027] the model knows nothing of the prompt 'жж'" in said.err
    said = run("predict", trained, "the ж", "--length", "3")
    assert said.status == 0
    assert said.err == "warning[C027] the model never learned 1 part of the text\n  look  ж\n  note  it reads them as one unknown symbol\n"


def test_texts_that_are_no_use(tmp_path):
    empty, short = tmp_path / "empty.txt", tmp_path / "short.txt"
    empty.write_text("")
    said = run("train", empty, *SETTINGS, "--run", tmp_path / "run")
    assert said.status == 3
    assert f"error[D001] {empty} is empty" in said.err
    short.write_text("ab\ncd\nef\n")
    said = run("train", short, *SETTINGS, "context=50", "training.tokens_per_batch=50", "--run", tmp_path / "run")
    expect_refusal(said, 3, "[D036] the text has 3 symbols, one context is 50", "more text, or context=1")
    said = run("train", *SETTINGS)
    expect_refusal(said, 2, "[C004] 0 data files; at least one text is needed", "saccade train --task language_model text.txt")


def test_a_translator_continues_nothing(tmp_path):
    assert run("train", write_recipe(tmp_path), "--run", tmp_path / "run").status == 0
    expect_refusal(run("score", tmp_path / "run", "abc"), 2, "[C026] the task translate scores no text", "a model of the task language_model")
    said = run("predict", tmp_path / "run", "abc", "--top-p", "0.9")
    expect_refusal(said, 2, "[C026] --top-p is not for this model: it answers, and draws nothing", "leave it out, or --n-best 3")


def test_a_language_model_has_no_beam(trained):
    said = run("predict", trained, "the cat", "--n-best", "3")
    expect_refusal(said, 2, "[C026] --n-best is not for this model: it goes on with a prompt and draws what it says", "leave it out, or --samples 3")
