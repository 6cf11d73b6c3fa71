"""What every tokenizer does: text comes back, pieces say where they stand, the same lines teach the same, no text is a command."""

import copy
import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import ModelError, UsageError
from saccade.families import find, knobs, members
from saccade.text.tokenizers import Piece, Tokenizer
from saccade.text.tokenizers._merges import words_of
from saccade.text.tokenizers._state import pack
from saccade.text.vocabulary import SPECIALS
from saccade.types import BOS, EOS, PAD, UNK

FAMILY = "saccade.text.tokenizers"
LINES = [
    "The cat sat on the mat, and the other cat sat on the cat.",
    "A man in a blue shirt is standing on a ladder cleaning a window.",
    "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.",
    "the-cat (again): 3.14 don't <s> </s> <unk> <pad> <0x41> ￭ ▁ @@ </w>",
    "日本語のテキスト मैं हिन्दी می\u200cخواهم \U0001f469\u200d\U0001f467 e\u0301",
] * 4
SMALL = {"bpe": {"size": 400}, "unigram": {"size": 400}}  # bigger ones have nothing more to learn from these lines
MAKERS = {name: (name, SMALL.get(name, {})) for name in members(FAMILY)} | {"bpe subword_nmt": ("bpe", {"size": 60, "style": "subword_nmt"})}
LOSSLESS = ["bpe", "bytes", "unigram"]
every = pytest.mark.parametrize("name", MAKERS)
lossless = pytest.mark.parametrize("name", LOSSLESS)

TRICKS = "▁|▅|⁇| |  |\t|\n|\r\n|\0|<s>|</s>|<pad>|<unk>|<0x41>|\u2028|\u00a0|\u3000|\x1c|cat| the|é|e\u0301|\u0301|\U0001f600|￭|@@|</w>|ß|.|,a"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.lists(st.sampled_from(TRICKS.split("|")), max_size=12).map("".join)


def made(name: str) -> Tokenizer:
    member, chosen = MAKERS[name]
    return find(Tokenizer, member)(**chosen)


@pytest.fixture(scope="module")
def learned() -> dict[str, Tokenizer]:
    tokenizers = {name: made(name) for name in MAKERS}
    for tokenizer in tokenizers.values():
        tokenizer.learn(LINES)
    return tokenizers


def check_spans(text: str, pieces: list[Piece]) -> None:
    """Every character in exactly one span, in order; only pieces of one character share a span."""
    end = 0
    for before, piece in zip([None, *pieces], pieces):
        shared = before is not None and (piece.start, piece.end) == (before.start, before.end) and piece.end - piece.start == 1
        assert shared or piece.start == end, (text, piece)
        assert piece.start <= piece.end
        end = piece.end
    assert end == (len(text) if pieces else 0)


@every
def test_learned_text_comes_back(name: str, learned: dict[str, Tokenizer]) -> None:
    for line in LINES:
        assert learned[name].decode(learned[name].encode(line)) == line


@lossless
@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back(name: str, learned: dict[str, Tokenizer], text: str) -> None:
    assert learned[name].decode(learned[name].encode(text)) == text


@pytest.mark.parametrize("name", ["characters", "words", "bpe subword_nmt"])
@given(text=texts)
@settings(deadline=None)
def test_any_text_made_of_known_symbols_comes_back(name: str, text: str) -> None:
    tokenizer = made(name)
    tokenizer.learn([text])
    assert tokenizer.decode(tokenizer.encode(text)) == (" ".join(words_of(text)) if name == "bpe subword_nmt" else text)


@every
@given(text=texts)
@settings(deadline=None)
def test_pieces_cover_the_text_and_are_what_encode_says(name: str, learned: dict[str, Tokenizer], text: str) -> None:
    tokenizer = learned[name]
    pieces = tokenizer.pieces(text)
    assert [piece.id for piece in pieces] == tokenizer.encode(text)
    assert all(UNK <= piece.id < tokenizer.size for piece in pieces)
    symbols = tokenizer.symbols()
    assert (len(symbols), tuple(symbols[:4])) == (tokenizer.size, SPECIALS)
    assert all(symbols[piece.id] == piece.text for piece in pieces if piece.id != UNK)
    check_spans(text, pieces)
    assert bool(pieces) == bool(text.strip("\r\n ") if name == "bpe subword_nmt" else text)


