"""Cells: one step of a recurrence.  FAMILY: every other file here is one cell."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

CellState = tuple[Tensor, ...]
"""`parts` tensors of shape B D; the first is what the cell says."""


class Cell(nn.Module):
    """`output, state = cell(x, state)`; stepping through a sequence equals `sequence` over the whole of it."""

    parts: int = 1
    """How many vectors the state is made of."""

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.input_dim, self.dim = input_dim, dim

    def start(self, batch: int) -> CellState:
        """The state before the first symbol: zeros."""
        zeros = next(self.parameters()).new_zeros(batch, self.dim)
        return (zeros,) * self.parts

    def forward(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        raise NotImplementedError

    def sequence(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps; a member with a fused whole-sequence path overrides this."""
        outputs = []
        for symbol in x.unbind(1):
            output, state = self(symbol, state)
            outputs.append(output)
        return torch.stack(outputs, 1), state
