"""Training a word language model beside a plain loop around nn.LSTM: same weights, same batches, passes interleaved, medians.

    python -m bench.lstm [--setting small ...] [--precision float32 ...] [--passes 5] [--threads 1] [--cpu-time]

One pass is `UPDATES` updates as Zaremba et al. (2014) make them: plain SGD, the state carried, the gradient clipped.  The text is
random symbols: speed does not depend on what they say.  `loss` is that of both after the same updates from the same weights.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.training.optimizers import build_optimizer
from saccade.training.settings import Training
from saccade.types import detach

VOCAB, ROWS, UPDATES = 10_000, 20, 8


class Setting(NamedTuple):
    """Two layers."""

    dim: int
    steps: int
    dropout: float


SETTINGS = {"small": Setting(200, 20, 0.0), "medium": Setting(650, 35, 0.5)}


class PlainLanguageModel(nn.Module):
    """As one would write it by hand."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.embedding, self.output, self.dropout = nn.Embedding(VOCAB, dim), nn.Linear(dim, VOCAB), nn.Dropout(dropout)
        self.lstm = nn.LSTM(dim, dim, 2, batch_first=True, dropout=dropout)

    def loss(self, read: Tensor, wanted: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        said, state = self.lstm(self.dropout(self.embedding(read)), state)
        return functional.cross_entropy(self.output(self.dropout(said)).flatten(0, 1), wanted.flatten()), state


class Ours(nn.Module):
    """saccade's decoder and loss."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.decoder = choose(Decoder, "recurrent", cell="lstm", dim=dim, layers=2, readout="none", tied=False, dropout=dropout)(VOCAB, None)

    def loss(self, read: Tensor, wanted: Tensor, state: object) -> tuple[Tensor, object]:
        memory, start = self.decoder.start(None, len(read))
        loss, state = self.decoder.loss(read, wanted, start if state is None else state, memory)
        return loss.total / loss.count, state

    def copy_to(self, plain: PlainLanguageModel) -> None:
        """The same weights on both sides."""
        theirs = {"embedding.weight": self.decoder.embedding.weight, "output.weight": self.decoder.output.weight, "output.bias": self.decoder.output.bias}
        for layer, cell in enumerate(self.decoder.cells):
            theirs |= {f"lstm.{name[:-1]}{layer}": weight for name, weight in cell.whole.named_parameters()}
        plain.load_state_dict({name: weight.detach().clone() for name, weight in theirs.items()})


def one_pass(model: nn.Module, optimizer: torch.optim.Optimizer, text: Tensor, steps: int, precision: torch.dtype) -> float:
    """`UPDATES` updates; the loss of the last."""
    state = None
    for number in range(UPDATES):
        piece = text[:, number * steps : (number + 1) * steps + 1]
        optimizer.zero_grad()
        with torch.autocast("cpu", precision, enabled=precision is not torch.float32):
            loss, state = model.loss(piece[:, :-1], piece[:, 1:], state)
        loss.backward()
        state = detach(state)
        nn.utils.clip_grad_norm_(model.parameters(), 0.25, foreach=True)
        optimizer.step()
    return loss.item()


def measure(setting: Setting, precision: torch.dtype, passes: int, clock: Callable[[], float]) -> None:
    """One row for each system."""
    torch.manual_seed(0)
    ours, plain = Ours(setting.dim, setting.dropout), PlainLanguageModel(setting.dim, setting.dropout)
    ours.copy_to(plain)
    systems = {
        "saccade": (ours, build_optimizer(Training(optimizer="sgd", learning_rate=1.0), ours)),
        "nn.LSTM": (plain, torch.optim.SGD(plain.parameters(), lr=1.0)),
    }
    text = torch.randint(4, VOCAB, (ROWS, UPDATES * setting.steps + 1))
    found: dict[str, list[float]] = {name: [] for name in systems}
    losses = {name: one_pass(model, optimizer, text, setting.steps, precision) for name, (model, optimizer) in systems.items()}
    for _ in range(passes):
        for name, (model, optimizer) in systems.items():
            begun = clock()
            one_pass(model, optimizer, text, setting.steps, precision)
            found[name].append(ROWS * setting.steps * UPDATES / (clock() - begun))
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    for name, rate in medians.items():
        ratio = f"{medians['saccade'] / rate:5.2f}x" if name != "saccade" else ""
        weights = sum(weight.numel() for weight in systems[name][0].parameters())
        spread = f"{min(found[name]):,.0f} to {max(found[name]):,.0f}"
        print(f"  {name:<10}{rate:>8,.0f} tokens/s   ({spread})   {weights:,} weights   loss {losses[name]:.5f}   {ratio}", flush=True)


def main() -> None:
    """One table for each setting and precision."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--setting", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    options.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    options.add_argument("--passes", type=int, default=5)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--cpu-time", action="store_true", help="the processor's time instead of the clock's: with one thread it stands a busy machine")
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    for name in given.setting:
        for precision in given.precision:
            print(f"{name} {SETTINGS[name]._asdict()}, {ROWS} rows, {precision}, {given.threads} threads")
            measure(SETTINGS[name], getattr(torch, precision), given.passes, time.process_time if given.cpu_time else time.perf_counter)


if __name__ == "__main__":
    main()
