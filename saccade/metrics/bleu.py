"""BLEU, the share of a translation's n-grams that its reference has too: Papineni et al. (2002), section 2.3, as sacreBLEU (Post 2018) counts it."""

from collections.abc import Sequence
from typing import Literal

from sacrebleu.metrics import BLEU

from . import Metric, Score
from ._pairs import paired

Tokenization = Literal["13a", "intl", "char", "zh", "none"]


class Bleu(Metric):
    """Percent, of plain (detokenised) text: sacreBLEU cuts it into words itself, by `tokenize`.

    Statistics: tokens said, tokens in the references, n-grams matched (n = 1 to 4), n-grams said.  Texts that are all shorter
    than four tokens score 0.  `UsageError` C021 for no examples, C022 for unpaired ones.
    """

    def __init__(self, *, tokenize: Tokenization = "13a", lowercase: bool = False) -> None:
        self._bleu = BLEU(tokenize=tokenize, lowercase=lowercase)
        # sacreBLEU learns this from data, but statistics can arrive already summed.
        self._bleu.num_refs = 1

    def statistics(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """Ten counts."""
        paired(predictions, references)
        found = self._bleu.corpus_score(list(predictions), [list(references)])
        return [float(count) for count in (found.sys_len, found.ref_len, *found.counts, *found.totals)]

    def score(self, statistics: Sequence[float]) -> Score:
        """BLEU with sacreBLEU's signature."""
        said, wanted, *counts = (round(count) for count in statistics)
        found = self._bleu.compute_bleu(counts[:4], counts[4:], said, wanted, smooth_method=self._bleu.smooth_method)
        return Score(found.name, float(found.score), str(self._bleu.get_signature()))
