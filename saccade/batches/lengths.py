"""Which examples share a batch: neighbours in length, up to a budget of tokens, the same few shapes in every epoch."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..errors import UsageError
from .order import permutation

Lengths = Sequence[int] | np.ndarray


class Waste(NamedTuple):
    """The shares of cells that hold padding, between 0 and 1: of the sources, of the targets, of both together."""

    source: float
    target: float
    total: float


def plan(source_lengths: Lengths, target_lengths: Lengths, *, tokens_per_batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch: arrays of row indices (int64), every row once; a pure function.

    A batch has rows x max(longest source, longest target) <= `tokens_per_batch`; a pair longer than that stands alone.
    Where to cut depends on the lengths only, so every epoch has the same shapes; the epoch decides which of equally long
    pairs stand where, and the order of the batches.

    Rows are sorted by the longer of their two sides; among those, by source minus target, rising and falling in turn, so that
    each length goes on where the one before stopped.  Padding with 4,096 tokens, Multi30k German to English (29,000 pairs,
    8,000 unigram pieces, targets with EOS): 3.6 %; by (target, source) 7.5 %, the same with sources rising and falling in turn
    5.1 %, by (longer, target, source) 4.8 %, along a Hilbert curve 4.6 %, at random 55 %.  Sorting by the longer side also
    fills the budget best: 119 batches, where (target, source) needs 131.  10 million rows take 4 seconds on one core and about
    50 bytes each.

    `UsageError` C012 if the budget is below 1, C022 if there are more lengths on one side.
    """
    if tokens_per_batch < 1:
        raise UsageError("C012", f"tokens_per_batch = {tokens_per_batch}; it must be at least 1", fix="tokens_per_batch=4096")
    source, target = _pairs(source_lengths, target_lengths)
    order = permutation(seed, epoch, len(source))
    # A stable sort leaves equally long pairs in the order of the permutation.
    order = order[np.argsort(_rank(source, target)[order], kind="stable")]
    edges = _cuts(np.maximum(source, target)[order], tokens_per_batch)
    batches = [order[start:end] for start, end in pairwise(edges)]
    return [batches[i] for i in permutation(seed, epoch, len(batches), stream=1)]


def waste(batches: Sequence[np.ndarray], source_lengths: Lengths, target_lengths: Lengths) -> Waste:
    """How much of the batches is padding; zeros if there is nothing at all.  `UsageError` C022 as in `plan`."""
    source, target = _pairs(source_lengths, target_lengths)
    cells = [sum(len(rows) * int(side[rows].max()) for rows in batches) for side in (source, target)]
    tokens = [sum(int(side[rows].sum()) for rows in batches) for side in (source, target)]
    return Waste(*(1 - used / held if held else 0.0 for used, held in zip([*tokens, sum(tokens)], [*cells, sum(cells)], strict=True)))


def shapes(batches: Sequence[np.ndarray], source_lengths: Lengths, target_lengths: Lengths) -> set[tuple[int, int, int]]:
    """The different (rows, longest source, longest target) among the batches.  `UsageError` C022 as in `plan`."""
    source, target = _pairs(source_lengths, target_lengths)
    return {(len(rows), int(source[rows].max()), int(target[rows].max())) for rows in batches}


def _pairs(source_lengths: Lengths, target_lengths: Lengths) -> tuple[np.ndarray, np.ndarray]:
    source, target = np.asarray(source_lengths, dtype=np.int64), np.asarray(target_lengths, dtype=np.int64)
    if len(source) != len(target):
        raise UsageError("C022", f"{len(source)} source lengths but {len(target)} target lengths", fix="give one source and one target length for every pair")
    return source, target


def _rank(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """One number per row that sorts as `plan` says; equal only for equal pairs of lengths."""
    longer, difference = np.maximum(source, target), source - target
    return longer * (2 * longer.max(initial=0) + 1) + np.where(longer % 2 == 0, difference, -difference)


def _cuts(widths: np.ndarray, budget: int) -> list[int]:
    """Where batches begin and end, each as long as rows x widest allows."""
    widths, edges = np.maximum(widths, 1), [0]
    while (start := edges[-1]) < len(widths):
        # No batch can have more rows than its first row allows.
        widest = np.maximum.accumulate(widths[start : start + max(1, budget // int(widths[start]))])
        fits = widest * np.arange(1, len(widest) + 1) <= budget
        edges.append(start + (len(widest) if fits.all() else max(1, int(fits.argmin()))))
    return edges
