"""BLEU and chrF against sacreBLEU's own corpus functions: the same float, the same name, the same signature."""

import random

import pytest
import sacrebleu

from saccade.metrics.bleu import Bleu
from saccade.metrics.chrf import ChrF

PIECES = ["The", "cat", "sat,", "on", "(the)", "mat.", "naïve", "U.S.", "1,000.5", "don't", "„Ja“", "北京", "&quot;", "x", "-", "🙂"]


def corpus(seed: int) -> tuple[list[str], list[str]]:
    """Random text, with empty and short lines on both sides."""
    chance = random.Random(seed)
    references = [" ".join(chance.choices(PIECES, k=chance.randint(0 if seed % 2 else 1, 15))) for _ in range(20)]
    predictions = [chance.choice([text, text.lower(), "", " ".join(chance.choices(PIECES, k=chance.randint(0, 12)))]) for text in references]
    return predictions, references


UNUSUAL = [([""], ["a b c d e"]), (["a"], ["a"]), (["", ""], ["", ""]), (["x y z"], ["a b c"]), (["a b x c d e"], ["a b y c d e"])]
"""Nothing said, too short for four words, nothing at all, nothing matched, no four words matched (which is smoothed)."""
CORPORA = [*(corpus(seed) for seed in range(12)), *UNUSUAL]


@pytest.mark.parametrize("tokenize", ["13a", "intl", "char", "zh", "none"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_bleu(tokenize: str, lowercase: bool) -> None:
    for predictions, references in CORPORA:
        oracle = sacrebleu.BLEU(tokenize=tokenize, lowercase=lowercase)
        expected = oracle.corpus_score(predictions, [references])
        found = Bleu(tokenize=tokenize, lowercase=lowercase)(predictions, references)
        assert expected.score == sacrebleu.corpus_bleu(predictions, [references], tokenize=tokenize, lowercase=lowercase).score
        assert found == (expected.name, expected.score, str(oracle.get_signature()), True)


@pytest.mark.parametrize("word_order", [0, 1, 2])
def test_chrf(word_order: int) -> None:
    for predictions, references in CORPORA:
        oracle = sacrebleu.CHRF(word_order=word_order)
        expected = oracle.corpus_score(predictions, [references])
        found = ChrF(word_order=word_order)(predictions, references)
        assert expected.score == sacrebleu.corpus_chrf(predictions, [references], word_order=word_order).score
        assert found == (expected.name, expected.score, str(oracle.get_signature()), True)


def test_the_random_text_is_neither_all_right_nor_all_wrong() -> None:
    scores = [Bleu()(*pair).value for pair in CORPORA[:12]]
    assert min(scores) > 5
    assert max(scores) < 95


def test_the_signature_in_full() -> None:
    assert Bleu().score([1.0] * 10).signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    assert ChrF().score([1.0] * 18).signature == f"nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{sacrebleu.__version__}"
