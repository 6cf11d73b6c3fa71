"""The sentences that a model does worst on: what people read first to learn what it has not learned."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..metrics import Score
from ..run import Answer, Model
from ..search import Search


class Judged(NamedTuple):
    """One example with what the model says to it, and the first metric of that alone (None: the task has no metric)."""

    texts: list[tuple[str, str]]
    """What people wrote: each part's name and text, the source first."""
    answer: Answer
    score: Score | None
    log_probability: float
    """Of the answer, per symbol, in nats."""


def worst(model: Model, examples: Sequence[Any], *, judged: int = 100, kept: int = 20) -> list[Judged]:
    """The `kept` worst of at most `judged` examples, taken evenly from all, worst first; the model answers greedily, as in training.

    By the first of the task's metrics for each example alone; what is equal by that, by the log-probability.
    """
    chosen = [examples[len(examples) * i // min(judged, len(examples))] for i in range(min(judged, len(examples)))]
    search = model.recipe.search
    greedy = Search(beam=1, length_penalty=0.0, longest_ratio=search.longest_ratio, longest_extra=search.longest_extra)
    parts = [texts_of(example) for example in chosen]
    answers = model.predict([part[0][1] for part in parts], search=greedy)
    found = [_judge(model, example, part, answer, greedy) for example, part, answer in zip(chosen, parts, answers, strict=True)]
    return sorted(found, key=_goodness)[:kept]


def texts_of(example: Any) -> list[tuple[str, str]]:
    """An example as people wrote it: the fields of a named tuple, or the whole."""
    fields = example._asdict() if hasattr(example, "_asdict") else {"source": example}
    return [
        (name, value if isinstance(value, str) else " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value))
        for name, value in fields.items()
    ]


def _judge(model: Model, example: Any, texts: list[tuple[str, str]], answer: Answer, search: Search) -> Judged:
    scores = model.test([example], search=search)
    symbols = len(answer.alternatives[0].ids) + 1
    return Judged(texts, answer, scores[0] if scores else None, answer.score / symbols)


def _goodness(found: Judged) -> tuple[float, float]:
    if found.score is None or not math.isfinite(found.score.value):
        return 0.0, found.log_probability
    return (found.score.value if found.score.higher_is_better else -found.score.value), found.log_probability
