"""The picture of gates over a text."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from saccade.decoders.recurrent import Recurrent
from saccade.families import choose
from saccade.layers.cells import Cell
from saccade.layers.gates import watching_gates
from saccade.serving.gates import mean_gates, write_gates

SYMBOLS = ["the", "cat", "\n", "sat"]


def watched() -> dict[str, np.ndarray]:
    """The gates of a model of two layers over four symbols."""
    decoder = Recurrent(9, None, cell=choose(Cell, "lstm", forget_bias=30.0), dim=5, layers=2, dropout=0.0)
    memory, state = decoder.start(None, 1)
    with watching_gates(decoder) as seen, torch.no_grad():
        _, state = decoder(torch.tensor([[4, 5]]), state, memory)
        decoder(torch.tensor([[6, 7]]), state, memory)
    return {name: torch.cat(calls, 1)[0].numpy() for name, calls in seen.items()}


def test_a_row_for_each_gate_and_a_column_for_each_symbol() -> None:
    gates = watched()
    found = mean_gates(gates, SYMBOLS)
    assert (found.source_words, found.output_words) == (["the", "cat", "␣", "sat"], list(gates))
    assert found.weights.shape == (8, 4)
    assert 0 < found.weights.min() <= found.weights.max() <= 1
    np.testing.assert_allclose(found.weights[1], 1.0, atol=1e-6)  # a forget gate that never closes
    np.testing.assert_allclose(found.weights[6], np.abs(gates["cells.1.cell"]).mean(1))


def test_the_picture_is_an_image(tmp_path: Path) -> None:
    write_gates(watched(), SYMBOLS, tmp_path / "gates.png", title="Gates")
    image = imread(tmp_path / "gates.png")
    assert image.shape[0] > 200
    assert image.std() > 0.05


def test_a_gate_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"cells\.0\.input: 4 steps, but 3 symbols"):
        mean_gates(watched(), SYMBOLS[:3])
