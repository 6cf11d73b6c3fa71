"""What people get wrong: each time a message that helps and the right exit status, before anything expensive or anything lost."""

import gzip
import json
import os
import pickle  # to make the hostile files that must never be opened
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import saccade
from saccade.errors import ModelError
from saccade.run import Run, load
from saccade.training.checkpoint import load_model, save_model

from .. import toys
from .test_command_line import Said, run, write_recipe

CHILD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(saccade.__file__).parent.parent)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run and its model."""
    folder = tmp_path_factory.mktemp("trained")
    assert run("train", write_recipe(folder), "--run", folder / "run").status == 0
    return folder / "run"


def message(said: Said) -> tuple[str, str]:
    """The headline of an error, and how to mend it."""
    lines = said.err.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("error["))
    fixes = [line.removeprefix("  fix   ") for line in lines[start:] if line.startswith("  fix   ")]
    return lines[start], "\n".join(fixes)


def expect_refusal(said: Said, status: int, headline: str, fix: str) -> None:
    """Nothing on stdout, and exactly this message."""
    assert (said.status, said.out, *message(said)) == (status, "", f"error{headline}", fix)


# -- the user's files --


def train_on(folder: Path, *words: str | Path) -> Said:
    """`saccade train`; data that are refused leave no run behind."""
    said = run("train", *words, "--run", folder / "run", "tokenizer=characters", "--size", "tiny")
    assert not (folder / "run").exists()
    return said


def test_files_of_different_length(tmp_path):
    source, target = tmp_path / "train.en", tmp_path / "train.de"
    source.write_text("".join(f"line {i}\n" for i in range(200)))
    target.write_text("".join("\n" if i == 56 else f"Zeile {i}\n" for i in range(190)))
    said = train_on(tmp_path, source, target)
    tail = "if the tail is simply missing:  saccade train ... --keep-first 190"
    expect_refusal(said, 3, "[D012] source and target have different numbers of lines", f"correct line 57, or, {tail}")
    assert f"  --> {source}   200 lines\n  --> {target}   190 lines\n" in said.err
    assert f"  look  the files agree up to line 56; line 57 of {target} is empty\n" in said.err


def test_utf16(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_bytes("eins\tone\n".encode("utf-16"))
    fix = f"iconv -f UTF-16 -t UTF-8 {path} > {tmp_path}/train.utf8.tsv"
    expect_refusal(train_on(tmp_path, path), 3, f"[D002] {path} is UTF-16 text, not UTF-8 (it starts with FF FE)", fix)


def test_one_byte_that_is_not_utf8(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_bytes(b"eins\tone\n" * 82 + b"zwei \xff\ttwo\n")
    fix = f"iconv -f ISO-8859-1 -t UTF-8 {path} > {tmp_path}/train.utf8.tsv"
    expect_refusal(train_on(tmp_path, path), 3, f"[D003] {path} line 83, column 6: byte 0xFF is not UTF-8", fix)


def test_an_empty_file(tmp_path):
    path = tmp_path / "train.tsv"
    path.touch()
    expect_refusal(train_on(tmp_path, path), 3, f"[D001] {path} is empty (0 bytes)", "check the command that wrote it")


def test_a_file_that_is_not_there(tmp_path):
    (tmp_path / "train.en").write_text("one\n")
    said = train_on(tmp_path, tmp_path / "train.enn", tmp_path / "train.en")
    expect_refusal(said, 2, f"[C003] there is no file {tmp_path}/train.enn", f"did you mean {tmp_path}/train.en?   (in {tmp_path})")


def test_three_columns(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("".join(f"{pair.source}\t{pair.target}\tnote\n" for pair in toys.pairs(80)))
    expect_refusal(train_on(tmp_path, path), 3, f"[D014] {path} line 1 has 3 columns; 2 are expected", "choose two: --columns 1,2")
    settings = ["tokenizer=characters", "training.steps=1", "training.evaluate_examples=1", "search.beam=1", "search.longest_extra=1"]
    assert run("train", path, "--columns", "1,2", "--size", "tiny", "--run", tmp_path / "run", *settings).status == 0
    assert Run.open(tmp_path / "run").splits.train[0] == toys.pairs(80)[0]
    expect_refusal(train_on(tmp_path / "other", path, "--columns", "one"), 2, "[C012] --columns one: expected two numbers", "--columns 1,2")


@pytest.mark.parametrize("packed", [False, True])
def test_200_megabytes_without_a_line_break_do_not_fill_the_memory(tmp_path, packed):
    path = tmp_path / ("train.gz" if packed else "train")
    if packed:
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(200):
                file.write(b"a" * (1 << 20))
    else:
        with path.open("wb") as file:
            file.write(b"a" * 4096)
            file.truncate(200 << 20)
    script = """
