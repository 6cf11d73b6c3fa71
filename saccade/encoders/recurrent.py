"""Recurrent encoder, in one or both directions: Sutskever et al. (2014), Bahdanau et al. (2015), Wu et al. (2016)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..families import Make
from ..layers.cells import Cell
from ..layers.cells.gru import Gru
from ..layers.dropout import Dropout
from ..layers.embedding import Embedding
from ..types import Encoding, Padded
from . import Encoder


def reversed_rows(x: Tensor, lengths: Int[Tensor, "B"]) -> Tensor:
    """Each row (axis 1) back to front, its padding left where it is."""
    places = torch.arange(x.shape[1], device=x.device)
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return x.take_along_dim(turned if x.ndim == 2 else turned[..., None], 1)


class Layer(nn.Module):
    """One layer: a cell forward and, if asked, another one backward; their outputs side by side."""

    def __init__(self, input_dim: int, dim: int, cell: Make[Cell], bidirectional: bool) -> None:
        super().__init__()
        self.ahead = cell(input_dim, dim)
        self.back = cell(input_dim, dim) if bidirectional else None

    def forward(self, x: Float[Tensor, "B S Din"], lengths: Int[Tensor, "B"]) -> tuple[Float[Tensor, "B S D"], Float[Tensor, "B D"]]:
        """Outputs, and what was said last: at the end of the forward reading, at the beginning for the backward one."""
        batch = x.shape[0]
        outputs, _ = self.ahead.sequence(x, self.ahead.start(batch))
        final = outputs.take_along_dim((lengths - 1)[:, None, None], 1)[:, 0]
        if self.back is None:
            return outputs, final
        behind, _ = self.back.sequence(reversed_rows(x, lengths), self.back.start(batch))
        behind = reversed_rows(behind, lengths)
        return torch.cat([outputs, behind], -1), torch.cat([final, behind[:, 0]], -1)


class Recurrent(Encoder):
    """Layers of cells; `dim` is the width in each direction, `residual` adds a layer's input to its output (Wu et al. 2016).

    `reverse` reads the source back to front (Sutskever et al. 2014, section 3.3).
    """

    def __init__(
        self,
        vocab: int,
        *,
        cell: Make[Cell] = Gru,
        dim: int = 256,
        layers: int = 1,
        embedding: int | None = None,
        bidirectional: bool = True,
        residual: bool = False,
        reverse: bool = False,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(vocab)
        width = embedding or dim
        self.dim = dim * (2 if bidirectional else 1)
        self.embedding = Embedding(vocab, width, dropout=dropout)
        self.layers = nn.ModuleList(Layer(self.dim if i else width, dim, cell, bidirectional) for i in range(layers))
        self.residual, self.reverse = residual, reverse
        self.dropout = Dropout(dropout)

    def forward(self, source: Padded) -> Encoding:
        """Read a batch of sources; rows of length 0 are not allowed."""
        ids, lengths = source
        x = self.embedding(reversed_rows(ids, lengths) if self.reverse else ids)
        for number, layer in enumerate(self.layers):
            y, final = layer(self.dropout(x) if number else x, lengths)
            x = x + y if self.residual and x.shape == y.shape else y
        mask = source.mask
        outputs = reversed_rows(x, lengths) if self.reverse else x
        return Encoding(self.dropout(outputs.masked_fill(~mask[..., None], 0.0)), mask, final, ids)
