r"""N-gram models as ARPA files, which SRILM, KenLM and most others read and write.

    \data\
    ngram 1=10000
    ngram 2=250000

    \1-grams:
    -2.5<TAB>word<TAB>-0.3               log10 P(w | h), h w, log10 backoff(h w); -99 is the logarithm of 0
    ...
    \end\

Words stand between blanks.  In one with a blank or a backslash, without a character, or that reads like a special, what is in the way
is written as \u and four digits (no character as \u alone).  What was never seen is "<unk>"; where the vocabulary has a word that reads so, that word is what
other programs mean by it, and what was never seen is called "<<unk>>".
"""

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..decoders._smoothing import Tables
from ..decoders.ngram import Ngram
from ..errors import DataError, printable
from ..storage import replace_file
from ..text.corpus import read_lines
from ..text.vocabulary import SPECIALS
from ..types import BOS, UNK

ZERO = -99.0
_UNSEEN, _OTHER = "<unk>", "<<unk>>"
_ROWS = 10_000  # written at a time


def write_arpa(decoder: Ngram, symbols: Sequence[str], path: Path | str) -> None:
    """Write a model; `symbols` are all of its vocabulary, the four specials first.  Numbers are written as exactly as they are known."""
    replace_file(Path(path), _chunks(decoder.tables(), spelled(symbols)))


def _chunks(tables: Tables, words: list[str]) -> Iterator[bytes]:
    counts = [len(words) - 1, *map(len, tables.keys)]  # PAD is no word
    yield "".join(["\\data\\\n", *(f"ngram {order}={count}\n" for order, count in enumerate(counts, 1))]).encode()
    names = words
    for order, chances in enumerate(tables.chances, 1):
        if order > 1:
            contexts, last = np.divmod(tables.keys[order - 2], len(words))
            names = [f"{names[context]} {words[symbol]}" for context, symbol in zip(contexts.tolist(), last.tolist(), strict=True)]
        ends = [f"\t{number}\n" for number in _log10(tables.backoffs[order - 1])] if order <= len(tables.backoffs) else ["\n"] * len(names)
        rows = (f"{number}\t{name}{end}" for number, name, end in zip(_log10(chances), names, ends, strict=True))
        if order == 1:
            next(rows)  # PAD
        yield f"\n\\{order}-grams:\n".encode()
        while some := list(islice(rows, _ROWS)):
            yield "".join(some).encode()
    yield b"\n\\end\\\n"


def _log10(numbers: Float[np.ndarray, "N"]) -> list[float]:
    return np.maximum(numbers / math.log(10), ZERO).tolist()


def spelled(symbols: Sequence[str]) -> list[str]:
    """How each symbol is written in a file."""
    words = symbols[len(SPECIALS) :]
    unseen = _OTHER if _UNSEEN in words else _UNSEEN
    return [*SPECIALS[:UNK], unseen, *map(_spell, words)]


def _spell(word: str) -> str:
    if word in (*SPECIALS[:UNK], _OTHER):
        return rf"\u{ord(word[0]):04x}{word[1:]}"
    return re.sub(r"[\s\\\0]", lambda found: rf"\u{ord(found[0]):04x}", word) or r"\u"


def _unspell(word: str) -> str:
    return "" if word == r"\u" else re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), word)


def read_arpa(path: Path | str) -> tuple[list[str], Tables]:
    """The symbols of a model, the four specials first, and what `Ngram(len(symbols), None, order=len(tables.chances)).become` takes.

    `DataError` D040 if it is no ARPA file, D041 if a line is not what it should be, D042 if there are other n-grams than announced,
    D043 if an n-gram has a word or a context that the file does not know, or stands there twice; and what `read_lines` raises.
    """
    file = _File(Path(path))
    counts = file.head()
    first = file.section(1, counts, {})
    symbols, known = _vocabulary(file, first)
    vocab = len(symbols)
    chances, backoffs = np.full(vocab, -np.inf), np.zeros(vocab)
    ids = np.array([known[name] for name in first.names])
    chances[ids], backoffs[ids] = first.chances, first.backoffs
    chances[BOS] = -np.inf  # KenLM says 1
    tables = Tables([], [chances], [backoffs])
    for order in range(2, len(counts) + 1):
        found = file.section(order, counts, known)
        keys = _keys(file, found, tables.keys, vocab)
        sort = np.argsort(keys, kind="stable")
        for again in (np.diff(keys[sort]) == 0).nonzero()[0][:1]:
            raise file.unknown(int(found.lines[sort[again + 1]]), "this n-gram was there before")
        tables.keys.append(keys[sort])
        tables.chances.append(found.chances[sort])
        tables.backoffs.append(found.backoffs[sort])
    return symbols, tables._replace(backoffs=tables.backoffs[:-1])


class _Section(NamedTuple):
    """All n-grams of one order; `names` of order 1, `ids` of others.  Logarithms are natural."""

    names: list[str]
    ids: Int[np.ndarray, "N order"]
    chances: Float[np.ndarray, "N"]
    backoffs: Float[np.ndarray, "N"]
    lines: Int[np.ndarray, "N"]