@every
@given(lines=st.lists(texts | st.just("a\ud800b"), max_size=5))
@settings(deadline=None)
def test_many_lines_at_once_are_encoded_as_one_by_one(name: str, learned: dict[str, Tokenizer], lines: list[str]) -> None:
    assert learned[name].encode_lines(lines) == [learned[name].encode(line) for line in lines]


@every
def test_the_same_lines_teach_the_same(name: str, learned: dict[str, Tokenizer]) -> None:
    again = made(name)
    again.learn(["something", "else"])
    again.learn(iter(LINES))
    assert again.state() == learned[name].state()
    assert again.size == learned[name].size


def test_another_process_learns_the_same(learned: dict[str, Tokenizer]) -> None:
    program = (
        "import sys; from hashlib import sha256; from saccade.families import find; from saccade.text.tokenizers import Tokenizer\n"
        f"for name, (member, chosen) in {MAKERS!r}.items():\n"
        f"    tokenizer = find(Tokenizer, member)(**chosen); tokenizer.learn({LINES!r}); print(name, sha256(tokenizer.state()).hexdigest(), sep=':')"
    )
    from hashlib import sha256

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"}).stdout
    assert said.split("\n")[:-1] == [f"{name}:{sha256(tokenizer.state()).hexdigest()}" for name, tokenizer in learned.items()]


@every
def test_restore_is_the_inverse_of_state(name: str, learned: dict[str, Tokenizer]) -> None:
    for tokenizer in (find(Tokenizer, MAKERS[name][0])(), copy.deepcopy(learned[name])):
        tokenizer.restore(learned[name].state())
        assert tokenizer.state() == learned[name].state()
        assert tokenizer.size == learned[name].size
        for line in [*LINES, "something new ▁ \U0001f600"]:
            assert tokenizer.pieces(line) == learned[name].pieces(line)
            assert tokenizer.decode(tokenizer.encode(line)) == learned[name].decode(learned[name].encode(line))


