"""What is odd about pairs (8 bytes a pair in memory), and which of them to set aside (5 bytes a pair): one pass each.

Texts are told apart by hashes of 64 bits: among 20 million different ones the chance that any two agree is one in 90,000.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice

import numpy as np

from ..errors import DataError, UsageError
from ._complaints import Tally
from ._pairs import Pair, Pairs

_CHUNK = 1 << 20  # numbers that are looked at together


def split_by_source(pairs: Sequence[Pair], *, valid: float, test: float) -> tuple[Sequence[Pair], Sequence[Pair], Sequence[Pair]]:
    """Train, valid and test pairs, each in the order given; where a pair goes is decided by a hash of its source alone.

    `valid` and `test` are shares of the distinct sources, met in the mean.  Pairs with one source stay together, so that no
    sentence is tested that was trained on.  Every part whose share is not 0 gets a source if there are enough of them.
    """
    if min(valid, test) < 0 or valid + test >= 1:
        raise UsageError("C012", f"valid_share = {valid:g} and test_share = {test:g} leave nothing to train on", fix="valid_share = 0.015, test_share = 0.015")
    parts = np.concatenate([np.zeros(0, np.uint8), *(_parts(places, valid, test) for places in _places(pairs))])
    if any(share and not (parts == part).any() for part, share in enumerate((1.0, valid, test))):
        _fill(parts, np.concatenate([np.zeros(0, np.uint64), *_places(pairs)]), valid, test)
    train, held_out, tested = (_chosen(pairs, parts, part) for part in range(3))
    return train, held_out, tested


def evenly(pairs: Sequence[Pair], limit: int) -> tuple[list[Pair], int]:
    """All pairs, or every 2nd, 4th, 8th ... of them from the first on, so that they have at most `limit` characters; and which.

    One pair is taken however long it is.  Between half of `limit` and all of it is used, in one pass.
    """
    kept: list[Pair] = []
    step, characters = 1, 0
    more = True
    while more:
        more = False
        for pair in pairs[len(kept) * step :: step]:
            kept.append(pair)
            characters += len(pair.source) + len(pair.target)
            while characters > limit and len(kept) > 1:
                kept, step, more = kept[::2], 2 * step, True
                characters = sum(len(one.source) + len(one.target) for one in kept)
            if more:
                break
    return kept, step


def check_pairs(pairs: Sequence[Pair]) -> list[str]:
    """What is odd about the pairs but no reason to stop, as rendered warnings: D006, D009 and D031."""
    separators, sources, targets = Tally(), Tally(), Tally()

    def hashes() -> Iterator[int]:
        for number, pair in enumerate(pairs, 1):
            source, target = pair
            if "\u2028" in source or "\u2028" in target:
                separators.add(number)
            if not source.strip():
                sources.add(number)
            if not target.strip():
                targets.add(number)
            yield hash(pair)

    found = np.fromiter(hashes(), dtype=np.int64, count=len(pairs))
    findings = [_line_separators(separators), _empty_lines(sources, targets), _duplicates(found)]
    return [finding.render("warning") for finding in findings if finding]


def _place(source: str) -> int:
    """A number of 64 bits that depends on nothing but the text."""
    return int.from_bytes(blake2b(source.encode(errors="surrogatepass"), digest_size=8).digest())


def _places(pairs: Sequence[Pair]) -> Iterator[np.ndarray]:
    """The place of every source, uint64, a chunk at a time."""
    places = (_place(pair.source) for pair in pairs)
    while len(chunk := np.fromiter(islice(places, _CHUNK), dtype=np.uint64)):
        yield chunk


def _parts(places: np.ndarray, valid: float, test: float) -> np.ndarray:
    """0 for train, 1 for valid, 2 for test: uint8."""
    shares = places.astype(np.float64) / 2.0**64
    return np.where(shares < test, 2, np.where(shares < test + valid, 1, 0)).astype(np.uint8)


def _fill(parts: np.ndarray, places: np.ndarray, valid: float, test: float) -> None:
    """A small corpus may leave a part empty: it gets the first source of the largest.  Training comes first."""
    distinct = np.unique(places)
    homes = _parts(distinct, valid, test)
    groups = [distinct[homes == part] for part in range(3)]
    for part, share in enumerate((1.0, valid, test)):
        largest = max(range(3), key=lambda i: len(groups[i]))
        if share and not len(groups[part]) and (len(groups[largest]) > 1 or (part == 0 and len(groups[largest]))):
            groups[part], groups[largest] = groups[largest][:1], groups[largest][1:]
            parts[places == groups[part][0]] = part


def _chosen(pairs: Sequence[Pair], parts: np.ndarray, part: int) -> Sequence[Pair]:
    kind = np.uint32 if len(pairs) < 1 << 32 else np.int64
    starts = range(0, max(len(parts), 1), _CHUNK)
    rows = np.concatenate([(np.flatnonzero(parts[start : start + _CHUNK] == part) + start).astype(kind) for start in starts])
    return pairs.chosen(rows) if isinstance(pairs, Pairs) else [pairs[row] for row in rows.tolist()]


def _line_separators(lines: Tally) -> DataError | None:
    if not lines.count:
        return None
    count = "1 line contains" if lines.count == 1 else f"{lines.count:,} lines contain"
    return DataError("D006", f"{count} a Unicode line separator (U+2028), first: line {lines.first[0]}", note="kept as it is; lines are only split at \\n")


def _empty_lines(sources: Tally, targets: Tally) -> DataError | None:
    if not sources.count and not targets.count:
        return None
    sides = (("source", sources), ("target", targets))
    counts = [f"{lines.count:,} {side} line{'' if lines.count == 1 else 's'}" for side, lines in sides if lines.count]
    verb = "is" if sources.count + targets.count == 1 else "are"
    first = min(sources.first + targets.first)
    return DataError(
        "D009", f"{' and '.join(counts)} {verb} empty, first: line {first}", why="a model learns from them to say nothing", fix="delete the line on both sides"
    )


def _duplicates(hashes: np.ndarray) -> DataError | None:
    """How many pairs occurred before, and the first that did."""
    repeats, repeated = _repeated(hashes)
    if not repeats:
        return None
    count = f"{repeats:,} exact duplicate pair{'' if repeats == 1 else 's'} ({100 * repeats / len(hashes):.1f} %), kept"
    again, before = _first_repeat(hashes, repeated)
    return DataError("D031", count, look=f"line {again + 1} repeats line {before + 1}")


def _repeated(hashes: np.ndarray) -> tuple[int, np.ndarray]:
    """How many numbers occurred before, and those numbers, sorted."""
    low = hashes.view(np.uint8).reshape(-1, 8)[:, 0]
    groups = 1 if len(hashes) <= _CHUNK else 16  # one after the other, so that sorting takes little memory
    count, found = 0, []
    for group in range(groups):
        some = np.sort(hashes[low % groups == group] if groups > 1 else hashes)
        again = some[1:][some[1:] == some[:-1]]
        count += len(again)
        found.append(np.unique(again))
    return count, np.sort(np.concatenate(found))


def _first_repeat(hashes: np.ndarray, repeated: np.ndarray) -> tuple[int, int]:
    """Where one of the `repeated` numbers stands for the second time, and where it stood first."""
    seen: dict[int, int] = {}
    for start in range(0, len(hashes), _CHUNK):
        chunk = hashes[start : start + _CHUNK]
        candidates = np.flatnonzero(repeated[np.searchsorted(repeated, chunk).clip(max=len(repeated) - 1)] == chunk)
        for place in candidates.tolist():
            if (number := int(chunk[place])) in seen:
                return start + place, seen[number]
            seen[number] = start + place
    raise AssertionError("none of these numbers is repeated")
