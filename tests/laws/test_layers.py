"""The laws of the small parts: dropout, embeddings and the loss."""

import pytest
import torch
from torch import Tensor, nn

from saccade.layers.cross_entropy import CHUNK, ROWS, cross_entropy, linear_cross_entropy
from saccade.layers.dropout import Dropout
from saccade.layers.embedding import Embedding, Output
from saccade.types import PAD

EXACT = {"atol": 1e-5, "rtol": 1e-5}


def test_dropout_in_evaluation_or_at_rate_0_is_the_identity() -> None:
    x = torch.randn(3, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float) -> None:
    """Each of the eight bytes of a random word decides as often as the others, and on its own."""
    entries = 400_000
    kept = Dropout(rate).train()(torch.ones(entries))
    share = round(rate * 256) / 256 or rate  # below half a 256th torch's own dropout takes over
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)], rel=1e-6)
    dropped = (kept == 0).float()
    for lane in (dropped, *dropped.view(-1, 8).unbind(1)):
        assert lane.mean().item() == pytest.approx(share, abs=5 * (share * (1 - share) / len(lane)) ** 0.5)
    for distance in (1, 2, 7, 8):
        together = (dropped[distance:] * dropped[:-distance]).mean().item()
        assert together == pytest.approx(share**2, abs=6 * (share**2 / entries) ** 0.5)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (7, 3), (5, 1, 13), (0, 4), (16,)], ids=str)
def test_dropout_works_at_any_size(shape: tuple[int, ...]) -> None:
    x = torch.full(shape, 3.0, requires_grad=True)
    y = Dropout(0.5).train()(x)
    assert (y.shape, y.dtype) == (x.shape, x.dtype)
    assert ((y == 0) | (y == 6)).all()
    y.sum().backward()
    assert torch.equal(x.grad, y.detach() / 3)  # what was dropped learns nothing, the rest learns at the same scale


def test_dropout_minds_neither_type_nor_stride() -> None:
    x = torch.randn(6, 9).t()
    y = Dropout(0.25).train()(x)
    torch.testing.assert_close(y[y != 0], x[y != 0] * (256 / 192))
    assert Dropout(0.5).train()(x.bfloat16()).dtype == torch.bfloat16
    assert (Dropout(1.0).train()(x) == 0).all()


def test_the_same_seed_gives_the_same_mask() -> None:
    dropout, x = Dropout(0.5).train(), torch.ones(1000)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = dropout(x), dropout(x)
    torch.set_rng_state(before)
    assert torch.equal(dropout(x), first)
    assert torch.equal(dropout(x), second)
    assert not torch.equal(first, second)
    torch.manual_seed(4)
    assert not torch.equal(dropout(x), first)


JOINED = {
    "forward": (lambda dropout, x, y: dropout(y), lambda x, y, kept: y * kept),
    "add": (lambda dropout, x, y: dropout.add(x, y), lambda x, y, kept: x + y * kept),
    "relu": (lambda dropout, x, y: dropout.relu(y), lambda x, y, kept: y.relu() * kept),
}
"""Dropout and what may be joined to it, beside the formula of each."""


