"""What surprised a language model: the lines it found least likely, and how likely each symbol of them was."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ..run import Model
from ..types import Symbol
from .looks import shown

LEVELS = (0.5, 0.1, 0.01, 0.001)
"""Probabilities below which a symbol is drawn a shade darker."""


class Surprise(NamedTuple):
    """A line and its symbols; its cost is in bits for each."""

    line: str
    symbols: list[Symbol]
    cost: float


def surprising(model: Model, lines: Sequence[str], *, judged: int = 100, kept: int = 20) -> list[Surprise]:
    """The `kept` costliest of at most `judged` lines, taken evenly from all, each read as a text of its own; empty lines are passed over."""
    chosen = [lines[len(lines) * i // min(judged, len(lines))] for i in range(min(judged, len(lines)))]
    found = []
    for line in filter(str.strip, chosen):
        symbols = model.explain(line, alternatives=0)
        found.append(Surprise(line, symbols, -sum(symbol.logprob for symbol in symbols) / max(len(symbols), 1) / math.log(2)))
    return sorted(found, key=lambda one: -one.cost)[:kept]


def drawn(one: Surprise) -> str:
    """The line as HTML, every symbol in the shade of its surprise, with its probability and rank for who points at it."""
    return "".join(_symbol(one.line, symbol) for symbol in one.symbols)


def _symbol(line: str, symbol: Symbol) -> str:
    chance = math.exp(symbol.logprob)
    level = sum(chance < edge for edge in LEVELS)
    told = f"{100 * chance:.3g} %, rank {symbol.rank:,}"
    return f'<span class="s{level}" title="{told}">{escape(shown(line[symbol.piece.start : symbol.piece.end]))}</span>'
