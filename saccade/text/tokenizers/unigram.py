"""The unigram language model of Kudo (2018): the likeliest of all ways to cut a text into pieces of a learned vocabulary."""

from typing import Literal

from ._learned import Learned
from ._sentencepiece import SentencePieceModel
from ._state import pack, unpack


class Unigram(Learned):
    """`size` pieces at most, bytes for anything else: every text can be written, none is changed.  Learned by sentencepiece.

    "auto" is a piece for every 1,000 characters of the text learned from, 1,000 to 8,000 of them, with room for all but its rarest characters.
    """

    def __init__(self, *, size: int | Literal["auto"] = 8000) -> None:
        self._model = SentencePieceModel("unigram", size)
        self.size = self._model.size

    def state(self) -> bytes:
        """The sentencepiece model."""
        return pack("unigram", self._model.dump())

    def restore(self, state: bytes) -> None:
        """Take the model of `state`; `ModelError` M011 if it is damaged."""
        self._model.load(unpack("unigram", state)[1])
        self.size = self._model.size
