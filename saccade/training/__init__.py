"""Training: an iterator of events."""

from .events import Evaluation, Event, Saved, Started, Step, Stopped, Trouble
from .loop import train
from .settings import Training

__all__ = ["Evaluation", "Event", "Saved", "Started", "Step", "Stopped", "Training", "Trouble", "train"]
