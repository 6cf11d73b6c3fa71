"""Texts as they come: from the command line, from files, from a pipe."""

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ..errors import DataError
from .corpus import read_lines

_LEAST = 1024


def is_file(word: str) -> bool:
    """Is it the name of a file?  A text may be longer than any name can be."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):
        return False


def chunks(texts: Sequence[str], stream: Iterable[bytes], size: int) -> Iterator[list[str]]:
    """Lines in groups of at most `size`: of `stream`, or of `texts` and of the files among them (these are there: 1,024 at least).

    `DataError` D003, after what came before it, where a line is not UTF-8.
    """
    if texts:
        given = (line for text in texts for line in (read_lines(text) if is_file(text) else [utf8(os.fsencode(text), "an argument")]))
        while group := list(islice(given, max(size, _LEAST))):
            yield group
        return
    lines: list[str] = []
    for number, line in enumerate(stream, 1):
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        try:
            lines.append(utf8(line.removesuffix(b"\n").removesuffix(b"\r"), f"stdin line {number:,}"))
        except DataError:
            yield lines
            raise
        if len(lines) == size:
            yield lines
            lines = []
    if lines:
        yield lines


def utf8(text: bytes, where: str) -> str:
    """The text of these bytes; `DataError` D003 says where they are none."""
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        column = len(text[: error.start].decode("utf-8")) + 1
        fix = "iconv -f WINDOWS-1252 -t UTF-8, if that is what it is"
        raise DataError("D003", f"{where}, column {column}: byte 0x{text[error.start]:02X} is not UTF-8", look=repr(text[:60]), fix=fix) from error
