"""Training GPT-2's form beside `transformers` GPT2LMHeadModel: same weights, same batches, passes interleaved, medians.

    python -m bench.gpt [--precision bfloat16 float32] [--dropout 0.1 0.0] [--passes 5] [--updates 2] [--threads 1] [--cpu-time]

Width 256, 6 layers, 4 heads, windows of 256 symbols, 8 to an update, 8,000 symbols; AdamW, the gradient clipped.  Dropout is the same on both sides:
of embeddings, of what a layer adds and of attention weights.  The text is random symbols: speed does not depend on what they say.
`loss` is that of both on the first batch, without dropout.  transformers must be installed beside saccade; with --alone it is left out.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saccade.decoders.transformer import Transformer
from saccade.families import settings
from saccade.training.optimizers import build_optimizer
from saccade.training.settings import Training

VOCAB, DIM, LAYERS, HEADS, LENGTH, ROWS = 8000, 256, 6, 4, 256, 8
FORM = {"dim": DIM, "layers": LAYERS, "heads": HEADS, "activation": "gelu_tanh", "embedding_scale": False, "initialisation": "gpt2", "activation_dropout": 0.0}


class Ours(nn.Module):
    """saccade's decoder and loss."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        knobs = {**FORM, "dropout": dropout, "attention_dropout": dropout, "position": {"name": "learned", "length": LENGTH}}
        self.decoder = Transformer(VOCAB, None, **settings(Transformer, knobs, "decoder"))

    def loss(self, read: Tensor, wanted: Tensor) -> Tensor:
        memory, state = self.decoder.start(None, len(read))
        loss, _ = self.decoder.loss(read, wanted, state, memory)
        return loss.total / loss.count


class Theirs(nn.Module):
    """transformers' model; it shifts by itself, so what is read has one symbol more."""

    def __init__(self, dropout: float, ours: Ours) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        drops = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), dropout)
        self.model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_positions=LENGTH, n_embd=DIM, n_layer=LAYERS, n_head=HEADS, **drops))
        with torch.no_grad():
            copy(ours.decoder, self.model.transformer)

    def loss(self, read: Tensor, wanted: Tensor) -> Tensor:
        found = self.model(read, use_cache=False).logits
        return nn.functional.cross_entropy(found.flatten(0, 1).float(), wanted.flatten())


def copy(ours: Transformer, theirs: Any) -> None:
    """Our weights; theirs keep query, key and value in one matrix, and matrices transposed."""
    theirs.wte.weight.copy_(ours.embedding.weight)
    theirs.wpe.weight.copy_(ours.position.places.weight)
    for layer, block in zip(ours.layers, theirs.h, strict=True):
        block.attn.c_attn.weight.copy_(torch.cat([layer.self_attention.query.weight, layer.self_attention.key_value.weight]).T)
        for mine, other in (
            (layer.self_attention.output, block.attn.c_proj),
            (layer.feed_forward.expand, block.mlp.c_fc),
            (layer.feed_forward.contract, block.mlp.c_proj),
        ):
            other.weight.copy_(mine.weight.T)


def one_pass(model: Any, optimizer: torch.optim.Optimizer, batches: list[Tensor], precision: torch.dtype) -> float:
    """An update for each batch; the loss of the last."""
    for batch in batches:
        optimizer.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            loss = model.loss(batch[:, :-1], batch[:, 1:])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
    return loss.item()


def measure(dropout: float, precisions: list[str], passes: int, updates: int, clock: Callable[[], float], alone: bool) -> None:
    """One row for each system in each precision."""
    torch.manual_seed(0)
    systems = {}
    for precision in precisions:
        ours = Ours(dropout)
        systems[f"saccade {precision}"] = ours, build_optimizer(Training(optimizer="adamw", learning_rate=1e-4), ours), getattr(torch, precision)
        if not alone:
            theirs = Theirs(dropout, ours)
            systems[f"transformers {precision}"] = theirs, torch.optim.AdamW(theirs.parameters(), lr=1e-4, fused=True), getattr(torch, precision)
    batches = [torch.randint(4, VOCAB, (ROWS, LENGTH + 1)) for _ in range(updates)]
    losses = {name: model.eval().loss(batches[0][:, :-1], batches[0][:, 1:]).item() for name, (model, _, _) in systems.items()}
    for model, optimizer, precision in systems.values():
        one_pass(model.train(), optimizer, batches[:1], precision)
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(passes):
        for name, (model, optimizer, precision) in systems.items():
            begun = clock()
            one_pass(model, optimizer, batches, precision)
            found[name].append(ROWS * LENGTH * updates / (clock() - begun))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    for name, rate in medians.items():
        ratios = "".join(f"   {rate / other:.2f}x {peer}" for peer, other in medians.items() if name.startswith("saccade") and peer.startswith("transformers"))
        print(f"  {name:<24}{rate:>7,.0f} tokens/s   ({min(found[name]):,.0f} to {max(found[name]):,.0f})   loss {losses[name]:.5f}{ratios}", flush=True)


def main() -> None:
    """One table for each rate of dropout."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["bfloat16", "float32"])
    options.add_argument("--dropout", nargs="+", type=float, default=[0.1, 0.0])
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--updates", type=int, default=2)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--cpu-time", action="store_true", help="the processor's time instead of the clock's: with one thread it stands a busy machine")
    options.add_argument("--alone", action="store_true", help="saccade only")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    for dropout in given.dropout:
        print(f"dropout {dropout}, {ROWS} windows of {LENGTH}, {given.threads} threads")
        measure(dropout, given.precision, given.passes, given.updates, time.process_time if given.cpu_time else time.perf_counter, given.alone)


if __name__ == "__main__":
    main()
