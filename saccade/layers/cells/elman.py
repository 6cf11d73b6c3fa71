"""Elman (1990): h' = tanh(W x + U h + b)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from . import Cell, CellState


class Elman(Cell):
    """One vector of state; torch.nn.RNN runs whole sequences."""

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__(input_dim, dim)
        self.whole = nn.RNN(input_dim, dim, batch_first=True)

    def forward(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        hidden = torch.rnn_tanh_cell(x, state[0], *self.whole.all_weights[0])
        return hidden, (hidden,)

    def sequence(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps, fused."""
        outputs, last = self.whole(x, state[0][None].to(x.dtype))
        return outputs, (last[0],)
