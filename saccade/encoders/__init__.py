"""Encoders: what the source says.  FAMILY: every other file here is one encoder."""

from torch import nn

from ..types import Encoding, Padded


class Encoder(nn.Module):
    """`encoding = encoder(source)`: one vector for each symbol, one for the whole; padding changes nothing.

    The matrix of symbol vectors is `embedding`, so that a model may share it.
    """

    dim: int
    """Features of `Encoding.outputs` and `Encoding.final`."""
    embedding: nn.Embedding

    def __init__(self, vocab: int) -> None:
        super().__init__()

    def forward(self, source: Padded) -> Encoding:
        """Read a batch of sources."""
        raise NotImplementedError
