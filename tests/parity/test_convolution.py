"""Against F.conv1d and the published formulas: causal convolution, the gates, WaveNet as a whole, and generation with and without queues."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.decoders.convolutional import Convolutional
from saccade.layers.convolution import CausalConv
from saccade.types import Encoding

EXACT = {"atol": 1e-5, "rtol": 1e-5}
V, D, B, T = 7, 6, 2, 9


def shake(module: nn.Module) -> None:
    """Weights large enough that each of them shows."""
    for weight in module.parameters():
        nn.init.normal_(weight, std=0.4)


def conv1d(x: Tensor, conv: CausalConv) -> Tensor:
    """B T D to B T D by torch's convolution, padded on the left."""
    weight = conv.linear.weight.unflatten(1, (conv.kernel, -1)).transpose(1, 2)
    return functional.conv1d(functional.pad(x.mT, (conv.context, 0)), weight, conv.linear.bias, dilation=conv.dilation).mT


def gradients(output: Tensor, leaves: list[Tensor], direction: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad((output * direction).sum(), leaves)


def expect_same(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    """Equal outputs and equal gradients of `leaves`, none of them zero."""
    torch.testing.assert_close(ours, theirs, **EXACT)
    direction = torch.randn_like(ours)
    found, expected = gradients(ours, leaves, direction), gradients(theirs, leaves, direction)
    assert all(each.abs().max() > 0 for each in expected)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_causal_convolution_is_torchs_padded_on_the_left(kernel: int, dilation: int) -> None:
    conv, x = CausalConv(D, 5, kernel=kernel, dilation=dilation), torch.randn(B, T, D, requires_grad=True)
    ours, after = conv(x, conv.start(B))
    assert after.shape == (B, (kernel - 1) * dilation, D)
    expect_same(ours, conv1d(x, conv), [x, *conv.parameters()])


def test_a_gated_linear_unit_is_dauphins_equation_1() -> None:
    """h(X) = (X * W + b) . sigmoid(X * V + c), then once more, each with a way around it."""
    decoder = Convolutional(V, None, dim=D, layers=2, kernel=3, dropout=0.0)
    shake(decoder)
    tokens = torch.randint(V, (B, T))
    x = decoder.embedding(tokens)
    for layer in decoder.layers:
        both = conv1d(x, layer.conv)
        x = x + both[..., :D] * both[..., D:].sigmoid()
    expect_same(decoder(tokens, decoder.start(None, B)[1], None)[0], decoder.output(x), list(decoder.parameters()))


def test_a_bottleneck_has_a_linear_map_on_both_sides_and_relu_has_no_gate() -> None:
    decoder = Convolutional(V, None, dim=D, layers=2, kernel=3, gate="relu", bottleneck=4, dropout=0.0)
    shake(decoder)
    tokens = torch.randint(V, (B, T))
    x = decoder.embedding(tokens)
    for layer in decoder.layers:
        x = x + layer.onward(conv1d(layer.narrow(x), layer.conv).relu())
    expect_same(decoder(tokens, decoder.start(None, B)[1], None)[0], decoder.output(x), list(decoder.parameters()))


def wavenet(cycle: int = 2) -> Convolutional:
    decoder = Convolutional(V, None, dim=D, layers=4, kernel=2, gate="tanh", dilation="doubling", cycle=cycle, skip=5, tied=False, dropout=0.0)
    shake(decoder)
    return decoder


def test_wavenet_is_figure_4() -> None:
    """tanh(W_f * x) . sigmoid(W_g * x), 1 x 1 back and 1 x 1 aside, and two rectifiers over the sum of what went aside."""
    decoder = wavenet()
    assert [layer.conv.dilation for layer in decoder.layers] == [1, 2, 1, 2]
    tokens = torch.randint(V, (B, T))
    x, aside = decoder.embedding(tokens), 0
    for layer, image in zip(decoder.layers, decoder.skip.weight.split(D, 1), strict=True):
        both = conv1d(x, layer.conv)
        found = both[..., :D].tanh() * both[..., D:].sigmoid()
        aside = aside + found @ image.T
        x = x if layer.onward is None else x + layer.onward(found)
    said = decoder.output(decoder.mix((aside + decoder.skip.bias).relu()).relu())
    expect_same(decoder(tokens, decoder.start(None, B)[1], None)[0], said, list(decoder.parameters()))


def test_a_source_is_looked_at_once_a_layer() -> None:
    """What was found asks; the answer is added before the way on (Gehring et al. 2017, equations 1 and 2, keys being values)."""
    decoder = Convolutional(V, 4, dim=D, layers=2, kernel=2, dropout=0.0)
    shake(decoder)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    encoding = Encoding(torch.randn(B, 3, 4), mask, torch.randn(B, 4))
    tokens = torch.randint(V, (B, T))
    x = decoder.embedding(tokens)
    for layer in decoder.layers:
        found = functional.glu(conv1d(x, layer.conv), -1)
        scores = found @ layer.cross_attention.score.key(encoding.outputs).mT
        weights = scores.masked_fill(~mask[:, None], float("-inf")).softmax(-1)
        x = x + found + layer.answer(weights @ encoding.outputs)
    memory, state = decoder.start(encoding, B)
    expect_same(decoder(tokens, state, memory)[0], decoder.output(x), list(decoder.parameters()))


@pytest.mark.parametrize("whole", [True, False], ids=["prefix", "field"])
def test_generation_with_queues_says_what_reading_everything_again_says(whole: bool) -> None:
    """Whether all that was said is read again or only as much as the model can hear."""
    decoder = wavenet(cycle=3).eval()
    tokens = torch.randint(V, (B, 40))
    memory, state = decoder.start(None, B)
    for place in range(40):
        cached, state = decoder(tokens[:, place : place + 1], state, memory)
        begin = 0 if whole else max(0, place + 1 - decoder.receptive_field)
        again, _ = decoder(tokens[:, begin : place + 1], decoder.start(None, B)[1], memory)
        if whole or begin > 0 or place + 1 == decoder.receptive_field:
            torch.testing.assert_close(cached[:, 0], again[:, -1], **EXACT)
