"""Training: an iterator of events."""

from .loop import Evaluation, Saved, Step, Stopped, train
from .settings import Training

__all__ = ["Evaluation", "Saved", "Step", "Stopped", "Training", "train"]
