"""Decoders: what to say next.  FAMILY: every other file here is one decoder.

    memory, state = decoder.start(encoding, batch)
    logits, state = decoder(tokens, state, memory)

`memory` is what the source says, fixed for the whole sentence; `state` is what was said so far.
`tokens` may be a whole sentence (training), a prompt (prefill) or one symbol (search).
The law: decoding in pieces equals decoding at once.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from ..types import Encoding, Memory, State


class Decoder(nn.Module):
    """Without a source (`memory_dim` None, `encoding` None) a decoder is a language model.

    Attention to the source stands under the name `cross_attention`, so that a picture or a penalty finds it; the matrix of
    symbol vectors is `embedding`.
    """

    embedding: nn.Embedding

    def __init__(self, vocab: int, memory_dim: int | None) -> None:
        super().__init__()

    def start(self, encoding: Encoding | None, batch: int) -> tuple[Memory, State]:
        """Everything derivable from the source alone, and the state before the first symbol."""
        raise NotImplementedError

    def forward(self, tokens: Int[Tensor, "B T"], state: State, memory: Memory) -> tuple[Float[Tensor, "B T V"], State]:
        """Logits of the symbol after each of `tokens`, and the state after the last."""
        raise NotImplementedError
