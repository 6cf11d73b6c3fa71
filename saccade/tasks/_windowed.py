"""Going on for longer than a model was trained to read at once."""

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
    """A decoder that never reads more than `window` symbols at once: when they are full, the later half of them begins the next window.

    So a symbol is said after half a window at least, except at a text's beginning, and every place is one that training knew.  Where
    windows begin follows from the length of the text alone: pieces equal the whole, and what was drawn can be explained.
    """

    def __init__(self, decoder: Decoder, window: int) -> None:
        super().__init__(0, None)
        self.decoder, self.window, self.step = decoder, window, window - window // 2

    def begins(self, length: int) -> int:
        """Where the window begins that holds the last of so many symbols."""
        return -(-max(0, length - self.window) // self.step) * self.step

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Memory, Window]:
        """Nothing read."""
        memory, state = self.decoder.start(encoding, batch)
        return memory, Window(torch.zeros(batch, 0, dtype=torch.long, device=next(self.parameters()).device), state)

    def forward(self, tokens: Int[Tensor, "B T"], state: Window, memory: Memory) -> tuple[Float[Tensor, "B T V"], Window]:
        """Of one symbol at least; reads half a window again wherever one is full."""
        (read, inner), said = state, []
        while tokens.shape[1]:
            if read.shape[1] == self.window:
                read, (_, inner) = read[:, self.step :], self.decoder.start(None, len(read))
                inner = self.decoder(read, inner, memory)[1] if read.shape[1] else inner
            now, tokens = tokens.tensor_split([self.window - read.shape[1]], 1)
            logits, inner = self.decoder(now, inner, memory)
            read = torch.cat([read, now], 1)
            said.append(logits)
        return torch.cat(said, 1), Window(read, inner)
