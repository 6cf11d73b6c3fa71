"""The laws of cells and positions: a sequence in pieces is the sequence."""

import pytest
import torch
from torch import Tensor, nn

from saccade.errors import UsageError
from saccade.families import choose, find
from saccade.layers.cells import Cell
from saccade.layers.gates import watching_gates
from saccade.layers.positions import Position
from saccade.types import detach, select

from .parts import CELLS, POSITIONS

EXACT = {"atol": 1e-5, "rtol": 1e-5}
every_cell = pytest.mark.parametrize("name", CELLS)
every_position = pytest.mark.parametrize("name", POSITIONS)


def make_cell(name: str) -> tuple[Cell, Tensor, tuple[Tensor, ...]]:
    """A cell of 4 -> 6 features, three sequences of 5 steps, and a state that is not zero."""
    cell = choose(Cell, name)(4, 6)
    for weight in cell.parameters():
        nn.init.normal_(weight, std=0.5)
    return cell, torch.randn(3, 5, 4), tuple(torch.randn(3, 6) for _ in range(cell.parts))


def stepwise(cell: Cell, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    outputs = []
    for symbol in x.unbind(1):
        output, state = cell(symbol, state)
        outputs.append(output)
    return torch.stack(outputs, 1), state


def gradients(outputs: Tensor, state: tuple[Tensor, ...], leaves: list[Tensor]) -> tuple[Tensor, ...]:
    loss = outputs.square().sum() + sum((part**3).sum() for part in state)
    return torch.autograd.grad(loss, leaves)


@every_cell
def test_stepping_equals_the_sequence(name: str) -> None:
    cell, x, state = make_cell(name)
    leaves = [x.requires_grad_(), *(part.requires_grad_() for part in state), *cell.parameters()]
    stepped, fused = stepwise(cell, x, state), cell.sequence(x, state)
    torch.testing.assert_close(stepped, fused, **EXACT)
    found = gradients(*stepped, leaves)
    torch.testing.assert_close(found, gradients(*fused, leaves), atol=1e-4, rtol=1e-5)
    assert all((gradient != 0).any() for gradient in found)


@every_cell
def test_the_equations_are_what_the_kernels_compute(name: str) -> None:
    """Also where what the gates read of the past is thinned out: of all the state before, only `hidden` is."""
    cell, x, state = make_cell(name)
    leaves = [x.requires_grad_(), *(part.requires_grad_() for part in state), *cell.parameters()]
    plain = cell.plain(x, state)
    torch.testing.assert_close(plain, cell.sequence(x, state), **EXACT)
    torch.testing.assert_close(gradients(*plain, leaves), gradients(*cell.sequence(x, state), leaves), atol=1e-4, rtol=1e-5)
    kept = torch.tensor([[2.0, 0.0, 1.0, 0.0, 2.0, 1.0]]).repeat(3, 1)
    thinned, after = cell.sequence(x, state, kept)
    read = nn.functional.linear(x, cell.whole.weight_ih_l0, cell.whole.bias_ih_l0)
    for place in range(5):
        state = cell.turn(cell.gates(read[:, place], state[0] * kept), state)
        torch.testing.assert_close(thinned[:, place], state[0], **EXACT)
    torch.testing.assert_close(after, state, **EXACT)
    assert not torch.allclose(thinned, plain[0])


@every_cell
def test_gates_can_be_watched(name: str) -> None:
    cell, x, state = make_cell(name)
    plain = cell.sequence(x, state)
    with watching_gates(nn.ModuleList([cell])) as seen:
        watched = cell.sequence(x, state)
        stepped, _ = cell(x[:, 0], state)
    torch.testing.assert_close(watched, plain, **EXACT)
    torch.testing.assert_close(stepped, plain[0][:, 0], **EXACT)
    assert not cell.watched()
    assert list(seen) == [f"0.{gate}" for gate in cell.names]
    for gate, (whole, first) in seen.items():
        assert whole.shape == (3, 5, 6)
        assert not whole.requires_grad
        torch.testing.assert_close(first, whole[:, :1], **EXACT)
        assert whole.abs().max() < 1 if gate in ("0.new", "0.cell") else (whole > 0).all() and (whole < 1).all()
    gates = [calls[0][:, 0] for calls in seen.values()]
    torch.testing.assert_close(cell.turn(tuple(gates), state)[0], plain[0][:, 0], **EXACT)


def test_watching_gates_ends_whatever_happens() -> None:
    cell, x, state = make_cell("gru")
    with pytest.raises(KeyError), watching_gates(cell) as seen:  # noqa: PT012
        cell.sequence(x, state)
        raise KeyError
    cell.sequence(x, state)
    assert {gate: len(calls) for gate, calls in seen.items()} == {"reset": 1, "update": 1, "new": 1}


@pytest.mark.parametrize("cut", [1, 3])
@every_cell
def test_a_sequence_in_pieces_equals_the_whole(name: str, cut: int) -> None:
    """Also its gradients; and `detach` at the cut is truncated backpropagation."""
    cell, x, state = make_cell(name)
    leaves = [x.requires_grad_(), *cell.parameters()]
    head, between = cell.sequence(x[:, :cut], state)
    tail, after = cell.sequence(x[:, cut:], between)
    whole, last = cell.sequence(x, state)
    torch.testing.assert_close((torch.cat([head, tail], 1), after), (whole, last), **EXACT)
    pieces = gradients(torch.cat([head, tail], 1), after, leaves)
    torch.testing.assert_close(pieces, gradients(whole, last, leaves), atol=1e-4, rtol=1e-5)
    tail, _ = cell.sequence(x[:, cut:], detach(between))
    (reached,) = torch.autograd.grad(tail.square().sum(), x)
    assert (reached[:, :cut] == 0).all()
    assert (reached[:, cut:] != 0).any()


@every_cell
def test_the_state_of_a_cell_is_a_value(name: str) -> None:
    cell, x, state = make_cell(name)
    kept = tuple(part.clone() for part in state)
    for run in (cell.sequence, lambda x, state: cell(x[:, 0], state)):
        first, once = run(x, state)
        run(x + 1, state)
        again, twice = run(x, state)
        assert torch.equal(first, again)
        assert all(torch.equal(a, b) for a, b in zip((*once, *state), (*twice, *kept), strict=True))


@every_cell
def test_a_cell_says_the_first_part_of_its_state_and_starts_from_zero(name: str) -> None:
    cell, x, state = make_cell(name)
    start = cell.start(3)
    assert [part.tolist() for part in start] == [torch.zeros(3, 6).tolist()] * cell.parts
    output, after = cell(x[:, 0], state)
    assert torch.equal(output, after[0])
    assert len(after) == cell.parts


@every_cell
def test_rows_of_a_cell_do_not_meet(name: str) -> None:
    cell, x, state = make_cell(name)
    together, _ = cell.sequence(x, state)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(cell.sequence(x[rows], select(state, rows))[0], together[rows], **EXACT)


def test_an_lstm_begins_by_remembering() -> None:
    """Both biases of the forget gate add up: to `forget_bias`, not to its double."""
    whole = choose(Cell, "lstm", forget_bias=1.5)(4, 6).whole
    total = whole.bias_ih_l0 + whole.bias_hh_l0
    assert (total[6:12] == 1.5).all()
    assert (total[:6] != 1.5).all()


def make_position(name: str) -> tuple[Position, Tensor, Tensor]:
    position = choose(Position, name)(8, 2)
    return position, torch.randn(2, 6, 8), torch.randn(2, 2, 6, 4)


@pytest.mark.parametrize("cut", [1, 4])
@every_position
def test_positions_in_pieces_equal_positions_at_once(name: str, cut: int) -> None:
    position, x, keys = make_position(name)
    pieces = torch.cat([position(x[:, :cut]), position(x[:, cut:], cut)], 1)
    torch.testing.assert_close(pieces, position(x), **EXACT)
    turned = torch.cat([position.rotate(keys[:, :, :cut]), position.rotate(keys[:, :, cut:], cut)], 2)
    torch.testing.assert_close(turned, position.rotate(keys), **EXACT)


@every_position
def test_a_position_does_one_thing_or_nothing(name: str) -> None:
    position, x, keys = make_position(name)
    added, turned = (position(x) != x).any().item(), (position.rotate(keys) != keys).any().item()
    scored = position.distance(ahead=False) is not None
    things = {"none": (False, False, False), "rotary": (False, True, False), "alibi": (False, False, True), "relative": (False, False, True)}
    assert (added, turned, scored) == things.get(name, (True, False, False))
    same = torch.ones(1, 6, 8)
    places = torch.cat([position(same)[0], position.rotate(same[None, :, :, :4])[0, 0]], -1)
    assert len(places.unique(dim=0)) == (6 if added or turned else 1)  # no two places look the same


@every_position
def test_positions_keep_the_type(name: str) -> None:
    position, x, keys = make_position(name)
    position = position.bfloat16()
    assert position(x.bfloat16()).dtype == position.rotate(keys.bfloat16()).dtype == torch.bfloat16


def test_turning_keeps_the_length() -> None:
    position, _, keys = make_position("rotary")
    torch.testing.assert_close(position.rotate(keys, 7).norm(dim=-1), keys.norm(dim=-1), **EXACT)


def test_sinusoidal_positions_take_an_odd_width() -> None:
    position = choose(Position, "sinusoidal")(7, 1)
    even = choose(Position, "sinusoidal")(7, 1)(torch.zeros(1, 4, 7), 3)
    assert even.shape == (1, 4, 7)
    torch.testing.assert_close(even[0, :, 6], (torch.arange(3.0, 7.0) / 10000 ** (6 / 7)).sin())
    assert position.base == 10000.0


def test_a_text_longer_than_the_learned_positions_is_refused() -> None:
    position = choose(Position, "learned", length=5)(8, 2)
    position(torch.zeros(1, 2, 8), 3)
    with pytest.raises(UsageError) as refused:
        position(torch.zeros(1, 3, 8), 3)
    assert (refused.value.code, refused.value.headline) == ("C014", "a text of 6 tokens; this model has learned 5 positions")
    assert refused.value.parts["fix"] == ["a shorter text, or train with position = { name = 'learned', length = 6 } or 'sinusoidal'"]


def test_rotary_positions_want_pairs() -> None:
    with pytest.raises(UsageError) as refused:
        find(Position, "rotary")(6, 2)
    assert (refused.value.code, refused.value.headline) == ("C012", "rotary positions turn pairs of features, but a head has 3")
    assert refused.value.parts["fix"] == ["dim and heads so that dim / heads is even, now 6 / 2"]
