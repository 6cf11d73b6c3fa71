"""ARPA files: what was written is read again, and what is no such file is refused by line."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.decoders.ngram import Ngram
from saccade.errors import DataError
from saccade.interop.arpa import read_arpa, spelled, write_arpa
from saccade.text.vocabulary import SPECIALS
from saccade.types import BOS, EOS, UNK

WORDS = ["the", "cat", "sat", "<unk>", "<s>", "a b", "", "\\", "\\u", "\\u0020", "\u3000", "\u00a0x", "<<unk>>", "<pad>", "</s>", "\n", "\t", "naïve", "猫"]


def counted(words: list[str], order: int, smoothing: str = "modified_kneser_ney") -> tuple[Ngram, list[str]]:
    """A model of random texts of these words, one of which never occurs."""
    symbols = [*SPECIALS, *words]
    draw = np.random.default_rng(0)
    texts = [np.array([BOS, *draw.integers(len(SPECIALS), len(symbols) - 1, draw.integers(12)), EOS]) for _ in range(60)]
    decoder = Ngram(len(symbols), None, order=order, smoothing=smoothing)
    decoder.count(texts)
    return decoder, symbols


def read_back(path: Path) -> tuple[Ngram, list[str]]:
    symbols, tables = read_arpa(path)
    decoder = Ngram(len(symbols), None, order=len(tables.chances))
    decoder.become(tables)
    return decoder, symbols


@pytest.mark.parametrize("smoothing", ["modified_kneser_ney", "good_turing", "add_k"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_was_written_is_read_again(order: int, smoothing: str, tmp_path: Path) -> None:
    decoder, symbols = counted(WORDS, order, smoothing)
    write_arpa(decoder, symbols, tmp_path / "m.arpa")
    again, known = read_back(tmp_path / "m.arpa")
    assert known == symbols
    for one, other in zip(again.parameters(), decoder.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-14, rtol=1e-14)
        assert one.dtype == other.dtype
    write_arpa(again, known, tmp_path / "n.arpa")
    assert len((tmp_path / "n.arpa").read_bytes().split(b"\n")) == len((tmp_path / "m.arpa").read_bytes().split(b"\n"))


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(st.sampled_from("\\u 0<>sunk/5c\n"), max_size=8)), min_size=2, max_size=12, unique=True))
@settings(max_examples=200, deadline=None)
def test_any_word_can_be_written(words: list[str]) -> None:
    """Different words look different, none has a blank, and a reader takes them for what they are."""
    written = spelled([*SPECIALS, *words])
    assert len(set(written)) == len(written)
    assert not any(set(word) & set(" \t\r\n\f\v\0") or not word for word in written)
    assert written[BOS] == "<s>"
    assert written[EOS] == "</s>"


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), min_size=2, max_size=12, unique=True))
@settings(max_examples=60, deadline=None)
def test_any_vocabulary_comes_back(words: list[str]) -> None:
    import tempfile

    words = [word for word in words if word.isprintable() or word in WORDS] or ["x"]
    decoder, symbols = counted([*words, "\u0001"], 2)
    with tempfile.TemporaryDirectory() as folder:
        write_arpa(decoder, symbols, Path(folder) / "m.arpa")
        assert read_arpa(Path(folder) / "m.arpa")[0] == symbols


def test_a_word_that_reads_like_the_unknown_one_is_what_others_mean_by_it(tmp_path: Path) -> None:
    """The text's own "<unk>" was seen; UNK was not, and goes by another name."""
    assert spelled([*SPECIALS, "a"])[UNK] == "<unk>"
    assert spelled([*SPECIALS, "<unk>"])[UNK:] == ["<<unk>>", "<unk>"]
    assert spelled([*SPECIALS, "<unk>", "<<unk>>"])[UNK:] == ["<<unk>>", "<unk>", "\\u003c<unk>>"]


FOREIGN = r"""anything may stand here

\data\
ngram 1=5
ngram 2=3
ngram  3 = 1

\1-grams:
-99	<s>	-0.30103
-0.60206 </s>
-1.0	<unk>
-0.39794	a	-0.1
-0.5	b

\2-grams:
-0.2 <s> a  -0.05
-0.4	a	b
-0.25	b	</s>

\3-grams:
-0.125	<s> a	b
\end\
"""


