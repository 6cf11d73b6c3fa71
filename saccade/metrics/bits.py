"""Bits per character, word or byte: what a text costs under a model, comparable whatever tokens the model cuts it into."""

import math
from collections.abc import Sequence
from typing import Literal, NoReturn

from ..errors import UsageError
from . import Metric, Score
from ._pairs import nothing


class Bits(Metric):
    """At least 0, which is best.  A line's end counts as one character, one word and one byte.

    Statistics: negative log-likelihood in nats, and units, both summed; they come from a loss, not from texts.
    """

    higher_is_better = False

    def __init__(self, *, per: Literal["character", "word", "byte"] = "character") -> None:
        self.per = per

    def from_loss(self, total_nats: float, units: int) -> Score:
        """From a summed negative log-likelihood; `UsageError` C021 if there are no units."""
        return self.score([total_nats, float(units)])

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> NoReturn:
        """Not possible: always `UsageError` C020."""
        raise UsageError("C020", "bits need probabilities, not text", fix="use Bits().from_loss(total_nats, units) with the summed loss")

    def score(self, statistics: Sequence[float]) -> Score:
        """Of summed statistics; `UsageError` C021 if there are no units."""
        nats, units = statistics
        if not units:
            raise nothing()
        return Score(f"bits/{self.per[:4]}", nats / units / math.log(2), f"bits|per:{self.per}|{self.per}s:{round(units)}", higher_is_better=False)
