"""Curves and heat maps as SVG: they stand in a page, take its colours by day and by night, and need no script."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .looks import WordLook, shown

Number = int | float
Point = tuple[Number, Number]

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 10, 24
_MOST = 160
"""Points of a drawn line; more are averaged."""
_LONGEST = 18
"""Characters of a label."""
_CELL, _LETTER = 26, 7.5


class Line(NamedTuple):
    """What happened at which steps."""

    name: str
    points: list[Point]


def curves(title: str, lines: Sequence[Line]) -> str:
    """A figure of values over steps; pointing at a place tells its numbers.  Nothing if there is not a finite number to draw."""
    lines = [Line(line.name, _thinned([point for point in line.points if math.isfinite(point[1])])) for line in lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    last = max(step for line in lines for step, _ in line.points)
    values = [value for line in lines for _, value in line.points]
    ticks = _ticks(min(values), max(values))
    across = (_WIDTH - _LEFT - _RIGHT) / max(last, 1)
    up = (_HEIGHT - _TOP - _BOTTOM) / (ticks[-1] - ticks[0])
    place = [[(_LEFT + step * across, _HEIGHT - _BOTTOM - (value - ticks[0]) * up) for step, value in line.points] for line in lines]
    grid = "".join(_level(_HEIGHT - _BOTTOM - (tick - ticks[0]) * up, tick) for tick in ticks)
    below = "".join(f'<text x="{_LEFT + step * across:.1f}" y="{_HEIGHT - 6}" class="{side}">{number(step)}</text>' for step, side in _ends(last))
    drawn = "".join(_drawn(index, line, points) for index, (line, points) in enumerate(zip(lines, place)))
    keys = "".join(f'<span class="key key-{index}">{escape(line.name)} <b>{number(line.points[-1][1])}</b></span>' for index, line in enumerate(lines))
    told = "; ".join(f"{line.name} from {number(line.points[0][1])} to {number(line.points[-1][1])}" for line in lines)
    picture = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}: {escape(told)}">{grid}{below}{drawn}</svg>'
    return f"<figure><figcaption><span>{escape(title)}</span>{keys}</figcaption>{picture}</figure>"


def heat_map(words: WordLook) -> str:
    """Rows are words of the output, columns those of the source; the stronger the colour, the more weight."""
    columns, rows = [[_label(word) for word in side] for side in (words.source_words, words.output_words)]
    left, top = 14 + _LETTER * max(map(len, rows)), 18 + 0.75 * _LETTER * max(map(len, columns))
    width, height = left + _CELL * len(columns) + 0.75 * _LETTER * len(columns[-1]) + 8, top + _CELL * len(rows) + 4
    said = [f'<text class="row" x="{left - 8:.0f}" y="{top + _CELL * (i + 0.67):.0f}">{escape(row)}</text>' for i, row in enumerate(rows)]
    for i, column in enumerate(columns):
        x, y = left + _CELL * (i + 0.55), top - 7
        said.append(f'<text x="{x:.0f}" y="{y:.0f}" transform="rotate(-45 {x:.0f} {y:.0f})">{escape(column)}</text>')
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            weight = min(max(float(words.weights[i][j]), 0.0), 1.0)
            box = f'x="{left + _CELL * j:.0f}" y="{top + _CELL * i:.0f}" width="{_CELL - 2}" height="{_CELL - 2}" rx="3"'
            told = f"<title>{escape(row)} looked at {escape(column)}: {weight:.2f}</title>"
            said.append(f'<g><rect class="under" {box}/><rect class="weight" {box} fill-opacity="{weight:.3f}">{told}</rect></g>')
    name = f"Where the model looked: {len(rows)} words of the output over {len(columns)} of the source"
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg class="heat" {size} role="img" aria-label="{name}">{"".join(said)}</svg>'


def number(value: Number) -> str:
    """Four significant digits, thousands with commas; very small ones with an exponent."""
    if value and abs(value) < 1e-3:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _thinned(points: list[Point]) -> list[Point]:
    """At most `_MOST` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / _MOST)
    groups = [points[i : i + size] for i in range(0, len(points), size or 1)]
    return [(group[-1][0], math.fsum(value for _, value in group) / len(group)) for group in groups]


def _ticks(low: Number, high: Number) -> list[float]:
    """Round numbers, three to six of them, the first not above `low` and the last not below `high`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 4.001)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * tick for tick in range(first, max(last, first + 1) + 1)]


def _ends(last: Number) -> list[tuple[Number, str]]:
    return [(0, "start"), (round(last / 2), "middle"), (last, "end")] if last > 1 else [(0, "start"), (last, "end")]


def _level(y: Number, tick: Number) -> str:
    shown_tick = 0.0 if abs(tick) < 1e-12 else tick
    return f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/><text x="{_LEFT - 6}" y="{y + 4:.1f}" class="end">{number(shown_tick)}</text>'


def _drawn(index: int, line: Line, points: list[Point]) -> str:
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    few = " few" if len(points) <= 24 else ""
    dots = "".join(
        f'<g class="at"><title>step {step:,.0f}: {escape(line.name)} {number(value)}</title>'
        f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="7"/><circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/></g>'
        for (step, value), (x, y) in zip(line.points, points)
    )
    return f'<g class="line line-{index}{few}"><path d="M{path}"/>{dots}</g>'


def _label(word: str) -> str:
    word = shown(word)
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"
