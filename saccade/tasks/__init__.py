"""Tasks: data + model + loss + metric.  FAMILY: every other file here is one task.

All that differs between translating and tagging stands behind this contract; training, checkpoints and the command line
know nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..batches.ids import Ids
from ..errors import UsageError
from ..metrics import Metric, Score
from ..search import Search
from ..types import Batch, Look, Loss


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which files: two parallel ones or one TSV each.

    `train = ["a.de", "a.en"]`, or `train = "a"` with `source = "de"` and `target = "en"`, or `train = "pairs.tsv"`.  Without
    `valid` or `test` a share of the training pairs is set aside, by hash of the source.
    """

    folder: str = "."
    train: str | tuple[str, ...] = ()
    valid: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()
    source: str | None = None
    target: str | None = None
    columns: tuple[int, ...] = ()
    keep_first: int | None = None
    valid_share: float = 0.015
    test_share: float = 0.015

    def paths(self, split: str) -> list[Path]:
        """The files of "train", "valid" or "test"; a name whose file exists only with .gz at its end means that one."""
        named: str | tuple[str, ...] = getattr(self, split)
        if isinstance(named, str):
            sides = [side for side in (self.source, self.target) if side]
            named = tuple(f"{named}.{side}" for side in sides) if sides else (named,)
        found = [Path(self.folder).expanduser() / name for name in named]
        return [path.with_name(path.name + ".gz") if not path.exists() and path.with_name(path.name + ".gz").exists() else path for path in found]

    def __post_init__(self) -> None:
        if len(self.columns) not in (0, 2):
            raise UsageError("C012", f"data.columns = {list(self.columns)}: two numbers are needed, source and target", fix="columns = [1, 2]")


class Splits(NamedTuple):
    """Examples as people wrote them: lists, or sequences that read from files too large to hold."""

    train: Sequence[Any]
    valid: Sequence[Any]
    test: Sequence[Any]


class Examples(NamedTuple):
    """Encoded examples; lengths decide which of them share a batch."""

    source: Ids
    target: Ids

    def lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of every source and target: int64."""
        return self.source.lengths, self.target.lengths


class Prediction(NamedTuple):
    """One answer: its text, its log-probability and what it was ranked by, both in nats."""

    text: str
    score: float
    rank: float
    ids: list[int]
    complete: bool


class Task(ABC):
    """read -> learn -> build -> examples -> batch -> loss; then predict, look and evaluate."""

    metrics: list[Metric]
    """The one that decides first."""

    @abstractmethod
    def read(self, data: Data) -> Splits:
        """The user's files, checked."""

    @abstractmethod
    def learn(self, splits: Splits) -> None:
        """Whatever is derived from the training text: tokenizers, vocabularies."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A model with fresh weights; `learn` or `restore` came before."""

    @abstractmethod
    def examples(self, raw: Sequence[Any], store: Path | None = None) -> Examples:
        """Encoded; examples that are too long are left out.

        With a `store`, what is complete there for this task and as many examples is mapped; else it is written there first.
        Which data it belongs to is not checked: give every data set a folder of its own.
        """

    @abstractmethod
    def batch(self, examples: Examples, rows: Sequence[int]) -> Batch:
        """Some examples as tensors."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, smoothing: float, gold: float, generator: torch.Generator) -> Loss:
        """Summed over the batch; with probability `gold` a symbol's predecessor is the true one, else the model's own."""

    @abstractmethod
    def evaluate(self, model: nn.Module, raw: Sequence[Any], search: Search) -> list[Score]:
        """The task's metrics, the one that decides first."""

    @abstractmethod
    def predict(self, model: nn.Module, texts: Sequence[str], search: Search, prefixes: Sequence[str] | None = None) -> list[list[Prediction]]:
        """For each text the answers, best first, in the order of the texts."""

    @abstractmethod
    def look(self, model: nn.Module, text: str, answer: Prediction) -> Look:
        """Where the model looked for each piece of an answer."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What `learn` found out, as tensors of bytes."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state`."""

    @abstractmethod
    def summary(self) -> list[tuple[str, str]]:
        """What `learn` found out, for people: rows of a name and a sentence."""
