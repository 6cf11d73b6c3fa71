"""Curves as one self-contained SVG: https://www.w3.org/TR/SVG11/.

draw("Loss", {"smoothed": [(1e-4, 3.2), (1e-3, 2.1)]}, x="learning rate", y="loss", logarithmic=True)
"""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from .pages import save

if TYPE_CHECKING:  # drawing needs no torch
    from ..training.range_test import RangeTest

Points = Sequence[tuple[int | float, int | float]]

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 44, 56  # margins
_HUES = ("#2a7f92", "#b4532a", "#5b4b8a", "#5a8f3c", "#8a8a3a", "#a23b72", "#3c6fb4", "#6b5b4b")
_INK, _QUIET, _GRID = "#1b2a31", "#5a676d", "#e4e2da"


def draw(
    title: str, lines: Mapping[str, Points], *, x: str, y: str, marks: Mapping[str, float] | None = None, logarithmic: bool = False, faint: str = ""
) -> str:
    """Lines through points, named at the right; `marks` are named places on the x axis, the line called `faint` stands in the background.

    Points that are no numbers are left out; with `logarithmic` so are those at or below 0 on the x axis.
    """
    kept = {
        name: [(float(a), float(b)) for a, b in points if math.isfinite(a) and math.isfinite(b) and (a > 0 or not logarithmic)]
        for name, points in lines.items()
    }
    marks = {name: place for name, place in (marks or {}).items() if place > 0 or not logarithmic}
    across = _Axis([a for points in kept.values() for a, _ in points] + list(marks.values()), _LEFT, _WIDTH - _RIGHT, logarithmic)
    up = _Axis([b for points in kept.values() for _, b in points], _HEIGHT - _BOTTOM, _TOP, False)
    body = [f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>', _text(_LEFT, 24, title, size=15, ink=_INK)]
    for place, label in across.ticks():
        body += [_rule(place, _TOP, place, _HEIGHT - _BOTTOM, _GRID), _text(place, _HEIGHT - _BOTTOM + 18, label, anchor="middle")]
    for place, label in up.ticks():
        body += [_rule(_LEFT, place, _WIDTH - _RIGHT, place, _GRID), _text(_LEFT - 8, place + 4, label, anchor="end")]
    body += [_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 14, x, anchor="middle"), _text(_LEFT, _TOP - 6, y)]
    for number, (name, points) in enumerate(kept.items()):
        hue = _QUIET if name == faint else _HUES[number % len(_HUES)]
        path = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{hue}" stroke-width="{1 if name == faint else 2}" stroke-linejoin="round"/>')
        body.append(_text(_WIDTH - _RIGHT + 12, _TOP + 14 + 18 * number, name, ink=hue))
    for number, (name, place) in enumerate(marks.items()):
        body.append(_rule(across(place), _TOP, across(place), _HEIGHT - _BOTTOM, _INK, dashed=True))
        body.append(_text(across(place) + 4, _TOP + 14 + 15 * number, name, ink=_INK))
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" role="img" aria-label="{escape(title)}">'
    return "\n".join([opening, *body, "</svg>\n"])


def write_range_test(found: "RangeTest", folder: Path) -> list[Path]:
    """`range-test.json` and `range-test.svg` in `folder`; `ResourceError` R004 if they cannot be written."""
    suggested = {"low": found.low, "steepest": found.steepest, "a tenth of the best": found.tenth, "high": found.high}
    marks = {f"{name} {rate:.2g}": rate for name, rate in suggested.items() if rate is not None}
    lines = {"each update": list(zip(found.rates, found.losses)), "smoothed": list(zip(found.rates, found.smoothed))}
    picture = draw("Which rates teach", lines, x="learning rate", y="loss, nats per symbol", marks=marks, logarithmic=True, faint="each update")
    contents = {folder / "range-test.json": found.to_json(), folder / "range-test.svg": picture}
    for path, content in contents.items():
        save(path, content.encode())
    return list(contents)


class _Axis:
    """From values to places on the paper."""

    def __init__(self, values: Sequence[float], start: int, end: int, logarithmic: bool) -> None:
        self.logarithmic, self.start, self.end = logarithmic, start, end
        scaled = [self._scaled(value) for value in values] or [0.0]
        self.low, self.high = min(scaled), max(scaled)
        if self.high - self.low < 1e-12:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (self._scaled(value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[tuple[float, str]]:
        """Powers of ten, or about five round numbers."""
        if self.logarithmic and self.high - self.low >= 1:
            step = max(1, round((self.high - self.low) / 7))
            return [(self(10.0**power), f"1e{power}") for power in range(math.ceil(self.low), math.floor(self.high) + 1, step)]
        rough = (self.high - self.low) / 5
        size = math.pow(10, math.floor(math.log10(rough)))
        spacing = next(each * size for each in (1, 2, 5, 10) if each * size >= rough)
        places = [spacing * number for number in range(math.ceil(self.low / spacing), math.floor(self.high / spacing) + 1)]
        return [(self(10.0**place if self.logarithmic else place), f"{10.0**place if self.logarithmic else place:.3g}") for place in places]


def _text(x: int | float, y: int | float, text: str, *, anchor: str = "start", size: int = 12, ink: str = _QUIET) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}" text-anchor="{anchor}">{escape(text)}</text>'


def _rule(x1: int | float, y1: int | float, x2: int | float, y2: int | float, ink: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{ink}"{dashes}/>'
