"""What one wants of a model of sequences, and which model has it: a table whose every cell is measured.

    python -m reproductions.desiderata [docs/images/desiderata.png]         about three minutes on one core

Every model learns four small languages, from the same number of texts: those with gradients in `UPDATES` updates of `BATCH` texts
(Adam, only the answer is learned), the n-gram by counting them.  What is right is the most probable symbol after the text; texts are new.

order           two letters in a row, then the first of them.  A model blind to order is right in 50 %.
variable length a letter, 0 to 12 dots, a question mark, the letter: right at *every* length; and decoding in pieces equals decoding
                at once at every length.  What sees a fixed number of symbols is right in 12.5 % beyond them.
differentiable  after one backward pass every weight has a finite gradient that is not 0, and 30 updates on one batch lower its loss
                to 90 % or less.
pairs           eight bits, then whether the fifth and the seventh differ: neither says anything alone.  Who cannot tell the two from the
                other six is right in 56 %.
long-term       a letter, 60 random letters, a question mark, the first letter (learned with 0 to 60 between).  Chance is 12.5 %.

"Right" is at least `ENOUGH` of `TESTS` texts.  Tasks, sizes and thresholds were fixed before the first table.
"""

import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.types import BOS, PAD

ENOUGH, FALL, LAW = 0.95, 0.9, 1e-4
UPDATES, BATCH, RATE, TESTS = 600, 32, 3e-3, 500
LETTERS, DOT, ASK = range(4, 12), 12, 13
VOCAB = 14
FAR = 60

MODELS = {
    "5-gram": {"name": "ngram", "order": 5},
    "bag of words": {"name": "bag", "dim": 64},
    "RNN (Elman)": {"name": "recurrent", "cell": "elman", "dim": 64},
    "LSTM": {"name": "recurrent", "cell": "lstm", "dim": 64},
    "GRU": {"name": "recurrent", "cell": "gru", "dim": 64},
    "convolution (9 wide)": {"name": "convolutional", "dim": 64, "layers": 4, "kernel": 3},
    "Transformer": {"name": "transformer", "dim": 64, "layers": 2},
}


class Language(NamedTuple):
    """`say(random, size)` is a text without its BOS, whose last symbol is the answer; sizes that are learned, sizes that are tested."""

    say: Callable[[random.Random, int], list[int]]
    learned: Sequence[int]
    tested: Sequence[int]


def first_of_two(draw: random.Random, size: int) -> list[int]:
    """x y x."""
    x, y = draw.sample(LETTERS, 2)
    return [x, y, x]


def after_dots(draw: random.Random, size: int) -> list[int]:
    """x ... ? x."""
    x = draw.choice(LETTERS)
    return [x, *[DOT] * size, ASK, x]


def differ(draw: random.Random, size: int) -> list[int]:
    """Eight bits, and whether two of them differ; 0 and 1 are the first two letters."""
    bits = [draw.randrange(2) for _ in range(8)]
    return [LETTERS[bit] for bit in (*bits, bits[4] ^ bits[6])]


def after_letters(draw: random.Random, size: int) -> list[int]:
    """x, letters, ? x."""
    x = draw.choice(LETTERS)
    return [x, *draw.choices(LETTERS, k=size), ASK, x]


LANGUAGES = {
    "order": Language(first_of_two, [0], [0]),
    "variable length": Language(after_dots, range(13), range(13)),
    "pairs": Language(differ, [0], [0]),
    "long-term": Language(after_letters, range(FAR + 1), [FAR]),
}
COLUMNS = ["order", "variable length", "differentiable", "pairs", "long-term"]


class Cell(NamedTuple):
    """One answer, and what it rests on."""

    holds: bool
    measured: str


def texts(language: Language, draw: random.Random, size: int, count: int) -> Tensor:
    """`count` texts of one size, each with BOS before it and its answer at the end."""
    return torch.tensor([[BOS, *language.say(draw, size)] for _ in range(count)])


def answers_only(batch: Tensor) -> tuple[Tensor, Tensor]:
    """What is read, and what is to be said: nothing but the answer counts."""
    targets = torch.full_like(batch[:, 1:], PAD)
    targets[:, -1] = batch[:, -1]
    return batch[:, :-1], targets


def update(decoder: Decoder, optimizer: torch.optim.Optimizer, batch: Tensor) -> float:
    """One step down; the loss before it."""
    memory, state = decoder.start(None, len(batch))
    loss, _ = decoder.loss(*answers_only(batch), state, memory)
    optimizer.zero_grad()
    loss.total.div(loss.count).backward()
    torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
    optimizer.step()
    return float(loss.total.detach()) / len(batch)


def make(model: dict) -> Decoder:
    """Untrained, weights from seed 1."""
    torch.manual_seed(1)
    dropout = {} if model["name"] == "ngram" else {"dropout": 0.0}
    return choose(Decoder, **model, **dropout)(VOCAB, None)


