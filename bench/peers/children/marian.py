"""Hugging Face transformers: MarianMTModel in a plain loop."""

from torch import Tensor
from torch.nn import functional
from transformers import MarianConfig, MarianMTModel

from bench.peers.children.protocol import Batch, System, hand_loop, serve

SIDES = ("encoder", "decoder")
SIZES = {f"{side}_{knob}": value for side in SIDES for knob, value in (("layers", 3), ("attention_heads", 4), ("ffn_dim", 1024))}


class Marian:
    """The model of the table's sizes; dropout on the residual paths, as everywhere in the table (its defaults leave attention and activations without)."""

    def __init__(self, vocabulary: int, precision: str) -> None:
        ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "forced_eos_token_id": 2}
        self.model = MarianMTModel(MarianConfig(vocab_size=vocabulary, d_model=256, dropout=0.1, scale_embedding=True, use_cache=False, **SIZES, **ids))
        self.update = hand_loop(self.model, precision, self.loss)

    def prepare(self, batch: Batch) -> Batch:
        return batch

    def logits(self, batch: Batch) -> Tensor:
        found = self.model(input_ids=batch.source, attention_mask=(batch.source != 0).long(), decoder_input_ids=batch.target[:, :-1])
        return found.logits.flatten(0, 1)

    def loss(self, batch: Batch) -> Tensor:
        return functional.cross_entropy(self.logits(batch), batch.target[:, 1:].flatten(), ignore_index=0, label_smoothing=0.1)

    def likelihood(self, batch: Batch) -> Tensor:
        return functional.cross_entropy(self.logits(batch), batch.target[:, 1:].flatten(), ignore_index=0, reduction="sum")


def make(configuration: str, vocabulary: int, precision: str) -> System:
    """The Transformer; transformers has no recurrent translation model."""
    if configuration != "transformer":
        raise SystemExit("transformers has no recurrent translation model")
    return Marian(vocabulary, precision)


if __name__ == "__main__":
    serve(make)
