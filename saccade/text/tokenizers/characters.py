"""Every code point is a token."""

from collections.abc import Iterable, Sequence
from itertools import chain

from ...types import UNK
from ..vocabulary import Vocabulary
from . import Piece, Tokenizer
from ._limits import at_least
from ._state import pack, unpack


class Characters(Tokenizer):
    """The `limit` most frequent code points of those that occur `minimum` times; any other is UNK."""

    streams = True

    def __init__(self, *, limit: int = 10000, minimum: int = 1) -> None:
        at_least(1, limit=limit, minimum=minimum)
        self.limit, self.minimum = limit, minimum
        self._become(Vocabulary())

    def learn(self, lines: Iterable[str]) -> None:
        """Count the code points of `lines`."""
        self._become(Vocabulary.count(chain.from_iterable(lines), limit=self.limit, minimum=self.minimum))

    def pieces(self, text: str) -> list[Piece]:
        """One piece for each code point."""
        return [Piece(found, character, i, i + 1) for i, (found, character) in enumerate(zip(self.encode(text), text))]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS."""
        return self._vocabulary.ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The symbols of `ids`, one after the other."""
        shown = [i for i in ids if i >= UNK]
        return "".join("\u2047" if i == UNK else symbol for i, symbol in zip(shown, self._vocabulary.symbols(shown)))

    def symbols(self) -> list[str]:
        """The vocabulary."""
        return self._vocabulary.symbols(range(self.size))

    def state(self) -> bytes:
        """The vocabulary."""
        return pack("characters", self._vocabulary.to_json())

    def restore(self, state: bytes) -> None:
        """Take the vocabulary of `state`; `ModelError` M011 if it is damaged."""
        self._become(Vocabulary.from_json(unpack("characters", state)[1]))

    def _become(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self.size = vocabulary, len(vocabulary)
