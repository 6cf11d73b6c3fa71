"""Vectors as text: read strictly, written exactly, put into embeddings, and not needed once a run has begun."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.errors import DataError, SaccadeError, UsageError
from saccade.layers.embedding import Embedding
from saccade.recipe import read_recipe
from saccade.run import Run, load
from saccade.text.tokenizers.words import Words
from saccade.text.vectors import fill, read_vectors, symbols_of, write_vectors

GLOVE = "the 0.5 -1 2e-1\ncat 1 2 3\n. 0 0 1\n"


def written(folder: Path, text: str | bytes, name: str = "v.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", [GLOVE, "3 3\n" + GLOVE, GLOVE.replace("\n", " \n"), "3 3 \n" + GLOVE.replace("\n", " \r\n"), GLOVE.removesuffix("\n")])
@pytest.mark.parametrize("packed", [False, True])
def test_glove_and_word2vec_are_read(tmp_path, text, packed):
    path = written(tmp_path, gzip.compress(text.encode()) if packed else text)
    found = read_vectors(path)
    assert found.words == ["the", "cat", "."]
    assert found.numbers.dtype == np.float32
    np.testing.assert_array_equal(found.numbers, np.float32([[0.5, -1, 0.2], [1, 2, 3], [0, 0, 1]]))
    assert found.repeated == []


def test_a_word_may_hold_spaces_but_no_numbers_behind_one(tmp_path):
    found = read_vectors(written(tmp_path, "a 1 2\n. . . 3 4\nat name 5 6\n12 7 8\n"))
    assert found.words == ["a", ". . .", "at name", "12"]
    assert found.numbers.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_only_wanted_words_are_read_as_numbers(tmp_path):
    path = written(tmp_path, "a 1 2\nb x 3\nc 4 5\n")
    assert read_vectors(path, ["c", "a", "z"]).words == ["a", "c"]
    assert read_vectors(path, ["z"]).numbers.shape == (0, 2)
    with pytest.raises(DataError, match="D045"):
        read_vectors(path, ["b"])


REFUSED = {
    "wider": ("a 1 2\nb 1 2 3\n", "D044", "{path} line 2 has 3 numbers; the line before 2", "correct the line, or delete it"),
    "narrower": ("a 1 2\nb 1\n", "D044", "{path} line 2 has 1 numbers; the line before 2", "correct the line, or delete it"),
    "not the header's": ("1 3\na 1 2\n", "D044", "{path} line 2 has 2 numbers; its first line says 3", "correct the line, or delete it"),
    "no numbers": ("a 1 2\nb\n", "D044", "{path} line 2 has no numbers", "delete the line"),
    "an empty line": ("a 1 2\n\nb 1 2\n", "D044", "{path} line 2 has no numbers", "delete the line"),
    "prose": ("word\nword\n", "D044", "{path} line 1 has no numbers", "delete the line"),
    "not a number": ("a 1 2\nb 1 2,5\n", "D045", "{path} line 2, number 2: '2,5' is not a finite number", "correct the line, or delete it"),
    "nan": ("a 1 nan\n", "D045", "{path} line 1, number 2: 'nan' is not a finite number", "correct the line, or delete it"),
    "too large": ("a 1e39 1\n", "D045", "{path} line 1, number 1: '1e39' is not a finite number", "correct the line, or delete it"),
    "cut short": ("3 2\na 1 2\nb 1 2\n", "D047", "{path} has 2 vectors, its first line promises 3", "copy or download it again: it may have been cut short"),
    "a header alone": ("3 2\n", "D047", "{path} has 0 vectors, its first line promises 3", "copy or download it again: it may have been cut short"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path, case):
    text, code, headline, fix = REFUSED[case]
    path = written(tmp_path, text)
    with pytest.raises(DataError) as caught:
        read_vectors(path)
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"]) == (code, headline.format(path=path), [fix])


def test_binary_vectors_are_told_from_text(tmp_path):
    path = written(tmp_path, b"2 3\na " + np.float32([0.1, 0.2, 0.3]).tobytes() + b"\nb " + np.float32([1, 2, 3]).tobytes() + b"\n")
    with pytest.raises(DataError) as caught:
        read_vectors(path)
    assert (caught.value.code, caught.value.headline) == ("D047", f"{path} does not hold vectors as text")
    assert "save_word2vec_format" in caught.value.render()


def test_other_files_are_refused_as_everywhere(tmp_path):
    for path, code in (
        (written(tmp_path, ""), "D001"),
        (tmp_path / "nowhere.txt", "C003"),
        (written(tmp_path, gzip.compress(GLOVE.encode())[:-9], "cut.gz"), "D008"),
    ):
        with pytest.raises(SaccadeError) as caught:
            read_vectors(path)
        assert caught.value.code == code


def test_of_a_word_that_stands_twice_the_first_line_counts_and_it_is_said(tmp_path):
    path = written(tmp_path, "a 1 2\nb 3 4\na 5 6\na 7 8\n")
    found = read_vectors(path)
    assert (found.words, found.repeated, found.numbers[0].tolist()) == (["a", "b"], ["a"], [1, 2])
    assert fill(Embedding(2, 2), ["b", "c"], path).warnings == []
    (warning,) = fill(Embedding(2, 2), ["a", "b"], path).warnings
    assert warning.render("warning") == f"warning[D046] 1 word stands in {path} more than once: the first line counts\n  look  a"
    written(tmp_path, "a 1 2\nb 3 4\na 5 6\nb 7 8\n")
    assert "2 words stand in" in fill(Embedding(2, 2), ["a", "b"], path).warnings[0].headline


def test_what_is_written_is_read_again_to_the_last_bit(tmp_path):
    numbers = (np.random.default_rng(0).normal(size=(300, 7)) * 10.0 ** np.arange(-20, 22, 6)).astype(np.float32)
    words = [f"w{i}" for i in range(298)] + ["été", ". . ."]
    write_vectors(tmp_path / "v.txt", words, numbers)
    found = read_vectors(tmp_path / "v.txt")
    assert found.words == words
    assert found.numbers.tobytes() == numbers.tobytes()
    assert (tmp_path / "v.txt").read_text().startswith("300 7\nw0 ")
    for bad in (["a\nb"], [""], ["a", "b"]):
        with pytest.raises(ValueError, match=r"line|vectors"):
            write_vectors(tmp_path / "w.txt", bad, numbers[:1])
    assert not (tmp_path / "w.txt").exists()


@pytest.mark.parametrize("scale", [False, True])
def test_known_rows_have_the_directions_of_the_file_and_the_size_of_fresh_weights(tmp_path, scale):
    rng = np.random.default_rng(1)
    vectors = {word: rng.normal(size=16) * 40 for word in ("the", "cat", "sat")}
    path = written(tmp_path, "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in vectors.items()))
    embedding = Embedding(6, 16, scale=scale)
    before = embedding.weight.detach().clone()
    coverage = fill(embedding, ["<pad>", "The", "dog", "cat", "SAT", "cat"], path)
    assert str(coverage) == f"4 of 6 symbols found in {path}"
    assert torch.equal(embedding.weight[[0, 2]], before[[0, 2]])
    filled = embedding.weight.detach()[[1, 3, 4, 5]]
    assert float(filled.square().mean()) == pytest.approx(1 / 16, rel=1e-5)
    ratio = filled.numpy() / np.stack([vectors["the"], vectors["cat"], vectors["sat"], vectors["cat"]])
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_a_symbol_is_preferred_as_it_is_written(tmp_path):
    path = written(tmp_path, "us 1 0\nUS 0 1\n")
    embedding = Embedding(2, 2)
    fill(embedding, ["US", "us"], path)
    assert embedding.weight.detach().argmax(1).tolist() == [1, 0]


def test_another_width_is_refused_with_both(tmp_path):
    path = written(tmp_path, GLOVE)
    for device in ("cpu", "meta"):
        with torch.device(device):
            embedding = Embedding(4, 8)
        with pytest.raises(UsageError) as caught:
            fill(embedding, ["a", "b", "c", "d"], path)
        assert (caught.value.code, caught.value.headline) == ("C012", f"{path} has vectors of 3 numbers, the embedding has 8")
        assert caught.value.parts["fix"] == ["embeddings of 3 numbers (embedding, or dim, on every side), or vectors of 8"]


def test_symbols_are_what_ids_stand_for_in_a_text():
    tokenizer = Words()
    tokenizer.learn(["a cat, a dog"])
    assert symbols_of(tokenizer)[:5] == ["<pad>", "<s>", "</s>", "<unk>", "a"]
    assert set(symbols_of(tokenizer)[4:]) == {"a", "cat", ",", "dog"}


# ------------------------------------------------------------------------------------------------------------- in a translation

WORDS = ["red", "green", "blue", "one", "two", "six"]


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, 3)) for _ in range(60)]
    written(tmp_path, "".join(f"{line}\t{line.upper()}\n" for line in lines), "pairs.tsv")
    write_vectors(tmp_path / "glove.txt", [*WORDS, "unseen"], rng.normal(size=(7, 16)).astype(np.float32))
    return tmp_path


def recipe(corpus, *more):
    sizes = ["encoder.dim=16", "decoder.dim=16", "encoder.heads=2", "decoder.heads=2", "encoder.layers=1", "decoder.layers=1"]
    training = ["training.steps=4", "training.evaluate_every=2", "training.saving=blocking", "training.evaluate_examples=0", "training.device=cpu"]
    data = [f"data.folder={corpus}", "data.train=pairs.tsv", "data.valid_share=0.1", "data.test_share=0.1", "data.vectors=glove.txt"]
    return read_recipe(overrides=["tokenizer=words", *sizes, *training, *data, *more])


def directions(weight, tokenizer):
    rows = [symbols_of(tokenizer).index(word) for word in WORDS]
    return torch.nn.functional.normalize(weight.detach()[rows], dim=1)


def test_a_translation_begins_with_vectors_and_goes_on_without_the_file(corpus):
    expected = torch.nn.functional.normalize(torch.from_numpy(read_vectors(corpus / "glove.txt", WORDS).numbers), dim=1)
    run = Run.begin(recipe(corpus, 'training.freeze=["decoder.embedding*"]'), corpus / "run")
    assert ("Vectors", f"12 of 16 symbols found in {corpus / 'glove.txt'}") in run.task.summary()
    for event in run.train():
        if type(event).__name__ == "Saved":
            break
    assert 0 < run.step < 4
    (corpus / "glove.txt").unlink()
    for _ in Run.open(corpus / "run").train():
        pass
    model = load(corpus / "run", device="cpu")
    torch.testing.assert_close(directions(model.network.decoder.embedding.weight, model.task.source), expected)
    (corpus / "run" / "model.safetensors").rename(corpus / "alone.safetensors")
    assert load(corpus / "alone.safetensors", device="cpu").predict(["red two"])[0].text is not None
    assert b"glove" not in (corpus / "alone.safetensors").read_bytes()


def test_each_side_may_have_vectors_of_its_own(corpus):
    upper = read_vectors(corpus / "glove.txt")
    write_vectors(corpus / "upper.txt", [word.upper() for word in upper.words], -upper.numbers)
    separate = ["share_embeddings=false", "target_tokenizer=words"]
    run = Run.begin(recipe(corpus, *separate, 'data.vectors=["glove.txt", "upper.txt"]'), corpus / "run")
    model = run.task.build()
    run.task.initialise(model)
    source = directions(model.encoder.embedding.weight, run.task.source)
    rows = [symbols_of(run.task.target).index(word.upper()) for word in WORDS]
    torch.testing.assert_close(torch.nn.functional.normalize(model.decoder.embedding.weight.detach()[rows], dim=1), -source)
    only = Run.begin(recipe(corpus, *separate, 'data.vectors=["", "upper.txt"]'), corpus / "other")
    assert [name for name, _ in only.task.summary()] == ["Tokens", "Vectors"]


def test_vectors_that_do_not_fit_are_refused_before_there_is_a_run(corpus):
    write_vectors(corpus / "narrow.txt", ["red"], np.ones((1, 3), np.float32))
    for setting, code, headline in (
        ("narrow.txt", "C012", f"{corpus / 'narrow.txt'} has vectors of 3 numbers, the embedding has 16"),
        ("nowhere.txt", "C003", f"there is no file {corpus / 'nowhere.txt'}"),
        ('["glove.txt", "narrow.txt"]', "C012", "data.vectors = ['glove.txt', 'narrow.txt']: 1 expected, one for each embedding"),
    ):
        with pytest.raises(SaccadeError) as caught:
            Run.begin(recipe(corpus, f"data.vectors={setting}"), corpus / "run")
        assert (caught.value.code, caught.value.headline) == (code, headline)
        assert not (corpus / "run").exists()
