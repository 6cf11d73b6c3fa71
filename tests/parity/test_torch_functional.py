"""Against torch.nn.functional and the published formulas: attention, loss, positions, and one step of the recurrent decoders."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.attention import Attention
from saccade.attention.masks import causal, padding
from saccade.attention.scores.scaled_dot import ScaledDot
from saccade.decoders.recurrent import Recurrent
from saccade.families import choose, find
from saccade.layers.cells import Cell
from saccade.layers.cross_entropy import cross_entropy
from saccade.layers.positions import Position
from saccade.types import PAD, Encoding

EXACT = {"atol": 1e-5, "rtol": 1e-5}
D, S, V, B = 8, 5, 7, 3
MASK = torch.arange(S) < torch.tensor([5, 3, 1])[:, None]
MASKS = {"none": None, "padding": padding(MASK), "causal": causal(S, S)[None, None], "both": causal(S, S) & padding(MASK)}


@pytest.mark.parametrize("mask", MASKS)
def test_scaled_dot_product_attention(mask: str) -> None:
    """Its boolean masks mean what ours mean: True may be seen."""
    leaves = [torch.randn(B, 2, S, 4, requires_grad=True) for _ in range(3)]
    context, _ = Attention(ScaledDot(4, 4))(*leaves, MASKS[mask])
    expected = functional.scaled_dot_product_attention(*leaves, MASKS[mask])
    torch.testing.assert_close(context, expected, **EXACT)
    direction = torch.randn_like(context)
    ours, theirs = (torch.autograd.grad((output * direction).sum(), leaves) for output in (context, expected))
    torch.testing.assert_close(ours, theirs, **EXACT)
    if MASKS[mask] is not None:
        assert not torch.allclose(context, functional.scaled_dot_product_attention(*leaves, ~MASKS[mask]), atol=1e-2)


def both_losses(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], logits: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Totals and gradients of two ways to say the same."""
    found = []
    for loss in (ours, theirs):
        x = logits.clone().requires_grad_()
        total = loss(x)
        total.backward()
        found.append((total.detach(), x.grad))
    return found


