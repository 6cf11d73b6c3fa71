"""Byte pair encoding, after Sennrich, Haddow and Birch (2016)."""

from typing import Literal

from ._learned import Learned
from ._sentencepiece import SMALLEST, SentencePieceModel
from ._state import damaged, pack, unpack
from ._subword_nmt import MergeModel


class Bpe(Learned):
    """Characters merged into ever longer pieces, the most frequent pair first.

    `style` "sentencepiece": `size` pieces at most, bytes for anything else; every text can be written, none is changed.
    `style` "subword_nmt": `size` merges within words at most, the same as subword-nmt 0.3.8 learns; characters never seen are
    UNK, and words are put together again with one space between them.
    """

    def __init__(self, *, size: int = 8000, style: Literal["sentencepiece", "subword_nmt"] = "sentencepiece") -> None:
        self.style, self._wanted = style, size
        self._model = SentencePieceModel("bpe", size) if style == "sentencepiece" else MergeModel(size)
        self.size = self._model.size

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The pairs in the order learned; none in the style of sentencepiece, which keeps pieces instead."""
        return list(self._model.merges) if isinstance(self._model, MergeModel) else []

    def state(self) -> bytes:
        """The sentencepiece model, or the merges."""
        return pack("bpe", self._model.dump(), self.style)

    def restore(self, state: bytes) -> None:
        """Take the style and the model of `state`; `ModelError` M011 if it is damaged."""
        style, body = unpack("bpe", state)
        if style not in ("sentencepiece", "subword_nmt"):
            raise damaged()
        model = SentencePieceModel("bpe", max(self._wanted, SMALLEST)) if style == "sentencepiece" else MergeModel(self._wanted)
        model.load(body)
        self.style = "sentencepiece" if style == "sentencepiece" else "subword_nmt"
        self._model, self.size = model, model.size
