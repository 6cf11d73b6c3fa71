"""Who looks at what: a score, a mask, a softmax, a weighted sum."""

from .attention import Attention, MultiHead
from .watch import watching

__all__ = ["Attention", "MultiHead", "watching"]
