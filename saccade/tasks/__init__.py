"""Tasks: data + model + loss + metric.  FAMILY: every other file here is one task.

All that differs between translating and tagging stands behind this contract; training, checkpoints and the command line
know nothing else.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ..batches.examples import Examples
from ..errors import UsageError
from ..metrics import Metric, Score
from ..search import Sampling, Search
from ..types import Look, Loss, State, Symbol, to


@dataclass(frozen=True, kw_only=True)
class Data:
    """Which files: two parallel ones or one TSV each; for a language model texts.

    `train = ["a.de", "a.en"]`, or `train = "a"` with `source = "de"` and `target = "en"`, or `train = "pairs.tsv"`.  Without
    `valid` or `test` a share of the training data is set aside: of pairs by hash of the source, of a text the end.
    `vectors` are the first embeddings of symbols that a file knows (word2vec's or GloVe's text): one file for all sides, or one each ("" for none).
    """

    folder: str = "."
    train: str | tuple[str, ...] = ()
    valid: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()
    source: str | None = None
    target: str | None = None
    columns: tuple[int, ...] = ()
    vectors: str | tuple[str, ...] = ()
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

    def vector_files(self, sides: int) -> list[Path | None]:
        """Of each side; `UsageError` C012 for another number of them."""
        named = (self.vectors,) * sides if isinstance(self.vectors, str) else self.vectors or ("",) * sides
        if len(named) != sides:
            raise UsageError("C012", f"data.vectors = {list(named)}: {sides} expected, one for each embedding", fix=f'data.vectors="{named[0]}"')
        return [Path(self.folder).expanduser() / name if name else None for name in named]

    def __post_init__(self) -> None:
        if len(self.columns) not in (0, 2):
            raise UsageError("C012", f"data.columns = {list(self.columns)}: two numbers are needed, source and target", fix="columns = [1, 2]")


class Splits(NamedTuple):
    """Examples as people wrote them: lists, or sequences that read from files too large to hold."""

    train: Sequence[Any]
    valid: Sequence[Any]
    test: Sequence[Any]


class Prediction(NamedTuple):
    """One answer: its text, its log-probability and what it was ranked by, both in nats."""

    text: str
    score: float
    rank: float
    ids: list[int]
    complete: bool


class Task(ABC):
    """read -> learn -> build -> examples -> loss; then predict, look and evaluate."""

    takes: ClassVar[tuple[int, int]] = (1, 2)
    """How many files of training data, at least and at most."""
    continues: ClassVar[bool] = False
    """Does `predict` go on with a prompt (`stream`, `explain`), instead of answering a text?"""
    tries: ClassVar[tuple[str, str]] = ("< input.txt > output.txt", "--attention look.html 'a sentence'")
    """What one might say after `saccade predict RUN`."""
    aside: ClassVar[str] = "set aside by hash of the source: duplicates never straddle the split"
    """How data without files of their own are taken from those to train on."""
    whole_lines: bool = True
    """Is every line a text of its own?"""
    suited: ClassVar[dict[str, Any]] = {}
    """Settings of training that suit it; what a recipe says wins."""
    metrics: list[Metric]
    """The one that decides first."""

    @abstractmethod
    def read(self, data: Data) -> Splits:
        """The user's files, checked."""

    @abstractmethod
    def read_files(self, paths: Sequence[Path]) -> Sequence[Any]:
        """Examples from some files, to be tested on."""

    def warnings(self, splits: Splits) -> list[str]:
        """What is odd about the training data but no reason to stop, ready to be printed."""
        return []

    @abstractmethod
    def learn(self, splits: Splits) -> None:
        """Whatever is derived from the training text: tokenizers, vocabularies."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A model with fresh weights; `learn` or `restore` came before."""

    def initialise(self, model: nn.Module) -> None:
        """Weights that begin as something else than chance; never called when a run goes on, so what they come from may be gone by then.

        A model on the meta device is only checked.
        """
        return None

    @abstractmethod
    def examples(self, raw: Sequence[Any], store: Path | None = None) -> Examples:
        """Encoded; examples that are too long are left out.

        With a `store`, what is complete there for this task and as many examples is mapped; else it is written there first.
        Which data it belongs to is not checked: give every data set a folder of its own.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any, smoothing: float, gold: float, generator: torch.Generator) -> Loss:
        """Summed over the batch; with probability `gold` a symbol's predecessor is the true one, else the model's own."""

    def begin(self, model: nn.Module, rows: int) -> State | None:
        """What the first batch of an epoch begins with; None: batches carry nothing on."""
        return None

    def carried_loss(
        self, model: nn.Module, batch: Any, carried: State | None, smoothing: float, gold: float, generator: torch.Generator
    ) -> tuple[Loss, State | None]:
        """The loss of a batch that goes on where another one stopped, and what the next one needs to go on; None: nothing."""
        return self.loss(model, batch, smoothing, gold, generator), None

    def fit(self, model: nn.Module, examples: Examples) -> bool:
        """Learn what is learned without gradients; True if that is all there is to learn."""
        return False

    def validate(self, model: nn.Module, examples: Examples, raw: Sequence[Any], search: Search, tokens_per_batch: int, few: int) -> tuple[float, list[Score]]:
        """The loss per symbol in nats, in float32, without smoothing, and the metrics on the first `few` of the validation data."""
        device, coins = next(model.parameters()).device, torch.Generator()
        total, count = torch.zeros((), dtype=torch.float64), 0
        for rows in examples.plan(tokens_per_batch, 0, 0):
            loss = self.loss(model, to(examples.batch(rows.tolist()), device), 0.0, 1.0, coins)
            total, count = total + loss.nll.double().cpu(), count + int(loss.count)
        return float(total) / max(count, 1), self.evaluate(model, raw[:few], search) if few else []

    @abstractmethod
    def evaluate(self, model: nn.Module, raw: Sequence[Any], search: Search) -> list[Score]:
        """The task's metrics, the one that decides first."""

    @abstractmethod
    def predict(self, model: nn.Module, texts: Sequence[str], search: Search, prefixes: Sequence[str] | None = None) -> list[list[Prediction]]:
        """For each text the answers, best first, in the order of the texts."""

    def stream(self, model: nn.Module, prompt: str, sampling: Sampling, stops: Sequence[str] = ()) -> Iterator[str]:
        """Go on with `prompt`, piece by piece as it is said; `UsageError` C026 if this task answers instead."""
        raise self._answers("continues no prompt")

    def several(self, model: nn.Module, prompt: str, sampling: Sampling, samples: int, stops: Sequence[str] = ()) -> list[str]:
        """So many continuations of one prompt; `UsageError` C026 if this task answers instead."""
        raise self._answers("continues no prompt")

    def unknown(self, text: str) -> list[str]:
        """The parts of a text that the model never learned."""
        return []

    def explain(self, model: nn.Module, text: str, prompt: str = "", alternatives: int = 5) -> list[Symbol]:
        """How likely each symbol of `text` was after `prompt` and the symbols before it; `UsageError` C026 if this task answers instead."""
        raise self._answers("scores no text")

    def _answers(self, what: str) -> UsageError:
        name = type(self).__module__.rsplit(".", 1)[-1]
        return UsageError("C026", f"the task {name} {what}", why="it answers a source", fix="a model of the task language_model")

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
