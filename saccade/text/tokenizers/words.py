"""Words, single punctuation marks, and whatever white space is more than one space between two of them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, groupby
from typing import Literal
from unicodedata import category

from ...types import UNK
from ..vocabulary import Vocabulary
from . import Piece, Tokenizer
from ._limits import at_least
from ._state import pack, unpack

_RUNS = re.compile(r"\s+|\S+")
_JOINER = "\uffed"  # a halfwidth black square, as in OpenNMT's tokenizer: "this touches what stands before it"
_CACHED = 1 << 16


class Words(Tokenizer):
    """The `limit` most frequent words, marks and spaces of those that occur `minimum` times; any other is UNK.

    One space between two pieces goes without saying; a piece that touches the one before begins with U+FFED; every other run
    of white space is a piece.  A mark is never longer than one character, so a lone U+FFED in a text is not taken for a joiner.
    `split` "spaces" takes a text that was cut into words before: whatever stands between white space is one, and how much of it
    there was is forgotten.
    """

    streams = True

    def __init__(self, *, limit: int = 32000, minimum: int = 1, split: Literal["marks", "spaces"] = "marks") -> None:
        at_least(1, limit=limit, minimum=minimum)
        self.limit, self.minimum, self.as_cut = limit, minimum, split == "spaces"
        self._become(Vocabulary())

    def learn(self, lines: Iterable[str]) -> None:
        """Count the words of `lines`."""
        symbols = (symbol for line in lines for symbol in (line.split() if self.as_cut else chain.from_iterable(map(_symbols, _explicit(line)))))
        self._become(Vocabulary.count(symbols, limit=self.limit, minimum=self.minimum))

    def pieces(self, text: str) -> list[Piece]:
        """The words of `text`; a space that goes without saying belongs to the word after it."""
        if self.as_cut:
            return [Piece(self._vocabulary.ids([run[0]])[0], run[0], *run.span()) for run in re.finditer(r"\S+", text)]
        found: list[Piece] = []
        start = end = 0
        for run in _RUNS.findall(text):
            if _implicit(run, end, text):
                end += 1
                continue
            symbols = _symbols(run)
            for i, (symbol, known) in enumerate(zip(symbols, self._vocabulary.ids(symbols), strict=True)):
                end += len(symbol) - (i > 0)  # all but the first of a run begin with a joiner
                found.append(Piece(known, symbol, start, end))
                start = end
        return found

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS."""
        if self.as_cut:
            return self._vocabulary.ids(text.split())
        ids: list[int] = []
        for run in _explicit(text):
            known = self._cache.get(run)
            if known is None:
                known = self._vocabulary.ids(_symbols(run))
                if len(self._cache) >= _CACHED:
                    self._cache.clear()
                self._cache[run] = known
            ids += known
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The words of `ids` with the spaces that go without saying."""
        shown = [i for i in ids if i >= UNK]
        symbols = ["\u2047" if i == UNK else symbol for i, symbol in zip(shown, self._vocabulary.symbols(shown))]
        if self.as_cut:
            return " ".join(symbols)
        parts: list[str] = []
        for before, symbol in zip(["\n", *symbols], symbols):
            if len(symbol) > 1 and symbol[0] == _JOINER:
                parts.append(symbol[1:])
            else:
                parts.append(symbol if before.isspace() or symbol.isspace() else " " + symbol)
        return "".join(parts)

    def symbols(self) -> list[str]:
        """The vocabulary."""
        return self._vocabulary.symbols(range(self.size))

    def state(self) -> bytes:
        """The vocabulary."""
        return pack("words", self._vocabulary.to_json())

    def restore(self, state: bytes) -> None:
        """Take the vocabulary of `state`; `ModelError` M011 if it is damaged."""
        self._become(Vocabulary.from_json(unpack("words", state)[1]))

    def _become(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self.size = vocabulary, len(vocabulary)
        self._cache: dict[str, list[int]] = {}


def _implicit(run: str, start: int, text: str) -> bool:
    """Whether this run of `text` is the one space between two words."""
    return run == " " and 0 < start < len(text) - 1


def _explicit(text: str) -> Iterator[str]:
    """The runs of `text`, of white space and of anything else, that are to be written."""
    start = 0
    for run in _RUNS.findall(text):
        if not _implicit(run, start, text):
            yield run
        start += len(run)


@lru_cache(_CACHED)
def _symbols(run: str) -> tuple[str, ...]:
    """The words and marks of a run, all but the first with a joiner; white space as it is."""
    if run.isspace():
        return (run,)
    parts: list[str] = []
    for is_word, characters in groupby(run, _is_word):
        together = "".join(characters)
        parts += [together] if is_word else together
    return (parts[0], *(_JOINER + part for part in parts[1:]))


@lru_cache(None)
def _is_word(character: str) -> bool:
    """Letters, digits, the underscore, combining marks, and the two joiners that Indic and Persian spelling puts inside words."""
    return character.isalnum() or character in "_\u200c\u200d" or category(character)[0] == "M"
