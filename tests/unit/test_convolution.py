"""Causal convolution and its decoder: how far they hear, how large their state is, what they refuse."""

from typing import Any

import pytest
import torch
from torch import nn

from saccade.decoders.convolutional import Convolutional
from saccade.errors import UsageError
from saccade.layers.convolution import CausalConv

FIELDS = [
    ({"layers": 3, "kernel": 4}, 1 + 3 * 3),
    ({"layers": 1, "kernel": 1}, 1),
    ({"layers": 5, "kernel": 2, "dilation": "doubling", "cycle": 3, "gate": "tanh", "skip": 8}, 1 + 1 + 2 + 4 + 1 + 2),
    ({"layers": 3, "kernel": 3, "dilation": "doubling"}, 1 + 2 * (1 + 2 + 4)),
    ({"layers": 2, "kernel": 3, "bottleneck": 4}, 1 + 2 * 2),
]


@pytest.mark.parametrize(("chosen", "field"), FIELDS, ids=str)
def test_the_receptive_field_is_what_gradients_reach(chosen: dict[str, Any], field: int) -> None:
    """1 + the sum of (kernel - 1) x dilation: that many symbols, the last included, and no other."""
    decoder = Convolutional(6, None, dim=8, dropout=0.0, **chosen)
    for weight in decoder.parameters():
        nn.init.normal_(weight, std=0.5)
    assert decoder.receptive_field == field
    vectors: list[torch.Tensor] = []
    decoder.embedding.register_forward_hook(lambda _m, _i, output: vectors.append(output) or output.retain_grad())
    logits, _ = decoder(torch.randint(6, (1, field + 4)), decoder.start(None, 1)[1], None)
    logits[0, -2].square().sum().backward()
    reached = vectors[0].grad[0].abs().amax(-1) > 0
    assert reached.tolist() == [False] * 3 + [True] * field + [False]


@pytest.mark.parametrize("cut", [1, 2, 7])
def test_a_convolution_in_pieces_is_the_convolution(cut: int) -> None:
    conv, x = CausalConv(4, 3, kernel=3, dilation=2), torch.randn(2, 8, 4)
    whole, last = conv(x, conv.start(2))
    head, context = conv(x[:, :cut], conv.start(2))
    tail, after = conv(x[:, cut:], context)
    torch.testing.assert_close((torch.cat([head, tail], 1), after), (whole, last))
    assert torch.equal(last, x[:, -4:])


def test_the_state_does_not_grow() -> None:
    decoder = Convolutional(6, None, dim=8, layers=4, kernel=3, dilation="doubling", cycle=3, bottleneck=4).eval()
    state = decoder.start(None, 2)[1]
    sizes = [tuple(queue.shape) for queue in state]
    assert sizes == [(2, 2, 4), (2, 4, 4), (2, 8, 4), (2, 2, 4)]
    for length in (1, 30, 1):
        _, state = decoder(torch.randint(6, (2, length)), state, None)
        assert [tuple(queue.shape) for queue in state] == sizes
    assert decoder.bounded


def test_dropout_is_on_in_training_only() -> None:
    decoder = Convolutional(6, None, dim=8, layers=2, dropout=0.5)
    tokens, state = torch.randint(6, (2, 5)), decoder.start(None, 2)[1]
    assert not torch.equal(decoder(tokens, state, None)[0], decoder(tokens, state, None)[0])
    decoder.eval()
    assert torch.equal(decoder(tokens, state, None)[0], decoder(tokens, state, None)[0])


@pytest.mark.parametrize("name", ["layers", "kernel", "cycle"])
def test_counts_below_one_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=rf"C012\] {name} = 0: at least 1") as caught:
        Convolutional(6, None, dim=8, **{name: 0})
    assert f"fix   {name} = 1 or more" in str(caught.value)


@pytest.mark.parametrize("chosen", [{"skip": 5}, {"embedding": 5}, {"skip": 4, "embedding": 5}], ids=str)
def test_an_output_of_another_width_cannot_be_tied(chosen: dict[str, int]) -> None:
    said, width = chosen.get("skip", 8), chosen.get("embedding", 8)
    with pytest.raises(UsageError, match=rf"C012\] a tied output reads as many features as a symbol has: found {said} and {width}") as caught:
        Convolutional(6, None, dim=8, **chosen)
    assert "fix   tied = false, or embedding of that size" in str(caught.value)
    Convolutional(6, None, dim=8, tied=False, **chosen)
    Convolutional(6, None, dim=8, skip=5, embedding=5)
