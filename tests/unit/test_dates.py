"""Dates as people write them: every text means one date, and what is held out stays out."""

import os
import re
import subprocess
import sys
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from babel import Locale

from saccade.dates import FORMATS, UNSEEN, Dates, Example, _cased, _text, dates, generate, write


@pytest.fixture(scope="module")
def many() -> list[Example]:
    return generate(20000, seed=7)


@pytest.fixture(scope="module")
def parts() -> Dates:
    return dates()


def fold(text: str) -> str:
    """Letters alone: neither case nor accents nor the Turkish dot."""
    return "".join(c for c in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(c)).replace("ı", "i")


def names(language: str, kind: str, index: int) -> set[str]:
    """What the CLDR calls a month (1 to 12) or a weekday (0 is Monday), long or short, without dots."""
    return {fold(widths[index].replace(".", "")) for context in getattr(Locale.parse(language, sep="-"), kind).values() for widths in context.values()}


@pytest.mark.parametrize(
    ("language", "format", "written"),
    [
        ("en", "full", "Wednesday, March 3, 2004"),
        ("en", "medium", "Mar 3, 2004"),
        ("en", "'the' d{th} 'of' MMMM, y", "the 3rd of March, 2004"),
        ("en", "y MMMM d", "2004 March 3"),
        ("de", "long", "3. März 2004"),
        ("fr", "full", "mercredi 3 mars 2004"),
        ("es", "long", "3 de marzo de 2004"),
        ("it", "long", "3 marzo 2004"),
        ("pt", "long", "3 de março de 2004"),
        ("nl", "long", "3 maart 2004"),
        ("pl", "long", "3 marca 2004"),
        ("sv", "'den' d MMMM y", "den 3 mars 2004"),
        ("tr", "full", "3 Mart 2004 Çarşamba"),
        ("fi", "long", "3. maaliskuuta 2004"),
        ("ru", "long", "3 марта 2004 г."),
        ("el", "long", "3 Μαρτίου 2004"),
        ("hu", "full", "2004. március 3., szerda"),
        ("und", "d/M/y", "3/3/2004"),
        ("und", "y.MM.dd", "2004.03.03"),
    ],
)
def test_a_date_is_written_as_its_language_writes_it(language: str, format: str, written: str) -> None:
    assert _text(date(2004, 3, 3), language, format) == written


@pytest.mark.parametrize(
    ("language", "day", "written"),
    [("en", day, f"May {day}{ending}, 2004") for day, ending in ((1, "st"), (2, "nd"), (3, "rd"), (4, "th"), (11, "th"), (12, "th"), (13, "th"))]
    + [("en", day, f"May {day}{ending}, 2004") for day, ending in ((20, "th"), (21, "st"), (22, "nd"), (23, "rd"), (30, "th"), (31, "st"))]
    + [("fr", 1, "le 1er mai 2004"), ("fr", 2, "le 2 mai 2004"), ("fr", 21, "le 21 mai 2004")],
)
def test_ordinals(language: str, day: int, written: str) -> None:
    assert _text(date(2004, 5, day), language, "'le' d{th} MMMM y" if language == "fr" else "MMMM d{th}, y") == written


@pytest.mark.parametrize(
    ("text", "language", "case", "expected"),
    [
        ("3 Nisan 2004", "tr", "upper", "3 NİSAN 2004"),
        ("3 Kasım 2004", "tr", "upper", "3 KASIM 2004"),
        ("3 IRMAK İl", "tr", "lower", "3 ırmak il"),
        ("3 Μαΐου 2004", "el", "upper", "3 ΜΑΪΟΥ 2004"),
        ("3 Μαρτίου 2004", "el", "upper", "3 ΜΑΡΤΙΟΥ 2004"),
        ("3rd of April 2004", "en", "upper", "3RD OF APRIL 2004"),
        ("3 de marzo de 2004", "es", "capitals", "3 de Marzo de 2004"),
        ("3rd of may 2004", "en", "capitals", "3rd of May 2004"),
        ("3 MARCH 2004", "en", "lower", "3 march 2004"),
        ("3. März 2004", "de", "as it is", "3. März 2004"),
    ],
)
def test_case_follows_the_language(text: str, language: str, case: str, expected: str) -> None:
    assert _cased(text, language, case) == expected


def test_no_text_means_two_dates(many: list[Example], parts: Dates) -> None:
    meaning: dict[str, str] = {}
    for example in [*many, *parts.train, *parts.valid, *parts.test, *parts.unseen_format]:
        for text in (example.written.casefold(), fold(example.written)):
            assert meaning.setdefault(text, example.iso) == example.iso, example
    assert len(meaning) > 20000


def test_no_abbreviation_means_two_months() -> None:
    meaning: dict[str, int] = {}
    for language in set(FORMATS) - {"und"}:
        for width in ("wide", "abbreviated"):
            for month, name in Locale.parse(language, sep="-").months["format"][width].items():
                assert meaning.setdefault(fold(name.replace(".", "")), month) == month, (language, name)
    assert meaning["listopada"] == 11


