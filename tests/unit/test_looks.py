"""Where a model looked, over words: merging adds up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import UsageError
from saccade.serving.looks import END, _word_spans, cells, merge_words, shown
from saccade.types import Look, Piece

PLACE = "decoder.layers.0.cross_attention"


def split(text: str, *parts: str) -> list[Piece]:
    """Pieces that follow each other in `text`."""
    pieces, start = [], 0
    for number, part in enumerate(parts):
        start = text.index(part, start)
        pieces.append(Piece(number + 4, part, start, start + len(part)))
        start += len(part)
    return pieces


def weights(rows: int, columns: int, heads: int = 2, seed: int = 1) -> np.ndarray:
    """Heads x rows x columns of positive numbers without a pattern; each row sums to 1."""
    numbers = np.sin(np.arange(heads * rows * columns) * 12.9898 * seed + seed).reshape(heads, rows, columns) ** 2 + 0.01
    return numbers / numbers.sum(axis=-1, keepdims=True)


def look(source: str, output: str) -> Look:
    """A look of one piece for each character."""
    sides = [[Piece(4, character, place, place + 1) for place, character in enumerate(text)] for text in (source, output)]
    return Look(source, output, *sides, {PLACE: weights(len(output) + 1, len(source) + 1)}, -1.5)


def test_source_pieces_of_a_word_are_added_and_output_pieces_averaged() -> None:
    source, output = "ein Haus", "a house"
    table = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.5, 0.3, 0.1], [0.2, 0.2, 0.4, 0.2], [0.0, 0.1, 0.1, 0.8]])
    seen = Look(source, output, split(source, "ein", "Ha", "us"), split(output, "a", "hou", "se"), {PLACE: table[None]})
    merged = merge_words(seen)
    assert merged.source_words == ["ein", "Haus", END]
    assert merged.output_words == ["a", "house", END]
    np.testing.assert_allclose(merged.weights, [[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.0, 0.2, 0.8]])


def test_white_space_goes_with_the_word_after_it_and_at_the_end_with_the_word_before() -> None:
    text = "a b "
    assert cells(text, split(text, "a", " ", "b", " "), "words") == (["a", "b", END], [[0], [1, 2, 3], [4]])


def test_words_that_share_a_piece_are_one() -> None:
    text = "in New York, now"
    assert cells(text, split(text, "in", " New York,", "now"), "words") == (["in", "New York,", "now", END], [[0], [1], [2], [3]])


def test_a_date_is_cut_at_its_punctuation_and_a_single_word_into_pieces() -> None:
    assert cells("1998-05-03", look("", "1998-05-03").output_pieces, "words").labels == ["1998", "-", "05", "-", "03", END]
    assert cells("cat", look("", "cat").output_pieces, "words").labels == ["c", "a", "t", END]
    assert cells("", [], "words") == ([END], [[0]])
    assert cells("  ", look("", "  ").output_pieces, "words").labels == ["␣", "␣", END]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't l’homme 'so'", ["don't", "l’homme", "'", "so", "'"]),
        ("wait... what?!", ["wait", "...", "what", "?", "!"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("我喜欢 A4", ["我", "喜", "欢", "A4"]),
        ("e\u0301te\u0301 👩\u200d👧", ["e\u0301te\u0301", "👩\u200d", "👧"]),
        ("3.5 km/h", ["3", ".", "5", "km", "/", "h"]),
        ("\u200fשלום", ["\u200fשלום"]),
    ],
)
def test_a_word_is_a_run_of_letters_digits_and_marks(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in _word_spans(text)] == words


def test_a_piece_divides_its_weight_among_its_characters() -> None:
    seen = Look("ab c", "x", split("ab c", "ab", " ", "c"), split("x", "x"), {PLACE: np.array([[[0.6, 0.1, 0.2, 0.1], [0, 0, 0, 1]]])})
    merged = merge_words(seen, units="characters")
    assert merged.source_words == ["a", "b", "␣", "c", END]
    np.testing.assert_allclose(merged.weights, [[0.3, 0.3, 0.1, 0.2, 0.1], [0, 0, 0, 0, 1]])


def test_pieces_are_called_by_their_characters_or_else_by_their_names() -> None:
    pieces = [
        Piece(9, "▁Ha", 0, 3),
        Piece(3, "<unk>", 3, 4),
        Piece(260, "<0xC3>", 4, 5),
        Piece(261, "<0xA9>", 4, 5),
        Piece(8, " ", 5, 6),
        Piece(7, "</w>", 6, 6),
    ]
    assert cells(" Hauté ", [*pieces[:1], Piece(3, "<unk>", 3, 4)], "pieces").labels == ["Ha", "u", END]
    assert cells(" Haué x", pieces, "pieces").labels == ["Ha", "u", "<0xC3>", "<0xA9>", "␣", "</w>", END]


def test_the_mean_is_over_all_heads_of_all_places_unless_one_is_chosen() -> None:
    here, there = weights(3, 3, heads=1, seed=1), weights(3, 3, heads=3, seed=2)
    seen = Look("a b", "c d", split("a b", "a", "b"), split("c d", "c", "d"), {"one": here, "two": there})
    np.testing.assert_allclose(merge_words(seen).weights, (here.sum(0) + there.sum(0)) / 4)
    np.testing.assert_allclose(merge_words(seen, place="two").weights, there.mean(0))
    np.testing.assert_allclose(merge_words(seen, place="two", head=2).weights, there[2])


@pytest.mark.parametrize(
    ("chosen", "headline", "fix"),
    [
        ({"place": "decoder.layers.0.cros_attention"}, "no attention called 'decoder.layers.0.cros_attention' in this model", f"did you mean {PLACE}?"),
        ({"place": PLACE, "head": 2}, f"{PLACE} has no head 2", "choose from 0 to 1"),
        ({"head": 0}, "head 0 was asked for, but not of which place", "name the place as well"),
    ],
)
def test_a_place_or_head_that_is_not_there(chosen: dict, headline: str, fix: str) -> None:
    with pytest.raises(UsageError) as raised:
        merge_words(look("ab", "cd"), **chosen)
    assert (raised.value.code, raised.value.headline, raised.value.parts["fix"]) == ("C032", headline, [fix])


@st.composite
def looks_of_any_pieces(draw: st.DrawFn) -> Look:
    """Texts of any characters and pieces of any spans: overlapping, empty, out of order, beyond the end."""
    sides = []
    for _ in range(2):
        text = draw(st.text(alphabet=st.sampled_from("aé1 -.'我\u0301\u200d\n<\x00\ud800"), max_size=12))
        place = st.integers(0, len(text) + 1)
        spans = draw(st.lists(st.tuples(place, place).map(sorted), max_size=8))
        sides.append((text, [Piece(number, "p", *span) for number, span in enumerate(spans)]))
    (source, source_pieces), (output, output_pieces) = sides
    shape = (len(output_pieces) + 1, len(source_pieces) + 1)
    return Look(source, output, source_pieces, output_pieces, {"a": weights(*shape), "b": weights(*shape, heads=1, seed=3)})


@given(looks_of_any_pieces(), st.sampled_from(["words", "pieces", "characters"]))
@settings(max_examples=200, deadline=None)
def test_rows_go_on_summing_to_one(seen: Look, units: str) -> None:
    merged = merge_words(seen, units=units)
    assert merged.weights.shape == (len(merged.output_words), len(merged.source_words))
    assert (merged.weights >= 0).all()
    np.testing.assert_allclose(merged.weights.sum(axis=1), 1)
    assert merged.source_words[-1] == merged.output_words[-1] == END
    if units != "characters":
        everything = [number for members in cells(seen.source, seen.source_pieces, units).pieces for number in members]
        assert sorted(everything) == list(range(len(seen.source_pieces) + 1))


def test_labels_show_what_cannot_be_seen() -> None:
    assert shown(" a\x00\tb\u202e\u2028\ud800 ") == r"a\x00\tb\u202e\u2028\ud800"
    assert (shown(" \n"), shown("\u0301"), shown("")) == ("␣", "◌\u0301", "")
