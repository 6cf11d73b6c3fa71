"""The recurrent decoder as a language model: dropout in two forms, what its state means, truncated backpropagation, influence."""

import pytest
import torch
from torch import Tensor, nn

from saccade.decoders.recurrent import Recurrent
from saccade.errors import UsageError
from saccade.families import choose
from saccade.layers.cells import Cell
from saccade.layers.gates import watching_gates
from saccade.search.influence import influence
from saccade.types import detach

V, D, B, T = 11, 6, 3, 8


def model(cell: str = "lstm", **knobs: object) -> Recurrent:
    """A language model of two layers without dropout and without a readout, unless said otherwise."""
    torch.manual_seed(3)
    return Recurrent(V, None, cell=choose(Cell, cell), **{"dim": D, "layers": 2, "dropout": 0.0, "readout": "none", **knobs})


def texts(length: int = T) -> Tensor:
    return torch.randint(V, (B, length))


@pytest.mark.parametrize(
    ("knobs", "memory_dim", "headline", "fix"),
    [
        ({"embedding": 4}, None, "a tied output needs embedding = dim, found 4 and 6", "tied = false, or leave embedding out"),
        ({"readout": "none"}, 5, "readout = 'none' has no place for what attention finds", "readout = 'tanh', or score = 'none'"),
        (
            {"dropout_form": "variational"},
            5,
            "variational dropout needs all steps at once, and input_feeding takes them one by one",
            "dropout_form = 'plain', or attend = 'after' and input_feeding = false",
        ),
        (
            {"dropout_form": "variational", "attend": "before"},
            5,
            "variational dropout needs all steps at once, and attend = 'before' takes them one by one",
            "dropout_form = 'plain', or attend = 'after' and input_feeding = false",
        ),
        ({"uniform": 0.0}, None, "uniform = 0.0; it must be above 0", "uniform = 0.1"),
    ],
)
def test_what_does_not_go_together_is_refused(knobs: dict, memory_dim: int | None, headline: str, fix: str) -> None:
    with pytest.raises(UsageError) as refused:
        Recurrent(V, memory_dim, **{"dim": D, **knobs})
    assert (refused.value.code, refused.value.headline, refused.value.parts["fix"]) == ("C012", headline, [fix])


def test_without_a_readout_the_output_layer_reads_the_state() -> None:
    decoder, tokens = model(), texts()
    memory, state = decoder.start(None, B)
    features, after = decoder.features(tokens, state, memory)
    assert torch.equal(features[:, -1], after.cells[-1][0])
    assert not [name for name, _ in decoder.named_parameters() if "readout" in name]


def test_uniform_draws_every_matrix_and_leaves_what_a_cell_does_with_its_biases() -> None:
    decoder = model(uniform=0.05, tied=False, cell="lstm", dim=40)
    for name, weight in decoder.named_parameters():
        if weight.ndim > 1:
            assert 0.045 < weight.detach().abs().max() <= 0.05, name
            assert abs(float(weight.detach().std()) - 0.05 / 3**0.5) < 0.003, name
    assert (decoder.cells[1].whole.bias_ih_l0[40:80] == 1.0).all()
    assert (decoder.output.bias == 0).all()


def blind(decoder: Recurrent) -> Recurrent:
    """A model whose cells do not see their input: whatever differs in their outputs comes from step to step."""
    for cell in decoder.cells:
        nn.init.normal_(cell.whole.weight_hh_l0)
        nn.init.zeros_(cell.whole.weight_ih_l0)
    return decoder.train()


def tops(decoder: Recurrent, tokens: Tensor) -> Tensor:
    """The states of all layers after the last of `tokens`."""
    memory, state = decoder.start(None, len(tokens))
    return torch.cat([cell[0] for cell in decoder.features(tokens, state, memory)[1].cells], 1)


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_plain_dropout_never_stands_between_one_step_and_the_next(cell: str) -> None:
    """Zaremba et al. (2014), equation 4; Gal and Ghahramani's does."""
    tokens = texts()
    plain, variational = blind(model(cell, dropout=0.5)), blind(model(cell, dropout=0.5, dropout_form="variational"))
    kept = tops(plain.eval(), tokens)
    assert torch.equal(tops(plain.train(), tokens), kept)
    assert not torch.allclose(tops(variational.train(), tokens), kept)
    torch.testing.assert_close(tops(variational.eval(), tokens), kept)


