"""No positions: a Transformer without them reads a bag of words, except for what a causal mask tells."""

from . import Position


class NoPosition(Position):
    """Nothing added, nothing turned."""
