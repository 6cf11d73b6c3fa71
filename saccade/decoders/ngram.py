"""N-grams, counted and smoothed: Kneser and Ney (1995), Chen and Goodman (1999), Katz (1987)."""

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..errors import UsageError
from ..types import PAD, Encoding, Loss
from . import Decoder
from ._counts import count_levels
from ._smoothing import Tables, smooth


class Ngram(Decoder):
    """The last `order` - 1 symbols decide what comes next; nothing is trained, all is counted.

    "kneser_ney" and "modified_kneser_ney" are interpolated; "good_turing" is Katz's back-off, which discounts counts up to `katz`;
    "add_k" adds `k` to every count and knows no shorter contexts.  PAD and BOS have probability 0, every other symbol some, UNK
    like any other that was not seen.  A context reaches back to the last BOS, which is counted as it stands; before that is nothing.
    All is computed in float64: the probabilities after any context sum to 1 within 1e-9.
    """

    learns = "counts"

    def __init__(
        self,
        vocab: int,
        memory_dim: int | None,
        *,
        order: int = 5,
        smoothing: Literal["modified_kneser_ney", "kneser_ney", "good_turing", "add_k"] = "modified_kneser_ney",
        k: float = 0.01,
        katz: int = 5,
    ) -> None:
        super().__init__(vocab, memory_dim)
        if memory_dim is not None:
            raise UsageError("C012", "ngram reads no source: it only knows how a text goes on", fix='task = "language_model", or another decoder')
        for knob, value, least, most in (("order", order, 1, 20), ("k", k, 1e-9, 1e9), ("katz", katz, 1, 1000)):
            if not least <= value <= most:
                raise UsageError("C012", f"{knob} = {value}; it must be at least {least} and at most {most}", fix="leave it out")
        self.vocab, self.order, self.smoothing, self.k, self.katz = vocab, order, smoothing, k, katz
        self.keys, self.chances, self.backoffs = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self.count([])  # all symbols are equally likely

    def count(self, texts: Iterable[Int[np.ndarray, "_"]]) -> None:
        """Forget what was counted before, and count `texts`."""
        self.become(smooth(count_levels(texts, self.order, self.vocab), self.smoothing, self.k, self.katz))

    def become(self, tables: Tables) -> None:
        """The model of `tables`, whoever made them; ValueError if they are none of this order and vocabulary."""
        device = self.chances[0].device if len(self.chances) else None
        self.keys, self.chances, self.backoffs = (
            nn.ParameterList(nn.Parameter(torch.as_tensor(each, device=device), requires_grad=False) for each in kind) for kind in tables
        )
        self.check()

    def tables(self) -> Tables:
        """What was counted, smoothed."""
        return Tables(*([table.detach().cpu().numpy() for table in kind] for kind in (self.keys, self.chances, self.backoffs)))

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Tables of as many n-grams as those of a file have keys."""
        for place in range(self.order - 1):
            found = shapes.get(f"keys.{place}", ())
            for kind, row in ((self.keys, place), (self.chances, place + 1), (self.backoffs, place + 1)):
                if len(found) == 1 and row < len(kind):
                    kind[row] = nn.Parameter(kind[row].new_empty(found), requires_grad=False)

    def check(self) -> None:
        """ValueError if the tables cannot be those of a model: then no look-up ever leaves them."""
        lengths = [self.vocab, *map(len, self.keys)]
        if len(self.keys) != self.order - 1 or [*map(len, self.chances)] != lengths or [*map(len, self.backoffs)] != lengths[:-1]:
            raise ValueError(f"the tables are not those of {self.order}-grams over {self.vocab} symbols")
        if self.chances[0].is_meta:
            return
        for keys, below in zip(self.keys, lengths, strict=False):
            if len(keys) and not (keys[0] >= 0 and keys[-1] < below * self.vocab and (keys[1:] > keys[:-1]).all()):
                raise ValueError("the keys of n-grams do not rise from 0 to the number of contexts times that of symbols")
        if not all((chances <= 1e-9).all() for chances in self.chances) or not all((backoffs < float("inf")).all() for backoffs in self.backoffs):
            raise ValueError("what should be the logarithm of a probability is none")

    def start(self, encoding: Encoding | None, batch: int) -> tuple[None, Int[Tensor, "B K"]]:
        """Nothing to look at, and no symbol yet: PAD was never counted."""
        return None, torch.full((batch, self.order - 1), PAD, device=self.chances[0].device)

    def forward(self, tokens: Int[Tensor, "B T"], state: Int[Tensor, "B K"], memory: None) -> tuple[Float[Tensor, "B T V"], Int[Tensor, "B K"]]:
        """Log-probabilities of all symbols after each of `tokens`, in float64, and the last symbols."""
        contexts, state = self.read(tokens, state)
        said = self.chances[0].expand(tokens.numel(), -1).clone()
        for context, keys, chances, backoffs in zip(contexts, self.keys, self.chances[1:], self.backoffs, strict=True):
            rows = context.flatten()
            said += pick(backoffs, rows, 0.0)[:, None]
            first, after = torch.searchsorted(keys, torch.stack([rows, rows + 1]) * self.vocab)  # nothing stands after a context that is not there
            many = after - first
            places = torch.arange(int(many.sum()), device=rows.device) + (after - many.cumsum(0)).repeat_interleave(many)
            said[torch.arange(len(rows), device=rows.device).repeat_interleave(many), keys[places] % self.vocab] = chances[places]
        return said.view(*tokens.shape, self.vocab), state

    def logprobs(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: Int[Tensor, "B K"], memory: None
    ) -> tuple[Float[Tensor, "B T"], Int[Tensor, "B K"]]:
        """As `forward`, of `targets` alone: one binary search for each order."""
        contexts, state = self.read(tokens, state)
        said = self.chances[0][targets]
        for context, keys, chances, backoffs in zip(contexts, self.keys, self.chances[1:], self.backoffs, strict=True):
            found = self.find(keys, context, targets)
            said = torch.where(found < 0, said + pick(backoffs, context, 0.0), pick(chances, found, 0.0))
        return said, state

    def orders(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: Int[Tensor, "B K"], memory: None
    ) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B K"]]:
        """Which order answered: the length of the longest n-gram known that ends with each of `targets`; and the last symbols."""
        contexts, state = self.read(tokens, state)
        said = torch.ones_like(targets)
        for order, (context, keys) in enumerate(zip(contexts, self.keys, strict=True), 2):
            said = said.masked_fill(self.find(keys, context, targets) >= 0, order)
        return said, state

    def loss(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: Int[Tensor, "B K"], memory: None, smoothing: float = 0.0
    ) -> tuple[Loss, Int[Tensor, "B K"]]:
        """Cross-entropy of `targets`; there is nothing that `smoothing` could teach."""
        said, state = self.logprobs(tokens, targets, state, memory)
        real = targets != PAD
        total = -said[real].sum().float()
        return Loss(total, real.sum(), total), state

    def read(self, tokens: Int[Tensor, "B T"], state: Int[Tensor, "B K"]) -> tuple[list[Int[Tensor, "B T"]], Int[Tensor, "B K"]]:
        """The rows of the contexts of 1, 2, ... symbols that end with each of `tokens` (-1: never seen), and the last symbols."""
        history = torch.cat([state, tokens], 1)
        rows = [history]
        for keys in self.keys[:-1]:
            rows.append(self.find(keys, nn.functional.pad(rows[-1][:, :-1], (1, 0), value=-1), history))
        return [found[:, self.order - 1 :] for found in rows[: self.order - 1]], history[:, history.shape[1] - self.order + 1 :]

    def find(self, keys: Int[Tensor, "N"], contexts: Int[Tensor, "*shape"], symbols: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        """The row of the n-gram of each context and symbol; -1 if there is none."""
        if not len(keys):
            return torch.full_like(symbols, -1)
        wanted = contexts * self.vocab + symbols  # below 0, like no key, where there is no context
        places = torch.searchsorted(keys, wanted).clamp_max(len(keys) - 1)
        return places.masked_fill(keys[places] != wanted, -1)


def pick(table: Float[Tensor, "N"], rows: Int[Tensor, "*shape"], otherwise: float) -> Float[Tensor, "*shape"]:
    """What stands in these rows, `otherwise` where the row is -1."""
    if not len(table):
        return table.new_full(rows.shape, otherwise)
    return table[rows].masked_fill(rows < 0, otherwise)
