"""What sampling cuts off, in plain Python: one row, a dictionary, a sorted list."""

import math
from collections.abc import Sequence

from saccade.search import Sampling

Chances = dict[int, float]


def normal(chances: Chances) -> Chances:
    """Adding up to 1."""
    return {symbol: chance / math.fsum(chances.values()) for symbol, chance in chances.items()}


def fewest(chances: Chances, order: Sequence[int], mass: float) -> Chances:
    """The first of `order` until they hold `mass` together."""
    kept, held = {}, 0.0
    for symbol in order:
        if held < mass:
            kept[symbol] = chances[symbol]
            held += chances[symbol]
    return kept


def cut_k(chances: Chances, size: int) -> Chances:
    """The `size` most probable; of equals the first."""
    return {symbol: chances[symbol] for symbol in sorted(chances, key=lambda symbol: (-chances[symbol], symbol))[:size]}


def cut_p(chances: Chances, mass: float) -> Chances:
    """The nucleus."""
    return fewest(chances, sorted(chances, key=lambda symbol: (-chances[symbol], symbol)), mass)


def cut_typical(chances: Chances, mass: float) -> Chances:
    """Those about as surprising as one expects."""
    entropy = -math.fsum(chance * math.log(chance) for chance in chances.values() if chance > 0)
    far = {symbol: abs(-math.log(chance) - entropy) if chance > 0 else math.inf for symbol, chance in chances.items()}
    return fewest(chances, sorted(chances, key=lambda symbol: (far[symbol], symbol)), mass)


def cut(scores: Sequence[float], sampling: Sampling) -> Chances:
    """What is left of `scores`, and how probable it is."""
    if sampling.temperature == 0:
        return {max(range(len(scores)), key=lambda symbol: (scores[symbol], -symbol)): 1.0}
    highest = max(scores)
    chances = normal({symbol: math.exp((score - highest) / sampling.temperature) for symbol, score in enumerate(scores) if score > -math.inf})
    if sampling.top_k:
        chances = normal(cut_k(chances, sampling.top_k))
    if sampling.top_p < 1:
        chances = normal(cut_p(chances, sampling.top_p))
    return normal(cut_typical(chances, sampling.typical)) if sampling.typical < 1 else chances
