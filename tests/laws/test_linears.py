"""The laws of linear maps: each is a real matrix, several at once are as many alone; and the quaternions' own."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.attention import MultiHead
from saccade.attention.scores.scaled_dot import ScaledDot
from saccade.decoders.transformer import Transformer as Decoder
from saccade.encoders.transformer import Transformer
from saccade.errors import UsageError
from saccade.families import choose
from saccade.layers.feedforward import FeedForward
from saccade.layers.linears import Linear
from saccade.layers.linears.quaternion import Quaternion
from saccade.layers.linears.real import Real

from .parts import LINEARS

every_linear = pytest.mark.parametrize("name", LINEARS)
IN, OUT = 8, 12


def make_linear(name: str, bias: bool = True, maps: int = 1) -> Linear:
    linear = choose(Linear, name)(IN, OUT, bias, maps)
    for weight in linear.parameters():
        nn.init.normal_(weight, std=0.5)
    return linear


def expect_same(said: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    """Forward and backward."""
    torch.testing.assert_close(said, expected, atol=1e-5, rtol=1e-5)
    found, wanted = (torch.autograd.grad(y.square().sum(), leaves, retain_graph=True) for y in (said, expected))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-5)


@every_linear
@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_map_is_its_matrix_and_every_weight_learns(name: str, bias: bool, maps: int) -> None:
    linear, x = make_linear(name, bias, maps), torch.randn(3, 5, IN, requires_grad=True)
    y = linear(x)
    assert y.shape == (3, 5, maps * OUT)
    shift = 0.0 if linear.bias is None else linear.bias
    expect_same(y, x @ linear.matrix().mT + shift, [x, *linear.parameters()])
    for few in (x[:1, :1], x[0, 0], x[:, :0]):  # a step of a search, or nothing yet
        expect_same(linear(few), few @ linear.matrix().mT + shift, [x, *linear.parameters()])
    assert [place for place, _ in linear.named_parameters()] == (["weight", "bias"] if bias else ["weight"])
    for gradient in torch.autograd.grad(y.square().sum(), list(linear.parameters())):
        assert (gradient != 0).all()


@every_linear
def test_maps_side_by_side_are_separate_maps(name: str) -> None:
    """Each with its own weights, drawn within its own bounds: two of them are not one of twice the size."""
    pair, x = make_linear(name, maps=2), torch.randn(4, IN)
    alone = [make_linear(name) for _ in range(2)]
    with torch.no_grad():
        for single, weight, bias in zip(alone, pair.weight.chunk(2), pair.bias.chunk(2), strict=True):
            single.weight.copy_(weight)
            single.bias.copy_(bias)
    torch.testing.assert_close(pair(x), torch.cat([single(x) for single in alone], -1))
    assert sum(weight.numel() for weight in pair.parameters()) == 2 * sum(weight.numel() for weight in alone[0].parameters())
    torch.manual_seed(0)
    pair.glorot()
    torch.manual_seed(0)
    for single in alone:
        single.glorot()
    assert torch.equal(pair.weight, torch.cat([single.weight for single in alone]))
    assert all((single.bias == 0).all() for single in (pair, *alone))


@every_linear
def test_a_linear_map_works_under_autocast(name: str) -> None:
    linear = make_linear(name)
    for rows in (1, 7):
        x = torch.randn(rows, IN, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            y = linear(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), linear(x), atol=0.05, rtol=0.05)
        found = torch.autograd.grad(y.float().square().sum(), [x, *linear.parameters()])
        assert all(gradient.dtype == torch.float32 and (gradient != 0).all() for gradient in found)


@every_linear
def test_a_fresh_map_begins_with_bounded_weights(name: str) -> None:
    """Glorot's bound sqrt(6 / (in + out)): the output varies as much as the input does, whatever the member."""
    torch.manual_seed(0)
    linear = choose(Linear, name)(64, 128)
    linear.glorot()
    assert linear.matrix().abs().max().item() == pytest.approx((6 / 192) ** 0.5, rel=0.01)


def test_a_real_map_is_torchs_own() -> None:
    torch.manual_seed(5)
    theirs = nn.Linear(IN, 2 * OUT)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    ours = Real(IN, OUT, maps=2)
    assert torch.equal(torch.get_rng_state(), after)
    assert torch.equal(ours.weight, theirs.weight)
    x = torch.randn(3, IN)
    assert torch.equal(ours(x), theirs(x))


def by_component(x: Tensor) -> Tensor:
    """[r | x | y | z], as the paper writes a vector of quaternions."""
    return x.unflatten(-1, (-1, 4)).mT.flatten(-2)


def published(weight: Tensor) -> Tensor:
    """The 4 x 4 blocks of Tay et al. (2019)."""
    r, x, y, z = weight.unbind(-1)
    return torch.cat([torch.cat(row, 1) for row in ((r, -x, -y, -z), (x, r, -z, y), (y, z, r, -x), (z, -y, x, r))])


