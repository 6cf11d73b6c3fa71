"""Dates as people write them, and the ISO 8601 dates that they mean: the data of `saccade demo`, made on the spot.

Names and patterns are those of the Unicode CLDR (https://cldr.unicode.org), through Babel; to them come ways of writing that
the CLDR does not recommend and people use all the same.  A reader sees only the text, so every text here means one date:
years have four digits, and digits alone are read year first or day first, never month first ("3/5/1998" is the 3rd of May).
"""

import hashlib
import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:  # importing this file must stay cheap
    from babel import Locale
    from babel.dates import DateTimePattern

T = TypeVar("T")


class Example(NamedTuple):
    """One date twice: as somebody wrote it, in a language (a BCP 47 tag) and a format, and in ISO 8601."""

    written: str
    iso: str
    language: str
    format: str


@dataclass(frozen=True)
class Dates:
    """Examples to learn from, to choose by and to judge by; no date stands in two of the first three, nor in `train` or `valid` and `unseen_format`."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    unseen_format: list[Example]


FORMATS: dict[str, tuple[str, ...]] = {
    "en": (
        *("full", "long", "medium", "MMM d y", "MMMM d y", "MMMM d{th}, y", "MMM d{th} y", "d{th} MMMM y", "d{th} 'of' MMMM y", "d{th} 'of' MMMM, y"),
        *("'the' d{th} 'of' MMMM, y", "EEEE, 'the' d{th} 'of' MMMM y", "EEE, MMM d, y", "EEE d MMM y", "dd MMMM y", "dd MMM y", "d-MMM-y"),
    ),
    "en-GB": ("full", "long", "medium", "EEEE d MMMM y", "d MMMM, y", "EEE, d MMM y"),
    "de": ("full", "long", "medium", "d. MMM y", "EEE, d. MMM y", "EEEE, 'den' d. MMMM y", "d MMMM y", "EEE, dd.MM.y"),
    "fr": ("full", "long", "medium", "'le' d{th} MMMM y", "EEEE d{th} MMMM y", "'le' EEEE d MMMM y", "dd MMM y", "EEE dd/MM/y"),
    "es": ("full", "long", "medium", "d 'de' MMMM 'del' y", "EEEE d 'de' MMMM 'de' y", "d MMMM y", "dd 'de' MMM 'de' y"),
    "it": ("full", "long", "medium", "'il' d MMMM y", "EEE d MMM y", "dd MMMM y"),
    "pt": ("full", "long", "medium", "d MMMM y", "EEEE, d MMMM y", "d MMM y"),
    "nl": ("full", "long", "medium", "EEE d MMM y", "d MMMM, y", "EEEE dd-MM-y"),
    "pl": ("full", "long", "medium", "d MMMM y 'r.'", "EEEE, d MMMM y 'r.'", "dd MMM y"),
    "sv": ("full", "long", "medium", "'den' d MMMM y", "EEEE 'den' d MMMM y", "EEE d MMM y"),
    "tr": ("full", "long", "medium", "d MMMM EEEE y", "dd MMMM y", "d MMM y EEE"),
    "fi": ("full", "long", "medium", "d MMMM y", "EEE d.M.y", "EEEE d.M.y"),
    "ru": ("full", "long", "medium", "d MMMM y", "d MMMM y 'года'", "EEEE, d MMMM y 'года'"),
    "el": ("full", "long", "medium", "EEE d MMM y", "d MMMM, y", "EEEE, d MMMM y"),
    "hu": ("full", "long", "medium", "y. MM. dd.", "y. MMMM dd., EEEE", "y. MMM d., EEE"),
    "und": ("d/M/y", "dd/MM/y", "d.M.y", "dd.MM.y", "d-M-y", "dd-MM-y", "y-MM-dd", "y/MM/dd", "y.MM.dd", "y/M/d"),
}
"""The formats of each language: a name or a pattern of the CLDR, with {th} for an ordinal's ending in English and French; "und" is no language, only digits."""

UNSEEN = ("en", "y MMMM d")
"""The language and the format held out of training: astronomers write "2004 March 17"."""

_ENDINGS = {"en": dict.fromkeys(range(1, 32), "th") | {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}, "fr": {1: "er"}}
_FIRST, _LAST = date(1900, 1, 1), date(2099, 12, 31)
_TRAIN, _VALID = 85, 90  # of a hundred: the first 85 shares of the calendar are for training, the next 5 for validation, the rest for testing
_CASES = ("as it is",) * 17 + ("lower", "upper", "capitals")


