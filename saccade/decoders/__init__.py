"""Decoders: what to say next.  FAMILY: every other file here is one decoder.

    memory, state = decoder.start(encoding, batch)
    logits, state = decoder(tokens, state, memory)

`memory` is what the source says, fixed for the whole sentence; `state` is what was said so far.
`tokens` may be a whole sentence (training), a prompt (prefill) or one symbol (search).
The law: decoding in pieces equals decoding at once.
"""

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..layers.cross_entropy import cross_entropy, linear_cross_entropy
from ..layers.embedding import Output
from ..types import Encoding, Loss, Memory, State


class Decoder(nn.Module):
    """Without a source (`memory_dim` None, `encoding` None) a decoder is a language model.

    A member writes `start` and `features`, and has an `output`; if its logits are no linear image of its features it writes
    `forward` instead.  Attention to the source stands under the name `cross_attention`, so that a picture or a penalty finds it;
    the matrix of symbol vectors is `embedding`.
    """

    embedding: nn.Embedding
    output: Output
    learns: ClassVar[Literal["gradients", "counts"]] = "gradients"
    """A member that learns by counting writes `count`, and has no gradients."""

    def __init__(self, vocab: int, memory_dim: int | None) -> None:
        super().__init__()

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Memory, State]:
        """Everything derivable from the source alone, and the state before the first symbol."""
        raise NotImplementedError

    def features(self, tokens: Int[Tensor, "B T"], state: State, memory: Memory) -> tuple[Float[Tensor, "B T D"], State]:
        """What `output` reads to say the symbol after each of `tokens`, and the state after the last."""
        raise NotImplementedError

    def forward(self, tokens: Int[Tensor, "B T"], state: State, memory: Memory) -> tuple[Float[Tensor, "B T V"], State]:
        """Logits of the symbol after each of `tokens`, and the state after the last."""
        features, state = self.features(tokens, state, memory)
        return self.output(features), state

    def loss(self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: State, memory: Memory, smoothing: float = 0.0) -> tuple[Loss, State]:
        """Cross-entropy of `targets` after `tokens`, and the state after the last; with a linear output all logits never stand in memory at once."""
        if type(self).forward is not Decoder.forward:
            logits, state = self(tokens, state, memory)
            return cross_entropy(logits, targets, smoothing), state
        features, state = self.features(tokens, state, memory)
        return linear_cross_entropy(features, self.output.weight, self.output.bias, targets, smoothing), state

    def logprobs(self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: State, memory: Memory) -> tuple[Float[Tensor, "B T"], State]:
        """The log-probability, in nats, of each of `targets` after `tokens`, and the state after the last."""
        logits, state = self(tokens, state, memory)
        return logits.float().log_softmax(-1).gather(2, targets[..., None])[..., 0], state

    @property
    def bounded(self) -> bool:
        """Does the state stay as large as it is, however long the text?  Then it can be carried from one piece of a text to the next."""
        return True

    def count(self, texts: Iterable[Int[np.ndarray, "_"]]) -> None:
        """Learn by counting: every text begins with BOS, what follows is predicted."""
        raise NotImplementedError

    def orders(self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: State, memory: Memory) -> tuple[Int[Tensor, "B T"], State]:
        """Of a member that counts: how many symbols, the target included, the count had that answered for each of `targets`."""
        raise NotImplementedError

    def make_room(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Before weights are loaded: `shapes` are theirs, by name; a member whose tables are as long as what was counted makes them so."""

    def check(self) -> None:
        """After weights were loaded: ValueError if no counting can have made them."""
