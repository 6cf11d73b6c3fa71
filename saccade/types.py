"""The nouns every other file speaks.

Axes:  B batch   S source time   T target time   D features   H heads   V vocabulary   K beam
Masks: boolean, True means *may be seen*.
State: a tree of tensors whose axis 0 is always the batch.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Tree = TypeVar("Tree")
Memory = Any  # what a decoder may look at: a tree of tensors, batch first
State = Any  # what a decoder has said so far: a tree of tensors, batch first

PAD, BOS, EOS, UNK = 0, 1, 2, 3
"""The four ids every vocabulary begins with."""


class Piece(NamedTuple):
    """One token of a text and the characters it stands for: `text[start:end]` (code points)."""

    id: int
    text: str
    start: int
    end: int


class Padded(NamedTuple):
    """The only shape text has after batching: ids, and how many of each row are real."""

    ids: Int[Tensor, "B T"]
    lengths: Int[Tensor, "B"]

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True where there is a symbol, False where there is padding."""
        return torch.arange(self.ids.shape[1], device=self.ids.device) < self.lengths[:, None]


class Batch(NamedTuple):
    """Sources with their targets; a target begins with BOS and ends with EOS."""

    source: Padded
    target: Padded


class Encoding(NamedTuple):
    """What an encoder says about a batch of sources; what a decoder may look at."""

    outputs: Float[Tensor, "B S D"]
    mask: Bool[Tensor, "B S"]
    final: Float[Tensor, "B D"]
    tokens: Int[Tensor, "B S"] | None = None


class Loss(NamedTuple):
    """A sum and a count; only the trainer divides, so that no mean of means can arise."""

    total: Float[Tensor, ""]
    """What is minimised, summed, in nats."""
    count: Int[Tensor, ""]  # type: ignore[assignment]  # tuple.count is never wanted
    """How many symbols were summed over."""
    nll: Float[Tensor, ""]
    """The negative log-likelihood alone, summed, in nats."""

    def plus(self, other: "Loss") -> "Loss":
        """Of both together."""
        return Loss(self.total + other.total, self.count + other.count, self.nll + other.nll)


class Look(NamedTuple):
    """Where a model looked while it said `output`.

    `weights[place]` is heads x (T + 1) x (S + 1): rows are the output's pieces, columns the source's, the end symbols last; a
    row sums to 1.
    """

    source: str
    output: str
    source_pieces: list[Piece]
    output_pieces: list[Piece]
    weights: dict[str, np.ndarray]
    score: float | None = None


class Symbol(NamedTuple):
    """One symbol of a text, and how the model saw it coming."""

    piece: Piece
    logprob: float
    """Its log-probability in nats."""
    rank: int
    """1: no symbol was likelier."""
    entropy: float
    """Of what the model expected, in nats."""
    alternatives: list[tuple[str, float]]
    """The likeliest symbols with their log-probabilities, best first."""
    order: int | None = None
    """Of a model that counts: how many symbols, this one included, the count had that answered."""


def pad(rows: Sequence[Sequence[int]], length: int = 0) -> Padded:
    """Rows of ids as one tensor, filled up with PAD at the end to the longest row or to `length`."""
    lengths = [len(row) for row in rows]
    width = max([length, *lengths])
    return Padded(torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.long).view(len(rows), width), torch.tensor(lengths))


def tree_map(function: Callable[[Tensor], Tensor], tree: Tree) -> Tree:
    """Apply `function` to every tensor in nested tuples, lists and dicts."""
    if isinstance(tree, Tensor):
        return function(tree)  # type: ignore[return-value]
    if tree is None:
        return None  # type: ignore[return-value]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(function, leaf) for leaf in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(function, leaf) for leaf in tree)
    if isinstance(tree, dict):
        return {name: tree_map(function, leaf) for name, leaf in tree.items()}  # type: ignore[return-value]
    raise TypeError(f"a state may hold tensors and containers of tensors, not {type(tree).__name__}")


def select(tree: Tree, rows: Int[Tensor, "R"]) -> Tree:
    """Pick rows of the batch from every tensor: how beams are reordered and finished ones dropped."""
    return tree_map(lambda leaf: leaf.index_select(0, rows), tree)


def repeat(tree: Tree, times: int) -> Tree:
    """Every row `times` times: one source, K beams."""
    return tree if times == 1 else tree_map(lambda leaf: leaf.repeat_interleave(times, dim=0), tree)


def detach(tree: Tree) -> Tree:
    """Cut the graph: truncated backpropagation is this one word."""
    return tree_map(Tensor.detach, tree)


def leaves(tree: Any) -> list[Tensor]:
    """Every tensor of a tree."""
    found: list[Tensor] = []
    tree_map(lambda leaf: found.append(leaf) or leaf, tree)  # type: ignore[func-returns-value]
    return found


def join(trees: Sequence[Tree]) -> Tree:
    """The rows of several trees of one form, one behind the other: the inverse of splitting a batch."""
    columns = iter(zip(*map(leaves, trees), strict=True))
    return trees[0] if len(trees) == 1 else tree_map(lambda _: torch.cat(next(columns)), trees[0])


def to(tree: Tree, device: torch.device | str) -> Tree:
    """The same tree on another device."""
    return tree_map(lambda leaf: leaf.to(device, non_blocking=True), tree)
