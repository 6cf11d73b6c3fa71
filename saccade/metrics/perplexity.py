"""Perplexity, among how many equally likely tokens the model hesitates: the exponential of its mean negative log-likelihood."""

import math
from collections.abc import Sequence
from typing import NoReturn

from ..errors import UsageError
from . import Metric, Score
from ._pairs import nothing


class Perplexity(Metric):
    """At least 1, which is best; comparable only between models that cut text into the same tokens.

    Statistics: negative log-likelihood in nats, and tokens, both summed; they come from a loss, not from texts.
    """

    higher_is_better = False

    def from_loss(self, total_nats: float, tokens: int) -> Score:
        """From a summed negative log-likelihood, without label smoothing; `UsageError` C021 if there are no tokens."""
        return self.score([total_nats, float(tokens)])

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> NoReturn:
        """Not possible: always `UsageError` C020."""
        raise UsageError(
            "C020",
            "perplexity needs probabilities, not text",
            why="it measures how likely the model found the references, and a predicted text does not say so",
            fix="use Perplexity().from_loss(total_nats, tokens) with the summed loss",
        )

    def score(self, statistics: Sequence[float]) -> Score:
        """The perplexity of summed statistics; infinite where a float cannot hold it; `UsageError` C021 if there are no tokens."""
        nats, tokens = statistics
        if not tokens:
            raise nothing()
        try:
            value = math.exp(nats / tokens)
        except OverflowError:
            value = math.inf
        return Score("perplexity", value, f"perplexity|per:token|units:nats|tokens:{round(tokens)}", higher_is_better=False)