@every
def test_m011_damaged(name: str, learned: dict[str, Tokenizer]) -> None:
    state, tokenizer = learned[name].state(), made(name)
    flipped = [state[:i] + bytes([state[i] ^ 1]) + state[i + 1 :] for i in {0, 20, len(state) // 2, len(state) - 1}]
    foreign = [other.state() for other_name, other in learned.items() if other_name.split()[0] != name.split()[0]]
    bodies = [b"\xff", b"{}", b"[1]", b'{"merges": [["a"]], "characters": ""}', b'{"merges": 3}', b"[" * 100000]
    forged = [pack(name.split()[0], body, style) for body in bodies for style in ("sentencepiece", "subword_nmt", "other")]
    for bad in [b"", b"\n", b"[]", b"[" * 100000, state[:-1], state + b"x", *flipped, *foreign, *forged]:
        with pytest.raises(ModelError, match="in this model is damaged") as caught:
            tokenizer.restore(bad)
        assert caught.value.code == "M011"
    with pytest.raises(ModelError) as caught:
        tokenizer.restore(state[:-1])
    assert caught.value.render() == (
        "error[M011] the tokenizer in this model is damaged\n  fix   copy the model again from where it came from, or train a new one"
    )


@every
def test_specials_cannot_be_typed(name: str, learned: dict[str, Tokenizer]) -> None:
    for special in [*SPECIALS, "<0x41>", " <s> ", "a<s>b"]:
        for tokenizer in (learned[name], taught(name, [special] * 9)):
            assert not {PAD, BOS, EOS} & set(tokenizer.encode(special))
            assert tokenizer.decode(tokenizer.encode(special)).strip() == special.strip() or UNK in tokenizer.encode(special)


def taught(name: str, lines: list[str]) -> Tokenizer:
    tokenizer = made(name)
    tokenizer.learn(lines)
    return tokenizer


@every
def test_decoding_leaves_out_specials_and_shows_what_is_unknown(name: str, learned: dict[str, Tokenizer]) -> None:
    tokenizer = learned[name]
    ids = tokenizer.encode("The cat")
    assert tokenizer.decode([BOS, *ids, EOS, PAD, PAD]) == "The cat"
    assert tokenizer.decode([]) == tokenizer.decode([BOS, EOS]) == ""
    assert tokenizer.decode([UNK]) == "\u2047"
    assert tokenizer.decode([*ids, UNK]).endswith("\u2047")


@every
def test_little_to_learn_from_is_enough(name: str) -> None:
    for lines in ([], [""], [" "], ["a"], ["\0"], ["▁"], ["ab" * 5000]):
        tokenizer = taught(name, lines)
        assert tokenizer.size >= 4
        if name in LOSSLESS:
            assert tokenizer.decode(tokenizer.encode(" a▁  b\0")) == " a▁  b\0"


@every
def test_lone_surrogates_do_no_harm(name: str, learned: dict[str, Tokenizer]) -> None:
    pieces = learned[name].pieces("a\ud800b")
    assert [piece.id for piece in pieces] == learned[name].encode("a\ud800b")
    check_spans("a\ud800b", pieces)
    if name in LOSSLESS:
        assert learned[name].decode(learned[name].encode("a\ud800b")) == "a\ufffdb"
        taught(name, ["a\ud800b"])


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("words", "The cat, sat\tnow ", ["The|0|3", "cat|3|7", "￭,|7|8", "sat|8|12", "\t|12|13", "now|13|16", " |16|17"]),
        ("words", "  don't_1 हिन्दी", ["  |0|2", "don|2|5", "￭'|5|6", "￭t_1|6|9", "हिन्दी|9|16"]),
        ("words", "￭￭x ￭", ["￭|0|1", "￭￭|1|2", "￭x|2|3", "￭|3|5"]),
        ("characters", "é x", ["é|0|1", " |1|2", "x|2|3"]),
        ("bytes", "aé ", ["a|0|1", "<0xC3>|1|2", "<0xA9>|1|2", "<0x20>|2|3"]),
        ("bpe", "\u00ff▁", ["▁|0|0", "<0xC3>|0|1", "<0xBF>|0|1", "<0xE2>|1|2", "<0x96>|1|2", "<0x81>|1|2"]),
        ("bpe", "the cat", ["▁the|0|3", "▁cat|3|7"]),
        ("unigram", "at\u00ff on", ["▁|0|0", "at|0|2", "<0xC3>|2|3", "<0xBF>|2|3", "▁|3|4", "on|4|6"]),
        ("bpe subword_nmt", "  cat  \u00ffs ", ["cat|0|5", "\u00ff@@|5|8", "s|8|10"]),
    ],
)
def test_pieces_for_people(name: str, text: str, shown: list[str], learned: dict[str, Tokenizer]) -> None:
    assert [f"{piece.text}|{piece.start}|{piece.end}" for piece in learned[name].pieces(text)] == shown


def test_the_first_word_is_the_same_as_elsewhere(learned: dict[str, Tokenizer]) -> None:
    for name in ("words", "bpe", "unigram", "bpe subword_nmt"):
        assert learned[name].encode("cat cat") == learned[name].encode("cat") * 2


def test_joiners_spaces_and_the_unknown_in_decoding(learned: dict[str, Tokenizer]) -> None:
    words = learned["words"]
    cat, stop = words.encode("cat")[0], words.encode("cat.")[1]
    assert words.decode([stop, cat, UNK, stop, cat]) == ". cat ⁇. cat"
    merges = learned["bpe subword_nmt"]
    assert merges.decode([*merges.encode("cat"), UNK, *merges.encode("cat")]) == "cat ⁇ cat"
    assert learned["bytes"].decode([4 + 0xC3, UNK, 4 + 0xA9]) == "\ufffd\u2047\ufffd"


