"""A vocabulary: symbols to ids and back."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import ModelError
from ..types import UNK

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
"""What ids 0 to 3 are called.  A symbol of a text that reads the same has an id of its own."""


class Vocabulary:
    """Different symbols in a fixed order; the first has id 4, after the specials."""

    def __init__(self, symbols: Iterable[str] = ()) -> None:
        self._symbols = [*SPECIALS, *symbols]
        self._ids = {symbol: i for i, symbol in enumerate(self._symbols[len(SPECIALS) :], len(SPECIALS))}
        if len(self._ids) + len(SPECIALS) != len(self._symbols):
            raise ValueError("the symbols of a vocabulary must differ from each other")

    @classmethod
    def count(cls, symbols: Iterable[str], *, limit: int | None = None, minimum: int = 1) -> "Vocabulary":
        """The `limit` most frequent symbols, of those that occur `minimum` times, most frequent first, equals by code point."""
        counts = sorted(((-n, symbol) for symbol, n in Counter(symbols).items() if n >= minimum))
        return cls(symbol for _, symbol in counts[:limit])

    def __len__(self) -> int:
        return len(self._symbols)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._ids

    def ids(self, symbols: Iterable[str]) -> list[int]:
        """The id of each symbol; UNK for those that are not in the vocabulary, and never another special."""
        known = self._ids.get
        return [known(symbol, UNK) for symbol in symbols]

    def symbols(self, ids: Sequence[int]) -> list[str]:
        """The symbol of each id; specials have names."""
        return [self._symbols[i] for i in ids]

    def to_json(self) -> bytes:
        """The symbols as a JSON list."""
        return json.dumps(self._symbols[len(SPECIALS) :]).encode()

    @classmethod
    def from_json(cls, state: bytes) -> "Vocabulary":
        """The vocabulary whose `to_json()` this is; `ModelError` M011 if it is not one."""
        try:
            symbols = json.loads(state)
            if isinstance(symbols, list) and all(type(symbol) is str for symbol in symbols):
                return cls(symbols)
        except (ValueError, RecursionError):
            pass
        raise ModelError("M011", "the vocabulary in this model is damaged", fix="copy the model again from where it came from")
