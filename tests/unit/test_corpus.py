"""The line reader and the pairs: what is read is what was written, and every refusal says where and what to do."""

import gzip
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import DataError, SaccadeError, UsageError
from saccade.text.corpus import Pair, check_pairs, read_lines, read_pairs, read_parallel, read_tsv, split_by_source


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in its own directory, so that files are named as a user would."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(name: str, content: bytes) -> str:
    Path(name).write_bytes(content)
    return name


def refusal(function: Callable, *arguments: object, **settings: object) -> SaccadeError:
    with pytest.raises(SaccadeError) as caught:
        function(*arguments, **settings)
    return caught.value


def rendered(function: Callable, *arguments: object, **settings: object) -> str:
    return refusal(function, *arguments, **settings).render()


def obeyed(error: SaccadeError) -> Path:
    """Run the first command of a fix; the file that it wrote."""
    command = error.parts["fix"][0].split(", or raise")[0].split(":  ")[-1]
    subprocess.run(["sh", "-c", command], check=False, stderr=subprocess.DEVNULL)
    return Path(command.rsplit("> ", 1)[1].strip("'"))


# ---- lines ----


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\r\nb", ["a\r", "b"]),
        (b"a\rb\n", ["a\rb"]),
        (b"\n", [""]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        (b"\xef\xbb\xbfa\nb\n", ["a", "b"]),
        (b"a\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        (b"\xef\xbb\xbf\n", [""]),
        ("a\u2028b\x0bc\x0cd\x85e\x1cf\n".encode(), ["a\u2028b\x0bc\x0cd\x85e\x1cf"]),
    ],
)
def test_only_a_line_feed_ends_a_line(content: bytes, lines: list[str]) -> None:
    assert read_lines(written("plain", content)) == lines
    assert read_lines(written("packed", gzip.compress(content))) == lines
    assert read_lines(Path("plain")) == lines


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\n\r\0")), min_size=1))
def test_whatever_is_written_is_read(lines: list[str]) -> None:
    assert read_lines(written("any", b"".join(line.encode() + b"\n" for line in lines))) == [lines[0].removeprefix("\ufeff"), *lines[1:]]


def test_packed_files_are_known_by_their_bytes_and_may_have_several_parts() -> None:
    assert read_lines(written("no_ending", gzip.compress(b"a\nb") + gzip.compress(b"c\n"))) == ["a", "bc"]


def test_a_pipe_can_be_read() -> None:
    os.mkfifo("pipe")
    with subprocess.Popen(["sh", "-c", "printf 'a\\nb\\n' > pipe"]):
        assert read_lines("pipe") == ["a", "b"]


def test_d001_empty() -> None:
    assert rendered(read_lines, written("train.en", b"")) == "error[D001] train.en is empty (0 bytes)\n  fix   check the command that wrote it"
    assert refusal(read_lines, written("train.en.gz", gzip.compress(b""))).headline == "train.en.gz is empty (0 bytes once unpacked)"
    assert refusal(read_lines, written("bom", b"\xef\xbb\xbf")).headline == "bom is empty (3 bytes: a byte order mark and nothing else)"


@pytest.mark.parametrize(
    ("encoding", "mark", "name", "seen", "option"),
    [
        ("utf-16-le", b"\xff\xfe", "UTF-16", "it starts with FF FE", "UTF-16"),
        ("utf-16-be", b"\xfe\xff", "UTF-16", "it starts with FE FF", "UTF-16"),
        ("utf-32-le", b"\xff\xfe\0\0", "UTF-32", "it starts with FF FE 00 00", "UTF-32"),
        ("utf-32-be", b"\0\0\xfe\xff", "UTF-32", "it starts with 00 00 FE FF", "UTF-32"),
        ("utf-16-le", b"", "UTF-16", "every second byte is 00", "UTF-16LE"),
        ("utf-16-be", b"", "UTF-16", "every second byte is 00", "UTF-16BE"),
        ("utf-32-le", b"", "UTF-32", "three of every four bytes are 00", "UTF-32LE"),
        ("utf-32-be", b"", "UTF-32", "three of every four bytes are 00", "UTF-32BE"),
    ],
)
def test_d002_wide_encodings(encoding: str, mark: bytes, name: str, seen: str, option: str) -> None:
    content = mark + "big dog\nsmall cat\n".encode(encoding)
    error = refusal(read_lines, written("train.en", content))
    assert error.render() == f"error[D002] train.en is {name} text, not UTF-8 ({seen})\n  fix   iconv -f {option} -t UTF-8 train.en > train.utf8.en"
    assert error.exit_status == 3
    assert read_lines(obeyed(error)) == ["big dog", "small cat"]
    packed = refusal(read_lines, written("train.en.gz", gzip.compress(content)))
    assert packed.parts["fix"] == [f"gunzip -c train.en.gz | iconv -f {option} -t UTF-8 > train.utf8.en"]
    assert read_lines(obeyed(packed)) == ["big dog", "small cat"]