@pytest.mark.parametrize("form", ["plain", "variational"])
def test_variational_dropout_drops_the_same_at_each_step_of_a_row(form: str) -> None:
    decoder = model(dropout=0.5, dropout_form=form).train()
    read = []
    for cell in decoder.cells:
        cell.register_forward_pre_hook(lambda _cell, given: read.append(given[0]))
        cell.sequence = lambda x, state, kept=None, cell=cell: (read.append(x), Cell.sequence(cell, x, state, kept))[1]
    nn.init.ones_(decoder.embedding.weight)
    memory, state = decoder.start(None, B)
    features, _ = decoder.features(texts(50), state, memory)
    for x in (*read, features):
        dropped = x == 0
        assert 0.2 < float(dropped.float().mean()) < 0.8
        assert bool((dropped == dropped[:, :1]).all()) == (form == "variational")
        assert (dropped[0] != dropped[1]).any()  # but not for each row


def gradients(decoder: Recurrent, tokens: Tensor, targets: Tensor, context: int, cut: bool) -> list[Tensor]:
    """Of the mean loss, read `context` tokens at a time; with `cut` the state is detached in between."""
    decoder.zero_grad()
    memory, state = decoder.start(None, len(tokens))
    total = torch.zeros(())
    for start in range(0, tokens.shape[1], context):
        span = slice(start, start + context)
        logits, state = decoder(tokens[:, span], state, memory)
        total = total + nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, span].flatten(), reduction="sum")
        state = detach(state) if cut else state
    return [gradient.clone() for gradient in torch.autograd.grad(total / targets.numel(), list(decoder.parameters()))]


@pytest.mark.parametrize("cell", ["elman", "gru", "lstm"])
def test_truncation_at_the_whole_length_is_no_truncation(cell: str) -> None:
    """Williams and Peng (1990): k1 = k2 = T is backpropagation through time; a cut at less is not, but carries the values on."""
    decoder, tokens, targets = model(cell), texts(), texts()
    memory, state = decoder.start(None, B)
    logits, _ = decoder(tokens, state, memory)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    whole = torch.autograd.grad(loss, list(decoder.parameters()))
    for context, cut in ((T, True), (3, False)):
        for found, wanted in zip(gradients(decoder, tokens, targets, context, cut), whole, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    assert any(not torch.allclose(found, wanted, atol=1e-4) for found, wanted in zip(gradients(decoder, tokens, targets, 2, True), whole))


def test_influence_is_the_product_of_the_steps() -> None:
    """Elman: d h' / d h = diag(1 - h'^2) U at each step (Pascanu et al. 2013, equation 5)."""
    decoder, tokens, target = model("elman", layers=1).double(), texts(), torch.randint(V, (B,))
    found = influence(decoder, tokens, target)
    weights = decoder.cells[0].whole.weight_hh_l0
    memory, state = decoder.start(None, B)
    hidden, _ = decoder.features(tokens, state, memory)
    slope = (decoder.output(hidden[:, -1]).softmax(-1) - nn.functional.one_hot(target, V)) @ decoder.output.weight
    for place in reversed(range(T)):
        slope = (slope * (1 - hidden[:, place] ** 2)) @ weights
        torch.testing.assert_close(found[:, place], slope.norm(dim=1))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_influence_is_the_slope_along_every_state(cell: str) -> None:
    """Against differences: a small push at the state before a symbol moves the loss by at most, and in some direction by, the norm."""
    decoder, tokens, target = model(cell).double(), texts()[:1], torch.tensor([4])
    found = influence(decoder, tokens, target)[0]
    for place in (0, 5):
        memory, state = decoder.start(None, 1)
        if place:
            _, state = decoder(tokens[:, :place], state, memory)
        slopes = []
        for layer, parts in enumerate(state.cells):
            for part in range(len(parts)):
                for feature in range(D):
                    losses = []
                    for push in (1e-5, -1e-5):
                        cells = [list(each) for each in state.cells]
                        cells[layer][part] = cells[layer][part] + push * nn.functional.one_hot(torch.tensor([feature]), D)
                        logits, _ = decoder(tokens[:, place:], state._replace(cells=tuple(map(tuple, cells))), memory)
                        losses.append(nn.functional.cross_entropy(logits[:, -1], target).item())
                    slopes.append((losses[0] - losses[1]) / 2e-5)
        assert found[place].item() == pytest.approx(torch.tensor(slopes).norm().item(), rel=1e-4)


def test_gates_of_a_language_model_are_named_by_layer() -> None:
    decoder, tokens = model("lstm"), texts()
    memory, state = decoder.start(None, B)
    plain, _ = decoder(tokens, state, memory)
    with watching_gates(decoder) as seen:
        watched, _ = decoder(tokens, state, memory)
    torch.testing.assert_close(watched, plain)
    assert list(seen) == [f"cells.{layer}.{gate}" for layer in (0, 1) for gate in ("input", "forget", "cell", "output")]
    assert {gate[0].shape for gate in seen.values()} == {(B, T, D)}