def test_every_part_of_a_text_agrees_with_its_iso_date(many: list[Example]) -> None:
    for example in many:
        day = date.fromisoformat(example.iso)
        assert 1900 <= day.year <= 2099
        numbers, text = re.findall(r"\d+", example.written), fold(example.written)
        if numbers[0] != str(day.year):
            numbers.reverse()  # so that the year stands first, and then the month if it is a number
        expected = [day.year, day.month, day.day] if len(numbers) == 3 else [day.year, day.day]
        assert list(map(int, numbers)) == expected, example
        if len(numbers) == 2:
            assert any(name in text for name in names(example.language, "months", day.month)), example
        if "E" in example.format or example.format == "full":
            assert any(name in text for name in names(example.language, "days", day.weekday())), example


def test_texts_are_one_line_of_plain_words(many: list[Example]) -> None:
    for example in many:
        assert re.fullmatch(r"[^\W_]\S*( \S+)*", example.written), example
        assert not re.search(r"[^\S ]", example.written), example
        assert example.written == unicodedata.normalize("NFC", example.written)


def test_there_are_many_ways_of_writing(many: list[Example], parts: Dates) -> None:
    for examples in (many, parts.train):
        assert {(example.language, example.format) for example in examples} == {
            (language, format) for language, formats in FORMATS.items() for format in formats
        }
    assert len({example.language.split("-")[0] for example in many} - {"und"}) == 14
    assert len({example.format for example in many}) >= 10
    assert any(example.written.isupper() for example in many)
    assert any(example.written.islower() for example in many)
    september = {example.written.split()[1] for example in many if (example.language, example.format) == ("fr", "medium") and example.iso[5:7] == "09"}
    assert {"sept.", "sept"} <= september  # with the dot of an abbreviation and without


def test_the_same_seed_gives_the_same_examples(many: list[Example], parts: Dates) -> None:
    assert generate(300, seed=7) == many[:300]
    assert generate(300, seed=8) != many[:300]
    small = dates(train=30, valid=20, test=10)
    assert (small.train, small.valid, small.test, small.unseen_format) == (parts.train[:30], parts.valid[:20], parts.test[:10], parts.unseen_format[:10])
    other = dates(train=30, valid=20, test=10, seed=2)
    for part in ("train", "valid", "test", "unseen_format"):
        assert getattr(other, part) != getattr(small, part)
    assert generate(0, seed=7) == []


def run(code: str, hashes: str = "0") -> str:
    """What a new process with this seed for hashing prints."""
    environment = os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("hashes", ["1", "2"])
def test_another_process_with_other_hashes_gives_the_same_examples(many: list[Example], hashes: str) -> None:
    assert run("from saccade.dates import generate; print(ascii(generate(200, seed=7)))", hashes) == ascii(many[:200])


def test_importing_does_not_load_babel() -> None:
    assert run("import sys, saccade.dates; print('babel' in sys.modules)") == "False"


def test_the_parts_share_no_date(parts: Dates) -> None:
    train, valid, test, unseen = ({example.iso for example in part} for part in (parts.train, parts.valid, parts.test, parts.unseen_format))
    assert not train & valid
    assert not train & test
    assert not valid & test
    assert not (train | valid) & unseen
    assert [len(part) for part in (parts.train, parts.valid, parts.test, parts.unseen_format)] == [12000, 500, 1000, 1000]


def test_a_date_falls_on_the_same_side_whatever_the_seed(parts: Dates) -> None:
    other = dates(train=12000, valid=10, test=2000, seed=99)
    assert not {example.iso for example in other.train} & {example.iso for example in parts.test}
    assert not {example.iso for example in parts.train} & {example.iso for example in other.test}


def test_the_unseen_format_is_seen_nowhere_else(parts: Dates, many: list[Example]) -> None:
    arrangement = re.compile(r"\d{4} ([^\W\d]+) \d{1,2}")
    assert {(example.language, example.format) for example in parts.unseen_format} == {UNSEEN}
    assert all(arrangement.fullmatch(example.written) for example in parts.unseen_format)
    assert not [example for example in [*parts.train, *parts.valid, *parts.test, *many] if arrangement.search(example.written)]


def test_the_parts_of_the_unseen_format_are_met_in_training(parts: Dates) -> None:
    words = {word for example in parts.train for word in re.findall(r"\w+", example.written)}
    assert {word for example in parts.unseen_format for word in re.findall(r"\w+", example.written)} <= words
    assert any(
        example.language == "hu" and re.match(r"\d{4}\. \w+ \d", example.written) for example in parts.train
    )  # year, month, day, with the month in words


def test_write_puts_each_part_into_its_file(tmp_path: Path) -> None:
    small = dates(train=40, valid=3, test=5)
    paths = write(small, tmp_path / "new" / "folder")
    assert {part: path.name for part, path in paths.items()} == {
        "train": "train.tsv",
        "valid": "valid.tsv",
        "test": "test.tsv",
        "unseen_format": "unseen-format.tsv",
    }
    for part, path in paths.items():
        lines = path.read_bytes().decode("utf-8").split("\n")
        assert lines.pop() == ""
        assert [line.split("\t") for line in lines] == [[example.written, example.iso] for example in getattr(small, part)]