def learn(decoder: Decoder, language: Language) -> None:
    """`UPDATES` batches of texts, one size each."""
    draw = random.Random(1)
    batches = (texts(language, draw, draw.choice(language.learned), BATCH) for _ in range(UPDATES))
    if decoder.learns == "counts":
        decoder.count([text.numpy() for batch in batches for text in batch])
        return
    optimizer = torch.optim.Adam(decoder.parameters(), lr=RATE)
    for batch in batches:
        update(decoder, optimizer, batch)


@torch.no_grad()
def right(decoder: Decoder, language: Language, size: int) -> float:
    """The share of new texts whose answer is the most probable symbol."""
    batch = texts(language, random.Random(2), size, TESTS)
    memory, state = decoder.start(None, TESTS)
    logits, _ = decoder(batch[:, :-1], state, memory)
    return (logits[:, -1].argmax(-1) == batch[:, -1]).float().mean().item()


@torch.no_grad()
def broken_law(decoder: Decoder, longest: int) -> float:
    """How far decoding in two pieces is from decoding at once, at worst over all lengths up to `longest` and all cuts."""
    tokens, worst = texts(LANGUAGES["long-term"], random.Random(3), longest - 2, 4)[:, :longest], 0.0
    memory, start = decoder.start(None, len(tokens))
    for length in range(2, longest + 1):
        whole = decoder(tokens[:, :length], start, memory)[0][:, -1].log_softmax(-1)
        for cut in range(1, length):
            _, state = decoder(tokens[:, :cut], start, memory)
            last = decoder(tokens[:, cut:length], state, memory)[0][:, -1].log_softmax(-1)
            worst = max(worst, (whole.exp() - last.exp()).abs().max().item())
    return worst


def learned(model: dict, name: str) -> Cell:
    """Right at every size that is tested; for a language of many sizes pieces must equal the whole as well."""
    decoder, language = make(model), LANGUAGES[name]
    learn(decoder.train(), language)
    decoder.eval()
    worst = min(right(decoder, language, size) for size in language.tested)
    apart = broken_law(decoder, 1 + language.tested[-1]) if len(language.tested) > 1 else 0.0
    return Cell(worst >= ENOUGH and apart <= LAW, f"{worst:.0%}" + (f", pieces off by {apart:.0e}" if apart > LAW else ""))


def differentiable(model: dict) -> Cell:
    """Does a gradient reach every weight, and does it teach?"""
    decoder = make(model).train()
    batch = texts(LANGUAGES["order"], random.Random(1), 0, BATCH)
    memory, state = decoder.start(None, BATCH)
    loss, _ = decoder.loss(*answers_only(batch), state, memory)
    weights = [weight for weight in decoder.parameters() if weight.requires_grad]
    if not weights:
        return Cell(False, "no gradient")
    loss.total.backward()
    reached = [weight.grad is not None and bool(weight.grad.isfinite().all()) and bool(weight.grad.any()) for weight in weights]
    optimizer = torch.optim.Adam(decoder.parameters(), lr=RATE)
    losses = [update(decoder, optimizer, batch) for _ in range(31)]
    fall = losses[-1] / losses[0]
    return Cell(all(reached) and fall <= FALL, f"{sum(reached)} of {len(reached)}, loss to {fall:.0%}")


def row(model: dict) -> dict[str, Cell]:
    """All that is asked of one model."""
    return {name: differentiable(model) if name == "differentiable" else learned(model, name) for name in COLUMNS}


def picture(table: dict[str, dict[str, Cell]]) -> Figure:
    """The table in two colours, with what was measured in every cell."""
    figure = Figure(figsize=(10.0, 0.52 * len(table) + 0.7), layout="constrained")
    axes = figure.subplots()
    axes.imshow([[cell.holds for cell in cells.values()] for cells in table.values()], cmap=_two_colours(), vmin=0, vmax=1, aspect="auto")
    for y, cells in enumerate(table.values()):
        for x, cell in enumerate(cells.values()):
            label = f"{'yes' if cell.holds else 'no'}\n{cell.measured}"
            axes.text(x, y, label, ha="center", va="center", fontsize=9, color="white" if cell.holds else "#1b2a31")
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_yticks(range(len(table)), list(table))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for place in range(1, len(table)):
        axes.axhline(place - 0.5, color="white", linewidth=2)
    for place in range(1, len(COLUMNS)):
        axes.axvline(place - 0.5, color="white", linewidth=2)
    return figure


def _two_colours() -> object:
    from matplotlib.colors import ListedColormap

    return ListedColormap(["#f3d9c6", "#2a7f92"])


def main() -> None:
    """Print the table row by row, draw it."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/desiderata.png")
    print(f"{'':<22}" + "".join(f"{name:<26}" for name in COLUMNS))
    table = {}
    for name, model in MODELS.items():
        begun = time.perf_counter()
        table[name] = row(model)
        cells = "".join(f"{('yes' if cell.holds else 'no') + '  ' + cell.measured:<26}" for cell in table[name].values())
        print(f"{name:<22}{cells}{time.perf_counter() - begun:.0f} s", flush=True)
    picture(table).savefig(output, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
