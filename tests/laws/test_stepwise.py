"""Attention asked step by step is attention: contexts, and every gradient, whatever feeds what into the next step."""

import pytest
import torch
from torch import Tensor, nn

from saccade.attention import Attention, watching
from saccade.attention import stepwise as module
from saccade.attention.scores import Score
from saccade.attention.stepwise import asked_stepwise
from saccade.families import choose

from .parts import SCORES

DIM, ROWS, KEYS, STEPS = 6, 3, 5, 4
every_score = pytest.mark.parametrize("score", SCORES)
LENGTHS = {"none": None, "padding": torch.tensor([5, 3, 4]), "blind": torch.tensor([5, 0, 4])}


def make(score: str) -> tuple[Attention, nn.Linear, list[Tensor]]:
    """An attention, what joins its answer to the next question, and inputs that learn: queries, keys, values."""
    attention, join = Attention(choose(Score, score)(DIM, DIM)).double(), nn.Linear(2 * DIM, DIM).double()
    leaves = [torch.randn(ROWS, count, DIM, dtype=torch.float64, requires_grad=True) for count in (STEPS, KEYS, KEYS)]
    return attention, join, leaves


def mask_of(name: str) -> Tensor | None:
    lengths = LENGTHS[name]
    return None if lengths is None else (torch.arange(KEYS) < lengths[:, None])[:, None]


def fed_back(look: module.Look, join: nn.Linear, queries: Tensor) -> Tensor:
    """What each step found enters the next question."""
    found, asked = [], queries[:, :1]
    for place in range(STEPS):
        found.append(look(asked))
        asked = join(torch.cat([queries[:, place : place + 1], found[-1]], -1)).tanh()
    return torch.cat(found, 1)


@pytest.mark.parametrize("mask", LENGTHS)
@every_score
def test_asking_step_by_step_is_asking(score: str, mask: str) -> None:
    attention, join, leaves = make(score)
    (queries, keys, values), hidden = leaves, mask_of(mask)
    prepared = attention.prepare(keys)
    ours = fed_back(asked_stepwise(attention, prepared, values, hidden), join, queries)
    theirs = fed_back(lambda query: attention(query, prepared, values, hidden)[0], join, queries)
    torch.testing.assert_close(ours, theirs)
    direction, learning = torch.randn(ours.shape, dtype=torch.float64), [*leaves, *attention.parameters(), *join.parameters()]
    found, expected = (torch.autograd.grad((said * direction).sum(), learning, retain_graph=True) for said in (ours, theirs))
    torch.testing.assert_close(found, expected)
    if mask == "blind":
        assert (ours[1] == 0).all()
        assert (found[1][1] == 0).all()
        assert (found[2][1] == 0).all()


def test_a_second_way_back_counts_nothing_twice() -> None:
    attention, join, leaves = make("general")
    ours = fed_back(asked_stepwise(attention, attention.prepare(leaves[1]), leaves[2], None), join, leaves[0])
    first, second = (torch.autograd.grad(ours.square().sum(), leaves, retain_graph=True) for _ in range(2))
    torch.testing.assert_close(second, first)


def test_what_learns_nothing_may_stand_on_the_way() -> None:
    """Keys that learn beside values that do not, and the other way round."""
    attention, join, (queries, keys, values) = make("dot")
    for learner in (keys, values):
        pair = [each if each is learner else each.detach() for each in (keys, values)]
        (found,) = torch.autograd.grad(fed_back(asked_stepwise(attention, *pair), join, queries).sum(), learner)
        (expected,) = torch.autograd.grad(fed_back(lambda query, pair=pair: attention(query, *pair)[0], join, queries).sum(), learner)
        torch.testing.assert_close(found, expected)


@every_score
def test_under_autocast_it_is_near_the_plain_path(score: str) -> None:
    attention, join, leaves = make(score)
    attention, join, (queries, keys, values) = attention.float(), join.float(), [leaf.detach().float().requires_grad_() for leaf in leaves]
    hidden = mask_of("padding")
    with torch.autocast("cpu", torch.bfloat16):
        prepared = attention.prepare(keys)
        ours = fed_back(asked_stepwise(attention, prepared, values, hidden), join, queries)
        theirs = fed_back(lambda query: attention(query, prepared, values, hidden)[0], join, queries)
    torch.testing.assert_close(ours.float(), theirs.float(), atol=0.03, rtol=0.03)
    for one, other in zip(
        *(torch.autograd.grad(said.float().square().sum(), (queries, keys, values), retain_graph=True) for said in (ours, theirs)), strict=True
    ):
        assert (one - other).norm() < 0.03 * other.norm()


@pytest.mark.parametrize("reason", ["watched", "evaluation", "dropout", "score", "none"])
def test_the_fast_path_runs_only_where_it_says_the_same(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    real = module._Look.apply
    monkeypatch.setattr(module._Look, "apply", lambda *inputs: calls.append(1) or real(*inputs))
    attention, _, (queries, keys, values) = make("additive" if reason == "score" else "dot")
    if reason == "dropout":
        attention.dropout.rate = 0.5
    prepared = attention.prepare(keys)
    with watching(attention if reason == "watched" else nn.Identity()) as seen, torch.set_grad_enabled(reason != "evaluation"):
        asked_stepwise(attention, prepared, values)(queries)
    assert bool(calls) == (reason == "none")
    assert bool(seen) == (reason == "watched")
