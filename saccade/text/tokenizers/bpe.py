"""Byte pair encoding, after Sennrich, Haddow and Birch (2016)."""

from collections.abc import Iterable, Sequence
from typing import Literal

from . import Piece, Tokenizer
from ._sentencepiece import SMALLEST, SentencePieceModel
from ._state import damaged, pack, unpack
from ._subword_nmt import MergeModel


class Bpe(Tokenizer):
    """Characters merged into ever longer pieces, the most frequent pair first.

    `style` "sentencepiece": `size` pieces at most, bytes for anything else; every text can be written, none is changed.
    `style` "subword_nmt": `size` merges within words at most, the same as subword-nmt 0.3.8 learns; characters never seen are
    UNK, and words are put together again with one space between them.
    """

    def __init__(self, *, size: int = 8000, style: Literal["sentencepiece", "subword_nmt"] = "sentencepiece") -> None:
        self.style, self._wanted = style, size
        self._model: SentencePieceModel | MergeModel = SentencePieceModel("bpe", size) if style == "sentencepiece" else MergeModel(size)
        self.size = self._model.size

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The pairs in the order learned; none in the style of sentencepiece, which keeps pieces instead."""
        return list(self._model.merges) if isinstance(self._model, MergeModel) else []

    def learn(self, lines: Iterable[str]) -> None:
        """Learn from `lines`; few lines give fewer pieces than asked for."""
        self._model.learn(lines)
        self.size = self._model.size

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of `text`: U+2581 stands for a space, or @@ for "goes on", as the style has it."""
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
