"""How the gradient fades through time: Hochreiter (1991), Bengio et al. (1994); what gates do about it: Jozefowicz et al. (2015), section 2.2.

    python -m reproductions.gradients OUTPUT.png

The claim to be tested: at initialisation the gradient of an Elman network loses at least 6 powers of ten over 100 steps, that of an
LSTM whose forget gates begin at a bias of 2 at most 2.  What is measured is the norm of d loss / d state (all layers, all parts), by the
number of steps between the state and the prediction that makes the loss; the geometric mean over `SEEDS` models, each with `ROWS`
random texts.  Nothing is tuned: one layer of `DIM` cells as saccade makes them, torch's U(-1/sqrt(dim), 1/sqrt(dim)), embeddings
N(0, 1/dim).  Such a matrix U shrinks a random vector by 1/sqrt(3) = 0.577: 10^-24 over 100 steps.
"""

import sys
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.search.influence import influence

DIM, VOCAB, STEPS, ROWS, SEEDS = 200, 1000, 100, 4, 5
CELLS = {
    "LSTM, forget bias 2": {"name": "lstm", "forget_bias": 2.0},
    "LSTM, forget bias 1": {"name": "lstm", "forget_bias": 1.0},
    "GRU": {"name": "gru"},
    "Elman": {"name": "elman"},
}
HUES = ("#2a7f92", "#5b4b8a", "#5a8f3c", "#b4532a")
CLAIMS = {"Elman": (6.0, float("inf")), "LSTM, forget bias 2": (float("-inf"), 2.0)}
"""Powers of ten lost from the last step to a hundred steps before: at least, at most."""


def curve(cell: dict[str, object]) -> Float[Tensor, "S"]:
    """Base-10 logarithm of the mean norm at 1, 2, ... `STEPS` + 1 steps before the prediction."""
    found = []
    for seed in range(1, SEEDS + 1):
        torch.manual_seed(seed)
        decoder = choose(Decoder, "recurrent", cell=cell, dim=DIM, readout="none", dropout=0.0)(VOCAB, None).double()
        texts = torch.randint(VOCAB, (ROWS, STEPS + 2))
        found.append(influence(decoder, texts[:, :-1], texts[:, -1]).log10().mean(0))
    return torch.stack(found).mean(0).flip(0)


def figure(curves: dict[str, Float[Tensor, "S"]]) -> Figure:
    """One line for each cell."""
    drawn = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = drawn.subplots()
    for (name, values), hue in zip(curves.items(), HUES):
        axes.plot(range(1, STEPS + 2), 10.0 ** values.numpy(), color=hue, linewidth=2, label=name)
    axes.set_yscale("log")
    axes.set_xlabel("steps between the state and the prediction")
    axes.set_ylabel("norm of d loss / d state")
    axes.grid(color="#e4e2da")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return drawn


def main(output: Path) -> None:
    """The table, the verdict and the figure."""
    curves = {name: curve(cell) for name, cell in CELLS.items()}
    for name, values in curves.items():
        lost = float(values[0] - values[-1])
        least, most = CLAIMS.get(name, (float("-inf"), float("inf")))
        verdict = "" if name not in CLAIMS else "   as claimed" if least <= lost <= most else "   NOT as claimed"
        print(f"{name:<20} after 1, 10, 50, 101 steps: 10^ {' '.join(f'{values[i]:6.2f}' for i in (0, 9, 49, -1))}   lost {lost:5.2f} powers{verdict}")
    figure(curves).savefig(output, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
