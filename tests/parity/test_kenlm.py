"""KenLM reads what is written here, and finds the same: the log-probability of every word, and how long an n-gram it comes from."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from saccade.decoders.ngram import Ngram
from saccade.interop.arpa import spelled, write_arpa
from saccade.text.vocabulary import SPECIALS
from saccade.types import BOS, EOS, pad

kenlm = pytest.importorskip("kenlm", reason="NOT COMPARED WITH KENLM: it is not installed (pip install kenlm, which needs a C++ compiler)")
SYMBOLS = [*SPECIALS, *(f"w{i}" for i in range(30)), "<unk>", "<s>", "two words", "\\"]


def texts(seed: int, many: int) -> list[list[int]]:
    """Some words far oftener than others; all of them, specials aside."""
    draw = np.random.default_rng(seed)
    words = len(SYMBOLS) - len(SPECIALS)
    shares = 1 / np.arange(1, words + 1)
    return [[BOS, *(len(SPECIALS) + draw.choice(words, draw.integers(12), p=shares / shares.sum())).tolist(), EOS] for _ in range(many)]


@pytest.mark.parametrize("smoothing", ["modified_kneser_ney", "kneser_ney", "good_turing", "add_k"])
@pytest.mark.parametrize("order", [2, 3, 5])
def test_kenlm_says_the_same(order: int, smoothing: str, tmp_path: Path) -> None:
    decoder = Ngram(len(SYMBOLS), None, order=order, smoothing=smoothing)
    decoder.count(np.array(text) for text in texts(0, 400))
    write_arpa(decoder, SYMBOLS, tmp_path / "m.arpa")
    theirs, words = kenlm.Model(str(tmp_path / "m.arpa")), spelled(SYMBOLS)
    rows = pad(texts(1, 200)).ids
    memory, state = decoder.start(None, len(rows))
    found, _ = decoder.logprobs(rows[:, :-1], rows[:, 1:], state, memory)
    orders, _ = decoder.orders(rows[:, :-1], rows[:, 1:], state, memory)
    for i, row in enumerate(rows.tolist()):
        size = row.index(EOS)
        scores = list(theirs.full_scores(" ".join(words[symbol] for symbol in row[1:size])))
        expected = torch.tensor([score for score, _, _ in scores], dtype=torch.float64)
        torch.testing.assert_close(found[i, :size] / math.log(10), expected, atol=1e-4, rtol=0)
        assert orders[i, :size].tolist() == [length for _, length, _ in scores]
