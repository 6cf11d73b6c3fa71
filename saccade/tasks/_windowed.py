"""Going on for longer than a model was trained to read at once."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..decoders import Decoder
from ..types import Encoding, Memory, State


class Window(NamedTuple):
    """The symbols that were read since the window began, and the decoder's state after them."""

    read: Int[Tensor, "B L"]
    state: State


class Windowed(Decoder):
    """A decoder that never reads more than `window` symbols at once: when they are full, the last `overlap` of them begin the next window.

    So a symbol is said after `overlap` others at least, except at a text's beginning, and every place is one that training knew.  Where
    windows begin follows from the length of the text alone: pieces equal the whole, and what was drawn can be explained.
    """

    def __init__(self, decoder: Decoder, window: int, overlap: int) -> None:
        super().__init__(0, None)
        self.decoder, self.window, self.step = decoder, window, window - overlap

    def begins(self, length: int) -> int:
        """Where the window begins that holds the last of so many symbols."""
        return -(-max(0, length - self.window) // self.step) * self.step

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Memory, Window]:
        """Nothing read."""
        memory, state = self.decoder.start(encoding, batch)
        return memory, Window(torch.zeros(batch, 0, dtype=torch.long, device=next(self.parameters()).device), state)

    def forward(self, tokens: Int[Tensor, "B T"], state: Window, memory: Memory) -> tuple[Float[Tensor, "B T V"], Window]:
        """Of one symbol at least; the overlap is read again wherever a window is full."""
        return self._piecewise(self.decoder, (tokens,), state, memory)

    def orders(self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: Window, memory: Memory) -> tuple[Int[Tensor, "B T"], Window]:
        """Likewise."""
        return self._piecewise(self.decoder.orders, (tokens, targets), state, memory)

    def _piecewise(self, ask: Callable[..., tuple[Tensor, State]], sides: tuple[Tensor, ...], state: Window, memory: Memory) -> tuple[Tensor, Window]:
        (read, inner), said = state, []
        while sides[0].shape[1]:
            if read.shape[1] == self.window:
                read, (_, inner) = read[:, self.step :], self.decoder.start(None, len(read))
                inner = self.decoder(read, inner, memory)[1] if read.shape[1] else inner
            room = self.window - read.shape[1]
            found, inner = ask(*(side[:, :room] for side in sides), inner, memory)
            read, sides = torch.cat([read, sides[0][:, :room]], 1), tuple(side[:, room:] for side in sides)
            said.append(found)
        return torch.cat(said, 1), Window(read, inner)
