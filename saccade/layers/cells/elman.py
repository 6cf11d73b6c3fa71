"""Elman (1990): h' = tanh(W x + U h + b)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from . import Cell, CellState


class Elman(Cell):
    """One vector of state; torch.nn.RNN runs whole sequences."""

    names = ("new",)

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__(input_dim, dim)
        self.whole = nn.RNN(input_dim, dim, batch_first=True)

    def gates(self, read: Float[Tensor, "B G"], hidden: Float[Tensor, "B D"]) -> tuple[Tensor, ...]:
        """There is none: all of the state is new."""
        return ((read + functional.linear(hidden, self.whole.weight_hh_l0, self.whole.bias_hh_l0)).tanh(),)

    def turn(self, gates: tuple[Tensor, ...], state: CellState) -> CellState:
        """What is new is the state."""
        return gates

    def step(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        hidden = torch.rnn_tanh_cell(x, state[0], *self.whole.all_weights[0])
        return hidden, (hidden,)

    def fused(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps."""
        outputs, last = self.whole(x, state[0][None].to(x.dtype))
        return outputs, (last[0],)
