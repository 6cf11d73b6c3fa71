"""Constraints on what may be said next: functions of the log-probabilities and the tokens so far.

A forbidden symbol gets -inf; what stays allowed keeps its own log-probability, so a sentence's score is still its own.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..types import Padded

SHORTLIST = 256
"""Symbols that are sorted at first; the most probable ones hold most of the chance."""

Constraint = Callable[[Float[Tensor, "R V"], Int[Tensor, "R T"], Int[Tensor, "R"]], Float[Tensor, "R V"]]
"""`constraint(log_probabilities, tokens, sentence)`: rows are hypotheses, `tokens` begin with the prompt, `sentence` says whose they are."""


def forbid(symbols: list[int]) -> Constraint:
    """Never say these."""

    def constraint(scores: Tensor, tokens: Tensor, sentence: Tensor) -> Tensor:
        return scores.index_fill(-1, torch.tensor(symbols, device=scores.device), float("-inf"))

    return constraint


def no_repeat(size: int) -> Constraint:
    """No run of `size` symbols twice in one sentence (Paulus et al. 2018, section 2.5)."""

    def constraint(scores: Tensor, tokens: Tensor, sentence: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length < size:
            return scores
        runs = tokens.unfold(1, size, 1)  # R N size: every run said so far
        ending = tokens[:, length - size + 1 :]  # R size-1: the beginning of the run that would come next
        again = (runs[..., :-1] == ending[:, None]).all(-1)
        banned = torch.where(again, runs[..., -1], tokens.new_full((), -1))
        blocked = torch.zeros_like(scores, dtype=torch.bool)
        rows = torch.arange(len(tokens), device=tokens.device)[:, None].expand_as(banned)
        blocked[rows[again], banned[again]] = True
        return scores.masked_fill(blocked, float("-inf"))

    return constraint


def forced_prefix(prefix: Padded, prompt: int) -> Constraint:
    """Each sentence (row of `prefix`) begins with its own symbols, after a prompt of `prompt` symbols."""

    def constraint(scores: Tensor, tokens: Tensor, sentence: Tensor) -> Tensor:
        place = tokens.shape[1] - prompt
        if place >= prefix.ids.shape[1]:
            return scores
        wanted = prefix.ids[sentence, place]
        only = torch.full_like(scores, float("-inf")).scatter(1, wanted[:, None], scores.gather(1, wanted[:, None]))
        return torch.where((place < prefix.lengths[sentence])[:, None], only, scores)

    return constraint


def temperature(degree: float) -> Constraint:
    """Chances to the power 1 / degree: below 1 the probable becomes more probable, at 0 it is certain (of equals the first)."""
    if degree == 0:
        return top_k(1)
    return lambda scores, tokens, sentence: scores / degree


def top_k(size: int) -> Constraint:
    """Only the `size` most probable symbols, of equals the first (Fan et al. 2018, section 5.1)."""

    def constraint(scores: Tensor, tokens: Tensor, sentence: Tensor) -> Tensor:
        if size >= scores.shape[1]:
            return scores
        least = scores.topk(size).values[:, -1:]  # where equals stand topk leaves open
        above, equal = scores > least, scores == least
        room = size - above.sum(1, keepdim=True)
        return scores.masked_fill(~(above | (equal & (equal.cumsum(1) <= room))), float("-inf"))

    return constraint


def top_p(mass: float) -> Constraint:
    """Only the nucleus: the fewest symbols that hold `mass` of the chance together, of equals the first (Holtzman et al. 2020, equation 2)."""
    return lambda scores, tokens, sentence: _fewest(scores, -scores, mass)


def typical(mass: float) -> Constraint:
    """Only symbols about as surprising as one expects: the fewest that hold `mass`, by distance from the entropy (Meister et al. 2023, equation 9)."""

    def constraint(scores: Tensor, tokens: Tensor, sentence: Tensor) -> Tensor:
        surprise = -scores.log_softmax(-1)
        entropy = (surprise.neg().exp() * surprise).nansum(1, keepdim=True)  # 0 times infinity is nothing
        return _fewest(scores, (surprise - entropy).abs(), mass)

    return constraint


def _fewest(scores: Float[Tensor, "R V"], cost: Float[Tensor, "R V"], mass: float) -> Float[Tensor, "R V"]:
    """The cheapest symbols, of equals the first, until they hold `mass` of the chance; at least one.  All are sorted only if a shortlist holds too little."""
    chances, vocab = scores.softmax(-1), scores.shape[1]
    for size in (SHORTLIST, vocab) if vocab > 2 * SHORTLIST else (vocab,):
        order = _cheapest(cost, size)
        price, held = cost.gather(1, order), chances.gather(1, order)
        kept = held.cumsum(1, dtype=torch.float64) - held < mass
        if (~kept & (price < price[:, -1:])).any(1).all():  # enough, before it matters who else costs as much as the last
            break
    return torch.full_like(scores, float("-inf")).scatter(1, order, scores.gather(1, order).masked_fill(~kept, float("-inf")))


def _cheapest(cost: Float[Tensor, "R V"], size: int) -> Int[Tensor, "R N"]:
    """The `size` cheapest symbols, in order; of equals the first come first."""
    if size == cost.shape[1]:
        return cost.argsort(dim=1, stable=True)
    near = cost.topk(size, largest=False).indices.sort(1).values
    return near.gather(1, cost.gather(1, near).argsort(dim=1, stable=True))
