"""Training: an iterator of events."""

from .loop import Evaluation, Saved, Started, Step, Stopped, train
from .settings import Training

__all__ = ["Evaluation", "Saved", "Started", "Step", "Stopped", "Training", "train"]