@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize("types", [(torch.float32, torch.float32), (torch.float64, torch.float64), (torch.float32, torch.bfloat16)], ids=str)
@pytest.mark.parametrize("name", JOINED)
def test_dropout_joined_to_its_neighbours_is_the_formula_with_the_same_mask(name: str, types: tuple[torch.dtype, torch.dtype], strided: bool) -> None:
    """Values and gradients; the draw is that of dropout alone, and so is what the generator has left."""
    joined, formula = JOINED[name]
    dropout = Dropout(0.3).train()
    shape, dropped = (9, 13), round(0.3 * 256)
    x, y = (torch.randn(shape[::-1]).t() if strided else torch.randn(shape) for _ in types)
    x, y = x.to(types[0]).requires_grad_(), y.to(types[1]).requires_grad_()
    torch.manual_seed(5)
    kept = dropout(torch.ones(shape, dtype=torch.float64))
    stream = torch.get_rng_state()
    assert sorted(kept.unique().tolist()) == [0.0, pytest.approx(256 / (256 - dropped))]
    torch.manual_seed(5)
    ours = joined(dropout, x, y)
    assert torch.equal(torch.get_rng_state(), stream)
    theirs = formula(x, y, kept.to(y.dtype))
    tolerance = {"atol": 1e-6, "rtol": 1e-6} if types[1] != torch.bfloat16 else {"atol": 0.05, "rtol": 0.01}
    torch.testing.assert_close(ours, theirs, **tolerance)
    assert set(dropout.draw(y).kept.unique().tolist()) == {-1, 0}  # all bits or none
    direction = torch.randn(shape).to(ours.dtype)
    found, expected = (torch.autograd.grad((said * direction).sum(), (x, y), allow_unused=True) for said in (ours, theirs))
    torch.testing.assert_close(found[1], expected[1], **tolerance)
    assert (found[0] is None) == (expected[0] is None)
    torch.testing.assert_close(found[0], expected[0], **tolerance)


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_idle_dropout_leaves_its_neighbours_alone(name: str, rate: float, training: bool) -> None:
    joined, formula = JOINED[name]
    x, y, stream = torch.randn(4, 5), torch.randn(4, 5), torch.get_rng_state()
    assert torch.equal(joined(Dropout(rate).train(training), x, y), formula(x, y, torch.ones(4, 5)))
    assert torch.equal(torch.get_rng_state(), stream)


def test_an_embedding_is_scaled_where_it_is_read_and_nowhere_else() -> None:
    scaled = Embedding(400, 64, scale=True)
    assert scaled.weight.std().item() == pytest.approx(64**-0.5, rel=0.03)
    ids = torch.tensor([[3, 0, 3]])
    torch.testing.assert_close(scaled(ids), scaled.weight[ids] * 8)
    plain = Embedding(5, 64)
    assert torch.equal(plain(ids), plain.weight[ids])
    output = Output(400, 64, scaled)
    x = torch.randn(2, 3, 64)
    torch.testing.assert_close(output(x), x @ scaled.weight.T)
    nn.init.normal_(output.bias)
    torch.testing.assert_close(output(x), x @ scaled.weight.T + output.bias)


def test_embedding_dropout_drops_in_training_only() -> None:
    embedding = Embedding(5, 8, scale=True, dropout=0.5)
    ids = torch.randint(5, (20, 5))
    found = embedding.train()(ids)
    assert 300 < (found == 0).sum() < 500
    torch.testing.assert_close(found[found != 0], (2 * embedding.eval()(ids))[found != 0])


def test_a_tied_output_has_one_matrix_that_learns_from_both_sides() -> None:
    embedding = Embedding(7, 4)
    tied, free = Output(7, 4, embedding), Output(7, 4)
    assert tied.weight is embedding.weight
    assert sum(weight.numel() for weight in nn.ModuleList([embedding, tied]).parameters()) == 7 * 4 + 7
    assert sum(weight.numel() for weight in free.parameters()) == 7 * 4 + 7
    ids = torch.tensor([[1, 2]])
    tied(embedding(ids))[..., 6].sum().backward()
    changed = embedding.weight.grad.abs().sum(-1) > 0
    assert changed.tolist() == [False, True, True, False, False, False, True]


