"""The laws of watching: whoever looks at the weights sees all of them, by name, and changes nothing."""

import pytest
import torch

from saccade.attention import watching
from saccade.attention.masks import causal

from .parts import BLIND, DECODERS, ENCODERS, VARIANTS, B, S, V, make_encoder, pad, setup, sources
from .test_attention import EXACT, ask, draw, every_score, make_attention, make_multi_head


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.endswith("-lm")])
def test_weights_of_a_decoder_are_named_by_where_they_arose(name: str) -> None:
    decoder, encoding = setup(name)
    memory, state = decoder.start(encoding, B)
    tokens = torch.randint(V, (B, 4))
    plain, _ = decoder(tokens, state, memory)
    with watching(decoder) as seen:
        watched, _ = decoder(tokens, state, memory)
    torch.testing.assert_close(watched, plain, atol=1e-5 * ("pattern" in VARIANTS[name]), rtol=0)  # a kernel by blocks stands aside
    attended = {name.rsplit(".", 1)[-1] for name in seen}
    assert attended <= {"cross_attention", "self_attention"}
    assert ("cross_attention" in attended) == (name not in BLIND)
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