def test_the_hamilton_product_is_the_published_block_matrix() -> None:
    """Forward and backward, but for the order of the features."""
    ours, x = Quaternion(16, 24).double(), torch.randn(5, 16, dtype=torch.float64, requires_grad=True)
    nn.init.normal_(ours.bias)
    leaves = (x, ours.weight, ours.bias)
    said, expected = by_component(ours(x)), functional.linear(by_component(x), published(ours.weight), by_component(ours.bias))
    torch.testing.assert_close(said, expected, atol=1e-12, rtol=0)
    found, wanted = (torch.autograd.grad(y.square().sum(), leaves) for y in (said, expected))
    torch.testing.assert_close(found, wanted, atol=1e-10, rtol=0)
    single = Quaternion(16, 24)
    x = torch.randn(5, 16)
    torch.testing.assert_close(by_component(single(x)), functional.linear(by_component(x), published(single.weight)), atol=1e-6, rtol=1e-6)


def product(p: Tensor, q: Tensor) -> Tensor:
    """Of two quaternions, through complex numbers: (a + bj)(c + dj) = (ac - b d*) + (ad + b c*)j."""
    a, b, c, d = (torch.view_as_complex(pair) for pair in (p[:2], p[2:], q[:2], q[2:]))
    return torch.cat([torch.view_as_real(a * c - b * d.conj()), torch.view_as_real(a * d + b * c.conj())])


def test_one_quaternion_times_another() -> None:
    """i j = k and not -k, and |W q| = |W| |q|."""
    linear = Quaternion(4, 4, False)
    for p, q in ((torch.randn(4), torch.randn(4)), (torch.eye(4)[1], torch.eye(4)[2])):
        with torch.no_grad():
            linear.weight.copy_(p)
        said = linear(q)
        torch.testing.assert_close(said, product(p, q), atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(said.norm(), p.norm() * q.norm(), atol=1e-6, rtol=1e-6)
    assert torch.equal(said, torch.eye(4)[3])


def test_quaternions_without_imaginary_parts_are_one_real_map_of_all_four_components() -> None:
    linear, x = Quaternion(IN, OUT, False), torch.randn(5, IN)
    with torch.no_grad():
        linear.weight[..., 1:] = 0.0
    torch.testing.assert_close(linear(x), (x.unflatten(-1, (-1, 4)).mT @ linear.weight[..., 0].mT).mT.flatten(-2))
    torch.testing.assert_close(by_component(linear(x)), by_component(x) @ torch.block_diag(*[linear.weight[..., 0]] * 4).mT)


def test_quaternions_have_exactly_a_quarter_of_the_weights() -> None:
    real, quaternion = ({place: weight.numel() for place, weight in Transformer(20, dim=16, linear=linear).named_parameters()} for linear in (Real, Quaternion))
    replaced = ("query.weight", "key_value.weight", "self_attention.output.weight", "expand.weight", "contract.weight")
    assert quaternion == {place: size // 4 if place.endswith(replaced) else size for place, size in real.items()}
    assert sum(place.endswith(replaced) for place in real) == 3 * len(replaced)


def test_the_published_sizes() -> None:
    """44 M, 29 M and 11 M weights outside the embeddings: real maps, quaternions in attention alone, quaternions throughout."""
    sizes = []
    for knobs in ({}, {"linear": Quaternion, "feed_forward_linear": Real}, {"linear": Quaternion}):
        with torch.device("meta"):
            sides = Transformer(8, dim=512, layers=6, heads=8, **knobs), Decoder(8, 512, dim=512, layers=6, heads=8, **knobs)
        sizes.append(sum(part.weight.numel() for side in sides for part in side.modules() if hasattr(part, "matrix")))
    assert sizes == [44_040_192, 29_884_416, 11_010_048]


def test_a_head_holds_whole_quaternions_and_weights_of_its_own() -> None:
    """Head h of two has the h-th half of the rows of weights; keys come first in the fused matrix, values second."""
    attention = MultiHead(16, 16, ScaledDot, heads=2, linear=Quaternion)
    memory, direction = torch.randn(1, 3, 16), torch.randn(3, 8)
    for head in (0, 1):
        keys, values = attention.project(memory)
        for at, found in enumerate((keys, values)):
            (slope,) = torch.autograd.grad((found[0, head] * direction).sum(), attention.key_value.weight, retain_graph=True)
            own = 4 * at + 2 * head
            assert (slope != 0).any(-1).any(-1).nonzero().flatten().tolist() == [own, own + 1]


def test_a_width_that_is_no_number_of_quaternions_is_refused() -> None:
    for sizes, fix in (((8, 10), "8 or 12 features, or linear = 'real'"), ((3, 8), "4 features, or linear = 'real'")):
        with pytest.raises(UsageError) as refused:
            Quaternion(*sizes)
        odd = next(size for size in sizes if size % 4)
        assert (refused.value.code, refused.value.headline) == ("C012", f"a quaternion is four features: {odd} cannot be divided by 4")
        assert refused.value.parts["fix"] == [fix]
    with pytest.raises(UsageError):
        FeedForward(8, 10, linear=Quaternion)


def test_heads_that_would_cut_quaternions_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        MultiHead(24, 24, ScaledDot, heads=4, linear=Quaternion)
    assert (refused.value.code, refused.value.headline) == ("C012", "heads = 4 of dim = 24 are 6 features each, which cuts numbers of 4 features in two")
    assert refused.value.parts["fix"] == ["a dim that is a multiple of 16, other heads, or linear = 'real'"]
    MultiHead(24, 24, ScaledDot, heads=2, linear=partial(Quaternion))
