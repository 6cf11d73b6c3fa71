"""Files too large to hold: the same lines, pairs, splits and warnings as from lists, little of them in memory, and every change noticed."""

import gzip
import inspect
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.errors import DataError, ResourceError, SaccadeError
from saccade.tasks import Splits
from saccade.tasks.translate import Translate
from saccade.text import _checks, _lines, _scan, corpus
from saccade.text._lines import InPlace, Lines
from saccade.text._pairs import Pairs
from saccade.text.corpus import Pair, check_pairs, evenly, read_lines, read_pairs, read_parallel, read_tsv, split_by_source
from saccade.text.stream import chunks
from saccade.text.tokenizers.characters import Characters

PINNED = ([1, 11, 19, 22, 24, 27, 31, 35], [6, 29])
LOOKS = 3  # the type checker of the tests takes a look at an item of what it is given
CELLS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\t\0"), max_size=12)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in its own directory, so that files are named as a user would."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is large, and read a few bytes at a time."""
    make_tiny(monkeypatch)


def make_tiny(patch: pytest.MonkeyPatch, block: int = 16) -> None:
    patch.setattr(_scan, "_BLOCK", block)
    patch.setattr(_scan, "IN_MEMORY", 0)
    patch.setattr(corpus, "IN_MEMORY", 0)
    patch.setattr(_checks, "_CHUNK", 3)


def written(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def both(function: Callable, *arguments: object, block: int = 16, **settings: object) -> tuple:
    """What comes from lists, and what comes from an index."""
    small = function(*arguments, **settings)
    with pytest.MonkeyPatch.context() as patch:
        make_tiny(patch, block)
        large = function(*arguments, **settings)
    return small, large


def refusal(function: Callable, *arguments: object, **settings: object) -> SaccadeError:
    with pytest.raises(SaccadeError) as caught:
        function(*arguments, **settings)
    return caught.value


# ---- the same as from lists ----


@given(st.lists(CELLS, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans(), st.integers(1, 40))
@settings(deadline=None)
def test_lines_are_the_same(lines: list[str], ending: str, bom: bool, packed: bool, block: int) -> None:
    content = ("\ufeff" * bom + "".join(line + ending for line in lines)).encode()
    small, large = both(read_lines, written("x", gzip.compress(content) if packed else content), block=block)
    assert (type(small), type(large)) == (list, Lines)
    assert list(large) == small
    assert len(large) == len(small)
    assert [large[i] for i in range(-len(small), len(small))] == small * 2
    assert large[1:5:2] == small[1:5:2]
    shuffled = random.Random(1).sample(range(len(small)), len(small))
    assert list(large.at(shuffled)) == [small[i] for i in shuffled]
    for outside in (len(small), -len(small) - 1):
        with pytest.raises(IndexError):
            large[outside]


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=30), st.integers(1, 40), st.booleans(), st.integers(1, 30))
@settings(deadline=None)
def test_pairs_are_the_same(cells: list[tuple[str, str]], block: int, parallel: bool, first: int) -> None:
    names = (
        [written(str(side), "".join(f"{cell[side]}\n" for cell in cells).encode()) for side in (0, 1)]
        if parallel
        else [written("tsv", "".join("\t".join(cell) + "\n" for cell in cells).encode())]
    )
    if all(Path(name).read_bytes().removeprefix(b"\xef\xbb\xbf") for name in names):
        small, large = both(read_pairs, names, block=block, keep_first=first)
        assert (type(small), type(large)) == (list, Pairs)
        check_same(large, small)
        check_same(large[1::2][1:], small[1::2][1:])
        assert check_pairs(large) == check_pairs(small)
        for part in (slice(None), slice(1, None, 2)):
            parts = [split_by_source(pairs[part], valid=0.3, test=0.2) for pairs in (large, small)]
            for found, wanted in zip(*parts, strict=True):
                check_same(found, wanted)
                check_same(found[::-2], wanted[::-2])
                check_same(split_by_source(found, valid=0.5, test=0.0)[0], split_by_source(wanted, valid=0.5, test=0.0)[0])


def check_same(found: Sequence[Pair], wanted: Sequence[Pair]) -> None:
    assert (len(found), list(found)) == (len(wanted), list(wanted))
    assert [found[i] for i in range(-len(wanted), len(wanted))] == [*wanted, *wanted]
    assert bool(found) == bool(wanted)


def plain_split(pairs: list[Pair], valid: float, test: float) -> list[list[Pair]]:
    """As the documentation says it, with sets of strings."""
    parts: list[list[str]] = [[], [], []]
    for place, source in sorted((_checks._place(source) / 2**64, source) for source in {pair.source for pair in pairs}):
        parts[2 if place < test else 1 if place < test + valid else 0].append(source)
    for part, share in enumerate((1.0, valid, test)):
        largest = max(parts, key=len)
        if share and not parts[part] and (len(largest) > 1 or (part == 0 and largest)):
            parts[part].append(largest.pop(0))
    return [[pair for pair in pairs if pair.source in sources] for sources in map(set, parts)]


@given(st.lists(st.sampled_from("abcdefgh"), max_size=30), st.sampled_from([0.0, 0.001, 0.3]), st.sampled_from([0.0, 0.01, 0.69]))
@settings(deadline=None)
def test_a_split_by_numbers_is_that_by_strings(sources: list[str], valid: float, test: float) -> None:
    pairs = [Pair(source, str(i)) for i, source in enumerate(sources)]
    assert list(split_by_source(pairs, valid=valid, test=test)) == plain_split(pairs, valid, test)


def test_shares_are_those_asked_for() -> None:
    pairs = [Pair(f"sentence {i}", "") for i in range(3000)]
    assert list(split_by_source(pairs, valid=0.1, test=0.2)) == plain_split(pairs, 0.1, 0.2)


def test_where_sources_go_stays_the_same_for_ever() -> None:
    """A run must resume exactly under a later version: these may never change."""
    pairs = [Pair(f"sentence {i}", "") for i in range(40)]
    held_out, tested = ([int(pair.source.split()[1]) for pair in part] for part in split_by_source(pairs, valid=0.1, test=0.1)[1:])
    assert (held_out, tested) == PINNED


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("cd ")), max_size=12))
@settings(deadline=None)
def test_repeats_are_those_of_a_dictionary(cells: list[tuple[str, str]]) -> None:
    pairs = [Pair(*cell) for cell in cells]
    first: dict[Pair, int] = {}
    repeats = [(i, first[pair]) for i, pair in enumerate(pairs, 1) if first.setdefault(pair, i) != i]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_checks, "_CHUNK", 3)
        said = [warning for warning in check_pairs(pairs) if "D031" in warning]
    assert bool(said) == bool(repeats)
    if repeats:
        assert said[0].startswith(f"warning[D031] {len(repeats)} exact duplicate pair")
        assert said[0].endswith(f"line {repeats[0][0]} repeats line {repeats[0][1]}")


# ---- messages are the same ----

BAD = {
    "D003": b"fine\n" * 20 + b"caf\xe9\nna\xefve\nna\xefve\nna\xefve\nfine\n",
    "D003 beside good": "schön\n".encode() * 9 + b"sch\xf6n\nfine\n",
    "D004": b"a\0b\n" + b"fine\n" * 30 + b"a\0\0b\nx\0",
    "D007": b"fine\n" * 30 + b"x" * 101 + b"\nfine\n",
    "D007 at the end": b"fine\n" * 30 + b"x" * 200,
    "D001": b"\xef\xbb\xbf",
    "D002": "fine\n".encode("utf-16"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_bad_lines_are_named_whatever_the_block(kind: str, packed: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name = written("train.en", gzip.compress(BAD[kind]) if packed else BAD[kind])
    expected = refusal(read_lines, name, max_line_bytes=100)
    assert expected.code == kind[:4]
    make_tiny(monkeypatch, block)
    assert refusal(read_lines, name, max_line_bytes=100).render() == expected.render()


def test_bad_pairs_are_named_in_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = written("a", b"1\n2\n3\n4\n"), written("b", b"x\n\nz\n")
    tsv = written("tsv", b"a\tb\n" * 9 + b"a\n" + b"a\tb\n" * 9 + b"a\tb\tc\n" * 3)
    expected = [refusal(read_parallel, one, other).render(), refusal(read_tsv, tsv).render()]
    make_tiny(monkeypatch)
    assert [refusal(read_parallel, one, other).render(), refusal(read_tsv, tsv).render()] == expected
    assert "4 rows of 22 have another number of columns, first: 10, 20, 21" in expected[1]


# ---- little is in memory ----


def test_only_a_block_at_a_time_is_read(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    name = written("x", b"".join(b"line %d\n" % i for i in range(2000)))
    sizes: list[int] = []
    read = InPlace.read
    monkeypatch.setattr(InPlace, "read", lambda place, start, size: sizes.append(size) or read(place, start, size))
    lines = read_lines(name)
    assert sum(map(len, lines)) == Path(name).stat().st_size - 2000
    assert max(sizes) < 16 + len("line 1999\n")
    assert sum(sizes) <= Path(name).stat().st_size + LOOKS * max(sizes)
    sizes.clear()
    assert (lines[700], lines[701]) == ("line 700", "line 701")
    assert len(sizes) <= 2 + LOOKS


def test_neighbours_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make_tiny(monkeypatch, block=1000)
    pairs = read_tsv(written("x", b"".join(b"source %d\ttarget %d\n" % (i, i) for i in range(2000))))
    _, held_out, _ = split_by_source(pairs, valid=0.02, test=0.0)
    counts: list[int] = []
    read = InPlace.read
    monkeypatch.setattr(InPlace, "read", lambda place, start, size: counts.append(start) or read(place, start, size))
    assert len(list(held_out)) > 20
    assert len(set(counts)) <= Path("x").stat().st_size / 1000 + 1
    assert len(counts) <= len(set(counts)) + LOOKS


def test_the_index_of_a_split_is_small(tiny: None) -> None:
    pairs = read_tsv(written("x", b"".join(b"source %d\ttarget\n" % i for i in range(500))))
    for part in split_by_source(pairs, valid=0.1, test=0.1):
        assert part._rows.dtype == np.uint32
        assert isinstance(part._rows, np.ndarray)


def test_a_list_is_chosen_by_what_it_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    name = written("x", b"a\n" * 100)
    for allowed, kind in ((100 * (2 + 64), list), (100 * (2 + 64) - 1, Lines)):
        monkeypatch.setattr(corpus, "IN_MEMORY", allowed)
        assert type(read_lines(name)) is kind


# ---- files that change ----


@pytest.mark.parametrize("change", ["longer", "rewritten", "gone", "replaced", "folder gone"])
def test_d032_a_file_that_is_not_what_it_was(tiny: None, change: str) -> None:
    Path("data").mkdir()
    lines = read_lines(written("data/x", b"".join(b"line %d\n" % i for i in range(100))))
    size = Path("data/x").stat().st_size
    begun = iter(lines)
    assert next(begun) == "line 0"
    look = "it was written to since"
    if change == "longer":
        with open("data/x", "ab") as file:
            file.write(b"more\n")
        look = f"it had {size:,} bytes, now it has {size + 5:,}"
    elif change == "rewritten":
        os.utime("data/x", ns=(1, 1))
    elif change == "replaced":
        os.replace(written("other", b"other\n"), "data/x")
        look = f"it had {size:,} bytes, now it has 6"
    else:
        Path("data/x").unlink()
        if change == "folder gone":
            Path("data").rmdir()
        look = f"it had {size:,} bytes"
    what = "is gone" if "gone" in change else "changed"
    for use in (lambda: list(begun), lambda: [lines[0], lines[99]]):  # the block that was looked at last is held: one of two is not it
        error = refusal(use)
        assert error.render() == f"error[D032] data/x {what} since it was first read\n  look  {look}\n  fix   restore it, then go on: saccade resume"
        assert (type(error), error.exit_status) == (DataError, 3)


def test_d032_other_bytes_of_the_same_size_and_time(tiny: None) -> None:
    lines = read_lines(written("x", b"12345\n" * 20))
    time = Path("x").stat().st_mtime_ns
    for content in (b"1\n345\n" * 20, b"1234\xff\n" * 20):
        written("x", content)
        os.utime("x", ns=(time, time))
        assert refusal(list, lines).parts["look"] == ["it was written to since"]


def test_d032_a_file_that_cannot_be_opened_any_more(tiny: None) -> None:
    lines = read_lines(written("x", b"12345\n" * 20))
    Path("x").unlink()
    os.symlink("x", "x")
    assert refusal(list, lines).headline == "x cannot be read any more: too many levels of symbolic links"


def test_d032_a_file_that_grows_while_its_lines_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    name = written("x", b"12345\n" * 20)
    add = _scan._Scan.add

    def growing(scan: _scan._Scan, block: bytes) -> None:
        if Path(name).stat().st_size == 120:
            with open(name, "ab") as file:
                file.write(b"more\n")
        add(scan, block)

    monkeypatch.setattr(_scan._Scan, "add", growing)
    error = refusal(read_lines, name)
    assert (error.code, error.headline) == ("D032", "x changed since it was first read")


def test_reading_goes_on_from_another_directory(tiny: None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = read_lines(written("x", b"12345\n" * 20))
    Path("elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert list(lines) == ["12345"] * 20


def test_what_was_unpacked_needs_its_file_no_more(tiny: None) -> None:
    lines = read_lines(written("x.gz", gzip.compress(b"12345\n" * 20)))
    Path("x.gz").unlink()
    assert list(lines) == ["12345"] * 20


# ---- what unpacks to too much ----


def test_d035_a_gzip_file_that_swells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scan, "IN_MEMORY", 1 << 20)
    bomb = written("a b.gz", gzip.compress(b"aaaaaaa\n" * (1 << 19)))
    error = refusal(read_lines, bomb)
    assert error.render() == (
        "error[D035] a b.gz unpacks to more than 100 times its size (1 MB so far)\n"
        "  why   text rarely packs to less than a thirtieth: the file may be damaged, or made to fill a disk\n"
        "  fix   look at it:  gunzip -c 'a b.gz' | head -c 1000   (if it is what you mean, unpack it and give the unpacked file)"
    )
    assert len(read_lines(written("small.gz", gzip.compress(b"aaaaaaa\n" * (1 << 16))))) == 1 << 16


def test_r001_no_room_to_unpack(tiny: None, monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    class Full:
        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(_lines.tempfile, "SpooledTemporaryFile", lambda max_size: Full())
    monkeypatch.setattr(_lines.tempfile, "gettempdir", lambda: "/scratch")
    error = refusal(read_lines, written("x.gz", gzip.compress(b"12345\n")))
    assert error.render() == (
        "error[R001] no room to unpack x.gz in /scratch: no space left on device\n  fix   make room, or another place: TMPDIR=DIR saccade ..."
    )
    assert (type(error), error.exit_status) == (ResourceError, 5)


# ---- samples, and the task as a whole ----


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 100))
@settings(deadline=None)
def test_a_sample_is_even_and_as_large_as_allowed(lengths: list[int], limit: int) -> None:
    pairs = [Pair("a" * length, str(i)) for i, length in enumerate(lengths)]
    sample, step = evenly(pairs, limit)
    sizes = [len(pair.source) + len(pair.target) for pair in sample]
    assert sample == pairs[::step]
    assert sum(sizes) <= limit or len(sample) == 1
    if step > 1:
        assert sum(len(pair.source) + len(pair.target) for pair in pairs[:: step // 2]) > limit
    assert step & (step - 1) == 0


def test_a_tokenizer_learns_from_the_sample_and_says_so(tiny: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = read_tsv(written("x", "".join(f"{chr(97 + i % 26)}\t{chr(65 + i % 26)}\n" for i in range(260)).encode()))
    task = Translate(tokenizer=Characters)
    task.learn(Splits(pairs, [], []))
    assert task.summary() == [("Tokens", "56 symbols, one vocabulary for both sides")]
    monkeypatch.setattr("saccade.tasks.translate.LEARNED_FROM", 52)
    task.learn(Splits(pairs, [], []))
    assert task.summary() == [("Tokens", "30 symbols, one vocabulary for both sides, learned from one pair in 16")]
    small = Translate(tokenizer=Characters)
    small.learn(Splits(list(pairs), [], []))
    assert small.source.state() == task.source.state()


def test_examples_of_a_large_corpus_are_those_of_a_list(tiny: None, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = read_tsv(written("x", "".join(f"source {i}\ttarget {i}\n" for i in range(300)).encode()))
    train = split_by_source(pairs, valid=0.2, test=0.0)[0]
    task = Translate(tokenizer=Characters, longest=10)
    task.learn(Splits(train, [], []))
    lazy, listed = task.examples(train, here / "store"), task.examples(list(train))
    for ours, theirs in ((lazy.source, listed.source), (lazy.target, listed.target)):
        assert [row.tolist() for row in ours] == [row.tolist() for row in theirs]
    assert 0 < len(train) - len(lazy.source) < len(train)
    for name in ("examples", "_encoded"):  # without the type checker, which would read the file
        monkeypatch.setattr(Translate, name, inspect.unwrap(getattr(Translate, name)))
    Path("x").unlink()
    assert len(task.examples(train, here / "store").source) == len(listed.source)


def test_files_to_answer_come_in_groups(tiny: None) -> None:
    written("x", b"".join(b"%d\n" % i for i in range(2500)))

    def nothing() -> Iterator[bytes]:
        raise AssertionError("the stream is not read")
        yield b""

    groups = list(chunks(["first", "x", "last"], nothing(), 1))
    assert [len(group) for group in groups] == [1024, 1024, 454]
    assert [line for group in groups for line in group] == ["first", *map(str, range(2500)), "last"]
