"""One pass over a file, as bytes: nothing but LF ends a line, and every complaint names the file, the line and a way out."""

import gzip
import os
import stat
import zlib
from array import array
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from ..errors import DataError
from ._complaints import OddBytes, Tally, changed, cut_short, has_nul, is_directory, missing, not_utf8, swollen, too_long, unreadable, wide
from ._lines import InPlace, Lines, Unpacked

MAX_LINE_BYTES = 1 << 20
IN_MEMORY = 32 << 20  # bytes of lists of lines, and of what is unpacked, that are kept
MAX_RATIO = 100  # of a gzip file: text packs to a third or a tenth
_BLOCK = 1 << 16
_HEAD = 4096  # how much of a file is looked at to recognise other encodings
_MARKS = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_BOM = b"\xef\xbb\xbf"


def index(path: Path, limit: int) -> Lines:
    """The lines of `path`, gzipped or not, checked; `limit` bytes is the longest line allowed.

    A plain file is read in place later on; what is unpacked or comes through a pipe is kept, from 32 MB on in a temporary file.
    """
    with _opened(path) as raw:
        seen = os.fstat(raw.fileno())
        in_place = stat.S_ISREG(seen.st_mode)
        counted = _Counted(raw)
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        stream = gzip.GzipFile(fileobj=counted, mode="rb") if packed else raw  # type: ignore[call-overload]
        copy = Unpacked(path, IN_MEMORY) if packed or not in_place else None
        scan = _Scan(path, limit, packed)
        try:
            scan.refuse_other_encodings(stream.peek(_HEAD)[:_HEAD])
            for block in scan.blocks(stream):
                scan.add(block)
                if copy:
                    copy.add(block)
                if packed and scan.starts[-1] > max(IN_MEMORY, MAX_RATIO * counted.bytes):
                    raise swollen(path, scan.starts[-1], MAX_RATIO)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise cut_short(path, scan.firsts[-1], isinstance(error, EOFError)) from None
        now = os.fstat(raw.fileno())
    scan.refuse_what_was_found()
    if in_place and (now.st_size, now.st_mtime_ns) != (seen.st_size, seen.st_mtime_ns):
        raise changed(path, seen, now)
    return Lines(copy or InPlace(path, seen), scan.starts, scan.firsts)


class _Counted:
    """A stream that knows how much of it was read."""

    def __init__(self, stream: BufferedReader) -> None:
        self.stream, self.bytes = stream, 0

    def read(self, size: int = -1) -> bytes:
        """As the stream reads."""
        found = self.stream.read(size)
        self.bytes += len(found)
        return found


class _Scan:
    """What one pass found: where its blocks and their lines begin, and a tally of what is not as it should be."""

    def __init__(self, path: Path, limit: int, packed: bool) -> None:
        self.path, self.limit, self.packed = path, limit, packed
        self.starts, self.firsts = array("q", [0]), array("q", [0])
        self.bad, self.nul, self.odd = Tally(), Tally(), OddBytes()

    def blocks(self, stream: BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
        """Whole lines, about 64 KiB at a time; the byte order mark is left out."""
        waiting: list[bytes] = []
        size = 0
        while piece := stream.read1(_BLOCK):
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield b"".join([*waiting, piece[:cut]])
                waiting, size = [piece[cut:]], len(piece) - cut
            else:
                waiting.append(piece)
                size += len(piece)
            if size > self.limit + len(_BOM) + 1:  # more than the longest line with BOM and CR
                raise too_long(self.path, self.firsts[-1] + 1, self.limit, self.packed)
        if size:
            yield b"".join(waiting)

    def add(self, block: bytes) -> None:
        """Take whole lines; `DataError` D007 if one is too long."""
        if len(self.starts) == 1 and block.startswith(_BOM):
            self.starts[0] = len(_BOM)
        text = block.removeprefix(_BOM) if len(self.starts) == 1 else block
        try:
            text.decode()
            good = b"\0" not in text and len(text) <= self.limit
            if not text.isascii():
                self.odd.beside_good = True
        except UnicodeDecodeError:
            good = False
        if not good:
            self._line_by_line(text)
        self.starts.append(self.starts[-1] + len(text))
        self.firsts.append(self.firsts[-1] + text.count(b"\n") + (not text.endswith(b"\n")))

    def _line_by_line(self, block: bytes) -> None:
        for number, broken in enumerate(block.removesuffix(b"\n").split(b"\n"), self.firsts[-1] + 1):
            line = broken.removesuffix(b"\r")
            if len(line) > self.limit:
                raise too_long(self.path, number, self.limit, self.packed)
            if b"\0" in line:
                self.nul.add(number)
            try:
                if not line.decode().isascii():
                    self.odd.beside_good = True
            except UnicodeDecodeError:
                self.odd.line = self.odd.line or line
                self.odd.values.update(ord(c) - 0xDC00 for c in line.decode(errors="surrogateescape") if "\udc80" <= c <= "\udcff")
                self.bad.add(number)

    def refuse_what_was_found(self) -> None:
        """`DataError` D003, D004."""
        self.odd.lines = self.firsts[-1]
        if self.bad.count:
            raise not_utf8(self.path, self.bad, self.odd, self.packed)
        if self.nul.count:
            raise has_nul(self.path, self.nul, self.packed)

    def refuse_other_encodings(self, head: bytes) -> None:
        """`DataError` D001, D002, from the first bytes."""
        path, packed = self.path, self.packed
        if head.removeprefix(_BOM) == b"":
            found = f"{len(head)} bytes" + (": a byte order mark and nothing else" if head else "") + (" once unpacked" if packed else "")
            raise DataError("D001", f"{path} is empty ({found})", fix="check the command that wrote it")
        for mark, name in _MARKS.items():
            if head.startswith(mark):
                raise wide(path, name, name, f"it starts with {mark.hex(' ').upper()}", packed)
        nul = [head[i::4].count(0) / max(1, len(head[i::4])) for i in range(4)]  # the share of NULs among every fourth byte
        for order, shares in (("LE", nul), ("BE", nul[::-1])):
            if len(head) >= 4 and shares[0] < 0.1 and min(shares[1:]) > 0.9:
                raise wide(path, "UTF-32", "UTF-32" + order, "three of every four bytes are 00", packed)
            if len(head) >= 4 and max(shares[0], shares[2]) < 0.1 and min(shares[1], shares[3]) > 0.6:
                raise wide(path, "UTF-16", "UTF-16" + order, "every second byte is 00", packed)


def _opened(path: Path) -> BufferedReader:
    try:
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except IsADirectoryError:
        raise is_directory(path) from None
    except OSError as error:
        raise unreadable(path, error) from None