import resource, sys
from saccade.errors import DataError
from saccade.text.corpus import read_lines
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20),) * 2)
try:
    read_lines(sys.argv[1])
except DataError as error:
    print(error.render())
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, env=CHILD, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    size = "" if packed else " (the file has 209,715,200)"
    assert done.stdout.startswith(f"error[D007] {path} line 1 is longer than 1,048,576 bytes{size}\n")
    fix = f"gunzip -c {path} | tr '\\r' '\\n' > {tmp_path}/fixed" if packed else f"tr '\\r' '\\n' < {path} > {tmp_path}/fixed"
    assert f"  fix   {fix}\n" in done.stdout
    assert message(train_on(tmp_path, path))[0] == done.stdout.splitlines()[0]


# -- what is written to stdin --


def test_a_byte_on_stdin_that_is_not_utf8_spoils_only_what_follows(trained):
    said = run("predict", trained, stdin=b"abc\nab\xff\nab\n")
    expected = load(trained).predict(["abc"])[0].text
    assert (said.status, said.out) == (3, f"{expected}\n")
    assert message(said) == ("error[D003] stdin line 2, column 3: byte 0xFF is not UTF-8", "iconv -f WINDOWS-1252 -t UTF-8, if that is what it is")
    expect_refusal(run("predict", trained, "é\udcff"), 3, "[D003] an argument, column 2: byte 0xFF is not UTF-8", message(said)[1])


def test_empty_and_very_long_lines_are_answered_in_order(trained):
    long = "abcdefg" * 60
    said = run("predict", trained, "--beam", "1", stdin=f"\nabc\n   \n{long}\nab\n".encode())
    lines = said.out.split("\n")
    assert (said.status, said.err, len(lines)) == (0, "", 6)
    assert [bool(line) for line in lines] == [False, True, False, True, True, False]
    assert lines[1] == run("predict", trained, "--beam", "1", "abc").out.strip()
    assert lines[3] == run("predict", trained, "--beam", "1", long).out.strip()


def test_nothing_on_stdin_gives_nothing(trained):
    assert run("predict", trained) == (0, "", "")


def test_a_prefix_that_no_answer_can_have(trained):
    expect_refusal(run("predict", trained, "abc", "--prefix", "aé"), 2, "[C023] no answer can begin with 'aé'", "another prefix")


# -- the command line and the recipe --


@pytest.mark.parametrize(
    "words", [["frobnicate"], ["train", "--bogus"], ["train"], ["predict"], ["predict", "run", "--beam", "0"], ["train", "a", "--keep-first", "x"]]
)
def test_unknown_verbs_and_options(words):
    said = run(*words)
    assert (said.status, said.out) == (2, "")
    assert "Usage: saccade" in said.err


def with_recipe(folder: Path, *words: str, **changed: str) -> tuple[Said, str]:
    """What is said to a recipe with these lines, and where it is; nothing may be read before it is refused, or written."""
    path = write_recipe(folder, **changed)
    (folder / "toy.tsv").unlink()
    said = run("train", path, "--run", folder / "run", *words)
    assert not (folder / "run").exists()
    return said, str(path)


def test_an_unknown_setting_in_a_recipe(tmp_path):
    said, path = with_recipe(tmp_path, learning_rate="learning_rte = 1e-3")
    expect_refusal(said, 2, f"[C011] {path} line 20: unknown setting training.learning_rte", "did you mean learning_rate?")
    said, path = with_recipe(tmp_path, tokenizer='tokeniser = "bpe"')
    expect_refusal(said, 2, f"[C011] {path} line 2: unknown setting tokeniser", "did you mean tokenizer?")


def test_a_value_of_another_type(tmp_path):
    said, path = with_recipe(tmp_path, steps='steps = "4k"')
    expect_refusal(said, 2, f"[C013] {path} line 18: training.steps: expected a whole number, found '4k'", "training.steps=4000")
    said, _ = with_recipe(tmp_path, "training.steps=4k")
    expect_refusal(said, 2, "[C013] training.steps: expected a whole number, found '4k'", "training.steps=4000")


