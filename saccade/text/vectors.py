"""Vectors of words as text, as word2vec and GloVe write them: a word and its numbers on every line, with or without a line "count dim" first."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import from_numpy, nn, no_grad, tensor

from .. import storage
from ..errors import DataError, UsageError, printable
from ._scan import MAX_LINE_BYTES, index
from .tokenizers import Tokenizer
from .vocabulary import SPECIALS

_HEADER = re.compile(r"\d+ \d+ *")
_BINARY = ("D003", "D004", "D007")  # what a file of binary vectors is taken for
_WRITTEN = 256  # lines that are written at once
_SHOWN = 3


class Vectors(NamedTuple):
    """Some words of a file, each once, in the order of the file."""

    words: list[str]
    numbers: Float[np.ndarray, "words dim"]
    repeated: list[str]
    """Words that stand there again: the first line counts."""


class Coverage(NamedTuple):
    """How much of a vocabulary a file of vectors knows."""

    found: int
    symbols: int
    path: Path
    repeated: list[str]

    def __str__(self) -> str:
        return f"{self.found:,} of {self.symbols:,} symbols found in {self.path}"

    @property
    def warnings(self) -> list[DataError]:
        """D046 if words stand in the file more than once."""
        if not self.repeated:
            return []
        shown = ", ".join(printable(word) for word in self.repeated[:_SHOWN])
        several = f"{len(self.repeated):,} words stand" if len(self.repeated) > 1 else "1 word stands"
        return [DataError("D046", f"{several} in {self.path} more than once: the first line counts", look=shown)]


def read_vectors(path: Path | str, wanted: Iterable[str] | None = None) -> Vectors:
    """The vectors of a UTF-8 file, gzipped or not; of the `wanted` words alone if they are given (the others are not even read as numbers).

    A word may hold spaces, as some of GloVe's do, as long as what follows the first space is no number.  `DataError` D044 if a
    line has another width than the first, D045 if something is no finite number, D047 if there are no vectors, fewer than the
    first line promises, or binary ones; otherwise as `read_lines`.
    """
    chosen = None if wanted is None else set(wanted)
    found: dict[str, np.ndarray] = {}
    repeated: dict[str, None] = {}
    width = 0
    for number, word, numbers in _rows(Path(path)):
        width = width or len(numbers)
        if chosen is not None and word not in chosen:
            continue
        if word in found:
            repeated[word] = None
        else:
            found[word] = _numbers(numbers, Path(path), number)
    return Vectors(list(found), np.stack(list(found.values())) if found else np.zeros((0, width), np.float32), list(repeated))


def _rows(path: Path) -> Iterator[tuple[int, str, list[str]]]:
    """Line number, word and what should be its numbers, of every line."""
    lines = iter(_lines(path))
    promised = width = None
    number = 0
    for number, line in enumerate(lines, 1):
        if number == 1 and _HEADER.fullmatch(line):
            promised, width = map(int, line.split())
            continue
        row = line.rstrip(" ").split(" ")
        if width is None:
            width = len(row) - 1
        if (len(row) != width + 1 and (len(row) < width + 1 or _is_number(row[1]))) or not width:
            raise _other_width(path, number, len(row) - 1, width, promised is not None)
        yield number, " ".join(row[:-width]), row[-width:]
    rows = number - (promised is not None)
    if not rows or (promised is not None and rows != promised):
        said = f"its first line promises {promised:,}" if promised is not None else "it has none"
        raise DataError("D047", f"{path} has {rows:,} vectors, {said}", fix="copy or download it again: it may have been cut short")


def _lines(path: Path) -> Iterable[str]:
    """The lines of the file; `DataError` D047 if the first says that binary vectors follow."""
    try:
        return index(path, MAX_LINE_BYTES)
    except DataError as error:
        if error.code in _BINARY:
            fix = "write them as text, in Python: gensim.models.KeyedVectors.load_word2vec_format(PATH, binary=True).save_word2vec_format(TEXT)"
            raise DataError("D047", f"{path} does not hold vectors as text", look=error.headline, why="word2vec writes binary ones too", fix=fix) from error
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(row: Sequence[str], path: Path, number: int) -> Float[np.ndarray, " dim"]:
    """A row of text as float32; `DataError` D045 names the first field that is none."""
    with np.errstate(over="ignore"):
        try:
            found = np.array(row, dtype=np.float32)
            if np.isfinite(found).all():
                return found
        except ValueError:
            pass
        place = next(i for i, field in enumerate(row) if not _is_number(field) or not np.isfinite(np.float32(field)))
    headline = f"{path} line {number}, number {place + 1}: {printable(row[place], 20)!r} is not a finite number"
    raise DataError("D045", headline, fix="correct the line, or delete it")


def _other_width(path: Path, number: int, found: int, width: int, promised: bool) -> DataError:
    if found < 1:
        return DataError("D044", f"{path} line {number} has no numbers", why="a line is a word and its numbers, a space between any two", fix="delete the line")
    first = "its first line says" if promised else "the line before"
    return DataError("D044", f"{path} line {number} has {found} numbers; {first} {width}", fix="correct the line, or delete it")


def write_vectors(path: Path | str, words: Sequence[str], numbers: Float[np.ndarray, "words dim"]) -> None:
    """word2vec's text format, "count dim" first, in one step; what is read again are the same float32 numbers.

    `ValueError` for a word with a line break, or an empty one.
    """
    bad = next((word for word in words if not word or "\n" in word), None)
    if bad is not None or len(words) != len(numbers):
        raise ValueError(f"{bad!r} cannot stand in a line" if bad is not None else f"{len(words)} words but {len(numbers)} vectors")

    def chunks() -> Iterator[bytes]:
        yield f"{len(words)} {numbers.shape[1]}\n".encode()
        for start in range(0, len(words), _WRITTEN):
            rows = zip(words[start : start + _WRITTEN], np.asarray(numbers[start : start + _WRITTEN], dtype=np.float32), strict=True)
            yield "".join(f"{word} {' '.join(map(str, row))}\n" for word, row in rows).encode()

    storage.replace_file(Path(path), chunks())


def symbols_of(tokenizer: Tokenizer) -> list[str]:
    """What each id stands for in a text, specials by their names; different ids may stand for the same."""
    return [*SPECIALS, *(tokenizer.decode([i]).strip() for i in range(len(SPECIALS), tokenizer.size))]


def fill(embedding: nn.Embedding, symbols: Sequence[str], path: Path | str) -> Coverage:
    """Give the symbols that a file knows its vectors: row i of `embedding` is that of `symbols[i]`; the other rows stay as they are.

    A symbol that the file knows in lower case only has that vector.  All are multiplied by one number, so that their mean
    square is 1 / dim, that of fresh weights: directions and relative lengths are the file's, and the rows that stay, a factor
    after the look-up and a tied output matrix find the size that they are made for.  An embedding on the meta device is only
    checked.  `UsageError` C012 if it has another width than the file; `DataError` D044 to D047 as of `read_vectors`.
    """
    read = read_vectors(path, {form for symbol in symbols for form in (symbol, symbol.lower()) if form})
    width, wanted = read.numbers.shape[1], embedding.embedding_dim
    if width != wanted:
        fix = f"embeddings of {width} numbers (embedding, or dim, on every side), or vectors of {wanted}"
        raise UsageError("C012", f"{path} has vectors of {width} numbers, the embedding has {wanted}", fix=fix)
    place = {word: row for row, word in enumerate(read.words)}
    known = {row: place.get(symbol, place.get(symbol.lower())) for row, symbol in enumerate(symbols)}
    rows = {row: there for row, there in known.items() if there is not None}
    if rows and not embedding.weight.is_meta:
        numbers = read.numbers[list(rows.values())]
        size = float(np.sqrt(np.mean(np.square(numbers, dtype=np.float64)))) or 1.0
        with no_grad():
            embedding.weight[tensor(list(rows))] = from_numpy(numbers / np.float32(size * wanted**0.5)).to(embedding.weight)
    return Coverage(len(rows), len(symbols), Path(path), read.repeated)
