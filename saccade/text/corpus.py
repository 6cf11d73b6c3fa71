"""Pairs of texts from people's files: two parallel ones or one of tab-separated columns; every `DataError` says where and what to do.

Small files become lists.  Of large ones only an index is in memory, and text is read when it is asked for: `DataError` D032 if
the file is not what it was by then.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..errors import DataError, UsageError, printable
from ._checks import check_pairs, evenly, split_by_source
from ._complaints import Tally
from ._lines import Lines
from ._pairs import Pair, Pairs, beside, columns_of
from ._scan import IN_MEMORY, MAX_LINE_BYTES, index

__all__ = ["Pair", "check_pairs", "evenly", "read_lines", "read_pairs", "read_parallel", "read_tsv", "split_by_source"]


def read_lines(path: Path | str, *, max_line_bytes: int = MAX_LINE_BYTES) -> Sequence[str]:
    """The lines of a UTF-8 file, gzipped or not, without their breaks (LF or CR LF) and without a byte order mark.

    A list, if it takes less than 32 MB.  `UsageError` C003 to C006 if the file cannot be opened, `DataError` D001 to D008 and
    D035 if it is not such a file, `ResourceError` R001 if there is no room to unpack it.
    """
    lines = index(Path(path), max_line_bytes)
    return list(lines) if lines.memory <= IN_MEMORY else lines


def read_parallel(source: Path | str, target: Path | str, *, keep_first: int | None = None, max_line_bytes: int = MAX_LINE_BYTES) -> Sequence[Pair]:
    """Line N of `source` with line N of `target`; `DataError` D012 if one file has more lines, of the first `keep_first` at least."""
    _check_keep_first(keep_first)
    sources, targets = (index(Path(path), max_line_bytes) for path in (source, target))
    counts = [len(lines) if keep_first is None else min(keep_first, len(lines)) for lines in (sources, targets)]
    if counts[0] != counts[1]:
        raise _different_lengths(str(source), sources, str(target), targets)
    pairs = Pairs(partial(beside, sources, targets), range(counts[0]))
    return list(pairs) if max(sources.memory, targets.memory) <= IN_MEMORY else pairs


def read_tsv(
    path: Path | str, *, columns: tuple[int, int] | None = None, keep_first: int | None = None, max_line_bytes: int = MAX_LINE_BYTES
) -> Sequence[Pair]:
    """One pair per line, separated by a tab, or two `columns` of several (counted from 1); `DataError` D014 if a row has others."""
    _check_keep_first(keep_first)
    if columns is not None and min(columns) < 1:
        raise UsageError("C012", f"columns = {','.join(map(str, columns))}: columns are counted from 1", fix="--columns 1,2")
    lines = index(Path(path), max_line_bytes)
    wrong = Tally()
    for number, line in enumerate(lines, 1):
        found = line.count("\t") + 1
        if found != 2 if columns is None else found < max(columns):
            wrong.add(number)
    if wrong.count:
        raise _wrong_columns(str(path), lines, wrong, columns)
    first, second = (column - 1 for column in columns or (1, 2))
    pairs = Pairs(partial(columns_of, lines, first, second), range(len(lines)))[:keep_first]
    return list(pairs) if lines.memory <= IN_MEMORY else pairs


def read_pairs(paths: Sequence[Path | str], *, columns: tuple[int, int] | None = None, keep_first: int | None = None) -> Sequence[Pair]:
    """Pairs from one TSV file or two parallel files; `UsageError` C004 for any other number of files."""
    _check_keep_first(keep_first)
    if len(paths) == 1:
        return read_tsv(paths[0], columns=columns, keep_first=keep_first)
    if len(paths) != 2:
        found = f"{len(paths)} files were given" if paths else "no file was given"
        raise UsageError(
            "C004", f"{found}; 1 (tab-separated) or 2 (source and target) are expected", fix=["saccade train pairs.tsv", "saccade train train.en train.fr"]
        )
    if columns is not None:
        raise UsageError("C004", "columns were chosen, but two files were given", fix="leave out --columns, or give one tab-separated file")
    return read_parallel(paths[0], paths[1], keep_first=keep_first)


def _check_keep_first(keep_first: int | None) -> None:
    if keep_first is not None and keep_first < 1:
        raise UsageError("C012", f"keep_first = {keep_first}: at least 1 line must be kept", fix="--keep-first 1000")


def _different_lengths(source: str, sources: Lines, target: str, targets: Lines) -> DataError:
    width = max(len(source), len(target))
    shorter = min(len(sources), len(targets))
    tail = f"if the tail is simply missing:  saccade train ... --keep-first {shorter}"
    parting = next((i for i, (one, other) in enumerate(zip(sources, targets)) if bool(one.strip()) != bool(other.strip())), None)
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


def _wrong_columns(path: str, lines: Lines, wrong: Tally, columns: tuple[int, int] | None) -> DataError:
    row = lines[wrong.first[0] - 1].split("\t")
    expected = f"{max(columns)} or more" if columns else "2"
    if row == [""]:
        found, fix = f"is empty; {expected} columns are expected", "delete the line"
    else:
        found = f"has {len(row)} column{'' if len(row) == 1 else 's'}; {expected} are expected"
        fix = "put one tab between source and target, or give two files:  saccade train train.en train.fr"
        fix = "choose two: --columns 1,2" if len(row) > 1 else fix
        if wrong.count == len(lines) and len(row) == 1:
            fix += f"; or, if this is a text to be gone on with:  saccade train --task language_model {path}"
    look = [f'"{printable("<TAB>".join(row))}"']
    if wrong.count > 1:
        look.append(f"{wrong.count:,} rows of {len(lines):,} have another number of columns, first: {', '.join(map(str, wrong.first))}")
    return DataError("D014", f"{path} line {wrong.first[0]} {found}", look=look, fix=fix)