def written_out(logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, int, Tensor]:
    """The formula of the docstring, in double precision: (total, count, nll)."""
    logits, targets = logits.double().flatten(0, -2), targets.flatten()
    vocab = logits.shape[1]
    said = logits.log_softmax(-1)
    total = nll = 0.0
    for row, target in enumerate(targets.tolist()):
        if target == PAD:
            continue
        wish = torch.tensor([0.0 if symbol == PAD else smoothing / (vocab - 1) for symbol in range(vocab)], dtype=torch.double)
        wish[target] += 1 - smoothing
        total, nll = total - (wish * said[row]).sum(), nll - said[row, target]
    return total, int((targets != PAD).sum()), nll


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("rows", [(1, 1), (3, 5), (1, ROWS - 1), (1, ROWS), (1, ROWS + 1), (3, 2 * ROWS // 3 + 5)], ids=str)
def test_the_loss_and_its_gradient_are_the_written_out_formula(rows: tuple[int, int], smoothing: float) -> None:
    logits, targets = torch.randn(*rows, 6) * 3, torch.randint(6, rows)
    targets[0, 0] = 4
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = cross_entropy(ours, targets, smoothing)
    total, count, nll = written_out(theirs, targets, smoothing)
    assert int(loss.count) == count
    torch.testing.assert_close((loss.total.double(), loss.nll.double()), (total, nll), atol=1e-5, rtol=1e-5, check_dtype=False)
    (loss.total * 0.7).backward()
    (total * 0.7).backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-6, rtol=1e-5)
    assert (ours.grad[targets == PAD] == 0).all()
    assert not loss.nll.requires_grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_the_loss_adds_up_over_any_split(cut: int, smoothing: float) -> None:
    """Hence accumulating gradients over parts of a batch is the batch, if only the sum is divided, by the sum of counts."""
    logits, targets = torch.randn(4, 7, 6), torch.randint(6, (4, 7))

    def loss_of(x: Tensor, y: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        x = x.clone().requires_grad_()
        loss = cross_entropy(x, y, smoothing)
        loss.total.backward()
        return (loss.total.detach(), loss.nll, loss.count), x.grad

    whole, slope = loss_of(logits, targets)
    for axis in (0, 1):
        (one, first), (two, second) = (loss_of(x, y) for x, y in zip(logits.tensor_split([cut], axis), targets.tensor_split([cut], axis), strict=True))
        torch.testing.assert_close(tuple(a + b for a, b in zip(one, two, strict=True)), whole, **EXACT)
        torch.testing.assert_close(torch.cat([first, second], axis), slope, **EXACT)


def test_padding_takes_no_part_in_the_loss() -> None:
    logits, targets = torch.randn(2, 5, 6), torch.randint(1, 6, (2, 5))
    plain = cross_entropy(logits, targets, 0.1)
    padded = cross_entropy(torch.cat([logits, torch.full((2, 7, 6), 50.0)], 1), torch.cat([targets, torch.full((2, 7), PAD)], 1), 0.1)
    torch.testing.assert_close(tuple(padded), tuple(plain), **EXACT)
    nothing = cross_entropy(logits.requires_grad_(), torch.full((2, 5), PAD), 0.1)
    nothing.total.backward()
    assert (nothing.total.item(), int(nothing.count), nothing.nll.item()) == (0.0, 0, 0.0)
    assert (logits.grad == 0).all()


def test_nobody_wishes_for_padding_however_smooth_the_wish() -> None:
    """Fully smoothed, what is best is uniform over all symbols but PAD."""
    logits = torch.zeros(1, 6)
    logits[0, PAD] = -1e4
    logits.requires_grad_()
    cross_entropy(logits, torch.tensor([3]), 1.0).total.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 6), atol=1e-6, rtol=0)


def test_the_loss_minds_neither_large_logits_nor_half_precision() -> None:
    logits, targets = torch.randn(5, 6), torch.tensor([1, 2, 3, 0, 5])
    plain = cross_entropy(logits.clone(), targets, 0.1)
    torch.testing.assert_close(cross_entropy(logits + 1000, targets, 0.1).total, plain.total, atol=1e-3, rtol=0)
    half = logits.bfloat16().requires_grad_()
    loss = cross_entropy(half, targets, 0.1)
    assert loss.total.dtype == torch.float32
    torch.testing.assert_close(loss.total, cross_entropy(half.detach().float(), targets, 0.1).total)
    loss.total.backward()
    assert half.grad.dtype == torch.bfloat16


def test_the_loss_leaves_the_logits_alone() -> None:
    logits, targets = torch.randn(5, 6, requires_grad=True), torch.tensor([1, 2, 3, 0, 5])
    before = logits.detach().clone()
    first = cross_entropy(logits, targets, 0.1)
    assert torch.equal(logits, before)
    assert torch.equal(cross_entropy(logits, targets, 0.1).total, first.total)


def linear_leaves(rows: int, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor]:
    """Features, weight and bias that learn, and targets, some of them PAD."""
    leaves = [torch.randn(rows, 8), torch.randn(11, 8), torch.randn(11)]
    targets = torch.randint(1, 11, (rows,))
    targets[rows // 3 :: 7] = PAD
    return [leaf.to(dtype).requires_grad_() for leaf in leaves], targets


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("rows", [1, 2, ROWS // 4 - 1, ROWS // 4 + 1, CHUNK, CHUNK + 200, 2 * CHUNK + 300])
def test_the_chunked_linear_loss_is_the_loss_of_the_logits(rows: int, smoothing: float) -> None:
    """Sum, count, likelihood and all three gradients, wherever the chunks end."""
    leaves, targets = linear_leaves(rows, torch.float64)
    features, weight, bias = leaves
    ours, theirs = linear_cross_entropy(features, weight, bias, targets, smoothing), written_out(features @ weight.T + bias, targets, smoothing)
    assert int(ours.count) == theirs[1]
    torch.testing.assert_close((ours.total, ours.nll), (torch.as_tensor(theirs[0], dtype=torch.double), torch.as_tensor(theirs[2], dtype=torch.double)))
    if theirs[1]:
        torch.testing.assert_close(torch.autograd.grad(ours.total * 0.7, leaves), torch.autograd.grad(theirs[0] * 0.7, leaves))
    assert not ours.nll.requires_grad


def test_the_chunked_linear_loss_of_padding_alone_is_nothing() -> None:
    leaves, _ = linear_leaves(5)
    loss = linear_cross_entropy(*leaves, torch.full((5,), PAD), 0.1)
    loss.total.backward()
    assert (loss.total.item(), int(loss.count), loss.nll.item()) == (0.0, 0, 0.0)
    assert all((leaf.grad == 0).all() for leaf in leaves)


def test_the_chunked_linear_loss_minds_no_large_logits() -> None:
    """What underflows as a probability is still told by its logarithm."""
    (features, weight, bias), targets = linear_leaves(40)
    features, targets = features.detach() * 300, targets.clamp_min(1)
    ours, theirs = linear_cross_entropy(features, weight, bias, targets, 0.1), cross_entropy(features @ weight.T + bias, targets, 0.1)
    assert theirs.total > 40 * 100
    torch.testing.assert_close(tuple(ours), tuple(theirs))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_chunked_linear_loss_under_autocast_is_near_the_plain_one(smoothing: float) -> None:
    leaves, targets = linear_leaves(CHUNK + 100)
    features, weight, bias = leaves
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = linear_cross_entropy(features, weight, bias, targets, smoothing), cross_entropy(nn.functional.linear(*leaves), targets, smoothing)
    assert ours.total.dtype == torch.float32
    torch.testing.assert_close(ours.total, theirs.total, rtol=2e-3, atol=0)
    for one, other in zip(torch.autograd.grad(ours.total, leaves), torch.autograd.grad(theirs.total, leaves), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.01 * other.norm()


def test_a_tied_matrix_learns_from_both_its_uses() -> None:
    embedding = Embedding(11, 8)
    ids, targets = torch.randint(11, (3, 5)), torch.randint(11, (3, 5))
    weight, bias = embedding.weight, torch.randn(11)
    ours = linear_cross_entropy(embedding(ids).tanh(), weight, bias, targets, 0.1)
    theirs = cross_entropy(nn.functional.linear(embedding(ids).tanh(), weight, bias), targets, 0.1)
    torch.testing.assert_close(*(torch.autograd.grad(loss.total, weight)[0] for loss in (ours, theirs)), **EXACT)


def test_the_chunked_linear_loss_leaves_its_inputs_alone_and_can_be_asked_twice() -> None:
    leaves, targets = linear_leaves(70)
    before = [leaf.detach().clone() for leaf in leaves]
    loss = linear_cross_entropy(*leaves, targets, 0.1)
    first, again = (torch.autograd.grad(loss.total, leaves, retain_graph=True) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip([*leaves, *first], [*before, *again], strict=True))
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(*leaves, targets, 0.1).total, loss.total)
