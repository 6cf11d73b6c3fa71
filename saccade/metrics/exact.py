"""Exact match, the share of predictions that are their reference, character for character."""

from collections.abc import Sequence

from . import Metric, Score
from ._pairs import nothing, paired


class Exact(Metric):
    """Percent.  Case, spaces and the way an accent is encoded all count.  `UsageError` C021 for no examples, C022 for unpaired ones."""

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """How many are right, and how many there are."""
        paired(predictions, references)
        return [float(sum(said == wanted for said, wanted in zip(predictions, references, strict=True))), float(len(references))]

    def score(self, statistics: Sequence[float]) -> Score:
        """The share that is right."""
        right, count = statistics
        if not count:
            raise nothing()
        return Score("exact", 100.0 * right / count, "exact|case:mixed|space:kept")
