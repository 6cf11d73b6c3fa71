"""Evaluation of Transformer-XL against reading the whole context again for every symbol: Dai et al. (2019), table 9.

    python -m reproductions.xl_speed [--lengths 200 400 800] [--cpu-time]        about two minutes on one core

Both say how likely each symbol is after the last `length` symbols.  Cached: a model with relative positions and a span of `length` reads on, a piece of
64 symbols at a time, with the keys and values of the span.  Vanilla, the paper's peer: a model with sinusoidal positions and no span reads the `length`
symbols before each symbol anew, its window moved on by one.  Again: so does the model with relative positions.  Step: one symbol at a
time with the cache, as in generation.
The paper, on its own model and GPU: 363 times faster at 800 symbols, 773 at 1,800, 1,409 at 2,800, 1,874 at 3,800.

Claim (registered before measuring): at least 100 times at 800 symbols, and the ratio grows with the length, its slope between logarithms 0.8 to 1.2.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.families import choose

VOCAB, PIECE, PASSES = 200, 64, 5
SIZES = {"dim": 128, "layers": 4, "heads": 4, "dropout": 0.0}


def make(position: str, span: int | str) -> Decoder:
    torch.manual_seed(0)
    return choose(Decoder, "transformer", **SIZES, position=position, span=span)(VOCAB, None).eval()


def cached(length: int, piece: int, pieces: int) -> Callable[[Tensor], int]:
    """Reads on behind a full span, `pieces` times; how many symbols that were."""
    decoder = make("relative", length)
    memory, state = decoder.start(None, 1)
    _, full = decoder.features(torch.randint(4, VOCAB, (1, length)), state, memory)

    def read(text: Tensor) -> int:
        state = full
        for number in range(pieces):
            _, state = decoder(text[:, number * piece : (number + 1) * piece], state, memory)
        return piece * pieces

    return read


def again(length: int, position: str) -> Callable[[Tensor], int]:
    """The window before one symbol, all of it."""
    decoder = make(position, "none")
    memory, state = decoder.start(None, 1)

    def read(text: Tensor) -> int:
        features, _ = decoder.features(text[:, :length], state, memory)
        decoder.output(features[:, -1])
        return 1

    return read


def seconds(ways: dict[str, Callable[[Tensor], int]], clock: Callable[[], float]) -> dict[str, float]:
    """Of one symbol: passes interleaved, medians; the first is not counted."""
    text, found = torch.randint(4, VOCAB, (1, 4096)), {name: [] for name in ways}
    for number in range(PASSES + 1):
        for name, read in ways.items():
            begun = clock()
            symbols = read(text)
            if number:
                found[name].append((clock() - begun) / symbols)
    return {name: statistics.median(each) for name, each in found.items()}


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares through the logarithms."""
    x, y = ([math.log(each) for each in side] for side in zip(*points, strict=True))
    mean = sum(x) / len(x)
    return sum((a - mean) * b for a, b in zip(x, y, strict=True)) / sum((a - mean) ** 2 for a in x)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lengths", nargs="+", type=int, default=[200, 400, 800])
    options.add_argument("--cpu-time", action="store_true", help="the processor's time instead of the clock's: it stands a busy machine")
    given = options.parse_args()
    torch.set_num_threads(1)
    clock, found = time.process_time if given.cpu_time else time.perf_counter, []
    for length in given.lengths:
        with torch.no_grad():
            ways = {
                "vanilla": again(length, "sinusoidal"),
                "again": again(length, "relative"),
                "cached": cached(length, PIECE, 4),
                "step": cached(length, 1, 32),
            }
            took = seconds(ways, clock)
        found.append({name: each / took["cached"] for name, each in took.items()})
        print(f"{length:>5} symbols: " + ", ".join(f"{name} {1e3 * each:.3f} ms ({found[-1][name]:.0f}x)" for name, each in took.items()), flush=True)
    for name in ("vanilla", "again") if len(found) > 1 else ():
        print(f"slope of {name} / cached: {slope([(length, each[name]) for length, each in zip(given.lengths, found, strict=True)]):.2f}")


if __name__ == "__main__":
    main()
