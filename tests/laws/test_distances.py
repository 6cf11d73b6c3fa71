"""The laws of positions that change scores: against the published formulas, one pair of query and key at a time."""

import math

import pytest
import torch
from torch import Tensor, nn

from saccade.attention import MultiHead, watching
from saccade.attention.masks import causal
from saccade.attention.scores.scaled_dot import ScaledDot
from saccade.families import choose
from saccade.layers.positions import Distance, Position
from saccade.layers.positions.alibi import slopes_of

from .parts import POSITIONS

EXACT = {"atol": 1e-5, "rtol": 1e-5}
B, H, D = 2, 2, 8
DISTANCES = [name for name in POSITIONS if choose(Position, name)(D, H).distance(ahead=False) is not None]
every_distance = pytest.mark.parametrize("name", DISTANCES)
both_ways = pytest.mark.parametrize("ahead", [False, True])
SHAPES = [(1, 1), (1, 6), (3, 3), (3, 7), (5, 6)]


def make(name: str, ahead: bool) -> Distance:
    torch.manual_seed(0)
    distance = choose(Position, name)(D, H).distance(ahead=ahead)
    for weight in distance.parameters():
        nn.init.normal_(weight, std=0.5)
    return distance


def wave(distance: int) -> Tensor:
    """sin and cos of one distance: Vaswani et al. (2017), section 3.5."""
    angles = [distance / 10000 ** (2 * (i // 2) / D) for i in range(D)]
    return torch.tensor([math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(angles)])


def alibi(distance: Distance, query: Tensor, key: Tensor, head: int, away: int) -> Tensor:
    """q . k / sqrt(d) - |i - j| 2^(-8 h / H)"""
    return query @ key / math.sqrt(len(query)) - abs(away) * 2 ** (-8 * (head + 1) / H)


def relative(distance: Distance, query: Tensor, key: Tensor, head: int, away: int) -> Tensor:
    """Dai et al. (2019), section 3.3, the four terms."""
    width = len(query)
    far = (distance.key.weight @ wave(away))[head * width : (head + 1) * width]
    what, where = distance.asks_what[head, 0], distance.asks_where[head, 0]
    return (query @ key + query @ far + what @ key + where @ far) / math.sqrt(width)


FORMULAS = {"alibi": alibi, "relative": relative}


def score(distance: Distance, query: Tensor, keys: Tensor) -> Tensor:
    asked, bias = distance(query, keys.shape[2])
    return ScaledDot(D // H, D // H)(asked, keys) + bias


@both_ways
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_distance
def test_scores_are_the_formula_pair_by_pair(name: str, shape: tuple[int, int], ahead: bool) -> None:
    """Values, and gradients of query, keys and every weight; of keys behind their query only where one may look there."""
    distance, (asking, places) = make(name, ahead), shape
    query, keys = torch.randn(B, H, asking, D // H, requires_grad=True), torch.randn(B, H, places, D // H, requires_grad=True)
    seen = torch.ones(asking, places, dtype=torch.bool) if ahead else causal(asking, places)
    ours = score(distance, query, keys).masked_fill(~seen, 0.0)
    theirs = torch.zeros(B, H, asking, places)
    for b, h, i, j in ((b, h, i, j) for b in range(B) for h in range(H) for i in range(asking) for j in range(places) if seen[i, j]):
        theirs[b, h, i, j] = FORMULAS[name](distance, query[b, h, i], keys[b, h, j], h, places - asking + i - j)
    torch.testing.assert_close(ours, theirs, **EXACT)
    direction, learning = torch.randn(ours.shape), [query, keys, *distance.parameters()]
    found, expected = (torch.autograd.grad((said * direction).sum(), learning) for said in (ours, theirs))
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("masked", [True, False])
@every_distance
def test_the_fused_kernel_scores_by_distance_too(name: str, masked: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = MultiHead(D, D, ScaledDot, heads=H, distance=make(name, True))
    x, mask = torch.randn(B, 70, D), causal(70, 70)[None, None] if masked else None
    attention = attention.to(getattr(torch, precision))
    x = x.to(getattr(torch, precision))
    with watching(attention) as seen:
        plain = attention(x, *attention.project(x), mask)
    monkeypatch.setattr(attention, "fused", lambda *_: True)
    fused = attention(x, *attention.project(x), mask)
    torch.testing.assert_close(fused, plain, atol=1e-5 if precision == "float32" else 0.02, rtol=1e-5 if precision == "float32" else 0.05)
    assert fused.dtype == x.dtype
    assert len(seen["attention"]) == 1


def test_slopes_between_powers_of_two_are_the_authors() -> None:
    assert slopes_of(8) == [2.0**-i for i in range(1, 9)]
    assert slopes_of(1) == [2.0**-8]
    assert slopes_of(6) == [2.0**-2, 2.0**-4, 2.0**-6, 2.0**-8, 2.0**-1, 2.0**-3]
    assert len(slopes_of(12)) == 12
