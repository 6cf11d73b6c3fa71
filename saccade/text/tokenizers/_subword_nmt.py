"""A tokenizer around the merges of subword-nmt: parts of words that end in @@ go on in the next part."""

import json
from collections.abc import Iterable, Iterator, Sequence

from ...types import UNK
from ..vocabulary import SPECIALS, Vocabulary
from . import Piece
from ._limits import at_least
from ._merges import END, Pair, learn_merges, segment, words_of
from ._state import damaged

_CACHED = 1 << 16


class MergeModel:
    """`size` merges at most.  Words are cut at spaces; how many there were is not kept.

    In the vocabulary a part that ends a word ends in a space: no part can have one of its own.
    """

    def __init__(self, size: int) -> None:
        at_least(1, size=size)
        self._wanted = size
        self._become([], "")

    def learn(self, lines: Iterable[str]) -> None:
        """Learn the merges, and the characters that the lines are made of."""
        lines = list(lines)
        characters = sorted({character for line in lines for word in words_of(line) for character in word})
        self._become(learn_merges(lines, self._wanted), "".join(characters))

    def pieces(self, text: str) -> list[Piece]:
        """The parts of `text`; white space belongs to the part after it, and at the end to the last one."""
        found: list[Piece] = []
        end = 0
        for word in words_of(text):
            start, end = end, text.index(word, end)
            for symbol, known in zip(*self._cut(word), strict=True):
                end += len(symbol.removesuffix(" "))
                found.append(Piece(known, _shown(symbol), start, end))
                start = end
        if found:
            found[-1] = found[-1]._replace(end=len(text))
        return found

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        ids: list[int] = []
        for word in words_of(text):
            ids += self._cut(word)[1]
        return ids

    def encode_lines(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of every line."""
        return [self.encode(line) for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        """The words, with one space between them.  An unknown symbol is a word by itself."""
        shown = [i for i in ids if i >= UNK]
        return "".join("\u2047 " if i == UNK else symbol for i, symbol in zip(shown, self.vocabulary.symbols(shown))).removesuffix(" ")

    def symbols(self) -> list[str]:
        """Every id as `pieces` writes it."""
        return [*SPECIALS, *map(_shown, self.vocabulary.symbols(range(len(SPECIALS), self.size)))]

    def dump(self) -> bytes:
        """Merges and characters as JSON."""
        return json.dumps({"merges": self.merges, "characters": self._characters}).encode()

    def load(self, body: bytes) -> None:
        """The inverse of `dump`; `ModelError` M011 if `body` is damaged."""
        try:
            found = json.loads(body)
            merges = [(str(left), str(right)) for left, right in found["merges"]]
            self._become(merges, str(found["characters"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            raise damaged() from None

    def _become(self, merges: list[Pair], characters: str) -> None:
        self.merges, self._characters = merges, characters
        # Where a pair was learned twice, its first rank counts.
        self._ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
        self.vocabulary = Vocabulary(dict.fromkeys([*_endings(characters), *(_written(left + right) for left, right in merges)]))
        self.size = len(self.vocabulary)
        self._cache: dict[str, tuple[list[str], list[int]]] = {}

    def _cut(self, word: str) -> tuple[list[str], list[int]]:
        """The symbols of a word and their ids, remembered."""
        found = self._cache.get(word)
        if found is None:
            symbols = self._symbols(word)
            found = symbols, self.vocabulary.ids(symbols)
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            self._cache[word] = found
        return found

    def _symbols(self, word: str) -> list[str]:
        *parts, last = segment(word, self._ranks)
        symbols = [*parts, last + " "]
        if all(symbol in self.vocabulary for symbol in symbols):
            return symbols
        return [found for symbol in symbols for found in ([symbol] if symbol in self.vocabulary else _letters(symbol))]


def _endings(characters: str) -> Iterator[str]:
    """Every character inside a word and at its end."""
    for character in characters:
        yield character
        yield character + " "


def _written(merged: str) -> str:
    return merged.removesuffix(END) + " " if merged.endswith(END) else merged


def _shown(symbol: str) -> str:
    """A symbol as people write it: with @@ if its word goes on."""
    return symbol[:-1] if symbol[-1] == " " else symbol + "@@"


def _letters(symbol: str) -> list[str]:
    """The characters of a part that is not in the vocabulary, each as a part of its own."""
    return [*symbol[:-2], symbol[-2:]] if symbol[-1] == " " else [*symbol]
