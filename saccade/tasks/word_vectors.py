"""Words as vectors, learned from the words around them: word2vec, Mikolov et al. (2013a, 2013b)."""

import re
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..batches.ids import ids_of
from ..batches.sentences import Sentences
from ..errors import DataError, ModelError, UsageError, printable, suggestion
from ..families import Make
from ..layers.word_vectors import WordVectors as Model
from ..metrics import Metric, Score
from ..search import Search
from ..text.passages import read_passages
from ..text.tokenizers import Tokenizer
from ..text.tokenizers.words import Words
from ..text.vectors import symbols_of, write_vectors
from ..types import UNK, Look, Loss, Padded
from . import Data, Prediction, Splits, Task
from ._tensors import bytes_of
from ._texts import read_texts

WORDS = partial(Words, limit=1_000_000, minimum=5)
_CHUNK = 1024  # lines that are encoded at once
_TERMS = re.compile(r"\s+([+-])\s+")


class WordVectors(Task):
    """Skip-grams or bags of words with negative samples, on texts of any length; every line is one text.

    `window` words on either side at most, `negatives` for every pair, `subsample` the frequency from which on words are left out
    now and then (0: never).  To predict is to answer with the nearest words: "paris", or "paris - france + italy".
    """

    takes = (1, 1_000_000)
    tries = ("WORD --n-best 10", "'WORD - OTHER + THIRD'")
    aside = "taken from the end of the text"
    suited: ClassVar[dict[str, Any]] = {
        "optimizer": "sgd",
        "learning_rate": 0.025,
        "schedule": {"name": "linear", "floor": 0.004},
        "clip": 0.0,
        "label_smoothing": 0.0,
        "tokens_per_batch": 1024,
        "steps": 10000,
        "evaluate_every": 1000,
    }

    def __init__(
        self,
        *,
        tokenizer: Make[Tokenizer] = WORDS,
        method: Literal["skip_gram", "bag"] = "skip_gram",
        dim: int = 100,
        window: int = 5,
        negatives: int = 5,
        subsample: float = 1e-3,
        longest: int = 1000,
    ) -> None:
        for name, value in (("dim", dim), ("window", window), ("negatives", negatives), ("longest", longest)):
            if value < 1:
                raise UsageError("C012", f"{name} = {value}; it must be at least 1", fix=f"{name}=5")
        if not 0 <= subsample < 1:
            raise UsageError("C012", f"subsample = {subsample}; it must be at least 0 and below 1", fix="subsample=1e-3")
        self.tokenizer: Tokenizer = tokenizer()
        self.method, self.dim, self.window, self.negatives, self.subsample, self.longest = method, dim, window, negatives, subsample, longest
        self.counts = torch.zeros(0, dtype=torch.long)
        self.metrics: list[Metric] = []

    def read(self, data: Data) -> Splits:
        """Lines; what has no file of its own is taken from the end of the training text, validation before test."""
        return read_texts(data)

    def read_files(self, paths: Sequence[Path]) -> Sequence[str]:
        """The lines of all files, one behind the other."""
        return read_passages(paths)

    def learn(self, splits: Splits) -> None:
        """The vocabulary, and how often each of its words occurs in the training text: `DataError` D029 if there are not two."""
        self.tokenizer.learn(splits.train)
        counts = np.zeros(self.tokenizer.size, dtype=np.int64)
        for (ids,) in self._encoded(splits.train):
            np.add.at(counts, ids, 1)
        counts[: UNK + 1] = 0
        self.counts = torch.from_numpy(counts)
        if np.count_nonzero(counts) < 2:
            raise DataError("D029", "there are fewer than 2 words to learn about", fix="more text, or tokenizer.minimum=1")

    def build(self) -> Model:
        """Fresh weights, from torch's generator."""
        chosen: dict[str, Any] = {"window": self.window, "negatives": self.negatives, "subsample": self.subsample, "bag": self.method == "bag"}
        return Model(self.counts if len(self.counts) else torch.ones(8, dtype=torch.long), dim=self.dim, **chosen)

    def examples(self, raw: Sequence[str], store: Path | None = None) -> Sentences:
        """The ids of every line."""
        about = {"task": "word_vectors", "lines": len(raw), "text": blake2b(self.tokenizer.state()).hexdigest()}
        return Sentences(ids_of(store, {"text": self.tokenizer.size}, self._encoded(raw), about)[0], self.longest)

    def _encoded(self, raw: Sequence[str]) -> Iterator[tuple[list[int]]]:
        lines = iter(raw)
        while chunk := list(islice(lines, _CHUNK)):
            for ids in self.tokenizer.encode_lines(chunk):
                yield (ids,)

    def loss(self, model: nn.Module, batch: Padded, smoothing: float, gold: float, generator: torch.Generator) -> Loss:
        """Of all pairs (skip-grams), or of all words (bags); a smoothed or forced one there is not: `UsageError` C012."""
        if smoothing or gold < 1.0:
            raise UsageError("C012", "training.label_smoothing and training.forcing: word vectors have neither", fix="training.label_smoothing=0.0")
        return model(batch, generator)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, raw: Sequence[str], search: Search) -> list[Score]:
        """The loss of what is drawn with seed 0: comparable between models of one vocabulary, window and number of negatives only."""
        model.eval()
        value, _ = self.validate(model, self.examples(raw), [], search, 4096, 0)
        return [Score("loss", value, f"loss|{self.method}|window:{self.window}|negatives:{self.negatives}|words:{len(self.places)}", higher_is_better=False)]

    def predict(self, model: nn.Module, texts: Sequence[str], search: Search, prefixes: Sequence[str] | None = None) -> list[list[Prediction]]:
        """For each text the `search.beam` nearest words, of which none is in the text, with their cosines; an empty text has the empty answer.

        A text is a word, or words with + and - between them: 3CosAdd of Mikolov et al. (2013a, section 4).  `UsageError` C035 if
        a word is not known.
        """
        names, vectors = list(self.places), self.vectors(model)
        return [self._nearest(text, names, vectors, search.beam) if text.strip() else [Prediction("", 0.0, 0.0, [], True)] for text in texts]

    def _nearest(self, text: str, names: list[str], vectors: Float[Tensor, "words dim"], count: int) -> list[Prediction]:
        parts = _TERMS.split(text.strip())
        rows = [self._row(word) for word in parts[::2]]
        signs = torch.tensor([1.0, *(1.0 if sign == "+" else -1.0 for sign in parts[1::2])], device=vectors.device)
        cosines = vectors @ nn.functional.normalize(signs @ vectors[rows], dim=0)
        cosines[rows] = -2.0
        found = cosines.topk(min(count, len(names) - len(set(rows))))
        ids = list(self.places.values())
        return [Prediction(names[row], cosine, cosine, [ids[row]], True) for cosine, row in zip(found.values.tolist(), found.indices.tolist())]

    def _row(self, word: str) -> int:
        """Where a word stands among those that are known; `UsageError` C035 if it does not."""
        if word not in self._rows:
            shown, fix = printable(word, 30), suggestion(word, list(self._rows)[:20000]) if word.strip() else "a word"
            raise UsageError("C035", f"{shown!r} is not among the {len(self._rows):,} words of this model", fix=fix)
        return self._rows[word]

    def _table(self, model: nn.Module) -> Float[Tensor, "words dim"]:
        return model.input.weight.detach()[list(self.places.values())].float()

    def vectors(self, model: nn.Module) -> Float[Tensor, "words dim"]:
        """The vectors of `places`, in their order, each of length 1."""
        return nn.functional.normalize(self._table(model), dim=1)

    def export(self, model: nn.Module, path: Path | str) -> None:
        """All vectors as text, in word2vec's format, the most frequent word first."""
        write_vectors(path, list(self.places), self._table(model).cpu().numpy())

    @cached_property
    def places(self) -> dict[str, int]:
        """Every word with its id, the most frequent first; of ids that stand for one word in a text the most frequent one."""
        symbols, found = symbols_of(self.tokenizer), dict[str, int]()
        for i in torch.argsort(self.counts, descending=True, stable=True).tolist():
            if symbols[i] and self.counts[i]:
                found.setdefault(symbols[i], i)
        return found

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.places)}

    def look(self, model: nn.Module, text: str, answer: Prediction) -> Look:
        """Nowhere: vectors have no attention."""
        return Look(text, answer.text, [], [], {}, answer.score)

    def state(self) -> dict[str, Tensor]:
        """The tokenizer, and how often each word occurs."""
        return {"tokenizer.text": bytes_of(self.tokenizer.state()), "tokenizer.counts": self.counts}

    def restore(self, state: dict[str, Tensor]) -> None:
        """The tokenizer and the counts; `ModelError` M011 if they are damaged or do not belong together."""
        self.tokenizer.restore(state["tokenizer.text"].numpy().tobytes())
        self.counts = state["tokenizer.counts"]
        if self.counts.shape != (self.tokenizer.size,) or self.counts.dtype != torch.long or int(self.counts.min()) < 0 or not self.counts.any():
            raise ModelError("M011", "the counts of words in this model are damaged", fix="copy the model again from where it came from")

    def summary(self) -> list[tuple[str, str]]:
        """How many words there are to learn about."""
        return [("Words", f"{int((self.counts > 0).sum()):,} different ones, {int(self.counts.sum()):,} in the text")]