def test_d003_bad_bytes() -> None:
    lines = [b"fine"] * 82 + [b"the cat sat \xff\xfe\x80 bad"] + [b"fine"] * 118
    error = refusal(read_lines, written("train.en", b"\n".join(lines)))
    assert error.render() == (
        "error[D003] train.en line 83, column 13: byte 0xFF is not UTF-8\n"
        '  look  "the cat sat \\xFF\\xFE\\x80 bad"\n'
        "  look  1 line of 201 is affected; the bytes look like Windows-1252\n"
        "  fix   iconv -f WINDOWS-1252 -t UTF-8 train.en > train.utf8.en"
    )
    assert read_lines(obeyed(error))[82] == "the cat sat ÿþ€ bad"


def test_d003_counts_characters_and_guesses_latin_1() -> None:
    error = refusal(read_lines, written("a b.txt", "\n".join(["Größe " * 9, "groß"] * 5).encode("latin-1")))
    assert error.headline == "a b.txt line 1, column 3: byte 0xF6 is not UTF-8"
    assert error.parts["look"][1] == "10 lines of 10 are affected, first: 1, 2, 3; the bytes look like Latin-1"
    assert error.parts["fix"] == ["iconv -f ISO-8859-1 -t UTF-8 'a b.txt' > 'a b.utf8.txt'"]
    assert read_lines(obeyed(error))[1] == "groß"
    assert refusal(read_lines, written("x", "äöü".encode() + b"\xff")).headline == "x line 1, column 4: byte 0xFF is not UTF-8"


def test_d003_does_not_spoil_lines_that_are_utf8_already() -> None:
    error = refusal(read_lines, written("train.de", "schön\n".encode() + b"sch\xf6n und gut\nende"))
    assert error.parts["fix"] == ["correct these bytes, or drop them:  iconv -c -f UTF-8 -t UTF-8 train.de > train.utf8.de"]
    assert read_lines(obeyed(error)) == ["schön", "schn und gut", "ende"]


def test_d003_does_not_guess_what_cannot_be() -> None:
    error = refusal(read_lines, written("x", b"\x81\x8d"))
    assert error.parts["look"] == ['"\\x81\\x8D"', "1 line of 1 is affected"]


def test_d003_shows_a_window_of_a_long_line() -> None:
    error = refusal(read_lines, written("x", b"0123456789" * 30 + b"\xe9\x1b" + b"abcdefghij" * 30))
    assert error.headline == "x line 1, column 301: byte 0xE9 is not UTF-8"
    assert error.parts["look"][0] == '"...01234567890123456789\\xE9\\x1babcdefghijabcdefghijabcdef..."'


def test_d004_nul() -> None:
    content = b"".join(b"a\0b\n" if i in (17, 402, 901, 950) else b"ab\n" for i in range(1, 1000))
    error = refusal(read_lines, written("train.en", content))
    assert error.render() == (
        "error[D004] train.en contains NUL characters (\\x00) on 4 lines, first: 17, 402, 901\n"
        "  why   it is probably a binary or UTF-16 file\n"
        "  fix   tr -d '\\000' < train.en > clean.en"
    )
    assert read_lines(obeyed(error)) == ["ab"] * 999
    assert refusal(read_lines, written("x", b"a\nb\0")).headline == "x contains NUL characters (\\x00) on 1 line: 2"


