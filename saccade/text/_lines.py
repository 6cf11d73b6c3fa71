"""Lines of a file, read as bytes: nothing but LF ends a line, and every complaint names the file, the line and a way out."""

import gzip
import os
import shlex
import zlib
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from ..errors import DataError, UsageError, printable

MAX_LINE_BYTES = 1 << 20
_HEAD = 4096  # how much of a file is looked at to recognise other encodings
_MARKS = {b"\xff\xfe\x00\x00": "UTF-32", b"\x00\x00\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_BOM = b"\xef\xbb\xbf"


@dataclass
class _Scan:
    """What one pass over a file found: its lines as long as all is well, and a tally of what is not."""

    lines: list[str] = field(default_factory=list)
    count: int = 0
    bad: list[int] = field(default_factory=list)
    first_bad: bytes = b""
    bad_bytes: set[int] = field(default_factory=set)
    has_wide: bool = False  # some line outside ASCII is good UTF-8
    nul: list[int] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        """Take one line, without its line break."""
        self.count += 1
        if b"\0" in line:
            self.nul.append(self.count)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            self.first_bad = self.first_bad or line
            self.bad.append(self.count)
            self.bad_bytes.update(ord(c) - 0xDC00 for c in line.decode(errors="surrogateescape") if "\udc80" <= c <= "\udcff")
            self.lines.clear()
            return
        self.has_wide = self.has_wide or not text.isascii()
        if not self.bad and not self.nul:
            self.lines.append(text)


def read(path: Path, limit: int) -> list[str]:
    """The lines of `path`, gzipped or not, without their line breaks; `limit` bytes is the longest line allowed."""
    with _opened(path) as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        scan = _Scan()
        try:
            _refuse_other_encodings(path, stream.peek(_HEAD)[:_HEAD], packed)
            while line := stream.readline(limit + len(_BOM) + 3):  # one byte more than BOM, text, CR and LF
                line = line.removeprefix(_BOM) if not scan.count else line
                line = line.removesuffix(b"\n").removesuffix(b"\r")
                if len(line) > limit:
                    raise _too_long(path, scan.count + 1, limit, packed)
                scan.add(line)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise _cut_short(path, scan.count, isinstance(error, EOFError)) from None
    if scan.bad:
        raise _not_utf8(path, scan, packed)
    if scan.nul:
        raise _has_nul(path, scan.nul, packed)
    return scan.lines


def _opened(path: Path) -> BufferedReader:
    try:
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except IsADirectoryError:
        inside = sorted(entry.name for entry in path.iterdir() if entry.is_file())[:3]
        named = ", ".join(printable(str(path / name)) for name in inside)
        raise UsageError(
            "C005", f"{path} is a directory, not a file", fix=f"name a file in it: {named}" if named else "it holds no files; name a file"
        ) from None
    except OSError as error:
        raise UsageError(
            "C006", f"{path} cannot be read: {(error.strerror or 'unknown reason').lower()}", fix=f"look at it with:  ls -l {_quoted(path)}"
        ) from None


def _missing(path: Path) -> UsageError:
    headline = f"there is no file {path}"
    if not path.parent.is_dir():
        return UsageError("C003", headline, fix=f"there is no directory {path.parent} either: check the path")
    names = sorted(os.listdir(path.parent))
    near = min(((_distance(path.name, name), name) for name in names if abs(len(name) - len(path.name)) <= 2), default=(3, ""))
    where = f"(in {path.parent.resolve()})"
    if near[0] <= 2:
        return UsageError("C003", headline, fix=f"did you mean {path.with_name(near[1])}?   {where}")
    shown = ", ".join(printable(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
    return UsageError("C003", headline, fix=f"there is {shown}   {where}" if names else f"there are no files there   {where}")


def _distance(one: str, other: str) -> int:
    """Levenshtein's edit distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def _refuse_other_encodings(path: Path, head: bytes, packed: bool) -> None:
    if head.removeprefix(_BOM) == b"":
        found = f"{len(head)} bytes" + (": a byte order mark and nothing else" if head else "") + (" once unpacked" if packed else "")
        raise DataError("D001", f"{path} is empty ({found})", fix="check the command that wrote it")
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            raise _wide(path, name, name, f"it starts with {mark.hex(' ').upper()}", packed)
    nul = [head[i::4].count(0) / max(1, len(head[i::4])) for i in range(4)]  # the share of NULs among every fourth byte
    for order, shares in (("LE", nul), ("BE", nul[::-1])):
        if len(head) >= 4 and shares[0] < 0.1 and min(shares[1:]) > 0.9:
            raise _wide(path, "UTF-32", "UTF-32" + order, "three of every four bytes are 00", packed)
        if len(head) >= 4 and max(shares[0], shares[2]) < 0.1 and min(shares[1], shares[3]) > 0.6:
            raise _wide(path, "UTF-16", "UTF-16" + order, "every second byte is 00", packed)


def _wide(path: Path, name: str, encoding: str, seen: str, packed: bool) -> DataError:
    return DataError("D002", f"{path} is {name} text, not UTF-8 ({seen})", fix=_iconv(path, f"-f {encoding} -t UTF-8", packed))


def _not_utf8(path: Path, scan: _Scan, packed: bool) -> DataError:
    characters = scan.first_bad.decode(errors="surrogateescape")
    column = next(i for i, c in enumerate(characters) if "\udc80" <= c <= "\udcff")
    guess, encoding = _guess(scan.bad_bytes)
    few = f"{len(scan.bad):,} {'lines' if len(scan.bad) > 1 else 'line'} of {scan.count:,} {'are' if len(scan.bad) > 1 else 'is'} affected"
    first = f", first: {', '.join(map(str, scan.bad[:3]))}" if len(scan.bad) > 1 else ""
    if encoding and not scan.has_wide:
        fix = _iconv(path, f"-f {encoding} -t UTF-8", packed)
    else:
        # iconv from a one-byte encoding would spoil the lines that are UTF-8 already
        fix = "correct these bytes, or drop them:  " + _iconv(path, "-c -f UTF-8 -t UTF-8", packed)
    return DataError(
        "D003",
        f"{path} line {scan.bad[0]}, column {column + 1}: byte 0x{ord(characters[column]) - 0xDC00:02X} is not UTF-8",
        look=[f'"{_around(characters, column)}"', f"{few}{first}" + (f"; the bytes look like {guess}" if guess else "")],
        fix=fix,
    )


def _guess(odd: set[int]) -> tuple[str, str]:
    """The one-byte encoding that these bytes may be in, for people and for iconv."""
    if min(odd) >= 0xA0:
        return "Latin-1", "ISO-8859-1"
    undefined = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
    return ("", "") if odd & undefined else ("Windows-1252", "WINDOWS-1252")


def _around(characters: str, column: int) -> str:
    """About 40 columns of text on both sides of `column`, bytes that are not UTF-8 written as \\xFF."""
    start = max(0, column - 20)
    shown = "..." if start else ""
    for c in characters[start:]:
        step = f"\\x{ord(c) - 0xDC00:02X}" if "\udc80" <= c <= "\udcff" else printable(c)
        if len(shown) + len(step) > 57:
            return shown + "..."
        shown += step
    return shown


def _has_nul(path: Path, lines: list[int], packed: bool) -> DataError:
    count = f"{len(lines):,} lines, first: {', '.join(map(str, lines[:3]))}" if len(lines) > 1 else f"1 line: {lines[0]}"
    return DataError(
        "D004",
        f"{path} contains NUL characters (\\x00) on {count}",
        why="it is probably a binary or UTF-16 file",
        fix=_piped(path, r"tr -d '\000'", "clean", packed),
    )


def _too_long(path: Path, number: int, limit: int, packed: bool) -> DataError:
    size = path.stat().st_size
    repaired = _piped(path, r"tr '\r' '\n'", "fixed", packed)
    return DataError(
        "D007",
        f"{path} line {number} is longer than {limit:,} bytes" + ("" if packed or size <= limit else f" (the file has {size:,})"),
        why="the file may have no line breaks, or old Mac ones (CR only)",
        fix=repaired,
    )


def _cut_short(path: Path, lines: int, truncated: bool) -> DataError:
    unpacked = f"only {lines:,} line{'' if lines == 1 else 's'} could be unpacked"
    return DataError(
        "D008",
        f"{path} is {'cut short' if truncated else 'damaged'}: {unpacked}",
        why="the copy or the download may have stopped early" if truncated else "the compressed data do not agree with their own checksums",
        fix=f"copy or download it again, then test it:  gzip -t {_quoted(path)}",
    )


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _iconv(path: Path, options: str, packed: bool) -> str:
    plain = path.with_suffix("") if packed and path.suffix == ".gz" else path
    written = _quoted(plain.with_name(f"{plain.stem}.utf8{plain.suffix}"))
    return f"gunzip -c {_quoted(path)} | iconv {options} > {written}" if packed else f"iconv {options} {_quoted(path)} > {written}"


def _piped(path: Path, command: str, name: str, packed: bool) -> str:
    plain = path.with_suffix("") if packed and path.suffix == ".gz" else path
    written = _quoted(plain.with_name(f"{name}{plain.suffix}"))
    return f"gunzip -c {_quoted(path)} | {command} > {written}" if packed else f"{command} < {_quoted(path)} > {written}"
