"""Where a model looked, over the words that people read.

A model looks from pieces at pieces; people read words.  The weights of a word's source pieces are added (they are shares of one look),
those of its output pieces averaged (each piece was a look of its own), so that every row goes on summing to 1.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ..errors import UsageError, suggestion

if TYPE_CHECKING:  # drawing needs no torch
    from ..types import Look, Piece

Units = Literal["words", "pieces", "characters"]
Span = tuple[int, int]

END = "⏎"
"""How the symbol that ends a sentence is shown: always the last row and the last column."""
SPACE = "␣"

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff]")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")  # Thai, Khmer, kana, Han ...


class WordLook(NamedTuple):
    """Rows: the words of the output.  Columns: the words of the source.  The last of each is the end symbol; every row sums to 1."""

    source_words: list[str]
    output_words: list[str]
    weights: np.ndarray


class Cells(NamedTuple):
    """What one side of the picture is made of: what each cell says, and the numbers of its pieces (the end symbol is the last piece)."""

    labels: list[str]
    pieces: list[list[int]]


def merge_words(look: "Look", *, units: Units = "words", place: str | None = None, head: int | None = None) -> WordLook:
    """`look` over words, pieces or characters: the mean of all heads everywhere, or of those of one `place`, or one head of it.

    A piece that stands for several characters divides its weight among them.  `UsageError` C032 if there is no such place or head,
    C033 if the model has no attention; `ValueError` if the weights' shape does not fit the pieces or one is not a finite number.
    """
    _check(look)
    source, output = cells(look.source, look.source_pieces, units), cells(look.output, look.output_pieces, units)
    to_source, to_output = _membership(source, len(look.source_pieces) + 1), _membership(output, len(look.output_pieces) + 1)
    shares, means = to_source / to_source.sum(axis=0), to_output / to_output.sum(axis=1, keepdims=True)
    return WordLook(source.labels, output.labels, means @ _mean(look, place, head) @ shares.T)


def cells(text: str, pieces: Sequence["Piece"], units: Units) -> Cells:
    """The words, pieces or characters of `text`, and which pieces each is made of.

    A word is a run of letters, digits and marks, with apostrophes inside; punctuation is a word of its own; scripts that write no spaces
    are cut at every character.  Words that share a piece become one; white space and empty pieces go with the word after them.
    A text of a single word is shown in pieces.  What no piece stands for is left out.
    """
    if units == "pieces":
        found = _pieces(text, pieces)
    elif units == "characters":
        found = _characters(text, pieces)
    else:
        found = _words(text, pieces)
        found = found if len(found.labels) > 1 else _pieces(text, pieces)
    return Cells([*found.labels, END], [*found.pieces, [len(pieces)]])


def _pieces(text: str, pieces: Sequence["Piece"]) -> Cells:
    """Every piece by itself, called by its characters, or by its own name where it shares them with a neighbour (bytes) or has none."""
    times = Counter((piece.start, piece.end) for piece in pieces)
    own = [text[piece.start : piece.end] if times[piece.start, piece.end] == 1 else "" for piece in pieces]
    labels = [shown(characters) or shown(piece.text) for characters, piece in zip(own, pieces)]
    return Cells(labels, [[number] for number in range(len(pieces))])


def _characters(text: str, pieces: Sequence["Piece"]) -> Cells:
    """Every character, with the marks that stand on it."""
    starts = [place for place, character in enumerate(text) if place == 0 or _kind(character)]
    spans = list(zip(starts, [*starts[1:], len(text)]))
    if not spans:
        return _pieces(text, pieces)
    members: list[list[int]] = [[] for _ in spans]
    for number, piece in enumerate(pieces):
        for touched in _touched(spans, piece):
            members[touched].append(number)
    return _covered([shown(text[start:end]) for start, end in spans], members)


def _words(text: str, pieces: Sequence["Piece"]) -> Cells:
    """Every word, in one with those that it shares a piece with."""
    spans = _word_spans(text)
    if not spans:
        return Cells([], [])
    touched = [_touched(spans, piece) for piece in pieces]
    joined = {word for words in touched for word in words[1:]}  # each of these is one with the word before it
    cell = [number - 1 for number in accumulate(int(word not in joined) for word in range(len(spans)))]
    members: list[list[int]] = [[] for _ in range(cell[-1] + 1)]
    for number, words in enumerate(touched):
        members[cell[words[0]]].append(number)
    whole = [(spans[bisect_left(cell, number)][0], spans[bisect_right(cell, number) - 1][1]) for number in range(len(members))]
    return _covered([shown(text[start:end]) for start, end in whole], members)


def _covered(labels: list[str], members: list[list[int]]) -> Cells:
    kept = [number for number, pieces in enumerate(members) if pieces]
    return Cells([labels[number] for number in kept], [members[number] for number in kept])


def _word_spans(text: str) -> list[Span]:
    """Where each word begins and ends, in order."""
    spans: list[Span] = []
    last = " "
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind == " ":
            last = " "
            continue
        apostrophe = character in "'’" and last == "word" and _kind(text[place + 1 : place + 2]) == "word"
        if spans and last != " " and (not kind or apostrophe or (kind == last and kind != "unspaced")):
            spans[-1] = (spans[-1][0], place + 1)
            continue
        spans.append((place, place + 1))
        last = kind or "word"
    return spans


def _kind(character: str) -> str:
    """`" "`, `"word"`, `"unspaced"`, nothing for what belongs to the character before it, or the character itself (punctuation)."""
    if not character or character.isspace():
        return " "
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf":
        return ""
    if _UNSPACED.match(character):
        return "unspaced"
    return "word" if category[0] in "LN" else character


def _touched(spans: Sequence[Span], piece: "Piece") -> range:
    """The numbers of the spans that `piece` has characters of; the next one if it has none, the last if nothing follows."""
    first = min(bisect_right(spans, piece.start, key=lambda span: span[1]), len(spans) - 1)
    last = first
    while last + 1 < len(spans) and spans[last + 1][0] < piece.end:
        last += 1
    return range(first, last + 1)


def shown(text: str) -> str:
    """`text` to be read as a label: without outer white space, with control characters and changes of direction written out (`\\x00`)."""
    if text and text.isspace():
        return SPACE
    text = _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text.strip())
    return f"◌{text}" if text and unicodedata.category(text[0])[0] == "M" else text  # a mark needs something to stand on


def _check(look: "Look") -> None:
    if not look.weights:
        fix = "decoder=transformer, or with a source a recurrent one with a score; how a language model weighs its symbols: --explain"
        raise UsageError("C033", "this model has no attention to draw", why="its decoder looks back at nothing", fix=fix)
    rows, columns = len(look.output_pieces) + 1, len(look.source_pieces) + 1
    for place, weights in look.weights.items():
        if weights.ndim != 3 or not len(weights) or weights.shape[1:] != (rows, columns):
            raise ValueError(f"{place}: weights are heads x {rows} x {columns}, not {' x '.join(map(str, weights.shape))}")
        if not np.isfinite(weights).all():
            raise ValueError(f"{place}: a weight is not a finite number")


def _membership(side: Cells, count: int) -> np.ndarray:
    """Cells x pieces: 1 where the piece is part of the cell."""
    matrix = np.zeros((len(side.labels), count))
    for row, pieces in enumerate(side.pieces):
        matrix[row, pieces] = 1
    return matrix


def _mean(look: "Look", place: str | None, head: int | None) -> np.ndarray:
    """T x S: the mean of the heads asked for."""
    if place is None and head is not None:
        raise UsageError("C032", f"head {head} was asked for, but not of which place", look=f"there is {', '.join(look.weights)}", fix="name the place as well")
    if place is not None and place not in look.weights:
        raise UsageError("C032", f"no attention called {place!r} in this model", fix=suggestion(place, look.weights))
    heads = np.concatenate([weights for name, weights in look.weights.items() if place in (None, name)]).astype(np.float64)
    if head is None:
        return heads.mean(axis=0)
    if not 0 <= head < len(heads):
        raise UsageError("C032", f"{place} has no head {head}", fix=f"choose from 0 to {len(heads) - 1}")
    return heads[head]
