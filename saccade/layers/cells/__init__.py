"""Cells: one step of a recurrence.  FAMILY: every other file here is one cell."""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

CellState = tuple[Tensor, ...]
"""`parts` tensors of shape B D; the first is what the cell says."""


class Cell(nn.Module):
    """`output, state = cell(x, state)`; stepping through a sequence equals `sequence` over the whole of it.

    A member has its weights in `whole`, one of torch's recurrent layers, and says in `gates` and `turn` what one step is; `step` and
    `fused` are kernels for the same.  `gates` can be watched (`layers.gates`), and the kernels stand aside meanwhile.
    """

    parts: ClassVar[int] = 1
    """How many vectors the state is made of."""
    names: ClassVar[tuple[str, ...]] = ()
    """What the gates are called, in the order in which torch stacks their weights."""
    whole: nn.RNNBase

    def __init__(self, input_dim: int, dim: int) -> None:
        super().__init__()
        self.input_dim, self.dim = input_dim, dim
        self.seen = nn.Identity()

    def start(self, batch: int) -> CellState:
        """The state before the first symbol: zeros."""
        zeros = next(self.parameters()).new_zeros(batch, self.dim)
        return (zeros,) * self.parts

    def forward(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step."""
        if not self.watched():
            return self.step(x, state)
        outputs, state = self.plain(x[:, None], state)
        return outputs[:, 0], state

    def sequence(self, x: Float[Tensor, "B T Din"], state: CellState, kept: Float[Tensor, "B D"] | None = None) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps; `kept` multiplies what the gates read of the state before, at each step alike (Gal and Ghahramani 2016, equation 7)."""
        if kept is not None or self.watched():
            return self.plain(x, state, kept)
        if x.shape[1] > 1:
            return self.fused(x, tuple(part.contiguous() for part in state))  # cuDNN takes no other
        output, state = self.step(x[:, 0], state)  # the kernel of a sequence packs its weights anew at each call
        return output[:, None], state

    def plain(self, x: Float[Tensor, "B T Din"], state: CellState, kept: Float[Tensor, "B D"] | None = None) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps as the equations have them, one after the other: what the kernels are tested against."""
        outputs, gates = [], []
        for read in functional.linear(x, self.whole.weight_ih_l0, self.whole.bias_ih_l0).unbind(1):
            gates.append(self.gates(read, state[0] if kept is None else state[0] * kept))
            state = self.turn(gates[-1], state)
            outputs.append(state[0])
        if self.watched():
            self.seen(torch.stack([torch.stack(each, 1) for each in gates], 1))
        return torch.stack(outputs, 1), state

    def watched(self) -> bool:
        """Is somebody collecting the gates?  Then the plain path must run."""
        return bool(self.seen._forward_hooks)

    def gates(self, read: Float[Tensor, "B G"], hidden: Float[Tensor, "B D"]) -> tuple[Tensor, ...]:
        """B D each, as `names` has them, from the linear image of the input and from what was said last."""
        raise NotImplementedError

    def turn(self, gates: tuple[Tensor, ...], state: CellState) -> CellState:
        """The state after a step."""
        raise NotImplementedError

    def step(self, x: Float[Tensor, "B Din"], state: CellState) -> tuple[Float[Tensor, "B D"], CellState]:
        """One step by a kernel, if there is one."""
        outputs, state = self.plain(x[:, None], state)
        return outputs[:, 0], state

    def fused(self, x: Float[Tensor, "B T Din"], state: CellState) -> tuple[Float[Tensor, "B T D"], CellState]:
        """All steps by a kernel, if there is one."""
        return self.plain(x, state)
