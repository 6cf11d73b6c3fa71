"""Speed of generation beside a plain loop that reads everything again for each symbol: every language model, at one width.

    python -m bench.generation [--dim 128] [--streams 1 32] [--symbols 256] [--passes 3] [--threads 1] [--cpu-time] [--output FILE]

What is timed is `saccade.search.sample` after a prompt of 16 symbols, and the loop that draws with the same numbers; passes are
interleaved, the figure is the median.  The plain loop asks for the logits of the last place only.  Both must say the same
symbols, with the same log-probabilities within 1e-4, or the table ends with an error.  `--cpu-time` counts the processor's time
instead of the clock's: with one thread it stands a busy machine.  Everything is kept in bench/results/generation.json.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.members import language_models, weights
from saccade.decoders import Decoder
from saccade.search import Sampling, sample

VOCAB, PROMPT = 1000, 16
Said = tuple[Tensor, Tensor]
"""Symbols and log-probabilities, both of shape R T."""


def cached(decoder: Decoder, prompt: Tensor, symbols: int) -> Said:
    """As saccade does it."""
    steps = list(sample(decoder, None, prompt, Sampling(longest=symbols)))
    return torch.stack([step.symbols for step in steps], 1), torch.stack([step.logprobs for step in steps], 1)


@torch.no_grad()
def reread(decoder: Decoder, prompt: Tensor, symbols: int) -> Said:
    """As a plain loop does it."""
    chances = np.stack([np.random.Generator(np.random.PCG64((1, row))).random(symbols + 128) for row in range(len(prompt))])
    tokens, logprobs = prompt, []
    for place in range(symbols):
        known = last_logits(decoder, tokens).float().log_softmax(-1)
        total = known.softmax(-1).cumsum(1, dtype=torch.float64)
        drawn = torch.searchsorted(total, torch.from_numpy(1.0 - chances[:, place, None]) * total[:, -1:])
        logprobs.append(known.gather(1, drawn)[:, 0])
        tokens = torch.cat([tokens, drawn], 1)
    return tokens[:, prompt.shape[1] :], torch.stack(logprobs, 1)


def last_logits(decoder: Decoder, tokens: Tensor) -> Tensor:
    """What comes after all of `tokens`, read from the start."""
    memory, state = decoder.start(None, len(tokens))
    if type(decoder).forward is not Decoder.forward:
        return decoder(tokens, state, memory)[0][:, -1]
    return decoder.output(decoder.features(tokens, state, memory)[0][:, -1])


WAYS: dict[str, Callable[[Decoder, Tensor, int], Said]] = {"saccade": cached, "re-reading": reread}


def compare(name: str, decoder: Decoder, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row: rates of both ways, and how far apart what they said was."""
    clock = time.process_time if options.cpu_time else time.perf_counter
    prompt = torch.randint(4, VOCAB, (streams, PROMPT), generator=torch.Generator().manual_seed(1))
    for way in WAYS.values():
        way(decoder, prompt, 4)  # warms up
    rates: dict[str, list[float]] = {key: [] for key in WAYS}
    said = {}
    for _ in range(options.passes):
        for key, way in WAYS.items():
            begun = clock()
            said[key] = way(decoder, prompt, options.symbols)
            rates[key].append(streams * options.symbols / (clock() - begun))
    (ours, our_logprobs), (theirs, their_logprobs) = said.values()
    return {
        "member": name,
        "weights": weights(decoder),
        "streams": streams,
        "rates": {key: statistics.median(each) for key, each in rates.items()},
        "passes": rates,
        "same": bool(torch.equal(ours, theirs)),
        "apart": (our_logprobs - their_logprobs).abs().max().item(),
    }


def show(row: dict[str, Any]) -> None:
    """One line of the table."""
    ours, theirs = row["rates"].values()
    said = "the same" if row["same"] else "OTHER SYMBOLS"
    print(
        f"{row['member']:<22}{row['weights']:>10,}{row['streams']:>8}{ours:>12,.0f}{theirs:>12,.0f}{ours / theirs:>9.1f}   {said}, {row['apart']:.0e}",
        flush=True,
    )


def main() -> int:
    """Print the table, keep it as JSON; 1 if somewhere both ways did not say the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--symbols", type=int, default=256)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "generation.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    machine = f"torch {torch.__version__}, {options.threads} threads, {platform.machine()}, {'processor' if options.cpu_time else 'clock'} time"
    print(
        f"{machine}; {options.symbols} symbols after {PROMPT}, width {options.dim}, 2 layers, {VOCAB} symbols, medians of {options.passes} interleaved passes"
    )
    print(f"{'member':<22}{'weights':>10}{'streams':>8}{'symbols/s':>12}{'re-reading':>12}{'ratio':>9}   what was said")
    rows = []
    for name, decoder in language_models(VOCAB, options.dim):
        for streams in options.streams:
            rows.append(compare(name, decoder, streams, options))
            show(rows[-1])
    options.output.write_text(json.dumps({"machine": machine, "symbols": options.symbols, "dim": options.dim, "rows": rows}, indent=1), encoding="utf-8")
    return int(not all(row["same"] and row["apart"] <= 1e-4 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
