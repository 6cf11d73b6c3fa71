"""Words as vectors that tell which words stand around them: skip-grams and bags of words with negative samples, Mikolov et al. (2013a, 2013b).

    for every pair of a word w and a word c near it, and k words n drawn from the noise:
    loss = -log s(u_c . v_w) - sum over n of log s(-u_n . v_w)                                       (2013b, eq. 4; s the logistic function)

What the published program does differently from the papers, and gensim with it, is done here as well: words are left out by its
own formula (`kept`), a noise word that is the true word is skipped, and in a bag every word takes the whole gradient of the mean.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding, embedding_bag, softplus

from ..types import PAD, UNK, Loss, Padded

NOISE = 0.75
"""The noise is the distribution of words to this power: 2013b, section 2.2."""

TOGETHER = 64
"""How often a word may be moved in one update as if each time were alone."""


def kept(counts: Float[Tensor, "V"], threshold: float) -> Float[Tensor, "V"]:
    """The probability that an occurrence of a word is used at all, by the published program: (sqrt(f / t) + 1) t / f of a word of frequency f.

    (The paper's is sqrt(t / f).)  All are used if the threshold is 0.
    """
    if not threshold:
        return torch.ones_like(counts)
    relative = counts / counts.sum() / threshold
    return torch.where(counts > 0, (relative.sqrt() + 1) / relative.clamp_min(1e-30), 1.0).clamp_max(1.0)


class Window(NamedTuple):
    """What stands around each of N words: places of 2 x window others, and which of those are really near."""

    places: Int[Tensor, "N C"]
    near: Bool[Tensor, "N C"]


def windows(text: Int[Tensor, "N"], window: int, generator: torch.Generator) -> Window:
    """For words in a row, each of the text `text[i]`, those of the same text at most U{1..window} away, drawn anew for every word."""
    reach = torch.randint(1, window + 1, (len(text), 1), generator=generator).to(text.device)
    steps = torch.tensor([step for step in range(-window, window + 1) if step], device=text.device)
    places = torch.arange(len(text), device=text.device)[:, None] + steps
    inside = places.clamp(0, max(len(text) - 1, 0))
    return Window(inside, (places == inside) & (steps.abs() <= reach) & (text[inside] == text[:, None]))


def shortened(places: Int[Tensor, "N"], source: Float[Tensor, "M D"], which: Int[Tensor, "N"] | None, weights: Float[Tensor, "N"] | None, rows: int) -> Tensor:
    """The gradient of a table with `rows` rows, sparse, where use n of row `places[n]` sends it `weights[n] * source[which[n]]` (1 and n if None).

    Every row stands there once, the sum of its uses; one with more than `TOGETHER` only gets what so many make on the average: pairs
    that come one after the other see how far those before them went, those of one update do not, and overshoot together.
    """
    places, order = places.sort()
    found, times = torch.unique_consecutive(places, return_counts=True)
    picked = order if which is None else which[order]
    values = embedding_bag(picked, source, times.cumsum(0) - times, mode="sum", per_sample_weights=None if weights is None else weights[order])
    values.mul_((TOGETHER / times).clamp_max(1.0)[:, None])
    return torch.sparse_coo_tensor(found[None], values, (rows, source.shape[1]), is_coalesced=True, check_invariants=False)


class _Products(torch.autograd.Function):
    """One vector with each of the rows `asked` of a table, P D to P A; their gradients are sums that no outer product has to be laid out for."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, asked: Tensor, one: Tensor) -> Tensor:
        ctx.save_for_backward(table, asked, one)
        return torch.bmm(embedding(asked, table), one[:, :, None])[..., 0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, Tensor]:
        table, asked, one = ctx.saved_tensors
        slope = slope.to(table.dtype)  # autocast multiplies in another
        which = torch.arange(len(one), device=one.device).repeat_interleave(asked.shape[1])
        moved = shortened(asked.flatten(), one, which, slope.flatten(), len(table))
        return moved, None, embedding_bag(asked, table, mode="sum", per_sample_weights=slope)


class WordVectors(nn.Module):
    """Two vectors for each of V words, `input` (what one keeps) and `output`; `counts` says how often each occurs, 0 that it is no word.

    `bag` predicts a word from the mean of those around it, instead of these from it.  Gradients are sparse: an update costs
    what its words cost, not what the vocabulary does.
    """

    kept: Tensor
    noise: Tensor

    def __init__(self, counts: Int[Tensor, "V"], *, dim: int = 100, window: int = 5, negatives: int = 5, subsample: float = 1e-3, bag: bool = False) -> None:
        super().__init__()
        self.window, self.negatives, self.bag = window, negatives, bag
        frequency = counts.double()
        self.register_buffer("kept", kept(frequency, subsample), persistent=False)
        noise = frequency.pow(NOISE).cumsum(0)
        self.register_buffer("noise", noise / noise[-1], persistent=False)
        self.input, self.output = (nn.Embedding(len(counts), dim, sparse=True) for _ in range(2))
        nn.init.uniform_(self.input.weight, -0.5 / dim, 0.5 / dim)
        nn.init.zeros_(self.output.weight)
        self.input.weight.register_hook(lambda found: shortened(found._indices()[0], found._values(), None, None, len(counts)))

    def forward(self, sentences: Padded, generator: torch.Generator) -> Loss:
        """The loss of all pairs (with `bag`: of all words with others around them); what is drawn is drawn from `generator`."""
        return self.loss(*self.pairs(sentences, generator), generator)

    def pairs(self, sentences: Padded, generator: torch.Generator) -> tuple[Int[Tensor, "P C"], Int[Tensor, "P"]]:
        """What is seen and what is to be said of it: a word and one near it, or with `bag` all around a word (PAD: none) and itself."""
        words, text = self.used(sentences, generator)
        around = windows(text, self.window, generator)
        if self.bag:
            some = around.near.any(1)
            return words[around.places[some]].masked_fill(~around.near[some], PAD), words[some]
        centre, column = around.near.nonzero(as_tuple=True)
        return words[centre][:, None], words[around.places[centre, column]]

    def used(self, sentences: Padded, generator: torch.Generator) -> tuple[Int[Tensor, "N"], Int[Tensor, "N"]]:
        """The words that are not left out, one sentence behind the other, and the sentence of each; unknown ones are not there at all."""
        there = (sentences.ids != PAD) & (sentences.ids != UNK)
        words, text = sentences.ids[there], there.nonzero()[:, 0]
        lucky = torch.rand(len(words), generator=generator, dtype=torch.float64).to(words.device) < self.kept[words]
        return words[lucky], text[lucky]

    def drawn(self, true: Int[Tensor, "P"], generator: torch.Generator) -> Int[Tensor, "P A"]:
        """The true words, each with words from the noise behind it."""
        coins = torch.rand(len(true), self.negatives, generator=generator, dtype=torch.float64).to(true.device)
        return torch.cat([true[:, None], torch.searchsorted(self.noise, coins, right=True)], 1)

    def loss(self, seen: Int[Tensor, "P C"], true: Int[Tensor, "P"], generator: torch.Generator) -> Loss:
        """Of P true words, where the mean of the words `seen` is known (PAD: none).

        Every pair moves its words as far as if it had come alone, as in the published program, which sees one after the other:
        the gradient of the mean over P pairs, P times as long.  So does every word of a bag.
        """
        asked = self.drawn(true, generator)
        mean = embedding_bag(seen, self.input.weight, mode="mean", sparse=True, padding_idx=PAD)
        scores = _Products.apply(self.output.weight, asked, mean)
        if scores.requires_grad:
            mean.register_hook(lambda gradient: gradient * (seen != PAD).sum(1, keepdim=True))
            scores.register_hook(lambda gradient: gradient * len(true))
        said = asked[:, 1:] != true[:, None]  # a noise word that is the true word says nothing
        total = softplus(-scores[:, 0]).sum() + (softplus(scores[:, 1:]) * said).sum()
        return Loss(total, torch.tensor(len(true), device=total.device), total)