def test_cross_entropy() -> None:
    logits, targets = torch.randn(4, 9, V) * 2, torch.randint(V, (4, 9))
    ours, theirs = both_losses(
        lambda x: cross_entropy(x, targets).total,
        lambda x: functional.cross_entropy(x.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"),
        logits,
    )
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_cross_entropy(smoothing: float) -> None:
    """Where nobody says PAD it is torch's loss over the other symbols; in general torch's with PAD's share given back."""
    logits, targets = torch.randn(4, 9, V) * 2, torch.randint(1, V, (4, 9))
    logits[..., PAD] = -1e4
    ours, theirs = both_losses(
        lambda x: cross_entropy(x, targets, smoothing).total,
        lambda x: functional.cross_entropy(x[..., 1:].flatten(0, 1), targets.flatten() - 1, label_smoothing=smoothing, reduction="sum"),
        logits,
    )
    torch.testing.assert_close(ours, theirs, **EXACT)

    def formula(x: Tensor) -> Tensor:
        said = x.log_softmax(-1)
        true = said.gather(-1, targets[..., None]).sum()
        return -(1 - smoothing) * true - smoothing / (V - 1) * said[..., 1:].sum()

    ours, theirs = both_losses(lambda x: cross_entropy(x, targets, smoothing).total, formula, torch.randn(4, 9, V))
    torch.testing.assert_close(ours, theirs, **EXACT)


def test_sinusoidal_positions_are_the_published_ones() -> None:
    """PE(pos, 2i) = sin(pos / 10000^(2i / d)), PE(pos, 2i + 1) = cos of the same; also far out, in float32."""
    start = 4990
    table = choose(Position, "sinusoidal")(D, 1)(torch.zeros(1, 12, D), start)[0]
    for row, place in zip(table, range(start, start + 12), strict=True):
        angles = torch.tensor([place / 10000 ** (2 * (i // 2) / D) for i in range(D)], dtype=torch.double)
        expected = torch.where(torch.arange(D) % 2 == 0, angles.sin(), angles.cos())
        torch.testing.assert_close(row.double(), expected, atol=5e-4, rtol=0)  # float32 holds the angle to 2^-12


def test_rotary_positions_are_the_published_ones() -> None:
    """Su et al. (2021), equation 34, as a product of complex numbers of length 1."""
    keys, start = torch.randn(2, 3, 6, 4), 5
    pairs = torch.view_as_complex(keys.double().unflatten(-1, (-1, 2)).contiguous())
    angles = torch.arange(start, start + 6, dtype=torch.double)[:, None] * torch.tensor([1.0, 10000**-0.5], dtype=torch.double)
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)
    torch.testing.assert_close(choose(Position, "rotary")(8, 2).rotate(keys, start).double(), expected, **EXACT)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_rotary_positions_are_their_plain_twin(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries as a head gets them, a view of all heads; what is said and what is learned."""
    rotary, x = choose(Position, "rotary")(12, 3), torch.randn(2, 5, 12, dtype=dtype, requires_grad=True)
    found = []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda compiling=compiling: compiling)
        said = rotary.rotate(x.unflatten(-1, (3, 4)).transpose(1, 2), 7)
        found.append((said, *torch.autograd.grad((said * torch.arange(5)[:, None]).sum(), x)))
    for fast, plain in zip(*found, strict=True):
        assert fast.dtype == plain.dtype == dtype
        torch.testing.assert_close(fast, plain)


def test_rotary_scores_depend_on_the_distance_only() -> None:
    rotary, query, key = choose(Position, "rotary")(16, 2), torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(asks: int, answers: int) -> float:
        return (rotary.rotate(query, asks) * rotary.rotate(key, answers)).sum().item()

    for distance in (0, 1, 7):
        found = [score(place + distance, place) for place in (0, 3, 40)]
        assert found == pytest.approx([found[0]] * 3, abs=1e-4)
    assert len({round(score(distance, 0), 3) for distance in range(-4, 5)}) == 9


CELLS = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "elman": nn.RNNCell}


def step(name: str, theirs: Any, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One step of torch's cell, the state as a tuple."""
    after = theirs(x, state if name == "lstm" else state[0])
    return after if name == "lstm" else (after,)


@pytest.mark.parametrize("attend", ["before", "after"])
@pytest.mark.parametrize("name", CELLS)
def test_the_recurrent_decoders_are_the_published_ones(name: str, attend: str) -> None:
    """Bahdanau: s_{i-1} asks, GRU([E y; c]), maxout(s_i, c, E y).  Luong: h_t asks, tanh(W [h; c]) is said and fed to the next step."""
    readout = "maxout" if attend == "before" else "tanh"
    decoder = Recurrent(V, 6, cell=find(Cell, name), dim=D, attend=attend, readout=readout)
    for weight in decoder.parameters():
        nn.init.normal_(weight, std=0.5)
    decoder.eval()
    cell, score = decoder.cells[0], decoder.cross_attention.score
    theirs = CELLS[name](cell.input_dim, D)
    theirs.load_state_dict({place.removesuffix("_l0"): weight for place, weight in cell.whole.state_dict().items()})
    encoding, tokens = Encoding(torch.randn(B, S, 6), MASK, torch.randn(B, 6)), torch.randint(V, (B, 4))

    def look(asks: Tensor) -> Tensor:
        energies = (score.query(asks)[:, None] + score.key(encoding.outputs)).tanh() @ score.energy.weight[0]
        return (energies.masked_fill(~MASK, float("-inf")).softmax(-1)[..., None] * encoding.outputs).sum(1)

    state = tuple((encoding.final @ decoder.bridge.weight.T + decoder.bridge.bias).tanh().split(D, -1))
    fed, said = torch.zeros(B, D), []
    for symbol in tokens.unbind(1):
        embedded = decoder.embedding.weight[symbol]
        if attend == "before":
            found = look(state[0])
            state = step(name, theirs, torch.cat([embedded, found], -1), state)
            pairs = decoder.readout(torch.cat([state[0], found, embedded], -1))
            fed = torch.maximum(pairs[:, 0::2], pairs[:, 1::2])
        else:
            state = step(name, theirs, torch.cat([embedded, fed], -1), state)
            fed = decoder.readout(torch.cat([state[0], look(state[0])], -1)).tanh()
        said.append(fed @ decoder.embedding.weight.T + decoder.output.bias)
    memory, start = decoder.start(encoding, B)
    torch.testing.assert_close(decoder(tokens, start, memory)[0], torch.stack(said, 1), **EXACT)
