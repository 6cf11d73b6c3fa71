"""Tokenizers: text to ids and back.  FAMILY: every other file here is one tokenizer."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from ...types import Piece

__all__ = ["Piece", "Tokenizer"]


class Tokenizer(ABC):
    """Learned from training text only; deterministic; `decode(encode(x)) == x` for text made of known symbols.

    Ids 0 to 3 are PAD, BOS, EOS and UNK (`saccade.types`); no text can produce the first three.
    """

    streams: ClassVar[bool] = False
    """Can it learn from a text of any length, in memory that does not grow with it?"""
    size: int
    """How many ids there are, the four specials included (set by `learn` and `restore`)."""

    @abstractmethod
    def learn(self, lines: Iterable[str]) -> None:
        """Build the vocabulary.  The same lines give the same bytes of `state`."""

    @abstractmethod
    def pieces(self, text: str) -> list[Piece]:
        """The tokens of `text` in order, with character offsets."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Text from ids; specials are left out, unknown symbols become U+2047 (double question mark)."""

    @abstractmethod
    def symbols(self) -> list[str]:
        """Every id as `pieces` writes it; the first four are `text.vocabulary.SPECIALS`."""

    @abstractmethod
    def state(self) -> bytes:
        """Everything `restore` needs; never a pickle."""

    @abstractmethod
    def restore(self, state: bytes) -> None:
        """Become the tokenizer whose `state()` this is; `ModelError` M011 if the bytes are not one."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS."""
        return [piece.id for piece in self.pieces(text)]

    def encode_lines(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of every line: the same as `encode` one by one, where it can be faster."""
        return [self.encode(line) for line in lines]
