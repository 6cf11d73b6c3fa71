"""The laws of attention, for every score and any leading axes: a masked average that does not mind who watches."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.attention import Attention, MultiHead, watching
from saccade.attention.attention import FUSED_KEYS_ON_CPU
from saccade.attention.masks import causal, padding
from saccade.attention.scores import Score
from saccade.attention.softmax import masked_softmax
from saccade.errors import UsageError
from saccade.families import choose, find

from .parts import SCORES

LONG = FUSED_KEYS_ON_CPU[torch.float32]

EXACT = {"atol": 1e-5, "rtol": 1e-5}
WIDTH, QUERIES, KEYS = 4, 3, 5
LEADS = [(), (2,), (2, 3)]
every_score = pytest.mark.parametrize("score", SCORES)
every_lead = pytest.mark.parametrize("lead", LEADS, ids=["alone", "batch", "heads"])


def make_attention(score: str, dropout: float = 0.0) -> Attention:
    attention = Attention(choose(Score, score)(WIDTH, WIDTH), dropout=dropout)
    for weight in attention.parameters():
        nn.init.normal_(weight)
    return attention


def make_multi_head(score: str, heads: int = 2, dropout: float = 0.0) -> MultiHead:
    attention = MultiHead(8, 6, choose(Score, score), heads=heads, dropout=dropout)
    for weight in attention.parameters():
        nn.init.normal_(weight, std=0.5)
    return attention


def draw(lead: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Query, keys, values and a mask where every query sees something."""
    mask = torch.rand(*lead, QUERIES, KEYS) < 0.6
    mask[..., 2] = True
    return torch.randn(*lead, QUERIES, WIDTH), torch.randn(*lead, KEYS, WIDTH), torch.randn(*lead, KEYS, 7), mask


