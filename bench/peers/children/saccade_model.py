"""saccade: the model, loss and update of its own trainer."""

import torch
from torch import Tensor

from bench.peers.children.protocol import Batch, System, hand_loop, serve
from saccade.recipe import read_recipe
from saccade.types import Batch as Pairs
from saccade.types import Padded

RECIPES = {"transformer": "multi30k-transformer", "recurrent": "multi30k-luong"}


class Saccade:
    """One of saccade's recipes with dropout 0.1."""

    def __init__(self, configuration: str, vocabulary: int, precision: str) -> None:
        recipe = read_recipe(RECIPES[configuration], overrides=["encoder.dropout=0.1", "decoder.dropout=0.1"])
        self.task = recipe.task()
        # The tokenizer is not learned again: the ids are given, its size is all that the model asks for.
        self.task.source = self.task.target = _Sized(vocabulary)
        self.model, self.coins = self.task.build(), torch.Generator()
        self.update = hand_loop(self.model, precision, self.loss)

    def prepare(self, batch: Batch) -> Pairs:
        return Pairs(Padded(batch.source, batch.lengths), Padded(batch.target, (batch.target != 0).sum(1)))

    def loss(self, pairs: Pairs) -> Tensor:
        found = self.task.loss(self.model, pairs, 0.1, 1.0, self.coins)
        return found.total / found.count

    def likelihood(self, pairs: Pairs) -> Tensor:
        return self.task.loss(self.model, pairs, 0.0, 1.0, self.coins).nll


class _Sized:
    """A vocabulary of which only the size matters."""

    def __init__(self, size: int) -> None:
        self.size = size


def make(configuration: str, vocabulary: int, precision: str) -> System:
    """The system that the arguments ask for."""
    return Saccade(configuration, vocabulary, precision)


if __name__ == "__main__":
    serve(make)
