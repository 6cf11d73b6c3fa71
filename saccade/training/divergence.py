"""Is a training still learning?"""

from .engine import Update
from .state import Progress

EXPLODED = 10.0
"""A loss this many times its running mean is no longer learning: the run has diverged."""
SETTLED = 20
"""Updates before the running mean is trusted."""
LOST = 100
"""Updates after which the running mean must not stand far above the first loss: by half of it, and by a nat."""


def wrong_with(update: Update, mean: float, progress: Progress) -> str:
    """What is wrong with an update whose loss per symbol is `mean`, after so much progress; "" if nothing is."""
    if not update.finite:
        return "loss stopped being a number"
    if progress.step >= SETTLED and mean > EXPLODED * progress.mean:
        return "loss exploded"
    lost = progress.first > 0 and progress.step >= LOST and progress.mean > progress.first + max(1.0, progress.first / 2)
    return "loss still stood far above where it began" if lost else ""
