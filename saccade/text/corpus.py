"""Pairs of texts from people's files: two parallel ones or one of tab-separated columns; every `DataError` says where and what to do."""

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, UsageError, printable
from ._lines import MAX_LINE_BYTES, read

__all__ = ["Pair", "check_pairs", "read_lines", "read_pairs", "read_parallel", "read_tsv", "split_by_source"]


class Pair(NamedTuple):
    """A text and the text it is to become."""

    source: str
    target: str


def read_lines(path: Path | str, *, max_line_bytes: int = MAX_LINE_BYTES) -> list[str]:
    """The lines of a UTF-8 file, gzipped or not, without their breaks (LF or CR LF) and without a byte order mark.

    `UsageError` C003 to C006 if it cannot be opened, `DataError` D001 to D008 if it is not such a file.
    """
    return read(Path(path), max_line_bytes)


def read_parallel(source: Path | str, target: Path | str, *, keep_first: int | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> list[Pair]:
    """Line N of `source` with line N of `target`; `DataError` D012 if one file has more lines, of the first `keep_first` at least."""
    _check_keep_first(keep_first)
    sources, targets = (read_lines(path, max_line_bytes=max_line_bytes) for path in (source, target))
    if len(sources[:keep_first]) != len(targets[:keep_first]):
        raise _different_lengths(str(source), sources, str(target), targets)
    return [Pair(*both) for both in zip(sources[:keep_first], targets[:keep_first], strict=True)]


def read_tsv(path: Path | str, *, columns: tuple[int, int] | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> list[Pair]:
    """One pair per line, separated by a tab, or two `columns` of several (counted from 1); `DataError` D014 if a row has others."""
    if columns is not None and min(columns) < 1:
        raise UsageError("C012", f"columns = {','.join(map(str, columns))}: columns are counted from 1", fix="--columns 1,2")
    rows = [line.split("\t") for line in read_lines(path, max_line_bytes=max_line_bytes)]
    wrong = [i for i, row in enumerate(rows) if (len(row) != 2 if columns is None else len(row) < max(columns))]
    if wrong:
        raise _wrong_columns(str(path), rows, wrong, columns)
    first, second = (column - 1 for column in columns or (1, 2))
    return [Pair(row[first], row[second]) for row in rows]


def read_pairs(paths: Sequence[Path | str], *, columns: tuple[int, int] | None = None, keep_first: int | None = None) -> list[Pair]:
    """Pairs from one TSV file or two parallel files; `UsageError` C004 for any other number of files."""
    _check_keep_first(keep_first)
    if len(paths) == 1:
        return read_tsv(paths[0], columns=columns)[:keep_first]
    if len(paths) != 2:
        found = f"{len(paths)} files were given" if paths else "no file was given"
        raise UsageError(
            "C004", f"{found}; 1 (tab-separated) or 2 (source and target) are expected", fix=["saccade train pairs.tsv", "saccade train train.en train.fr"]
        )
    if columns is not None:
        raise UsageError("C004", "columns were chosen, but two files were given", fix="leave out --columns, or give one tab-separated file")
    return read_parallel(paths[0], paths[1], keep_first=keep_first)


def split_by_source(pairs: Sequence[Pair], *, valid: float, test: float) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """Train, valid and test pairs, each in the order given; where a pair goes is decided by a hash of its source alone.

    `valid` and `test` are shares of the distinct sources, met in the mean.  Pairs with one source stay together, so that no
    sentence is tested that was trained on.  Every part whose share is not 0 gets a source if there are enough of them.
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise UsageError("C012", f"valid_share = {valid:g} and test_share = {test:g} leave nothing to train on", fix="valid_share = 0.015, test_share = 0.015")
    parts: list[list[str]] = [[], [], []]
    for place, source in sorted((_place(source), source) for source in {pair.source for pair in pairs}):
        parts[2 if place < test else 1 if place < test + valid else 0].append(source)
    for part, share in enumerate((1.0, valid, test)):
        largest = max(parts, key=len)
        # A small corpus may leave a part empty; training comes first.
        if share and not parts[part] and (len(largest) > 1 or (part == 0 and largest)):
            parts[part].append(largest.pop(0))
    home = {source: part for part, sources in enumerate(parts) for source in sources}
    train, held_out, tested = ([pair for pair in pairs if home[pair.source] == part] for part in range(3))
    return train, held_out, tested


def check_pairs(pairs: Sequence[Pair]) -> list[str]:
    """What is odd about the pairs but no reason to stop, as rendered warnings: D006, D009 and D031."""
    findings = [_line_separators(pairs), _empty_lines(pairs), _duplicates(pairs)]
    return [finding.render("warning") for finding in findings if finding]


def _place(source: str) -> float:
    """A number from 0 to 1 that depends on nothing but the text."""
    return int.from_bytes(blake2b(source.encode(errors="surrogatepass"), digest_size=8).digest()) / 2**64


def _check_keep_first(keep_first: int | None) -> None:
    if keep_first is not None and keep_first < 1:
        raise UsageError("C012", f"keep_first = {keep_first}: at least 1 line must be kept", fix="--keep-first 1000")


def _different_lengths(source: str, sources: list[str], target: str, targets: list[str]) -> DataError:
    width = max(len(source), len(target))
    shorter = min(len(sources), len(targets))
    tail = f"if the tail is simply missing:  saccade train ... --keep-first {shorter}"
    parting = next((i for i in range(shorter) if bool(sources[i].strip()) != bool(targets[i].strip())), None)
    look, fix = [], f"find the line that is missing, or, {tail}"
    if parting is not None:
        emptied = target if sources[parting].strip() else source
        agreed = f"the files agree up to line {parting}; " if parting else ""
        look, fix = [f"{agreed}line {parting + 1} of {emptied} is empty"], f"correct line {parting + 1}, or, {tail}"
    return DataError(
        "D012",
        "source and target have different numbers of lines",
        at=[f"{name:<{width}}   {len(lines):,} line{'' if len(lines) == 1 else 's'}" for name, lines in ((source, sources), (target, targets))],
        why="line N of one file must be the translation of line N of the other",
        look=look,
        fix=fix,
    )


def _wrong_columns(path: str, rows: list[list[str]], wrong: list[int], columns: tuple[int, int] | None) -> DataError:
    row = rows[wrong[0]]
    expected = f"{max(columns)} or more" if columns else "2"
    if row == [""]:
        found, fix = f"is empty; {expected} columns are expected", "delete the line"
    else:
        found = f"has {len(row)} column{'' if len(row) == 1 else 's'}; {expected} are expected"
        fix = "put one tab between source and target, or give two files:  saccade train train.en train.fr"
        fix = "choose two: --columns 1,2" if len(row) > 1 else fix
    look = [f'"{printable("<TAB>".join(row))}"']
    if len(wrong) > 1:
        look.append(f"{len(wrong):,} rows of {len(rows):,} have another number of columns, first: {', '.join(str(i + 1) for i in wrong[:3])}")
    return DataError("D014", f"{path} line {wrong[0] + 1} {found}", look=look, fix=fix)


def _line_separators(pairs: Sequence[Pair]) -> DataError | None:
    found = [i for i, pair in enumerate(pairs, 1) if "\u2028" in pair.source or "\u2028" in pair.target]
    if not found:
        return None
    count = "1 line contains" if len(found) == 1 else f"{len(found):,} lines contain"
    return DataError("D006", f"{count} a Unicode line separator (U+2028), first: line {found[0]}", note="kept as it is; lines are only split at \\n")


def _empty_lines(pairs: Sequence[Pair]) -> DataError | None:
    sources, targets = ([i for i, pair in enumerate(pairs, 1) if not pair[side].strip()] for side in (0, 1))
    if not sources and not targets:
        return None
    counts = [f"{len(lines):,} {side} line{'' if len(lines) == 1 else 's'}" for side, lines in (("source", sources), ("target", targets)) if lines]
    verb = "is" if len(sources) + len(targets) == 1 else "are"
    first = min(sources + targets)
    return DataError(
        "D009", f"{' and '.join(counts)} {verb} empty, first: line {first}", why="a model learns from them to say nothing", fix="delete the line on both sides"
    )


def _duplicates(pairs: Sequence[Pair]) -> DataError | None:
    first: dict[Pair, int] = {}
    repeats = [(i, first[pair]) for i, pair in enumerate(pairs, 1) if first.setdefault(pair, i) != i]
    if not repeats:
        return None
    count = f"{len(repeats):,} exact duplicate pair{'' if len(repeats) == 1 else 's'} ({100 * len(repeats) / len(pairs):.1f} %), kept"
    return DataError("D031", count, look=f"line {repeats[0][0]} repeats line {repeats[0][1]}")
