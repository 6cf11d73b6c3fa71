"""From counts to chances: Kneser-Ney, modified Kneser-Ney, Good-Turing, add-k, all as one table of chances and back-offs.

    P(w | h) = chance(h w) if h w was seen, else backoff(h) P(w | h without its first symbol)

Interpolated models take that form as well: the chance of what was seen has its share of the lower orders in it already.
PAD and BOS have probability 0; every other symbol, seen or not, has some.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ..types import BOS, PAD
from ._counts import Level, continuation_levels


class Tables(NamedTuple):
    """An n-gram model of any origin.  Logarithms are natural."""

    keys: list[Int[np.ndarray, "_"]]
    """Of orders 2 and up, as in `_counts`."""
    chances: list[Float[np.ndarray, "_"]]
    """log P(w | h) of each n-gram, from order 1 on."""
    backoffs: list[Float[np.ndarray, "_"]]
    """log backoff(h) of each n-gram as a context, up to the order below the highest."""


class Estimate(NamedTuple):
    """What one level says: the chance of each of its n-grams, and the back-off of each n-gram one shorter."""

    chances: Float[np.ndarray, "N"]
    backoffs: Float[np.ndarray, "M"]


class Seen(NamedTuple):
    """A level, beside what the level below thinks of it."""

    counts: Int[np.ndarray, "N"]
    contexts: Int[np.ndarray, "N"]
    """The row of each n-gram's context in the level below."""
    totals: Float[np.ndarray, "M"]
    """How often anything was seen after each context."""
    lower: Float[np.ndarray, "N"]
    """P(w | h without its first symbol)."""
    full: Bool[np.ndarray, "N"]
    """Could its context be no longer: at the highest order, and after BOS?"""

    sayable: int
    """How many symbols there are but for PAD and BOS."""

    def after(self, of: Shaped[np.ndarray, "N"]) -> Float[np.ndarray, "M"]:
        """The sum of `of` over all that was seen after each context."""
        return np.bincount(self.contexts, of, minlength=len(self.totals)).astype(float)  # of nothing numpy makes whole numbers


def smooth(levels: list[Level], smoothing: str, k: float, katz: int) -> Tables:
    """The tables of `levels` by one of four rules."""
    rules: dict[str, Callable[[Seen], Estimate]] = {
        "kneser_ney": partial(absolute, discounts=plain_discounts),
        "modified_kneser_ney": partial(absolute, discounts=modified_discounts),
        "good_turing": partial(good_turing, katz=katz),
        "add_k": partial(add_k, k=k),
    }
    vocab, contexts = len(levels[0].keys), 1
    chances: list[np.ndarray] = [uniform(vocab)]
    backoffs: list[np.ndarray] = []
    for level in continuation_levels(levels) if smoothing.endswith("kneser_ney") else levels:
        where = level.keys // vocab if backoffs else np.zeros(vocab, np.int64)
        totals = np.bincount(where, level.counts, minlength=contexts).astype(float)
        seen = Seen(level.counts, where, totals, chances[-1][level.suffixes], level.begins | (len(chances) == len(levels)), vocab - 2)
        for found, into in zip(rules[smoothing](seen), (chances, backoffs), strict=True):
            into.append(found)
        contexts = len(level.keys)
    with np.errstate(divide="ignore"):  # PAD and BOS are never said
        return Tables([level.keys for level in levels[1:]], [np.log(each) for each in chances[1:]], [np.log(each) for each in backoffs[1:]])


def uniform(vocab: int) -> Float[np.ndarray, "V"]:
    """Order 0: every symbol that can be said is as likely as any other."""
    chances = np.full(vocab, 1 / (vocab - 2))
    chances[[PAD, BOS]] = 0.0
    return chances


def share(parts: Float[np.ndarray, "*shape"], wholes: Float[np.ndarray, "*shape"], otherwise: float) -> Float[np.ndarray, "*shape"]:
    """parts / wholes, `otherwise` where there is no whole."""
    return np.divide(parts, wholes, out=np.full(len(wholes), otherwise), where=wholes > 0)