def generate(count: int, seed: int) -> list[Example]:
    """`count` examples of all dates from 1900 to 2099 in every format but the unseen one; the same for the same count, seed and version of Babel."""
    pairs = [(language, format) for language, formats in FORMATS.items() for format in formats]
    return _draw(count, f"{seed} generate", [day for part in _calendar() for day in part], pairs)


def dates(*, train: int = 12000, valid: int = 500, test: int = 1000, seed: int = 1) -> Dates:
    """Data for one demonstration; `unseen_format` is as large as `test`. The hash of a date alone says on which side it falls, whatever the seed."""
    for_train, for_valid, for_test = _calendar()
    pairs = [(language, format) for language, formats in FORMATS.items() for format in formats]
    return Dates(
        train=_draw(train, f"{seed} train", for_train, pairs),
        valid=_draw(valid, f"{seed} valid", for_valid, pairs),
        test=_draw(test, f"{seed} test", for_test, pairs),
        unseen_format=_draw(test, f"{seed} unseen", for_test, [UNSEEN]),
    )


def write(dates: Dates, folder: Path) -> dict[str, Path]:
    """Write train.tsv, valid.tsv, test.tsv and unseen-format.tsv (written, tab, ISO; UTF-8) into `folder`; give back where each part went."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {part: folder / f"{part.replace('_', '-')}.tsv" for part in ("train", "valid", "test", "unseen_format")}
    for part, path in paths.items():
        path.write_text("".join(f"{example.written}\t{example.iso}\n" for example in getattr(dates, part)), encoding="utf-8", newline="\n")
    return paths


def _draw(count: int, seed: str, days: Sequence[date], pairs: Sequence[tuple[str, str]]) -> list[Example]:
    """`count` independent examples; those of a smaller count are the first of a larger one."""
    chance, examples = random.Random(seed), []
    for _ in range(count):
        day, (language, format) = _choice(chance, days), _choice(chance, pairs)
        text = _text(day, language, format)
        # People forget the dot of an abbreviation, seldom the dot of a number, which says "th" in many languages.
        text = re.sub(r"(?<=[^\W\d])\.", "", text) if chance.random() < 0.25 else text
        examples.append(Example(_cased(text, language, _choice(chance, _CASES)), day.isoformat(), language, format))
    return examples


def _choice(chance: random.Random, options: Sequence[T]) -> T:
    """One of `options`, by `random()`: the only draw that Python promises not to change between versions."""
    return options[int(chance.random() * len(options))]


@cache
def _calendar() -> tuple[list[date], list[date], list[date]]:
    """All days in three disjoint parts: for training, for validation, for testing."""
    parts: tuple[list[date], list[date], list[date]] = ([], [], [])
    for ordinal in range((_LAST - _FIRST).days + 1):
        day = _FIRST + timedelta(days=ordinal)
        share = int.from_bytes(hashlib.sha256(day.isoformat().encode()).digest()[:8], "big") % 100
        parts[(share >= _TRAIN) + (share >= _VALID)].append(day)
    return parts


def _text(day: date, language: str, format: str) -> str:
    """`day` as this language and format write it, with plain single spaces (the CLDR has narrow and unbreakable ones)."""
    pattern, locale = _pattern(language, format, _ENDINGS.get(language, {}).get(day.day, ""))
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", pattern.apply(day, locale))).strip()


@cache
def _pattern(language: str, format: str, ending: str) -> tuple["DateTimePattern", "Locale"]:
    """Babel's parsed pattern and its locale; parsing costs far more than applying."""
    from babel import Locale
    from babel.dates import parse_pattern

    locale = Locale.parse("en" if language == "und" else language, sep="-")
    pattern = locale.date_formats[format].pattern if format in ("full", "long", "medium") else format
    return parse_pattern(pattern.replace("{th}", ending and f"'{ending}'")), locale


def _cased(text: str, language: str, case: str) -> str:
    """`text` in the case that somebody typed it in, by the rules of the language where they differ."""
    if case == "upper":
        if language == "el":  # Greek capitals carry no accent, but keep the diaeresis
            text = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).replace("\u0301", ""))
        return (text.replace("i", "İ") if language == "tr" else text).upper()
    if case == "lower":
        return (text.replace("İ", "i").replace("I", "ı") if language == "tr" else text).lower()
    if case == "capitals":  # of the words that matter: "17 de Marzo de 2004"
        return re.sub(r"\b[^\W\d]{3,}", lambda word: _cased(word[0][0], language, "upper") + word[0][1:], text)
    return text
