"""A plain loop around torch.nn, as one writes it by hand."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.peers.children.protocol import Batch, System, hand_loop, serve
from bench.plain import PlainTransformer


class PlainLuong(nn.Module):
    """Bidirectional LSTM (packed), LSTM cell in a loop, general attention, its answer fed to the next step (Luong et al. 2015, section 3.3)."""

    def __init__(self, vocab: int, dim: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.embedding.weight, std=dim**-0.5)
        self.encoder = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.cell, self.bridge = nn.LSTMCell(2 * dim, dim), nn.Linear(2 * dim, 2 * dim)
        self.key, self.readout = nn.Linear(2 * dim, dim, bias=False), nn.Linear(3 * dim, dim)
        self.dropout, self.bias = nn.Dropout(dropout), nn.Parameter(torch.zeros(vocab))

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        mask = source != 0
        packed = nn.utils.rnn.pack_padded_sequence(self.dropout(self.embedding(source)), mask.sum(1), batch_first=True, enforce_sorted=False)
        outputs, (final, _) = self.encoder(packed)
        memory, _ = nn.utils.rnn.pad_packed_sequence(outputs, batch_first=True, total_length=source.shape[1])
        memory = self.dropout(memory)
        keys, (hidden, cell) = self.key(memory), self.bridge(torch.cat([final[0], final[1]], -1)).tanh().chunk(2, -1)
        fed, said = torch.zeros_like(hidden), []
        for symbol in self.dropout(self.embedding(target)).unbind(1):
            hidden, cell = self.cell(torch.cat([symbol, fed], -1), (hidden, cell))
            weights = (keys @ hidden[..., None])[..., 0].masked_fill(~mask, float("-inf")).softmax(-1)
            context = (weights[:, None] @ memory)[:, 0]
            fed = self.readout(torch.cat([hidden, context], -1)).tanh()
            said.append(fed)
        return functional.linear(self.dropout(torch.stack(said, 1)), self.embedding.weight, self.bias)


class Plain:
    """The model with cross_entropy of torch."""

    def __init__(self, configuration: str, vocabulary: int, precision: str) -> None:
        self.model = PlainTransformer(vocabulary, dropout=0.1) if configuration == "transformer" else PlainLuong(vocabulary)
        self.update = hand_loop(self.model, precision, self.loss)

    def prepare(self, batch: Batch) -> Batch:
        return batch

    def logits(self, batch: Batch) -> Tensor:
        return self.model(batch.source, batch.target[:, :-1]).flatten(0, 1)

    def loss(self, batch: Batch) -> Tensor:
        return functional.cross_entropy(self.logits(batch), batch.target[:, 1:].flatten(), ignore_index=0, label_smoothing=0.1)

    def likelihood(self, batch: Batch) -> Tensor:
        return functional.cross_entropy(self.logits(batch), batch.target[:, 1:].flatten(), ignore_index=0, reduction="sum")


def make(configuration: str, vocabulary: int, precision: str) -> System:
    """The system that the arguments ask for."""
    return Plain(configuration, vocabulary, precision)


if __name__ == "__main__":
    serve(make)