def test_heads_that_do_not_divide_the_width(tmp_path):
    said, path = with_recipe(tmp_path, name='name = "transformer"\nheads = 5')
    expect_refusal(said, 2, f"[C012] {path} line 9: encoder: heads = 5 does not divide dim = 24", "heads could be 1, 2, 3, 4, 6, 8, 12")
    said, _ = with_recipe(tmp_path, "encoder=transformer", "encoder.heads=3")
    expect_refusal(said, 2, "[C012] encoder: heads = 3 does not divide dim = 256", "heads could be 1, 2, 4, 8, 16")


@pytest.mark.parametrize(
    ("setting", "headline", "fix"),
    [
        ("encoder.layers=0", "[C012] encoder.layers = 0; it must be at least 1", "encoder.layers=1"),
        ("decoder.dim=-3", "[C012] decoder.dim = -3; it must be at least 1", "decoder.dim=1"),
        ("decoder.dropout=1.5", "[C012] decoder.dropout = 1.5; it must be at least 0 and below 1", "decoder.dropout=0.1"),
        ("training.steps=0", "[C012] training.steps = 0; it must be at least 1", "training.steps=1"),
        ("tokenizer.limit=0", "[C012] tokenizer.limit = 0; it must be at least 1", "tokenizer.limit=1"),
        (
            "training.schedule=sometimes",
            "[C010] no schedule called 'sometimes'",
            "there is constant, cosine, cyclic, inverse_sqrt, linear, one_cycle, plateau, step_decay",
        ),
        ("size=huge", "[C012] size = 'huge'; it must be tiny or small or base", "there is base, small, tiny"),
        ("seed=-1", "[C013] seed: expected a whole number from 0 on, found -1", "seed = 1"),
        ("9=9", "[C017] '9=9' is not an override", "name=value, as in training.steps=2000"),
        ("training.device=gpu9", "[R002] there is no device 'gpu9' here", "training.device=cpu"),
    ],
)
def test_settings_that_cannot_be(tmp_path, setting, headline, fix):
    said, _ = with_recipe(tmp_path, setting)
    expect_refusal(said, 5 if "R002" in headline else 2, headline, fix)


def test_recipes_that_are_none(tmp_path):
    path = tmp_path / "wrong.toml"
    fix = "see the recipes that come with saccade: saccade list recipes"
    path.write_bytes(b"\xff\xfet\x00")
    expect_refusal(run("train", path), 2, f"[C016] {path} is not TOML: it is not UTF-8 text", fix)
    path.write_text("task = translate\n")
    assert message(run("train", path)) == (f"error[C016] {path} is not TOML: Invalid value (at line 1, column 8)", fix)
    expect_refusal(run("train", "bahdanau2051.toml"), 2, "[C003] there is no recipe bahdanau2051.toml", "did you mean bahdanau2015?")
    expect_refusal(run("train", "a.toml", "b.toml"), 2, "[C018] one recipe at a time, found 2: a.toml, b.toml", "saccade train a.toml")
    expect_refusal(run("train", "training.steps=3"), 2, "[C004] 0 data files; two parallel ones are needed, or one TSV", "saccade train source.txt target.txt")
    assert message(run("list", "encoder")) == ("error[C010] no family called 'encoder'", "did you mean encoders?")


def test_errors_as_data(tmp_path, monkeypatch):
    monkeypatch.setenv("SACCADE_JSON_ERRORS", "1")
    found = json.loads(run("predict", tmp_path / "nothing").err)
    assert (found["code"], found["title"]) == ("M001", f"there is no model at {tmp_path}/nothing")
    assert set(found) == {"code", "title", "at", "why", "look", "note", "fix"}


# -- files that are no model --


