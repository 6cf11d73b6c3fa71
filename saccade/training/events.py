"""What training tells while it runs."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import SaccadeError
from ..metrics import Score


@dataclass(frozen=True)
class Started:
    """What is about to happen."""

    step: int
    weights: int
    device: str
    precision: str
    batches: int
    """In one epoch; 0 for a model that has learned by counting."""
    padding: float
    """The share of all cells, source and target, that is padding."""
    left_out: int
    """Training examples that are too long."""
    processes: int = 1


@dataclass(frozen=True)
class Step:
    """The updates since the last report."""

    step: int
    epoch: int
    loss: float
    """Mean loss per target symbol in nats, smoothing included."""
    rate: float
    gradient_norm: float
    tokens_per_second: float
    """Target symbols, padding not counted."""
    seconds: float
    """Of training, so far."""


@dataclass(frozen=True)
class Evaluation:
    """How good the model is on the validation data."""

    step: int
    epoch: int
    seconds: float
    train_loss: float
    valid_loss: float
    """Mean negative log-likelihood per target symbol in nats, without smoothing."""
    scores: tuple[Score, ...]
    best: bool


@dataclass(frozen=True)
class Saved:
    """A checkpoint is on the disk, or on its way if it is written in the background."""

    step: int
    path: Path


@dataclass(frozen=True)
class Trouble:
    """Something went wrong and training dealt with it: the message says how."""

    step: int
    error: SaccadeError


@dataclass(frozen=True)
class Stopped:
    """The run is over: "finished", "no improvement" or "interrupted"."""

    step: int
    reason: str
    seconds: float


Event = Started | Step | Evaluation | Saved | Trouble | Stopped
