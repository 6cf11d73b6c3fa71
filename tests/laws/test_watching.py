"""The laws of watching: whoever looks at the weights sees all of them, by name, and changes nothing."""

import pytest
import torch
from torch.nn import functional

from saccade.attention import watching
from saccade.attention.attention import FUSED_KEYS_ON_CPU
from saccade.attention.masks import causal, padding

from .parts import DECODERS, ENCODERS, SCORES, B, S, V, make_encoder, pad, setup, sources
from .test_attention import EXACT, ask, draw, every_score, make_attention, make_multi_head


def kernels_called(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls = []
    real = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or real(*a, **k))
    return calls


LONG = FUSED_KEYS_ON_CPU
MASKS = {
    "none": lambda: None,
    "padding": lambda: padding(torch.arange(LONG) < torch.tensor([LONG, 150])[:, None]),
    "causal": lambda: causal(4, LONG)[None, None],
    "blind": lambda: padding(torch.arange(LONG) < torch.tensor([LONG, 0])[:, None]),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("score", SCORES)
def test_watching_changes_no_output(score: str, mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attention, hidden = make_multi_head(score).eval(), MASKS[mask]()
    query, memory = torch.randn(2, 4, 8), torch.randn(2, LONG, 6)
    calls = kernels_called(monkeypatch)
    with torch.no_grad():
        fused = attention(query, *attention.project(memory), hidden)
        dot = attention.attention.score.dot_factor(4) is not None
        assert len(calls) == dot
        with watching(attention) as seen:
            watched = attention(query, *attention.project(memory), hidden)
        assert len(calls) == dot
    torch.testing.assert_close(watched, fused, **EXACT)
    torch.testing.assert_close(attention(query, *attention.project(memory), hidden), fused, **EXACT)
    assert len(calls) == dot  # on a CPU the kernel does not pay where gradients are wanted
    assert seen["attention"][0].shape == (2, 2, 4, LONG)


def test_few_keys_do_not_pay_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    attention, calls = make_multi_head("scaled_dot"), kernels_called(monkeypatch)
    with torch.no_grad():
        attention(torch.randn(2, 4, 8), *attention.project(torch.randn(2, LONG - 1, 6)))
    assert not calls


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.endswith("-lm")])
def test_weights_of_a_decoder_are_named_by_where_they_arose(name: str) -> None:
    decoder, encoding = setup(name)
    memory, state = decoder.start(encoding, B)
    tokens = torch.randint(V, (B, 4))
    plain, _ = decoder(tokens, state, memory)
    with watching(decoder) as seen:
        watched, _ = decoder(tokens, state, memory)
    assert torch.equal(plain, watched)
    attended = {name.rsplit(".", 1)[-1] for name in seen}
    assert attended <= {"cross_attention", "self_attention"}
    assert ("cross_attention" in attended) == (name != "recurrent-blind")
    for place, calls in seen.items():
        assert place in dict(decoder.named_modules())
        weights = torch.cat(calls, -2)
        assert not weights.requires_grad
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), **EXACT)
        if place.endswith("cross_attention"):
            assert weights.shape[-2:] == (4, S)
            assert (weights.movedim(-1, 1)[~encoding.mask] == 0).all()
        else:
            assert (weights.masked_select(~causal(4, 4)) == 0).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_weights_of_an_encoder_hide_the_padding(name: str) -> None:
    encoder, source = make_encoder(name), pad(sources())
    with watching(encoder) as seen:
        encoder(source)
    assert all(place in dict(encoder.named_modules()) for place in seen)
    for weights in (weights for calls in seen.values() for weights in calls):
        assert (weights.movedim(-1, 1)[~source.mask] == 0).all()


def test_watching_ends_and_watchers_do_not_share() -> None:
    attention, query, memory = make_multi_head("dot"), torch.randn(1, 2, 8), torch.randn(1, 3, 6)
    with watching(attention) as outer:
        with pytest.raises(KeyError), watching(attention) as inner:  # noqa: PT012
            attention(query, *attention.project(memory))
            raise KeyError
        attention(query, *attention.project(memory))
    attention(query, *attention.project(memory))
    assert (len(outer["attention"]), len(inner["attention"])) == (2, 1)
    assert not attention.attention.watched()


@every_score
def test_dropout_spares_the_weights_that_are_shown(score: str) -> None:
    attention = make_attention(score, dropout=0.5).train()
    query, keys, values, mask = draw((2, 3))
    plain, weights = ask(attention.eval(), query, keys, values, mask)
    dropped, shown = ask(attention.train(), query, keys, values, mask)
    assert torch.equal(shown, weights)
    assert not torch.allclose(dropped, plain)
