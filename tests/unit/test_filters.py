"""What temperature, top-k, top-p and typical leave of one row, beside plain Python."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.search import Sampling
from saccade.search.constraints import temperature, top_k, top_p, typical
from tests.laws.twins import cut

CUTS = [{"top_k": k} for k in (1, 2, 7, 50)] + [{"top_p": p} for p in (1e-6, 0.3, 0.9, 0.999)] + [{"typical": p} for p in (1e-6, 0.2, 0.7, 0.99)]
CUTS += [{"temperature": 0.3}, {"temperature": 0.0}, {"temperature": 0.5, "top_k": 12, "top_p": 0.9, "typical": 0.8}]


def left(rule: Any, scores: Tensor) -> Tensor:
    """Under one constraint."""
    return rule(scores, torch.zeros(len(scores), 1, dtype=torch.long), torch.arange(len(scores)))


def filtered(scores: Tensor, sampling: Sampling) -> Tensor:
    """After all of a sampling's."""
    for rule in sampling.filters():
        scores = left(rule, scores)
    return scores


@pytest.mark.parametrize("kind", ["smooth", "sharp", "tied", "forbidden"])
@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_what_is_left_is_what_plain_python_leaves(cuts: dict[str, Any], kind: str) -> None:
    scores = torch.randn(40, 31, generator=torch.Generator().manual_seed(3)) * (4.0 if kind == "sharp" else 1.0)
    if kind == "tied":
        scores = scores.round()
    if kind == "forbidden":
        scores[:, ::3] = float("-inf")
    before, sampling = scores.clone(), Sampling(**cuts)
    found = filtered(scores, sampling)
    assert torch.equal(scores, before)
    for one, own in zip(found, scores.tolist(), strict=True):
        kept = cut(own, sampling)
        assert {symbol for symbol, score in enumerate(one.tolist()) if score > -math.inf} == set(kept)
        chances = one.softmax(-1)
        for symbol, chance in kept.items():
            assert chances[symbol].item() == pytest.approx(chance / sum(kept.values()), abs=1e-5)


def test_what_stays_keeps_its_own_log_probability() -> None:
    scores = torch.randn(5, 9).log_softmax(-1)
    for rule in (top_k(3), top_p(0.6), typical(0.6), temperature(0.0)):
        found = left(rule, scores)
        kept = found > float("-inf")
        assert kept.any(1).all()
        assert not kept.all()
        assert torch.equal(found[kept], scores[kept])


HALVES = torch.tensor([[0.125, 0.5, 0.125, 0.25]]).log()


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        (top_p(0.5), [1]),  # the fewest that hold at least so much
        (top_p(0.51), [1, 3]),
        (top_p(0.75), [1, 3]),
        (top_p(0.76), [0, 1, 3]),  # of equals the first
        (top_k(3), [0, 1, 3]),
        (top_k(4), [0, 1, 2, 3]),
        (typical(0.2), [3]),  # entropy 1.75 bits: the symbol of 2 bits is the most typical, not the most probable one
        (typical(0.3), [1, 3]),
        (temperature(0.0), [1]),
    ],
)
def test_the_edge_belongs_inside(rule: Any, kept: list[int]) -> None:
    assert (left(rule, HALVES)[0] > float("-inf")).nonzero()[:, 0].tolist() == kept


def test_equal_symbols_are_kept_from_the_first_on() -> None:
    same = torch.zeros(2, 8)
    for rule in (top_k(3), top_p(0.375), typical(0.375)):
        assert (left(rule, same) == 0).tolist() == [[True] * 3 + [False] * 5] * 2


@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("cuts", [{"top_p": 0.05}, {"top_p": 0.9}, {"typical": 0.05}, {"typical": 0.9}], ids=str)
def test_a_shortlist_leaves_what_sorting_everything_leaves(cuts: dict[str, Any], spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it holds enough (sharp) or not (flat), also where equals stand around its end."""
    monkeypatch.setattr("saccade.search.constraints.SHORTLIST", 5)
    scores = (torch.randn(60, 40, generator=torch.Generator().manual_seed(1)) * spread * 4).round() / 4
    found = filtered(scores, Sampling(**cuts))
    for one, own in zip(found.tolist(), scores.tolist(), strict=True):
        assert {symbol for symbol, score in enumerate(one) if score > -math.inf} == set(cut(own, Sampling(**cuts)))
    each = torch.cat([filtered(row[None], Sampling(**cuts)) for row in scores])  # a row alone may do with the shortlist
    assert torch.equal(found, each)
