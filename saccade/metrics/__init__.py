"""Metrics: how good, as sufficient statistics that add.  FAMILY: every other file here is one metric."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple


class Score(NamedTuple):
    """A number with the name and the signature without which it means nothing."""

    name: str
    value: float
    signature: str
    higher_is_better: bool = True

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2f}"


class Metric(ABC):
    """`statistics` of two disjoint sets of examples add up to those of their union; `score` turns them into a number."""

    higher_is_better: bool = True

    @abstractmethod
    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """Sufficient statistics of these sentence pairs, of fixed length; they add."""

    @abstractmethod
    def score(self, statistics: Sequence[float]) -> Score:
        """The score of summed statistics."""

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> Score:
        """The score of these pairs."""
        return self.score(self.statistics(predictions, references))