def as_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.arpa"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_by_another_program(tmp_path: Path) -> None:
    """Blanks or tabs, back-offs or none, text before the data, gzipped or not."""
    (tmp_path / "m.arpa.gz").write_bytes(gzip.compress(FOREIGN.encode()))
    decoder, symbols = read_back(tmp_path / "m.arpa.gz")
    assert symbols == [*SPECIALS, "a", "b"]
    a, b = 4, 5
    tokens = torch.tensor([[BOS, a, b, EOS], [BOS, b, a, a]])
    memory, state = decoder.start(None, 2)
    found, _ = decoder.logprobs(tokens[:, :-1], tokens[:, 1:], state, memory)
    expected = [[-0.2, -0.125, -0.25], [-0.30103 - 0.5, -0.39794, -0.1 - 0.39794]]
    torch.testing.assert_close(found / math.log(10), torch.tensor(expected, dtype=torch.float64))
    assert decoder.orders(tokens[:, :-1], tokens[:, 1:], state, memory)[0].tolist() == [[2, 3, 2], [1, 1, 1]]
    assert (decoder(tokens, state, memory)[0][..., BOS] == -math.inf).all()


def test_the_begin_of_a_text_is_never_said_whatever_a_file_thinks(tmp_path: Path) -> None:
    _, tables = read_arpa(as_file(tmp_path, FOREIGN.replace("-99\t<s>", "0\t<s>")))
    assert tables.chances[0][BOS] == -math.inf


SHAPE = "a logarithm that is not above 0, 2 words, and perhaps another logarithm"
HIGHEST = "a logarithm that is not above 0, 3 words"
WROTE = "a file that SRILM or KenLM wrote"
COPY = "copy the file again; the end may be missing"


@pytest.mark.parametrize(
    ("old", "new", "code", "said", "fix"),
    [
        ("\\data\\", "\\dota\\", "D040", " is no ARPA file: no line \\data\\ with a line 'ngram 1=...' after it", WROTE),
        ("ngram 1=5", "ngram 2=5", "D040", " is no ARPA file: no line \\data\\ with a line 'ngram 1=...' after it", WROTE),
        ("-0.4\ta\tb", "-0.4\ta", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "0.4\ta\tb", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "nan\ta\tb", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "x\ta\tb", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "-0.4\ta\tb\tinf", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "-0.4\ta\tb\tnan", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.4\ta\tb", "-0.4\ta\tb\t-1\t-1", "D041", " line 17 is no 2-gram", SHAPE),
        ("-0.5\tb", "-0.5", "D041", " line 13 is no 1-gram", "a logarithm that is not above 0, 1 word, and perhaps another logarithm"),
        ("<s> a\tb\n", "<s> a\tb\t-1\n", "D041", " line 21 is no 3-gram", HIGHEST),
        ("ngram 2=3", "ngram 2=4", "D042", " line 20: it has 3 2-grams, and announces 4", COPY),
        ("\\end\\\n", "", "D042", " line 21: here should stand \\end\\, not ''", COPY),
        ("\\3-grams:\n-0.125\t<s> a\tb\n", "", "D042", " line 20: here should stand \\3-grams:, not '\\\\end\\\\'", COPY),
        ("ngram  3 = 1", "ngram 4=1", "D042", " line 6: here should stand \\1-grams:, not 'ngram 4=1'", COPY),
        ("-0.4\ta\tb", "-0.4\ta\tc", "D043", " line 17: there is no word 'c' among its 1-grams", WROTE),
        ("-0.5\tb", "-0.5\ta", "D043", " line 13: the word 'a' was there before", WROTE),
        ("-0.5\tb", "-0.5\t<unk>", "D043", " line 13: the word '<unk>' was there before", WROTE),
        ("-0.5\tb", "-0.5\t\\u0061", "D043", " line 13: the word '\\\\u0061' was there before", WROTE),
        ("-0.4\ta\tb", "-0.25\tb\t</s>", "D043", " line 18: this n-gram was there before", WROTE),
        ("-0.125\t<s> a\tb", "-0.125\tb a\tb", "D043", " line 21: its first 2 words are no n-gram of this file", WROTE),
    ],
)
def test_what_is_no_such_file_is_refused(old: str, new: str, code: str, said: str, fix: str, tmp_path: Path) -> None:
    assert FOREIGN.count(old) == 1
    path = as_file(tmp_path, FOREIGN.replace(old, new))
    with pytest.raises(DataError) as refused:
        read_arpa(path)
    assert (refused.value.code, refused.value.headline) == (code, f"{path}{said}")
    assert refused.value.parts["fix"] == [fix]
