"""How often every n-gram occurs in texts, and after how many different symbols: what all smoothing of n-grams begins with.

An n-gram is a row of its order's level; its key is (row of its first n - 1 symbols in the level below) * vocabulary + last symbol.
So a key is one whole number at any order, and the n-grams that share a context stand side by side.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ..types import BOS, PAD


class Level(NamedTuple):
    """All n-grams of one order, sorted by key; of order 1 every symbol of the vocabulary, seen or not, under its id."""

    keys: Int[np.ndarray, "_"]
    counts: Int[np.ndarray, "_"]
    """How often each occurs; 0 for BOS alone, which is never predicted."""
    suffixes: Int[np.ndarray, "_"]
    """The row of its last n - 1 symbols in the level below (at order 1 the symbol: below it is a distribution over all symbols)."""
    begins: Bool[np.ndarray, "_"]
    """Does it begin with BOS?  Then nothing can stand before it."""


def count_levels(texts: Iterable[Int[np.ndarray, "_"]], order: int, vocab: int) -> list[Level]:
    """The levels of orders 1 to `order`; texts begin with BOS, and no n-gram reaches across one."""
    stream = np.concatenate([np.zeros(0, np.int64), *(np.asarray(text, np.int64) for text in texts)])
    stream = stream[stream != PAD]
    if len(stream) and not 0 <= stream.min() <= stream.max() < vocab:
        raise IndexError(f"ids from {stream.min()} to {stream.max()} in a vocabulary of {vocab}")
    places = np.arange(len(stream))
    since = places - np.maximum.accumulate(np.where(stream == BOS, places, 0))  # how many symbols of its text stand before each
    counts = np.bincount(stream, minlength=vocab)
    counts[BOS] = 0
    symbols = np.arange(vocab)
    levels = [Level(symbols, counts, symbols, symbols == BOS)]
    rows = stream  # of the n-gram that ends at each place, in the latest level
    for length in range(2, order + 1):
        here = (since >= length - 1).nonzero()[0]
        keys, which, counts = np.unique(rows[here - 1] * vocab + stream[here], return_inverse=True, return_counts=True)
        suffixes, begins = np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
        suffixes[which], begins[which] = rows[here], since[here] == length - 1
        levels.append(Level(keys, counts, suffixes, begins))
        rows = np.full(len(stream), -1)
        rows[here] = which
    return levels


def continuation_levels(levels: list[Level]) -> list[Level]:
    """Below the highest order: after how many different symbols an n-gram occurs, N1+(. w); one that begins with BOS keeps its count.

    Kneser and Ney (1995), equation 8; that nothing stands before BOS is Chen and Goodman's (1999) remark, and what SRILM and KenLM do.
    """
    found = [levels[-1]]
    for level, above in zip(reversed(levels[:-1]), reversed(levels[1:]), strict=True):
        different = np.bincount(above.suffixes, minlength=len(level.keys))
        found.append(level._replace(counts=np.where(level.begins, level.counts, different)))
    return found[::-1]
