"""What the reader of lines says when it says no: what was found, where, and a command that mends it."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DataError, ResourceError, UsageError, printable

_SHOWN = 3  # line numbers in a message
_RESTORE = "restore it, then go on: saccade resume"


@dataclass
class Tally:
    """How many lines, and the first of them."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append(number)


@dataclass
class OddBytes:
    """Bytes that are not UTF-8: the first line with one, all their values, and whether other lines are good UTF-8 outside ASCII."""

    line: bytes = b""
    values: set[int] = field(default_factory=set)
    beside_good: bool = False
    lines: int = 0


def missing(path: Path) -> UsageError:
    """C003: no such file, and the nearest one that there is."""
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


def is_directory(path: Path) -> UsageError:
    """C005: a directory, and files in it."""
    inside = sorted(entry.name for entry in path.iterdir() if entry.is_file())[:3]
    named = ", ".join(printable(str(path / name)) for name in inside)
    fix = f"name a file in it: {named}" if named else "it holds no files; name a file"
    return UsageError("C005", f"{path} is a directory, not a file", fix=fix)


def unreadable(path: Path, error: OSError) -> UsageError:
    """C006: the system refuses."""
    reason = (error.strerror or "unknown reason").lower()
    return UsageError("C006", f"{path} cannot be read: {reason}", fix=f"look at it with:  ls -l {_quoted(path)}")


def wide(path: Path, name: str, encoding: str, seen: str, packed: bool) -> DataError:
    """D002: UTF-16 or UTF-32, and how it was recognised."""
    return DataError("D002", f"{path} is {name} text, not UTF-8 ({seen})", fix=_iconv(path, f"-f {encoding} -t UTF-8", packed))


def not_utf8(path: Path, bad: Tally, odd: OddBytes, packed: bool) -> DataError:
    """D003: `bad` lines, and what is `odd` about them."""
    characters = odd.line.decode(errors="surrogateescape")
    column = next(i for i, c in enumerate(characters) if "\udc80" <= c <= "\udcff")
    guess, encoding = _guess(odd.values)
    few = f"{bad.count:,} {'lines' if bad.count > 1 else 'line'} of {odd.lines:,} {'are' if bad.count > 1 else 'is'} affected"
    first = f", first: {', '.join(map(str, bad.first))}" if bad.count > 1 else ""
    if encoding and not odd.beside_good:
        fix = _iconv(path, f"-f {encoding} -t UTF-8", packed)
    else:
        # iconv from a one-byte encoding would spoil the lines that are UTF-8 already
        fix = "correct these bytes, or drop them:  " + _iconv(path, "-c -f UTF-8 -t UTF-8", packed)
    return DataError(
        "D003",
        f"{path} line {bad.first[0]}, column {column + 1}: byte 0x{ord(characters[column]) - 0xDC00:02X} is not UTF-8",
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


def has_nul(path: Path, nul: Tally, packed: bool) -> DataError:
    """D004: which lines hold NULs."""
    count = f"{nul.count:,} lines, first: {', '.join(map(str, nul.first))}" if nul.count > 1 else f"1 line: {nul.first[0]}"
    return DataError(
        "D004",
        f"{path} contains NUL characters (\\x00) on {count}",
        why="it is probably a binary or UTF-16 file",
        fix=_piped(path, r"tr -d '\000'", "clean", packed),
    )


def too_long(path: Path, number: int, limit: int, packed: bool) -> DataError:
    """D007: a line of more than `limit` bytes."""
    size = path.stat().st_size
    repaired = _piped(path, r"tr '\r' '\n'", "fixed", packed)
    return DataError(
        "D007",
        f"{path} line {number} is longer than {limit:,} bytes" + ("" if packed or size <= limit else f" (the file has {size:,})"),
        why="the file may have no line breaks, or old Mac ones (CR only)",
        fix=repaired,
    )


def cut_short(path: Path, lines: int, truncated: bool) -> DataError:
    """D008: a gzip file that ends too early, or with a wrong checksum."""
    unpacked = f"only {lines:,} line{'' if lines == 1 else 's'} could be unpacked"
    return DataError(
        "D008",
        f"{path} is {'cut short' if truncated else 'damaged'}: {unpacked}",
        why="the copy or the download may have stopped early" if truncated else "the compressed data do not agree with their own checksums",
        fix=f"copy or download it again, then test it:  gzip -t {_quoted(path)}",
    )


def swollen(path: Path, unpacked: int, times: int) -> DataError:
    """D035: a gzip file that may have been made to fill a disk."""
    return DataError(
        "D035",
        f"{path} unpacks to more than {times} times its size ({unpacked / 1e6:,.0f} MB so far)",
        why="text rarely packs to less than a thirtieth: the file may be damaged, or made to fill a disk",
        fix=f"look at it:  gunzip -c {_quoted(path)} | head -c 1000   (if it is what you mean, unpack it and give the unpacked file)",
    )


def changed(path: Path, before: os.stat_result, now: os.stat_result) -> DataError:
    """D032: a file is not what it was when its lines were counted."""
    look = f"it had {before.st_size:,} bytes, now it has {now.st_size:,}" if now.st_size != before.st_size else "it was written to since"
    return DataError("D032", f"{path} changed since it was first read", look=look, fix=_RESTORE)


def gone(path: Path, before: os.stat_result, error: OSError) -> DataError:
    """D032: a file cannot be opened any more."""
    missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
    what = "is gone since it was first read" if missing else f"cannot be read any more: {(error.strerror or 'unknown reason').lower()}"
    return DataError("D032", f"{path} {what}", look=f"it had {before.st_size:,} bytes", fix=_RESTORE)


def no_room(path: Path, folder: str, error: OSError) -> ResourceError:
    """R001: nowhere to unpack a large file."""
    reason = (error.strerror or "unknown reason").lower()
    return ResourceError("R001", f"no room to unpack {path} in {folder}: {reason}", fix="make room, or another place: TMPDIR=DIR saccade ...")


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
