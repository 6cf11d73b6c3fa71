"""The laws of GPT's form: what its knobs change, against the formulas of the papers."""

import math

import pytest
import torch

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.layers.feedforward import FeedForward

SIZES = {"dim": 96, "layers": 8, "heads": 4, "position": {"name": "learned", "length": 300}}


def make(memory: int | None = None, **chosen: object) -> Decoder:
    torch.manual_seed(0)
    return choose(Decoder, "transformer", **SIZES, **chosen)(300, memory)


def spread(part: torch.nn.Module) -> float:
    return part.weight.std().item()


@pytest.mark.parametrize(("activation", "formula"), [("gelu", lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2), ("gelu_tanh", None)])
def test_both_gelus_are_the_published_formulas(activation, formula):
    """Hendrycks and Gimpel (2016), section 2: exact, and with a tanh; they differ by up to 5e-4."""
    tanh = lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))  # noqa: E731
    layer, x = FeedForward(4, 4, activation=activation).double(), torch.linspace(-4, 4, 400, dtype=torch.double).view(-1, 4)
    for linear in (layer.expand, layer.contract):
        torch.nn.init.eye_(linear.weight)
    torch.testing.assert_close(layer(x), (formula or tanh)(x), atol=1e-9, rtol=0)


@pytest.mark.parametrize("memory", [None, 96])
@pytest.mark.parametrize("how", ["gpt", "gpt2"])
def test_gpt_draws_every_matrix_alike_and_gpt2_the_adding_ones_smaller(how, memory):
    """Radford et al. (2018), section 4.1, and (2019), section 2.3: 1 / sqrt(N), N what is added to the residual stream (three a layer with a source)."""
    decoder = make(memory, initialisation=how)
    adding = 0.02 if how == "gpt" else 0.02 / math.sqrt(8 * (2 if memory is None else 3))
    for layer in decoder.layers:
        attentions = [layer.self_attention, *([layer.cross_attention] if memory else [])]
        for part in (*(each.output for each in attentions), layer.feed_forward.contract):
            assert spread(part) == pytest.approx(adding, rel=0.05)
        for part in (*(each.query for each in attentions), *(each.key_value for each in attentions), layer.feed_forward.expand):
            assert spread(part) == pytest.approx(0.02, rel=0.05)
        assert (layer.thinking.norm.weight == 1).all()
    assert spread(decoder.embedding) == pytest.approx(0.02, rel=0.05)
    assert spread(decoder.position.places) == pytest.approx(0.02, rel=0.05)
    assert all((weight == 0).all() for name, weight in decoder.named_parameters() if name.endswith("bias"))


def test_a_residual_stream_of_gpt2_grows_as_if_it_had_one_layer():
    """Section 2.3: with the smaller weights depth adds no spread; without them it grows like the root of the depth."""
    found = {}
    for how in ("gpt", "gpt2"):
        for layers in (2, 32):
            torch.manual_seed(0)
            decoder = choose(Decoder, "transformer", **{**SIZES, "layers": layers, "initialisation": how, "embedding_scale": False})(300, None).eval()
            seen = []
            handle = decoder.norm.register_forward_hook(lambda _m, given, _o, seen=seen: seen.append(given[0]))
            memory, state = decoder.start(None, 2)
            decoder(torch.randint(300, (2, 40)), state, memory)
            handle.remove()
            found[how, layers] = seen[0].std().item()
    assert found["gpt2", 32] < 1.3 * found["gpt2", 2]
    assert found["gpt", 32] > 2 * found["gpt", 2]


def test_embeddings_are_scaled_or_not():
    plain, scaled = make(embedding_scale=False), make(embedding_scale=True)
    ids = torch.tensor([[5, 7]])
    torch.testing.assert_close(plain.embedding(ids) * math.sqrt(96), scaled.embedding(ids))


def test_dropout_between_the_maps_has_its_own_rate():
    assert {layer.feed_forward.dropout.rate for layer in make(dropout=0.3).layers} == {0.3}
    decoder = make(dropout=0.3, activation_dropout=0.0)
    assert {layer.feed_forward.dropout.rate for layer in decoder.layers} == {0.0}
    assert {layer.thinking.dropout.rate for layer in decoder.layers} == {decoder.dropout.rate} == {0.3}
