"""sentencepiece (Kudo and Richardson, 2018) made exactly reversible: any text comes back as it was.

The library writes a space as U+2581, so a U+2581 in a text would come back as a space: here it goes by its bytes.  Lines are
learned and encoded with one space before them, so that a word at the beginning is the same word as elsewhere.
"""

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import accumulate, chain
from typing import Literal

import sentencepiece

from ...types import BOS, EOS, PAD, UNK
from ..vocabulary import SPECIALS
from . import Piece
from ._limits import at_least
from ._state import damaged, whole

_SPACE = "\u2581"
_BASE = UNK + 1 + 256  # specials and bytes come before anything learned
SMALLEST = 300
# sentencepiece skips sentences that hold what it uses as marks itself, and stops at NUL.
_BREAKS = re.compile("[\u2581\u2585\x00\t\r\n]+")
_COVERAGE = 0.9995  # of the text by characters that are pieces
_EACH, _FEWEST, _MOST = 1000, 1000, 8000  # characters of the text for a piece, and how many pieces that gives at least and at most
_LONGEST = 1000  # characters of a sentence to learn from: the learners do not take words of any length


class SentencePieceModel:
    """A unigram or BPE model with byte fallback; `UsageError` C012 if `size` leaves no room beside the bytes.

    A size of "auto" is a piece for every 1,000 characters of the text, 1,000 to 8,000 of them, and room for all characters but the rarest.
    """

    def __init__(self, kind: Literal["unigram", "bpe"], size: int | Literal["auto"]) -> None:
        if size != "auto":
            at_least(SMALLEST, size=size, why=f"{_BASE} of the symbols are the 256 bytes and the 4 specials")
        self.kind, self._asked = kind, size
        self.size = _BASE

    def learn(self, lines: Iterable[str]) -> None:
        """Learn at most the size asked for, less if the lines are too few."""
        text = [whole(line) for line in lines]
        counts = Counter(chain.from_iterable(text))
        characters = counts.total()
        counts[" "] += len(text)
        frequent = _frequent(counts)
        fitting = min(max(characters // _EACH, _FEWEST, _BASE + 2 * len(frequent)), _MOST)
        size = fitting if self._asked == "auto" else self._asked
        # Half of the room is for longer pieces; what is left out goes by its bytes.
        sentences = _sentences(text, counts.keys() - frequent[: (size - _BASE) // 2])
        first = next(sentences, " ")
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=chain([first], sentences),
            model_writer=model,
            model_type=self.kind,
            vocab_size=size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            required_chars=_SPACE,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            add_dummy_prefix=False,
            max_sentence_length=8 * _LONGEST,
            shuffle_input_sentence=False,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            num_threads=1,
            minloglevel=2,
        )
        self.load(model.getvalue())

    def pieces(self, text: str) -> list[Piece]:
        """The pieces of `text`; the first may stand for no character, only for the space that is thought before the text."""
        found: list[Piece] = []
        start, end = 0, -1
        for known in self.encode(text):
            piece = self._pieces[known]
            byte = self._byte[known]
            if byte is None:
                start, end = end, end + len(piece)
            elif byte & 0xC0 != 0x80:  # not a continuation byte: the first of its character
                start, end = end, end + 1
            found.append(Piece(known, piece, max(start, 0), end))
        return found

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        if not text:
            return []
        first, *others = whole(text).split(_SPACE)
        ids = self._encode(" " + first)
        for part in others:
            ids += self._marks
            ids += self._encode(part)
        return ids

    def encode_lines(self, lines: Sequence[str]) -> list[list[int]]:
        """The ids of every line: in one call of the library, but for the lines that hold its mark for a space, and empty ones."""
        found: list[list[int]] = self._encode([" " + whole(line) for line in lines], num_threads=1) if lines else []
        return [ids if line and _SPACE not in line else self.encode(line) for line, ids in zip(lines, found, strict=True)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids` without the space before it; U+FFFD where bytes are not a character."""
        return b"".join([self._surface[i] for i in ids]).decode(errors="replace").removeprefix(" ")

    def symbols(self) -> list[str]:
        """Every id as `pieces` writes it."""
        return [*SPECIALS, *self._pieces[len(SPECIALS) :]]

    def dump(self) -> bytes:
        """The library's own format."""
        return self._proto

    def load(self, proto: bytes) -> None:
        """The inverse of `dump`; `ModelError` M011 if the library does not know `proto` or it is not one of ours."""
        if not proto:
            raise damaged()
        try:
            model = sentencepiece.SentencePieceProcessor(model_proto=proto)
        except (RuntimeError, ValueError, OSError):
            raise damaged() from None
        size = model.get_piece_size()
        if (
            size <= _BASE
            or (model.pad_id(), model.bos_id(), model.eos_id(), model.unk_id()) != (PAD, BOS, EOS, UNK)
            or not all(map(model.is_byte, range(UNK + 1, _BASE)))
        ):
            raise damaged()
        self._proto, self.size = proto, size
        self._encode = model.encode_as_ids
        self._pieces = [model.id_to_piece(i) for i in range(size)]
        self._byte = [i - UNK - 1 if UNK < i < _BASE else None for i in range(size)]
        self._marks = [UNK + 1 + byte for byte in _SPACE.encode()]
        self._surface = [piece.replace(_SPACE, " ").encode() if byte is None else bytes((byte,)) for piece, byte in zip(self._pieces, self._byte)]
        self._surface[: UNK + 1] = [b"", b"", b"", "\u2047".encode()]


def _frequent(counts: Counter[str]) -> list[str]:
    """The characters that nearly all of a text is made of, the most frequent first."""
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    before, enough = accumulate((counts[character] for character in ranked), initial=0), counts.total() * _COVERAGE
    return [character for character, covered in zip(ranked, before) if covered < enough]


def _sentences(lines: list[str], rare: Set[str]) -> Iterator[str]:
    """The lines, with a space before each, cut into sentences that sentencepiece learns from, without the characters that are too rare to be pieces."""
    breaks = str.maketrans(dict.fromkeys(rare, "\t"))
    for line in lines:
        for piece in _BREAKS.split((" " + line).translate(breaks) if rare else " " + line):
            for start in range(0, len(piece), _LONGEST):
                yield piece[start : start + _LONGEST]