def test_d007_long_lines() -> None:
    assert len(read_lines(written("fits", b"\xef\xbb\xbf" + b"x" * 1000 + b"\r\n"), max_line_bytes=1000)[0]) == 1000
    error = refusal(read_lines, written("train.en", b"ok\n" + b"x\r" * 1000), max_line_bytes=1000)
    assert error.render() == (
        "error[D007] train.en line 2 is longer than 1,000 bytes (the file has 2,003)\n"
        "  why   the file may have no line breaks, or old Mac ones (CR only)\n"
        "  fix   tr '\\r' '\\n' < train.en > fixed.en"
    )
    assert read_lines(obeyed(error), max_line_bytes=1000) == ["ok", *["x"] * 1000]
    assert refusal(read_lines, written("x", b"x" * 1001), max_line_bytes=1000).headline == "x line 1 is longer than 1,000 bytes (the file has 1,001)"
    packed = refusal(read_lines, written("x.gz", gzip.compress(b"x" * 10**6)), max_line_bytes=1000)
    assert packed.headline == "x.gz line 1 is longer than 1,000 bytes"
    assert packed.parts["fix"] == ["gunzip -c x.gz | tr '\\r' '\\n' > fixed"]


def test_d007_reads_no_further_than_it_must() -> None:
    with open("sparse", "wb") as file:
        file.write(b"x")
        file.truncate(200 << 20)
        file.seek(0)
        file.write(b"x" * 5000)
    import tracemalloc

    tracemalloc.start()
    assert refusal(read_lines, "sparse", max_line_bytes=1 << 20).headline == "sparse line 1 is longer than 1,048,576 bytes (the file has 209,715,200)"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_d008_damaged_gzip() -> None:
    content = gzip.compress(os.urandom(40000).hex().encode().replace(b"0", b"\n"))
    error = refusal(read_lines, written("train.en.gz", content[:-9]))
    lines = int(re.findall(r"only ([\d,]+) lines", error.headline)[0].replace(",", ""))
    assert error.render() == (
        f"error[D008] train.en.gz is cut short: only {lines:,} lines could be unpacked\n"
        "  why   the copy or the download may have stopped early\n"
        "  fix   copy or download it again, then test it:  gzip -t train.en.gz"
    )
    assert lines > 1000
    damaged = refusal(read_lines, written("train.en.gz", gzip.compress(b"abc\n")[:-8] + b"12345678"))
    assert damaged.headline == "train.en.gz is damaged: only 1 line could be unpacked"
    assert damaged.parts["why"] == ["the compressed data do not agree with their own checksums"]
    assert refusal(read_lines, written("x.gz", b"\x1f\x8b nonsense")).headline == "x.gz is damaged: only 0 lines could be unpacked"


def test_c003_missing(here: Path) -> None:
    for name in ("train.en", "train.de", "notes"):
        written(name, b"x")
    error = refusal(read_lines, "train.enn")
    assert error.render() == f"error[C003] there is no file train.enn\n  fix   did you mean train.en?   (in {here})"
    assert (type(error), error.exit_status) == (UsageError, 2)
    assert refusal(read_lines, "trian.de").parts["fix"] == [f"did you mean train.de?   (in {here})"]
    assert refusal(read_lines, "corpus").parts["fix"] == [f"there is notes, train.de, train.en   (in {here})"]
    assert refusal(read_lines, "nowhere/train.en").parts["fix"] == ["there is no directory nowhere either: check the path"]
    assert refusal(read_lines, "notes/train.en").headline == "there is no file notes/train.en"
    Path("bare").mkdir()
    assert refusal(read_lines, "bare/x").parts["fix"] == [f"there are no files there   (in {here / 'bare'})"]


def test_c005_directory() -> None:
    Path("data").mkdir()
    error = refusal(read_lines, "data")
    assert error.render() == "error[C005] data is a directory, not a file\n  fix   it holds no files; name a file"
    written("data/train.en", b"x")
    assert refusal(read_lines, "data").parts["fix"] == ["name a file in it: data/train.en"]


def test_c006_unreadable() -> None:
    os.symlink("loop", "loop")
    assert rendered(read_lines, "loop") == "error[C006] loop cannot be read: too many levels of symbolic links\n  fix   look at it with:  ls -l loop"


# ---- pairs ----


