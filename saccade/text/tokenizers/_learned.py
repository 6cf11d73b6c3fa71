"""What tokenizers have in common that leave the cutting to a model of pieces."""

from collections.abc import Iterable, Sequence

from . import Piece, Tokenizer
from ._sentencepiece import SentencePieceModel
from ._subword_nmt import MergeModel


class Learned(Tokenizer):
    """A tokenizer that asks its model."""

    _model: SentencePieceModel | MergeModel

    def learn(self, lines: Iterable[str]) -> None:
        """Learn the pieces from `lines`; few lines give fewer pieces than asked for."""
        self._model.learn(lines)
        self.size = self._model.size

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of `text`: U+2581 stands for a space, or @@ for "goes on", as the model has it."""
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
