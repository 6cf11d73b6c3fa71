"""Decoders: what to say next.  FAMILY: every other file here is one decoder.

    memory, state = decoder.start(encoding, batch)
    logits, state = decoder(tokens, state, memory)

`memory` is what the source says, fixed for the whole sentence; `state` is what was said so far.
`tokens` may be a whole sentence (training), a prompt (prefill) or one symbol (search).
The law: decoding in pieces equals decoding at once.
"""

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

    def loss(self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], state: State, memory: Memory, smoothing: float = 0.0) -> Loss:
        """Cross-entropy of `targets` after `tokens`; with a linear output the logits never stand in memory all at once."""
        if type(self).forward is not Decoder.forward:
            return cross_entropy(self(tokens, state, memory)[0], targets, smoothing)
        return linear_cross_entropy(self.features(tokens, state, memory)[0], self.output.weight, self.output.bias, targets, smoothing)