def test_parallel() -> None:
    source, target = written("a", b"1\n2\n3\n"), written("b", b"x\ny\nz")
    assert read_parallel(source, target) == [Pair("1", "x"), Pair("2", "y"), Pair("3", "z")]
    assert read_parallel(source, target, keep_first=2) == read_pairs([source, target], keep_first=2) == [Pair("1", "x"), Pair("2", "y")]
    assert len(read_parallel(source, target, keep_first=9)) == 3


def test_d012_different_lengths() -> None:
    source = written("train.en", b"".join(b"line\n" for _ in range(200)))
    target = written("train.de", b"".join(b"\n" if i == 57 else b"Zeile\n" for i in range(1, 191)))
    error = refusal(read_parallel, source, target)
    assert error.render() == (
        "error[D012] source and target have different numbers of lines\n"
        "  --> train.en   200 lines\n"
        "  --> train.de   190 lines\n"
        "  why   line N of one file must be the translation of line N of the other\n"
        "  look  the files agree up to line 56; line 57 of train.de is empty\n"
        "  fix   correct line 57, or, if the tail is simply missing:  saccade train ... --keep-first 190"
    )
    assert type(error) is DataError
    assert len(read_parallel(source, target, keep_first=190)) == 190
    assert refusal(read_parallel, source, target, keep_first=191).code == "D012"


def test_d012_without_an_empty_line_and_from_the_first() -> None:
    error = refusal(read_parallel, written("a", b"1\n2\n"), written("long name", b"x\n"))
    assert error.at == ["a           2 lines", "long name   1 line"]
    assert error.parts["look"] == []
    assert error.parts["fix"] == ["find the line that is missing, or, if the tail is simply missing:  saccade train ... --keep-first 1"]
    assert refusal(read_parallel, written("a", b"\n2\n3"), written("b", b"x\ny")).parts["look"] == ["line 1 of a is empty"]


def test_tsv() -> None:
    path = written("pairs.tsv", b"good day\tguten Tag\r\nyes\tja\n")
    assert read_tsv(path) == read_pairs([path]) == [Pair("good day", "guten Tag"), Pair("yes", "ja")]
    assert read_pairs([path], keep_first=1) == [Pair("good day", "guten Tag")]
    three = written("three.tsv", b"1\ta\tx\n2\tb\ty\n")
    assert read_tsv(three, columns=(3, 1)) == [Pair("x", "1"), Pair("y", "2")]


def test_d014_wrong_columns() -> None:
    rows = [b"a\tb"] * 411 + [b"good day\tguten Tag\tgreeting"] + [b"a\tb"] * 8
    error = refusal(read_tsv, written("pairs.tsv", b"\n".join(rows)))
    assert error.render() == (
        'error[D014] pairs.tsv line 412 has 3 columns; 2 are expected\n  look  "good day<TAB>guten Tag<TAB>greeting"\n  fix   choose two: --columns 1,2'
    )
    assert len(read_tsv("pairs.tsv", columns=(1, 2))) == 420
    one = refusal(read_tsv, written("x.tsv", b"a b\nc\td\ne f\n"))
    assert one.headline == "x.tsv line 1 has 1 column; 2 are expected"
    assert one.parts["look"] == ['"a b"', "2 rows of 3 have another number of columns, first: 1, 3"]
    assert one.parts["fix"] == ["put one tab between source and target, or give two files:  saccade train train.en train.fr"]
    text = refusal(read_tsv, written("book.txt", b"a b\nc d\n"))
    assert text.parts["fix"][0].endswith("; or, if this is a text to be gone on with:  saccade train --task language_model book.txt")
    empty = refusal(read_tsv, written("x.tsv", b"a\tb\n\nc\td\n"))
    assert (empty.headline, empty.parts["fix"]) == ("x.tsv line 2 is empty; 2 columns are expected", ["delete the line"])
    assert refusal(read_tsv, "x.tsv", columns=(1, 3)).headline == "x.tsv line 1 has 2 columns; 3 or more are expected"


