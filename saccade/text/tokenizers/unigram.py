"""The unigram language model of Kudo (2018): the likeliest of all ways to cut a text into pieces of a learned vocabulary."""

from collections.abc import Iterable, Sequence
from typing import Literal

from . import Piece, Tokenizer
from ._sentencepiece import SentencePieceModel
from ._state import pack, unpack


class Unigram(Tokenizer):
    """`size` pieces at most, bytes for anything else: every text can be written, none is changed.  Learned by sentencepiece.

    "auto" is a piece for every 1,000 characters of the text learned from, 1,000 to 8,000 of them, with room for all but its rarest characters.
    """

    def __init__(self, *, size: int | Literal["auto"] = 8000) -> None:
        self._model = SentencePieceModel("unigram", size)
        self.size = self._model.size

    def learn(self, lines: Iterable[str]) -> None:
        """Learn the pieces from `lines`; few lines give fewer pieces than asked for."""
        self._model.learn(lines)
        self.size = self._model.size

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of `text`, in which U+2581 stands for a space."""
        return self._model.pieces(text)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS."""
        return self._model.encode(text)

    def encode_lines(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of every line, as from `encode`."""
        return self._model.encode_lines(lines)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`."""
        return self._model.decode(ids)

    def symbols(self) -> list[str]:
        """The vocabulary, as in `pieces`."""
        return self._model.symbols()

    def state(self) -> bytes:
        """The sentencepiece model."""
        return pack("unigram", self._model.dump())

    def restore(self, state: bytes) -> None:
        """Take the model of `state`; `ModelError` M011 if it is damaged."""
        self._model.load(unpack("unigram", state)[1])
        self.size = self._model.size
