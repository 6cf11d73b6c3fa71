"""chrF, the F-score of character n-grams: Popović (2015), and chrF++ with words (Popović 2017), as sacreBLEU (Post 2018) counts it."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import CHRF

from ..errors import UsageError
from . import Metric, Score
from ._pairs import paired


class ChrF(Metric):
    """Percent; recall weighs four times as much as precision; `word_order` 2 is chrF++.

    Statistics: for n = 1 to 6 characters, then 1 to `word_order` words, the n-grams said, in the references, and matched.
    `UsageError` C012 for a negative order, C021 for no examples, C022 for unpaired ones.
    """

    def __init__(self, *, word_order: int = 0) -> None:
        if word_order < 0:
            raise UsageError("C012", f"chrf.word_order = {word_order}; it must be at least 0", fix="chrf.word_order=2")
        self._chrf = CHRF(word_order=word_order)
        # sacreBLEU learns this from data, but statistics can arrive already summed.
        self._chrf.num_refs = 1

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """Three counts for every order."""
        paired(predictions, references)
        # Unlike BLEU's, these counts are not part of sacreBLEU's public result.
        per_sentence = self._chrf._extract_corpus_statistics(list(predictions), [list(references)])
        return [float(count) for count in np.sum(per_sentence, axis=0)]

    def score(self, statistics: Sequence[float]) -> Score:
        """chrF with sacreBLEU's signature."""
        found = self._chrf._compute_score_from_stats([round(count) for count in statistics])
        return Score(found.name, float(found.score), str(self._chrf.get_signature()))
