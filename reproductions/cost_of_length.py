"""What a symbol costs, and how that grows with the length of the text: every language model there is, in training and in generation.

    python -m reproductions.cost_of_length [docs/images/cost-of-length.png]        about six minutes on one core, Linux only

Training: seconds and bytes per symbol, forward and backward through one text of 64 to 4,096 symbols (best of three; what counts
symbols counts them).  Generation: seconds for one more symbol after so many, and the bytes of the state that is kept for it.

Width 64, two layers, 256 symbols; a sparse pattern's stride is the root of the length.  Each point is a process of its own.  Its training memory is
the highest resident memory (VmHWM) less what was resident before; the state's bytes are counted, not measured.  Exponents are slopes of
least squares through the logarithms from 512 symbols on: 0 costs the same at every length, 1 twice as much per symbol for a text twice as long.
"""

import ctypes
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.figure import Figure

from bench.members import language_models, text
from saccade.decoders import Decoder
from saccade.search import Sampling, sample
from saccade.types import State, tree_map

LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096]
FITTED = 512
WIDTH, VOCAB, STEPS = 64, 256, 64
PANELS = {
    "training, seconds per symbol": ("train", "seconds"),
    "training, bytes per symbol": ("train", "bytes"),
    "generation, seconds per symbol": ("generate", "seconds"),
    "generation, bytes of state": ("generate", "bytes"),
}
Point = dict[str, float]
Costs = dict[str, dict[int, Point]]
"""{"train": {length: point}, "generate": {length: point}}"""


def train(decoder: Decoder, length: int) -> Point:
    """One text, forward and backward, three times; first a short one, which loads what is loaded once."""
    decoder.train()
    learn(decoder, 16)
    before, seconds = settled(), math.inf
    for _ in range(3):
        begun = time.process_time()
        learn(decoder, length)
        seconds = min(seconds, time.process_time() - begun)
    return {"seconds": seconds / length, "bytes": (resident("VmHWM") - before) / length}


def learn(decoder: Decoder, length: int) -> None:
    """From one text of `length` symbols."""
    symbols = text(VOCAB, length + 1)
    if decoder.learns == "counts":
        decoder.count([symbols])
        return
    memory, state = decoder.start(None, 1)
    tokens = torch.from_numpy(symbols)[None]
    decoder.loss(tokens[:, :-1], tokens[:, 1:], state, memory)[0].total.backward()


def settled() -> int:
    """Bytes in memory once all that is free was given back; from here on the highest is measured anew."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return resident("VmRSS")


def resident(name: str) -> int:
    """Bytes in memory: now (VmRSS), or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def generate(decoder: Decoder, length: int) -> Point:
    """Symbols after a prompt of `length`; the prompt itself is not counted."""
    prompt = torch.from_numpy(text(VOCAB, length))[None]
    steps = sample(decoder, None, prompt, Sampling(longest=STEPS + 1))
    next(steps)  # the first needs no step of the decoder
    times = []
    for _ in range(STEPS):
        begun = time.process_time()
        next(steps)
        times.append(time.process_time() - begun)
    with torch.no_grad():
        memory, state = decoder.start(None, 1)
        for piece in prompt.split(512, 1):
            _, state = decoder(piece, state, memory)
    return {"seconds": sorted(times)[STEPS // 2], "bytes": size(state)}


def size(state: State) -> int:
    """Bytes of all tensors of a state."""
    sizes = []
    tree_map(lambda leaf: sizes.append(leaf.numel() * leaf.element_size()) or leaf, state)
    return sum(sizes)


def alone(work: Callable[[Decoder, int], Point], name: str, length: int) -> Point:
    """`work` in a process of its own, so that no point inherits another's memory."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(work(dict(language_models(VOCAB, WIDTH, length, name))[name], length)))
    child.start()
    child.join()
    if child.exitcode:
        raise SystemExit(f"{name} at {length} symbols: exit status {child.exitcode}")
    return answers.get()


def exponent(points: dict[int, Point], quantity: str) -> float:
    """The slope, in logarithms, from `FITTED` symbols on."""
    places = [(math.log(length), math.log(point[quantity])) for length, point in points.items() if length >= FITTED and point[quantity] > 0]
    if len(places) < 3:
        return math.nan
    middle, height = (sum(values) / len(places) for values in zip(*places, strict=True))
    return sum((x - middle) * (y - height) for x, y in places) / sum((x - middle) ** 2 for x, _ in places)


def picture(table: dict[str, Costs]) -> Figure:
    """Four panels, a line for each model, named with its exponent."""
    figure = Figure(figsize=(13.0, 8.0), layout="constrained")
    for axes, (title, (work, quantity)) in zip(figure.subplots(2, 2).flat, PANELS.items(), strict=True):
        for name, costs in table.items():
            points = {length: point[quantity] for length, point in costs[work].items()}
            axes.loglog(list(points), list(points.values()), marker="o", markersize=3, label=f"{name}  {exponent(costs[work], quantity):+.2f}")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("symbols in the text")
        axes.set_xticks(LENGTHS, map(str, LENGTHS))
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=8, title="exponent from 512 on", title_fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def main() -> None:
    """Print a row for each model, draw all of them; the points stand beside the figure as JSON."""
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/cost-of-length.png")
    torch.set_num_threads(1)
    print(f"{'exponents from 512 on':<22}" + "".join(f"{title:>32}" for title in PANELS))
    table: dict[str, Costs] = {}
    for name in dict(language_models(VOCAB, WIDTH)):
        table[name] = {work.__name__: {length: alone(work, name, length) for length in LENGTHS} for work in (train, generate)}
        shown = []
        for work, quantity in PANELS.values():
            points = table[name][work]
            shown.append(f"{points[64][quantity]:.1e} .. {points[4096][quantity]:.1e}  {exponent(points, quantity):+.2f}")
        print(f"{name:<22}" + "".join(f"{each:>32}" for each in shown), flush=True)
    output.with_suffix(".json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    picture(table).savefig(output, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
