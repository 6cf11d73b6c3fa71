"""Models: thin, an encoder and a decoder, or a decoder alone."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from .decoders import Decoder
from .encoders import Encoder
from .errors import UsageError
from .families import Make
from .types import Loss, Padded


class Seq2Seq(nn.Module):
    """Reads a source, then says a target.

    With `share_embeddings` (one vocabulary on both sides) encoder and decoder use one matrix; `UsageError` C012 if their widths differ.
    """

    def __init__(self, source_vocab: int, target_vocab: int, encoder: Make[Encoder], decoder: Make[Decoder], share_embeddings: bool) -> None:
        super().__init__()
        self.encoder = encoder(source_vocab)
        self.decoder = decoder(target_vocab, self.encoder.dim)
        if share_embeddings:
            ours, theirs = self.encoder.embedding.weight, self.decoder.embedding.weight
            if ours.shape != theirs.shape:
                fix = "the same dim (and embedding) on both sides, or share_embeddings = false"
                raise UsageError("C012", f"shared embeddings need one size: encoder {tuple(ours.shape)}, decoder {tuple(theirs.shape)}", fix=fix)
            self.encoder.embedding.weight = theirs

    def forward(self, source: Padded, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the symbol after each of `tokens`, teacher-forced."""
        memory, state = self.decoder.start(self.encoder(source), tokens.shape[0])
        return self.decoder(tokens, state, memory)[0]

    def loss(self, source: Padded, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"], smoothing: float = 0.0) -> Loss:
        """Cross-entropy of `targets`, the symbols after `tokens`, teacher-forced: as of `forward`'s logits, in less memory."""
        memory, state = self.decoder.start(self.encoder(source), tokens.shape[0])
        return self.decoder.loss(tokens, targets, state, memory, smoothing)[0]


class LanguageModel(nn.Module):
    """Says how likely each next symbol is: a decoder with nothing to look at."""

    def __init__(self, vocab: int, decoder: Make[Decoder]) -> None:
        super().__init__()
        self.decoder = decoder(vocab, None)

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the symbol after each of `tokens`, which begin a text."""
        memory, state = self.decoder.start(None, tokens.shape[0])
        return self.decoder(tokens, state, memory)[0]