def absolute(seen: Seen, discounts: Callable[[Int[np.ndarray, "4"]], Float[np.ndarray, "4"]]) -> Estimate:
    """Absolute discounting, interpolated: Chen and Goodman (1999), sections 2.6 to 3."""
    taken = discounts(np.bincount(seen.counts, minlength=5)[1:5])[np.minimum(seen.counts, 3)]
    backoffs = share(seen.after(taken), seen.totals, 1.0)
    own = share(seen.counts - taken, seen.totals[seen.contexts], 0.0)
    return Estimate(own + backoffs[seen.contexts] * seen.lower, backoffs)


def plain_discounts(met: Int[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """By the counts of counts n1 to n4: n1 / (n1 + 2 n2) from every count (Ney, Essen and Kneser 1994); 0.5 where n1 or n2 is 0."""
    once, twice = met[:2]
    return np.array([0.0, *[once / (once + 2 * twice) if once and twice else 0.5] * 3])


def modified_discounts(met: Int[np.ndarray, "4"]) -> Float[np.ndarray, "4"]:
    """From counts of 1, 2, and 3 or more: Chen and Goodman (1999), section 3; KenLM's 0.5, 1 and 1.5 where these are impossible."""
    if met.all():
        once, twice, thrice, four_times = met
        rate = once / (once + 2 * twice)
        found = np.array([1 - 2 * rate * twice / once, 2 - 3 * rate * thrice / twice, 3 - 4 * rate * four_times / thrice])
        if (found > 0).all():
            return np.array([0.0, *found])
    return np.array([0.0, 0.5, 1.0, 1.5])


def good_turing(seen: Seen, katz: int) -> Estimate:
    """Back-off by Katz (1987): counts up to `katz` are discounted after Turing, and what that leaves goes to what was not seen.

    Where it leaves nothing, the total is taken to be one more, as SRILM does; where every symbol was seen, there is nothing to give.
    """
    kept = seen.counts * turing_discounts(np.bincount(seen.counts, minlength=katz + 2), katz)[np.minimum(seen.counts, katz + 1)]
    left = seen.totals - seen.after(kept)
    left[left < 1e-9] = 1.0
    left[seen.after(seen.counts > 0) == seen.sayable] = 0.0
    wholes = seen.after(kept) + left
    unseen = 1 - seen.after(seen.lower * (seen.counts > 0))
    backoffs = np.where(left > 0, share(left / wholes, unseen, 1.0), 1.0)
    return Estimate(np.where(seen.counts > 0, kept / wholes[seen.contexts], backoffs[seen.contexts] * seen.lower), backoffs)


def turing_discounts(met: Int[np.ndarray, "_"], katz: int) -> Float[np.ndarray, "_"]:
    """What is left of a count of 0, 1, ... `katz` and more, as a factor, by the counts of counts.

    If that is no discount (counts of counts do not fall as they should), `katz` is the next lower that works, or 0.
    """
    for most in range(katz, 0, -1):
        if met[1 : most + 1].all():
            counts = np.arange(1, most + 1)
            rest = (most + 1) * met[most + 1] / met[1]
            if rest < 1:
                found = ((counts + 1) * met[2 : most + 2] / (counts * met[1 : most + 1]) - rest) / (1 - rest)
                if ((found > 0) & (found < 1)).all():
                    return np.array([1.0, *found, *[1.0] * (katz + 1 - most)])
    return np.ones(katz + 2)


def add_k(seen: Seen, k: float) -> Estimate:
    """(c(h w) + k) / (c(h) + k V) after the longest context there can be, with no share of the shorter ones: Chen and Goodman (1999), section 2.1."""
    counts = seen.counts * seen.full
    added = k * seen.sayable
    totals = seen.after(counts) + added
    return Estimate((counts + added * seen.lower) / totals[seen.contexts], added / totals)
