"""Byte pair encoding in the style of subword-nmt: the same merges and the same parts as the package itself."""

import io
import json
import random

import pytest
from subword_nmt import learn_bpe as reference
from subword_nmt.apply_bpe import BPE

from saccade.text.tokenizers._merges import learn_merges, segment, words_of
from saccade.text.tokenizers._state import pack
from saccade.text.tokenizers.bpe import Bpe

ALPHABETS = {
    "two letters": "ab",
    "letters": "abcdefgh",
    "end mark": "a</w>",
    "backslash": "ab\\",
    "no-break space": "ab\u00a0c",
    "scripts": "aß語\U0001f600\u0301",
}


@pytest.fixture(autouse=True)
def _no_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "tqdm", lambda iterator: iterator)


def sentences(alphabet: str, count: int, seed: int) -> list[str]:
    """Words of few letters in few lengths: many pairs are equally frequent."""
    draw = random.Random(seed)
    words = ["".join(draw.choice(alphabet) for _ in range(draw.randint(1, draw.choice((4, 12))))) for _ in range(60)]
    return [" ".join(draw.choice(words) for _ in range(draw.randint(1, 9))) for _ in range(count)]


def codes(lines: list[str], size: int) -> io.StringIO:
    written = io.StringIO()
    reference.learn_bpe(iter(lines), written, size)
    return written


def merges_of(written: io.StringIO) -> list[tuple[str, ...]]:
    return [tuple(line.split(" ")) for line in written.getvalue().removesuffix("\n").split("\n")[1:]]


@pytest.mark.parametrize("kind", ALPHABETS)
@pytest.mark.parametrize("size", [20, 400])
def test_merges_and_parts_are_the_same(kind: str, size: int) -> None:
    lines = sentences(ALPHABETS[kind], 300, seed=len(kind))
    written = codes(lines, size)
    ours = Bpe(size=size, style="subword_nmt")
    ours.learn(lines)
    assert ours.merges == merges_of(written)
    theirs = BPE(written)
    for line in [*lines, *sentences(ALPHABETS[kind], 100, seed=99), f"  {lines[0]}   {lines[1]} "]:
        assert [piece.text for piece in ours.pieces(line)] == theirs.segment_tokens(line.strip("\r\n ").split(" "))
    assert all(ours.decode(ours.encode(line)) == line for line in lines)


def test_enough_merges_to_prune_the_counts() -> None:
    lines = sentences("abcdefghijklmnop", 400, seed=5) + sentences("abcdefghijklmnop", 400, seed=6) + sentences("aeiou", 300, seed=7)
    written = codes(lines, 1500)
    assert learn_merges(lines, 1500) == merges_of(written)
    assert len(merges_of(written)) > 300


def test_ties_go_to_the_largest_pair() -> None:
    assert learn_merges(["ab cd"] * 2, 9) == [("c", "d</w>"), ("a", "b</w>")]
    assert learn_merges(["ab cd", "ab"], 9) == [("a", "b</w>")]  # a pair that occurs once is not merged
    assert learn_merges(["a b c"], 9) == learn_merges([], 9) == []


def test_any_order_of_merges_is_applied_the_same() -> None:
    """Merges out of the order learned: a pair that has just arisen may come before the one being merged."""
    draw = random.Random(1)
    for _ in range(300):
        parts, merges = ["a", "b", "a</w>", "b</w>"], set()
        for _ in range(draw.randint(1, 20)):
            pair = (draw.choice([part for part in parts if not part.endswith("</w>")]), draw.choice(parts))
            merges.add(pair)
            parts.append("".join(pair))
        order = sorted(merges)
        draw.shuffle(order)
        theirs = BPE(io.StringIO("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in order)))
        word = "".join(draw.choice("ab") for _ in range(draw.randint(2, 30)))
        assert segment(word, {pair: rank for rank, pair in enumerate(order)}) == theirs.segment(word).replace("@@", "").split(" ")


def test_of_a_pair_learned_twice_the_first_rank_counts() -> None:
    merges = [("a", "b"), ("b", "c</w>"), ("a", "b")]
    ours = Bpe(style="subword_nmt")
    ours.restore(pack("bpe", json.dumps({"merges": merges, "characters": "abc"}).encode(), "subword_nmt"))
    theirs = BPE(io.StringIO("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)))
    assert [piece.text for piece in ours.pieces("abc")] == theirs.segment_tokens(["abc"]) == ["ab@@", "c"]


def test_words_are_cut_at_spaces_alone() -> None:
    assert words_of("  a\tb  c\u00a0d\u3000 \r\n") == ["a\tb", "c\u00a0d\u3000"]
