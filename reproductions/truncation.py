"""What truncated backpropagation can learn, and what it costs: Williams and Peng (1990), BPTT(k2; k1).

    python -m reproductions.truncation                        two models, three minutes on one core

The claims to be tested.  Where an answer depends on a symbol `LAG` steps before, gradients that reach back 10 steps teach nothing (at
most 5 points above chance), gradients that reach back 30 teach it (at least 95 %), though both carry the state from one update to the
next and see the same text as often.  And what an update keeps in memory grows with the reach alone, not with the text.

The text: lines such as `!CADBB...ADC?C`.  The answer to `?` is the letter after `!`; the 19 between them are drawn from the same four
letters, so that a state which just fades or adds up does not tell which one came first: the `!` has to open a gate.
"""

import random
import tempfile
import weakref
from pathlib import Path

import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.recipe import Recipe, from_table
from saccade.run import Run, load
from saccade.types import EOS, detach

LETTERS, LAG, LINES, TESTED = "ABCD", 20, 20000, 1000
CONTEXT, REACHES = 10, (10, 30)
UPDATES = 12000


def line(draw: random.Random) -> str:
    """One letter to remember, `LAG` - 1 to forget, the question and its answer."""
    wanted = draw.choice(LETTERS)
    return f"!{wanted}{''.join(draw.choices(LETTERS, k=LAG - 1))}?{wanted}"


def write(path: Path, count: int, seed: int) -> list[str]:
    """`count` lines, drawn from `seed`."""
    draw = random.Random(seed)
    lines = [line(draw) for _ in range(count)]
    path.write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")
    return lines


def recipe(folder: Path, reach: int) -> Recipe:
    """32 rows, an update every `CONTEXT` characters, gradients `reach` characters back."""
    decoder = {"name": "recurrent", "cell": "lstm", "dim": 32, "dropout": 0.0, "readout": "none"}
    task = {"task": "language_model", "seed": 1, "tokenizer": "characters", "context": CONTEXT, "reach": reach, "carry": True, "decoder": decoder}
    data = {"folder": str(folder), "train": "train.txt", "valid": "valid.txt", "test": "test.txt"}
    training = {
        "steps": UPDATES,
        "tokens_per_batch": 32 * CONTEXT,
        "optimizer": "adam",
        "learning_rate": 0.01,
        "schedule": {"name": "cosine", "warmup": 100},
    }
    exact = {"precision": "float32", "device": "cpu", "evaluate_every": 1000}
    return from_table({**task, "data": data, "training": {**training, **exact}})


@torch.no_grad()
def accuracy(run: Path, lines: list[str]) -> float:
    """Share of questions whose likeliest answer is the true one; the text is one stream, the state carried through all of it."""
    model = load(run)
    ids = torch.tensor([[symbol for each in lines for symbol in (*model.task.tokenizer.encode(each), EOS)]])
    memory, state = model.network.decoder.start(None, 1)
    logits, _ = model.network.decoder(ids, state, memory)
    asked = torch.arange(LAG + 1, ids.shape[1], LAG + 4)
    return float((logits[0, asked].argmax(-1) == ids[0, asked + 1]).double().mean())


def peak(length: int, context: int) -> int:
    """Bytes that wait for backward at most, while a text of `length` symbols is read and learned `context` symbols at a time."""
    torch.manual_seed(0)
    decoder = choose(Decoder, "recurrent", cell="lstm", dim=64, readout="none", dropout=0.0)(100, None)
    tokens, now, most = torch.randint(4, 100, (8, length + 1)), 0, 0

    def forget(size: int) -> None:
        nonlocal now
        now -= size

    def pack(tensor: Tensor) -> "_Kept":
        nonlocal now, most
        kept, size = _Kept(tensor), tensor.numel() * tensor.itemsize
        weakref.finalize(kept, forget, size)
        now += size
        most = max(most, now)
        return kept

    memory, state = decoder.start(None, 8)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        for start in range(0, length, context):
            read = tokens[:, start : start + context + 1]
            loss, state = decoder.loss(read[:, :-1], read[:, 1:], detach(state), memory)
            loss.total.backward()
    return most


class _Kept:
    """A tensor whose end can be waited for."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def main() -> None:
    """Both tables."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "train.txt", LINES, 0)
        write(folder / "valid.txt", 200, 1)
        lines = write(folder / "test.txt", TESTED, 2)
        for reach in REACHES:
            for _ in Run.begin(recipe(folder, reach), folder / f"reach-{reach}").train():
                pass
            print(f"reach {reach:>3}: {accuracy(folder / f'reach-{reach}', lines):6.1%} of {TESTED} answers, chance {1 / len(LETTERS):.0%}", flush=True)
    print(f"\n{'kept for backward, kB':<24}" + "".join(f"{f'{length:,} symbols':>16}" for length in (400, 1600, 6400)))
    for context in (10, 40, 400):
        print(f"{f'k1 = k2 = {context}':<24}" + "".join(f"{peak(length, context) / 1000:>16,.0f}" for length in (400, 1600, 6400)))
    print(f"{'no truncation':<24}" + "".join(f"{peak(length, length) / 1000:>16,.0f}" for length in (400, 1600, 6400)))


if __name__ == "__main__":
    main()