def test_limits() -> None:
    for name in ("words", "characters"):
        tokenizer = find(Tokenizer, name)(limit=3, minimum=2)
        tokenizer.learn(["a b b c c c d d d d e e e e e"])
        assert tokenizer.size == 7
        assert UNK in tokenizer.encode("b")
        assert UNK not in tokenizer.encode("e")


def test_sizes(learned: dict[str, Tokenizer]) -> None:
    assert learned["bytes"].size == 260
    assert learned["bpe"].size == 400
    assert 260 < learned["unigram"].size <= 400
    many = [chr(i) * 2 for i in range(0x4E00, 0x5200)]  # more characters than there is room for
    for name in ("bpe", "unigram"):
        assert taught(name, many).size <= 400


@pytest.mark.parametrize(("times", "pieces"), [(1, 1000), (10, 1499), (60, 8000)])
def test_a_vocabulary_that_fits_its_text(times: int, pieces: int) -> None:
    """A piece for every thousand characters, 1,000 at least and 8,000 at most."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghijklmnop", k=8)) for _ in range(16_666)]
    tokenizer = find(Tokenizer, "unigram")(size="auto")
    tokenizer.learn([" ".join(words)] * times)
    assert tokenizer.size == pieces


def test_a_vocabulary_that_fits_has_room_for_characters() -> None:
    """Of a short text in a script of many characters none goes by its bytes."""
    draw = random.Random(2)
    lines = ["".join(chr(0x4E00 + draw.randrange(900)) for _ in range(40)) for _ in range(1000)]
    tokenizer = find(Tokenizer, "unigram")(size="auto")
    tokenizer.learn(lines)
    assert 1000 < tokenizer.size <= 260 + 2 * 901
    assert not any(piece.text.startswith("<0x") for line in lines for piece in tokenizer.pieces(line))


def test_merges() -> None:
    bpe = find(Tokenizer, "bpe")(size=2, style="subword_nmt")
    bpe.learn(["low low low lower"])
    assert bpe.merges == [("l", "o"), ("lo", "w</w>")]
    assert [piece.text for piece in bpe.pieces("low lowlow")] == ["low", "lo@@", "w@@", "low"]
    assert find(Tokenizer, "bpe")().merges == []


def test_parts_that_text_makes_look_like_marks(learned: dict[str, Tokenizer]) -> None:
    """A word that holds </w> or @@ comes back, though merges of its characters read like the end of a word."""
    bpe = find(Tokenizer, "bpe")(size=50, style="subword_nmt")
    lines = ["a</w>b a</w>b x@@ @@y </w> </w></w>b", "</w>b </w>c </w>d"] * 3
    bpe.learn(lines)
    for line in lines:
        assert bpe.decode(bpe.encode(line)) == line
        assert UNK not in bpe.encode(line)


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "unigram",
            {"size": 100},
            "error[C012] tokenizer.size = 100; it must be at least 300\n"
            "  why   260 of the symbols are the 256 bytes and the 4 specials\n"
            "  fix   tokenizer.size=300",
        ),
        ("bpe", {"size": 0, "style": "subword_nmt"}, "error[C012] tokenizer.size = 0; it must be at least 1\n  fix   tokenizer.size=1"),
        ("words", {"limit": 0}, "error[C012] tokenizer.limit = 0; it must be at least 1\n  fix   tokenizer.limit=1"),
        ("characters", {"minimum": 0}, "error[C012] tokenizer.minimum = 0; it must be at least 1\n  fix   tokenizer.minimum=1"),
    ],
)
def test_c012_sizes_that_cannot_be(name: str, chosen: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(Tokenizer, name)(**chosen)
    assert caught.value.render() == message
    assert caught.value.setting in message


def test_a_style_is_restored_whatever_was_asked_for(learned: dict[str, Tokenizer]) -> None:
    small = find(Tokenizer, "bpe")(size=5, style="subword_nmt")
    small.restore(learned["bpe"].state())
    assert (small.style, small.state()) == ("sentencepiece", learned["bpe"].state())
    assert all(set(knobs(find(Tokenizer, name))) <= {"size", "style", "limit", "minimum", "split"} for name in members(FAMILY))
