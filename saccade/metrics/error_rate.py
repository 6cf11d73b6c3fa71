"""Error rate, the least number of insertions, deletions and substitutions (Levenshtein 1966) for every symbol of the references."""

import math
from collections.abc import Sequence
from typing import Literal

from . import Metric, Score
from ._pairs import paired

Unit = Literal["characters", "words"]


class ErrorRate(Metric):
    """Percent of the references' length, over all examples together; 0 is best, more than 100 is possible.

    The character error rate (CER) counts code points, the word error rate (WER) what stands between white space.  References
    without any symbol give 0 if nothing was said either, else infinity.  `UsageError` C021 for no examples, C022 for
    unpaired ones.
    """

    higher_is_better = False

    def __init__(self, *, unit: Unit = "characters") -> None:
        self.unit = unit

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """Errors, and symbols in the references."""
        paired(predictions, references)
        errors = symbols = 0
        for said, wanted in zip(predictions, references, strict=True):
            left, right = (said, wanted) if self.unit == "characters" else (said.split(), wanted.split())
            errors += _distance(left, right)
            symbols += len(right)
        return [float(errors), float(symbols)]

    def score(self, statistics: Sequence[float]) -> Score:
        """CER or WER."""
        errors, symbols = statistics
        rate = 100.0 * errors / symbols if symbols else (math.inf if errors else 0.0)
        case = "case:mixed|space:" + ("kept" if self.unit == "characters" else "split")
        return Score("CER" if self.unit == "characters" else "WER", rate, f"error_rate|unit:{self.unit}|{case}|average:micro", higher_is_better=False)


def _distance(left: Sequence[str], right: Sequence[str]) -> int:
    """Levenshtein's distance by the bit vectors of Myers (1999) in the form of Hyyrö (2003): a column of the table is two whole numbers.

    Bit i of `rises` (`falls`) says that going from row i to row i + 1 of the column the distance grows (shrinks) by one.
    """
    if left == right:
        return 0
    if not left:
        return len(right)
    places: dict[str, int] = {}
    for i, symbol in enumerate(left):
        places[symbol] = places.get(symbol, 0) | 1 << i
    everywhere, last = (1 << len(left)) - 1, 1 << len(left) - 1
    rises, falls, distance = everywhere, 0, len(left)
    for symbol in right:
        match = places.get(symbol, 0)
        diagonal = (((match & rises) + rises) ^ rises) | match | falls
        grows = falls | ~(diagonal | rises)
        shrinks = diagonal & rises
        distance += bool(grows & last) - bool(shrinks & last)
        grows, shrinks = grows << 1 | 1, shrinks << 1
        rises = (shrinks | ~(diagonal | grows)) & everywhere
        falls = grows & diagonal & everywhere
    return distance