class _Payload:
    """An object whose pickle makes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


def expect_no_model(path: Path, code: str, headline: str, fix: str) -> None:
    """The same message from the command line and in Python."""
    expect_refusal(run("predict", path, "abc"), 4, f"[{code}] {headline}", fix)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert (caught.value.code, caught.value.headline, caught.value.exit_status) == (code, headline, 4)


@pytest.mark.parametrize("kind", ["pickle", "legacy", "zip"])
def test_a_pickle_is_not_opened(tmp_path, kind):
    path, marker = tmp_path / "model.pt", tmp_path / "marker"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(_Payload(marker)))
    else:
        torch.save({"weights": _Payload(marker)}, path, _use_new_zipfile_serialization=kind == "zip")
    what = "a zip archive (a PyTorch .pt file is one, with a pickle inside)" if kind == "zip" else "a Python pickle, which can run code when opened"
    expect_no_model(path, "M002", f"{path} is {what}; saccade never opens these", "if you trust it, convert it to safetensors elsewhere")
    assert not marker.exists()
    torch.load(path, weights_only=False) if kind != "pickle" else pickle.loads(path.read_bytes())
    assert marker.exists(), "the file would have done something"


def test_what_a_download_may_be_instead(tmp_path):
    path = tmp_path / "model.safetensors"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 12345678\n"
    path.write_text(pointer)
    expect_no_model(path, "M003", f"{path} is a Git LFS pointer ({len(pointer)} bytes), not the model itself", "git lfs pull --include model.safetensors")
    path.write_text("\n<!DOCTYPE html>\n<title>Sign in</title>")
    expect_no_model(path, "M004", f'{path} is a web page (it starts with "<!DOCTYPE html>")', "the download link probably needs a log-in; download it again")
    path.write_bytes(b"")
    expect_no_model(path, "M010", f"{path} is damaged or not a model", "copy it again; compare the sizes")
    expect_no_model(tmp_path / "none", "M001", f"there is no model at {tmp_path}/none", "a run directory or a model.safetensors; saccade train makes one")


@pytest.mark.parametrize("kept", [-1, 20000, 100, 7])
def test_half_a_model(trained, tmp_path, kept):
    path = tmp_path / "model.safetensors"
    path.write_bytes((trained / "model.safetensors").read_bytes()[:kept])
    said = run("predict", path, "abc")
    assert (said.status, said.out) == (4, "")
    headline, fix = message(said)
    assert headline.startswith(f"error[M010] {path} is damaged")
    assert f"it has {path.stat().st_size:,} bytes" in said.err
    assert fix == "copy it again; compare the sizes"


def test_safetensors_of_others(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    for header in (None, {"format": "pt"}, {"saccade": "[]"}, {"saccade": "{}"}, {"saccade": '{"format": "1"}'}):
        save_file({"weight": torch.zeros(3)}, path, metadata=header)
        expect_no_model(path, "M005", f"{path} is a safetensors file, but not a saccade model", "a file written by saccade train")
    save_file({"weight": torch.zeros(3)}, path, metadata={"saccade": '{"format": 2, "version": "0.4.0"}'})
    headline = f"{path} was written by saccade 0.4.0 (format 2); this is saccade {saccade.__version__} (reads format 1)"
    expect_no_model(path, "M012", headline, "pip install -U saccade")


def test_models_that_ask_for_what_there_is_not(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors, about = load_model(trained / "model.safetensors")
    again = "pip install -U saccade, or copy the model again from where it came from"
    recipe = about["recipe"]
    save_file(tensors, path, metadata={"saccade": '{"format": 1}'})
    expect_no_model(path, "M013", f"{path} cannot be built: it has no recipe", again)
    for name in ("__import__", "os.system", "../../evil"):
        save_model(path, tensors, {}, {**about, "recipe": {**recipe, "encoder": {"name": name}}})
        expect_no_model(path, "M013", f"{path} cannot be built: no encoder called {name!r}", again)
    save_model(path, {name: tensor for name, tensor in tensors.items() if not name.startswith("tokenizer")}, {}, about)
    expect_no_model(path, "M011", f"{path} has no tokenizer.source", "copy the model again from where it came from")
    # So wide that there would be no memory for it: refused by what the file holds.
    save_model(path, tensors, {}, {**about, "recipe": {**recipe, "encoder": {**recipe["encoder"], "dim": 10**7, "embedding": 24}}})
    said = run("predict", path, "abc")
    assert said.status == 4
    assert message(said)[0].startswith(f"error[M014] {path} holds a model of another shape: ")
    assert message(said)[1] == "the recipe it was trained with"


def test_a_model_of_no_numbers(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors, about = load_model(trained / "model.safetensors")
    save_model(path, {name: tensor * float("nan") if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, {}, about)
    headline = "[M015] the model gives every answer probability 0: its weights are no use"
    expect_refusal(run("predict", path, "abc"), 4, headline, "copy it again, or train with a lower rate")


def test_a_header_whose_length_looks_like_a_pickle_is_none(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    tensors, about = load_model(trained / "model.safetensors")
    save_model(path, tensors, {}, {**about, "note": ""})
    length = int.from_bytes(path.read_bytes()[:8], "little")
    save_model(path, tensors, {}, {**about, "note": " " * (0x10280 - length)})
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert load_file(path).keys() == tensors.keys()
    assert load(path).predict(["abc"])[0].text == load(trained).predict(["abc"])[0].text
