"""The peers: the same models as plain torch.nn loops, as one would write them by hand."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class PlainTransformer(nn.Module):
    """nn.Transformer with sinusoids and one matrix for both embeddings and the output."""

    def __init__(self, vocab: int, dim: int = 256, layers: int = 3, heads: int = 4, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.transformer = nn.Transformer(dim, heads, layers, layers, 4 * dim, dropout, batch_first=True, norm_first=True)
        self.dropout, self.bias = nn.Dropout(dropout), nn.Parameter(torch.zeros(vocab))
        places = torch.arange(512)[:, None] * torch.exp(torch.arange(0, dim, 2) * (-math.log(10000.0) / dim))
        self.register_buffer("waves", torch.stack([places.sin(), places.cos()], -1).flatten(1))

    def embed(self, ids: Tensor) -> Tensor:
        return self.dropout(self.embedding(ids) * self.embedding.embedding_dim**0.5 + self.waves[: ids.shape[1]])

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        padding = source == 0
        causal = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=target.device, dtype=torch.bool)
        masks = {"tgt_mask": causal, "src_key_padding_mask": padding, "memory_key_padding_mask": padding, "tgt_is_causal": True}
        return functional.linear(self.transformer(self.embed(source), self.embed(target), **masks), self.embedding.weight, self.bias)


class PlainRecurrent(nn.Module):
    """Bidirectional GRU (packed), additive attention asked by the previous state, GRU cell in a loop."""

    def __init__(self, vocab: int, dim: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.encoder = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.cell, self.bridge = nn.GRUCell(3 * dim, dim), nn.Linear(2 * dim, dim)
        self.query, self.key, self.energy = nn.Linear(dim, dim, bias=False), nn.Linear(2 * dim, dim, bias=False), nn.Linear(dim, 1, bias=False)
        self.readout, self.dropout, self.bias = nn.Linear(3 * dim, dim), nn.Dropout(dropout), nn.Parameter(torch.zeros(vocab))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = source != 0
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(source)), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, final = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        memory = self.dropout(memory)
        hidden, keys = self.bridge(torch.cat([final[0], final[1]], -1)).tanh(), self.key(memory)
        said = []
        for symbol in self.dropout(self.embedding(target)).unbind(1):
            scores = self.energy((self.query(hidden)[:, None] + keys).tanh())[..., 0].masked_fill(~mask, float("-inf"))
            context = (scores.softmax(-1)[:, None] @ memory)[:, 0]
            hidden = self.cell(torch.cat([symbol, context], -1), hidden)
            said.append(self.readout(torch.cat([hidden, context], -1)).tanh())
        return functional.linear(self.dropout(torch.stack(said, 1)), self.embedding.weight, self.bias)


class PlainLstm(nn.Module):
    """Bidirectional LSTM, an LSTM cell in a loop with attention (Luong, "general"), one output softmax over all steps.

    With `input_feeding` the readout enters the next step; without it the decoder is one nn.LSTM and all steps ask at once.
    """

    def __init__(self, vocab: int, dim: int = 256, dropout: float = 0.1, input_feeding: bool = True, packed: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.encoder = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.cell = nn.LSTMCell(2 * dim, dim) if input_feeding else nn.LSTM(dim, dim, batch_first=True)
        self.bridge, self.key = nn.Linear(2 * dim, 2 * dim), nn.Linear(2 * dim, dim, bias=False)
        self.readout, self.dropout, self.bias = nn.Linear(3 * dim, dim), nn.Dropout(dropout), nn.Parameter(torch.zeros(vocab))
        self.input_feeding, self.packed = input_feeding, packed

    def encode(self, source: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Packed, the backward reading of a row starts at its end; padded it starts in the padding, as many a loop has it, and is faster."""
        x = self.dropout(self.embedding(source))
        if not self.packed:
            outputs, (hidden, _) = self.encoder(x)
        else:
            outputs, (hidden, _) = self.encoder(nn.utils.rnn.pack_padded_sequence(x, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False))
            outputs, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        return self.dropout(outputs), torch.cat([hidden[0], hidden[1]], -1)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = source != 0
        memory, final = self.encode(source, mask)
        hidden, cell = self.bridge(final).tanh().chunk(2, -1)
        keys, embedded, hide = self.key(memory).mT, self.dropout(self.embedding(target)), ~mask[:, None]
        if not self.input_feeding:
            said, _ = self.cell(embedded, (hidden[None].contiguous(), cell[None].contiguous()))
            weights = (said @ keys).masked_fill(hide, float("-inf")).softmax(-1)
            said = self.readout(torch.cat([said, (weights.to(memory.dtype) @ memory)], -1)).tanh()
        else:
            fed, steps = hidden.new_zeros(hidden.shape), []
            for symbol in embedded.unbind(1):
                hidden, cell = self.cell(torch.cat([symbol, fed], -1), (hidden, cell))
                weights = (hidden[:, None] @ keys).masked_fill(hide, float("-inf")).softmax(-1)
                fed = self.readout(torch.cat([hidden, (weights @ memory)[:, 0]], -1)).tanh()
                steps.append(fed)
            said = torch.stack(steps, 1)
        return functional.linear(self.dropout(said), self.embedding.weight, self.bias)