def ask(attention: Attention, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    return attention(query, attention.prepare(keys), values, mask)


@every_lead
@every_score
def test_attention_is_a_masked_average(score: str, lead: tuple[int, ...]) -> None:
    attention = make_attention(score)
    query, keys, values, mask = draw(lead)
    context, weights = ask(attention, query, keys, values, mask)
    assert (weights >= 0).all()
    assert (weights[~mask] == 0).all()
    assert (weights[mask] > 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(*lead, QUERIES), **EXACT)
    torch.testing.assert_close(context, torch.einsum("...qs,...sd->...qd", weights, values), **EXACT)


@every_lead
@every_score
def test_what_is_hidden_might_as_well_not_be_there(score: str, lead: tuple[int, ...]) -> None:
    attention = make_attention(score)
    query, keys, values, _ = draw(lead)
    seen = torch.tensor([True, False, True, True, False])
    masked, weights = ask(attention, query, keys, values, seen.expand(*lead, QUERIES, KEYS))
    removed, fewer = ask(attention, query, keys[..., seen, :], values[..., seen, :])
    torch.testing.assert_close(masked, removed, **EXACT)
    torch.testing.assert_close(weights[..., seen], fewer, **EXACT)


@every_lead
@every_score
def test_the_order_of_the_keys_does_not_matter(score: str, lead: tuple[int, ...]) -> None:
    attention = make_attention(score)
    query, keys, values, mask = draw(lead)
    order = torch.tensor([3, 0, 4, 1, 2])
    context, weights = ask(attention, query, keys, values, mask)
    turned, turned_weights = ask(attention, query, keys[..., order, :], values[..., order, :], mask[..., order])
    torch.testing.assert_close(turned, context, **EXACT)
    torch.testing.assert_close(turned_weights, weights[..., order], **EXACT)


@every_score
def test_leading_axes_and_queries_do_not_meet(score: str) -> None:
    attention = make_attention(score)
    query, keys, values, mask = draw((2, 3))
    together, _ = ask(attention, query, keys, values, mask)
    for b in range(2):
        for h in range(3):
            for q in range(QUERIES):
                alone, _ = ask(attention, query[b, h, q : q + 1], keys[b, h], values[b, h], mask[b, h, q : q + 1])
                torch.testing.assert_close(alone[0], together[b, h, q], **EXACT)


@pytest.mark.parametrize("width", [1, QUERIES])
@every_lead
@every_score
def test_a_blind_query_gathers_zeros_and_sends_zeros_back(score: str, lead: tuple[int, ...], width: int) -> None:
    attention = make_attention(score)
    query, keys, values, mask = draw(lead)
    mask = mask[..., :width, :].clone()
    mask[..., 0, :] = False  # with one row of mask for all queries, every query is blind
    leaves = [x.requires_grad_() for x in (query, keys, values)]
    context, weights = ask(attention, query, keys, values, mask)
    blind = slice(None) if width == 1 else slice(0, 1)
    assert (context[..., blind, :] == 0).all()
    assert (weights[..., blind, :] == 0).all()
    with torch.autograd.set_detect_anomaly(True):  # a NaN on the way is an error, even if a later step should hide it
        gradients = torch.autograd.grad((context * torch.randn_like(context))[..., blind, :].sum(), [*leaves, *attention.parameters()], retain_graph=True)
    assert all((gradient == 0).all() for gradient in gradients)
    everything = torch.autograd.grad(context.square().sum(), [*leaves, *attention.parameters()])
    assert all(gradient.isfinite().all() for gradient in everything)
    assert width == 1 or all((gradient != 0).any() for gradient in everything)


@every_score
def test_a_sentence_that_may_see_nothing_adds_nothing_to_any_gradient(score: str) -> None:
    attention = make_multi_head(score)
    query, memory = torch.randn(2, 3, 8, requires_grad=True), torch.randn(2, 5, 6, requires_grad=True)
    mask = padding(torch.tensor([[True] * 4 + [False], [False] * 5]))
    said = attention(query, *attention.project(memory), mask)
    torch.testing.assert_close(said[1], attention.output.bias.expand(3, 8))
    for gradient in torch.autograd.grad(said.square().sum(), [query, memory]):
        assert gradient.isfinite().all()
        assert (gradient[0, :3] != 0).any()
        assert (gradient[1] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@every_score
def test_a_hidden_key_takes_nothing_however_well_it_answers(score: str, dtype: torch.dtype) -> None:
    attention = make_attention(score).to(dtype)
    query, keys, values = torch.ones(2, WIDTH, dtype=dtype), -torch.rand(KEYS, WIDTH).to(dtype), torch.randn(KEYS, 7).to(dtype)
    compared = attention.score.compare(query, attention.prepare(keys))
    mask = torch.ones(2, KEYS, dtype=torch.bool)
    mask[0] = False
    mask[1, compared[1].argmax()] = False
    query = (query * (100 if dtype == torch.float16 else 1e6)).requires_grad_()  # dot products far below zero, hidden ones the least so
    context, weights = ask(attention, query, keys, values, mask)
    assert context.dtype == dtype
    assert (context[0] == 0).all()
    assert (weights[~mask] == 0).all()
    torch.testing.assert_close(weights[1].float().sum(), torch.tensor(1.0), atol=1e-2, rtol=0)
    context.float().sum().backward()
    assert query.grad.isfinite().all()


class Constant(Score):
    """Every key answers every query equally well."""

    def compare(self, query: Tensor, prepared: Tensor) -> Tensor:
        return query.new_zeros(*query.shape[:-1], prepared.shape[-2])


@every_lead
def test_a_constant_score_is_the_mean(lead: tuple[int, ...]) -> None:
    query, keys, values, mask = draw(lead)
    context, _ = Attention(Constant(WIDTH, WIDTH))(query, keys, values)
    torch.testing.assert_close(context, values.mean(-2, keepdim=True).expand_as(context), **EXACT)
    context, _ = Attention(Constant(WIDTH, WIDTH))(query, keys, values, mask)
    kept = mask[..., None].float()
    torch.testing.assert_close(context, (values.unsqueeze(-3) * kept).sum(-2) / kept.sum(-2), **EXACT)


def additive(score: Any, query: Tensor, key: Tensor) -> Tensor:
    return score.energy.weight[0] @ torch.tanh(score.query.weight @ query + score.key.weight @ key)


FORMULAS = {
    "dot": lambda score, query, key: query @ key,
    "scaled_dot": lambda score, query, key: query @ key / WIDTH**0.5,
    "general": lambda score, query, key: query @ (score.key.weight @ key),
    "additive": additive,
}
"""The published equations, one query and one key at a time."""


@pytest.mark.parametrize("name", FORMULAS)
def test_a_score_is_what_the_paper_says(name: str) -> None:
    score = make_attention(name).score
    query, keys, _, _ = draw((2,))
    found = score(query, keys)
    for b in range(2):
        written = torch.stack([torch.stack([FORMULAS[name](score, query[b, q], keys[b, s]) for s in range(KEYS)]) for q in range(QUERIES)])
        torch.testing.assert_close(found[b], written, **EXACT)


@every_score
def test_a_score_that_calls_itself_a_dot_product_is_one(score: str) -> None:
    attention = make_attention(score)
    query, keys, _, _ = draw((2,))
    factor = attention.score.dot_factor(WIDTH)
    prepared = attention.prepare(keys)
    if factor is None:
        heads = make_multi_head(score)
        with torch.no_grad():
            assert not heads.fused(query[:, None], torch.zeros(2, 1, LONG, WIDTH))
    else:
        torch.testing.assert_close(attention.score.compare(query, prepared), factor * query @ prepared.mT, **EXACT)


def kernels_called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls = []
    real = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


MASKS = {
    "none": lambda: None,
    "padding": lambda: padding(torch.arange(LONG) < torch.tensor([LONG, LONG - 20])[:, None]),
    "causal": lambda: causal(4, LONG)[None, None],
    "blind": lambda: padding(torch.arange(LONG) < torch.tensor([LONG, 0])[:, None]),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("score", SCORES)
def test_watching_changes_no_output_and_no_gradient(score: str, mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attention, hidden = make_multi_head(score).eval(), MASKS[mask]()
    query, memory = torch.randn(2, 4, 8), torch.randn(2, LONG, 6)
    calls = kernels_called(monkeypatch)
    leaves = [query.requires_grad_(), memory.requires_grad_(), *attention.parameters()]
    fused = attention(query, *attention.project(memory), hidden)
    dot = attention.attention.score.dot_factor(4) is not None
    assert len(calls) == dot
    with watching(attention) as seen:
        watched = attention(query, *attention.project(memory), hidden)
    assert len(calls) == dot
    torch.testing.assert_close(watched, fused, **EXACT)
    direction = torch.randn(fused.shape)
    ours, theirs = (torch.autograd.grad((output * direction).sum(), leaves) for output in (watched, fused))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-5)
    if mask == "blind":
        torch.testing.assert_close(fused[1], attention.output.bias.expand(4, 8))
        assert all((gradient[1] == 0).all() for gradient in (*ours[:2], *theirs[:2]))
    assert seen["attention"][0].shape == (2, 2, 4, LONG)


@pytest.mark.parametrize(("dtype", "enough"), FUSED_KEYS_ON_CPU.items())
def test_few_keys_do_not_pay_for_the_kernel(dtype: torch.dtype, enough: int, monkeypatch: pytest.MonkeyPatch) -> None:
    attention, calls = make_multi_head("scaled_dot").to(dtype), kernels_called(monkeypatch)
    query, memory = torch.randn(2, 4, 8, dtype=dtype), torch.randn(2, enough, 6, dtype=dtype)
    with torch.no_grad():
        attention(query, *attention.project(memory[:, 1:]))
        assert not calls
        attention(query, *attention.project(memory))
        assert calls


def test_masks_are_true_where_one_may_look() -> None:
    assert causal(3, 3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]
    assert padding(torch.tensor([[True, False]])).tolist() == [[[[True, False]]]]


@pytest.mark.parametrize("name", ["dot", "scaled_dot"])
def test_a_dot_product_of_different_sizes_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        find(Score, name)(4, 6)
    assert refused.value.code == "C012"
    assert refused.value.headline == f"score {name!r} multiplies queries and keys as they are: 4 and 6 features differ"
    assert refused.value.parts["fix"] == ["equal sizes, or score = 'general'"]


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        MultiHead(12, 8, choose(Score, "dot"), heads=5)
    assert (refused.value.code, refused.value.headline) == ("C012", "heads = 5 does not divide dim = 12")
    assert refused.value.parts["fix"] == ["heads could be 1, 2, 3, 4, 6, 12"]


def plain_softmax(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The formula, in torch's own words."""
    if mask is None:
        return scores.softmax(-1)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("keys", [1, 7, 8, 16, 17, 31, 32, 33])
def test_the_softmax_that_fills_registers_is_the_softmax(keys: int, dtype: torch.dtype, masked: bool) -> None:
    """However many keys: values, gradients, and blind rows."""
    scores = (3 * torch.randn(2, 3, 4, keys)).to(dtype).requires_grad_()
    mask = torch.rand(2, 1, 4, keys) < 0.6 if masked else None
    ours, theirs = masked_softmax(scores, mask), plain_softmax(scores, mask)
    tolerance = {"atol": 0.01, "rtol": 0.01} if dtype == torch.bfloat16 else {"atol": 1e-6, "rtol": 1e-5}
    torch.testing.assert_close(ours, theirs, **tolerance)
    direction = torch.randn(ours.shape).to(dtype)
    found, expected = (torch.autograd.grad((weights * direction).sum(), scores)[0] for weights in (ours, theirs))
    torch.testing.assert_close(found, expected, **tolerance)
    with torch.no_grad():
        assert torch.equal(masked_softmax(scores, mask), ours)