def test_usage_of_pairs() -> None:
    assert rendered(read_pairs, []) == (
        "error[C004] no file was given; 1 (tab-separated) or 2 (source and target) are expected\n"
        "  fix   saccade train pairs.tsv\n"
        "  fix   saccade train train.en train.fr"
    )
    assert refusal(read_pairs, ["a", "b", "c"]).headline == "3 files were given; 1 (tab-separated) or 2 (source and target) are expected"
    both = refusal(read_pairs, ["a", "b"], columns=(1, 2))
    assert (both.code, both.headline) == ("C004", "columns were chosen, but two files were given")
    assert both.parts["fix"] == ["leave out --columns, or give one tab-separated file"]
    columns = refusal(read_tsv, "a", columns=(0, 1))
    assert (columns.code, columns.headline, columns.parts["fix"]) == ("C012", "columns = 0,1: columns are counted from 1", ["--columns 1,2"])
    for error in (refusal(read_pairs, ["a"], keep_first=0), refusal(read_parallel, "a", "b", keep_first=0)):
        assert (error.code, error.headline, error.parts["fix"]) == ("C012", "keep_first = 0: at least 1 line must be kept", ["--keep-first 1000"])


# ---- splitting ----


def test_the_split_has_the_size_asked_for_and_keeps_the_order() -> None:
    pairs = [Pair(f"sentence {i}", str(i)) for i in range(20000)]
    parts = split_by_source(pairs, valid=0.1, test=0.2)
    assert [round(len(part) / 20000, 1) for part in parts] == [0.7, 0.1, 0.2]
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    assert all([int(pair.target) for pair in part] == sorted(int(pair.target) for pair in part) for part in parts)
    assert parts == split_by_source(pairs, valid=0.1, test=0.2)


def test_where_a_source_goes_depends_on_nothing_else() -> None:
    pairs = [Pair(f"sentence {i}", str(i)) for i in range(2000)]
    whole, half = split_by_source(pairs, valid=0.1, test=0.1), split_by_source(pairs[1000:], valid=0.1, test=0.1)
    assert all(set(some) <= set(all_) for some, all_ in zip(half, whole, strict=True))


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=30), st.sampled_from([0.0, 0.01, 0.3]), st.sampled_from([0.0, 0.01, 0.3]))
def test_duplicates_never_straddle_and_no_part_is_empty(sources: list[str], valid: float, test: float) -> None:
    pairs = [Pair(source, str(i)) for i, source in enumerate(sources)]
    parts = split_by_source(pairs, valid=valid, test=test)
    homes = [{pair.source for pair in part} for part in parts]
    assert sum(map(len, homes)) == len(set(sources))
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    assert homes[0]
    if len(set(sources)) >= 3:
        assert [bool(home) for home in homes] == [True, valid > 0, test > 0]


def test_a_split_must_leave_something_to_train_on() -> None:
    error = refusal(split_by_source, [Pair("a", "b")], valid=0.5, test=0.5)
    assert error.render() == "error[C012] valid_share = 0.5 and test_share = 0.5 leave nothing to train on\n  fix   valid_share = 0.015, test_share = 0.015"
    assert refusal(split_by_source, [], valid=-0.1, test=0.0).code == "C012"
    assert split_by_source([], valid=0.1, test=0.1) == ([], [], [])


# ---- warnings ----


def test_findings_that_are_no_reason_to_stop() -> None:
    pairs = [Pair("a", "b"), Pair("a\u2028", "c"), Pair("", "b"), Pair("a", "b"), Pair("x", " "), Pair("a", "b"), Pair("q", "\u2028q"), Pair("y", "")]
    assert check_pairs(pairs) == [
        "warning[D006] 2 lines contain a Unicode line separator (U+2028), first: line 2\n  note  kept as it is; lines are only split at \\n",
        "warning[D009] 1 source line and 2 target lines are empty, first: line 3\n"
        "  why   a model learns from them to say nothing\n"
        "  fix   delete the line on both sides",
        "warning[D031] 2 exact duplicate pairs (25.0 %), kept\n  look  line 4 repeats line 1",
    ]
    assert check_pairs([Pair("a", "b"), Pair("a", "c"), Pair("d", "b")]) == []
    assert check_pairs([]) == []
    single = [warning.split("\n")[0] for warning in check_pairs([Pair("a\u2028", "b"), Pair("a\u2028", "b"), Pair("c", "")])]
    assert single[1] == "warning[D009] 1 target line is empty, first: line 3"
    assert single[2] == "warning[D031] 1 exact duplicate pair (33.3 %), kept"
    assert check_pairs([Pair("a\u2028", "b")])[0].startswith("warning[D006] 1 line contains a Unicode")
