"""Long short-term memory: Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from . import Cell, CellState


class Lstm(Cell):
    """Two vectors of state, (hidden, cell); gates in torch's order: input, forget, cell, output."""

    parts = 2
    names = ("input", "forget", "cell", "output")

    def __init__(self, input_dim: int, dim: int, *, forget_bias: float = 1.0) -> None:
        super().__init__(input_dim, dim)
        self.whole = nn.LSTM(input_dim, dim, batch_first=True)
        with torch.no_grad():  # both biases add up: Jozefowicz et al. (2015), section 2.2
            self.whole.bias_hh_l0[dim : 2 * dim] = 0.0
            self.whole.bias_ih_l0[dim : 2 * dim] = forget_bias

    def gates(self, read: Float[Tensor, "B G"], hidden: Float[Tensor, "B D"]) -> tuple[Tensor, ...]:
        """What comes in, what stays, what is new, what is said."""
        taken, kept, new, said = (read + functional.linear(hidden, self.whole.weight_hh_l0, self.whole.bias_hh_l0)).chunk(4, -1)
        return taken.sigmoid(), kept.sigmoid(), new.tanh(), said.sigmoid()

    def turn(self, gates: tuple[Tensor, ...], state: CellState) -> CellState:
        """c' = f * c + i * g, h' = o * tanh(c')"""
        taken, kept, new, said = gates
        cell = kept * state[1] + taken * new
        return said * cell.tanh(), cell

    def step(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        hidden, cell = torch.lstm_cell(x, state, *self.whole.all_weights[0])
        return hidden, (hidden, cell)

    def fused(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps."""
        outputs, (hidden, cell) = self.whole(x, tuple(part[None].to(x.dtype) for part in state))
        return outputs, (hidden[0], cell[0])
