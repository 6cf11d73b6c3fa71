"""Gated recurrent unit: Cho et al. (2014), in torch's form, n = tanh(W x + b + r * (U h + c)), where the published one has U (r * h)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from . import Cell, CellState


class Gru(Cell):
    """One vector of state; torch.nn.GRU runs whole sequences."""

    names = ("reset", "update", "new")

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__(input_dim, dim)
        self.whole = nn.GRU(input_dim, dim, batch_first=True)

    def gates(self, read: Float[Tensor, "B G"], hidden: Float[Tensor, "B D"]) -> tuple[Tensor, ...]:
        """How much of the past the new part reads, how much of it stays, and the new part."""
        reset_in, update_in, new_in = read.chunk(3, -1)
        reset, update, new = functional.linear(hidden, self.whole.weight_hh_l0, self.whole.bias_hh_l0).chunk(3, -1)
        reset = (reset_in + reset).sigmoid()
        return reset, (update_in + update).sigmoid(), (new_in + reset * new).tanh()

    def turn(self, gates: tuple[Tensor, ...], state: CellState) -> CellState:
        """h' = (1 - z) * n + z * h"""
        _, update, new = gates
        return ((1 - update) * new + update * state[0],)

    def step(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        hidden = torch.gru_cell(x, state[0], *self.whole.all_weights[0])
        return hidden, (hidden,)

    def fused(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps."""
        outputs, last = self.whole(x, state[0][None].to(x.dtype))
        return outputs, (last[0],)
