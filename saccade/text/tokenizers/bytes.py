"""Every byte of UTF-8 is a token: nothing to learn, and no text that cannot be written."""

from collections.abc import Iterable, Sequence

from ...types import UNK
from ..vocabulary import SPECIALS
from . import Piece, Tokenizer
from ._state import damaged, pack, unpack, whole

_FIRST = UNK + 1  # the id of byte 0


class Bytes(Tokenizer):
    """256 bytes and the specials; lone surrogates become U+FFFD."""

    streams = True
    size = _FIRST + 256

    def learn(self, lines: Iterable[str]) -> None:
        """Nothing: every byte is known."""

    def pieces(self, text: str) -> list[Piece]:
        """One piece for each byte; the bytes of one character share its span."""
        found = []
        for place, character in enumerate(whole(text)):
            for byte in character.encode():
                found.append(Piece(_FIRST + byte, _written(byte), place, place + 1))
        return found

    def symbols(self) -> list[str]:
        """The specials and all bytes."""
        return [*SPECIALS, *map(_written, range(256))]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS and EOS."""
        return [_FIRST + byte for byte in whole(text).encode()]

    def decode(self, ids: Sequence[int]) -> str:
        """The text that these bytes are, U+FFFD where they are none."""
        unknown = "\u2047".encode()
        return b"".join(unknown if i == UNK else bytes((i - _FIRST,)) for i in ids if i >= UNK).decode(errors="replace")

    def state(self) -> bytes:
        """A header and no more."""
        return pack("bytes", b"")

    def restore(self, state: bytes) -> None:
        """Check that `state` is one; `ModelError` M011 if it is damaged."""
        if unpack("bytes", state)[1]:
            raise damaged()


def _written(byte: int) -> str:
    return chr(byte) if 0x20 < byte < 0x7F else f"<0x{byte:02X}>"