def _vocabulary(file: "_File", first: _Section) -> tuple[list[str], dict[str, int]]:
    """The symbols, and the id of each as it is written."""
    specials = [*SPECIALS[1:UNK], _OTHER if _OTHER in first.names else _UNSEEN]
    known = {name: number for number, name in enumerate(specials, 1)}
    symbols, there = list(SPECIALS), set[tuple[str | None, str]]()
    for name, line in zip(first.names, first.lines.tolist(), strict=True):
        own = None if name in specials else _unspell(name)
        if (own, name if own is None else "") in there:
            raise file.unknown(line, f"the word {printable(name)!r} was there before")
        there.add((own, name if own is None else ""))
        if own is not None:
            known[name] = len(symbols)
            symbols.append(own)
    return symbols, known


def _keys(file: "_File", found: _Section, below: list[Int[np.ndarray, "_"]], vocab: int) -> Int[np.ndarray, "N"]:
    """What `Tables` knows each n-gram by."""
    rows = found.ids[:, 0]
    for column, keys in enumerate(below, 1):
        wanted = rows * vocab + found.ids[:, column]
        rows = np.searchsorted(keys, wanted)
        for missing in (np.append(keys, -1)[rows] != wanted).nonzero()[0][:1]:
            raise file.unknown(int(found.lines[missing]), f"its first {column + 1} words are no n-gram of this file")
    return rows * vocab + found.ids[:, -1]


class _File:
    """A file that is read line by line; blank ones do not count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rest = ((number, text) for number, line in enumerate(read_lines(path), 1) if (text := line.strip(" \t\r")))
        self.number, self.line = 0, ""

    def advance(self) -> bool:
        """To the next line; False after the last."""
        self.number, self.line = next(self.rest, (self.number, ""))
        return bool(self.line)

    def head(self) -> list[int]:
        """How many n-grams of each order there should be."""
        while self.advance() and self.line != "\\data\\":
            pass
        counts: list[int] = []
        while self.advance() and (found := re.fullmatch(rf"ngram +{len(counts) + 1} *= *(\d{{1,15}})", self.line)):
            counts.append(int(found[1]))
        if not counts:
            raise DataError("D040", f"{self.path} is no ARPA file: no line \\data\\ with a line 'ngram 1=...' after it", fix="a file that SRILM or KenLM wrote")
        return counts

    def section(self, order: int, counts: list[int], known: dict[str, int]) -> _Section:
        """All n-grams of one order, up to the line that begins the next one or ends the file."""
        self.expect(f"\\{order}-grams:")
        highest = order == len(counts)
        names: list[str] = []
        numbers, ids, lines = array("d"), array("q"), array("q")
        while self.advance() and self.line[0] != "\\":
            fields = re.split("[ \t]+", self.line)
            numbers.extend(self.numbers(fields, order, highest))
            lines.append(self.number)
            if order == 1:
                names.append(fields[1])
                continue
            try:
                ids.extend([known[name] for name in fields[1 : order + 1]])
            except KeyError as error:
                raise self.unknown(self.number, f"there is no word {printable(error.args[0])!r} among its 1-grams") from None
        if len(lines) != counts[order - 1]:
            raise self.other(f"it has {len(lines):,} {order}-grams, and announces {counts[order - 1]:,}")
        if highest:
            self.expect("\\end\\")
        logs = np.array(numbers).reshape(-1, 2)
        logs = np.where(logs <= ZERO, -np.inf, logs * math.log(10))
        return _Section(names, np.array(ids, np.int64).reshape(-1, order), logs[:, 0], logs[:, 1], np.array(lines))

    def numbers(self, fields: list[str], order: int, highest: bool) -> tuple[float, float]:
        """Chance and back-off of a line, base 10; no back-off is one of 1."""
        allowed = (order + 1,) if highest else (order + 1, order + 2)
        try:
            chance, backoff = float(fields[0]), float(fields[order + 1]) if len(fields) == order + 2 else 0.0
        except ValueError:
            chance = math.nan
        if len(fields) not in allowed or not chance <= 0 or not backoff < math.inf:
            shape = f"a logarithm that is not above 0, {order} word{'s' * (order > 1)}{'' if highest else ', and perhaps another logarithm'}"
            raise DataError("D041", f"{self.path} line {self.number} is no {order}-gram", look=printable(self.line), fix=shape)
        return chance, backoff

    def expect(self, line: str) -> None:
        if self.line != line:
            raise self.other(f"here should stand {line}, not {printable(self.line)!r}")

    def other(self, what: str) -> DataError:
        return DataError("D042", f"{self.path} line {self.number}: {what}", fix="copy the file again; the end may be missing")

    def unknown(self, line: int, what: str) -> DataError:
        return DataError("D043", f"{self.path} line {line}: {what}", fix="a file that SRILM or KenLM wrote")
