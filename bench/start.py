"""From the command to the first update: what one waits for when a run begins whose tokenizer and ids are cached.

    python -m bench.start --data DIR [--recipe multi30k-transformer] [--starts 5] [--threads 2]

Each start is a process of its own; the clock runs from torch imported.  The first start fills the caches and does not count.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch


def start(recipe: str, data: str, folder: Path) -> tuple[float, float]:
    """In this process: seconds until the first update begins, and until it is done."""
    begun = time.perf_counter()
    from saccade.recipe import read_recipe
    from saccade.run import Run
    from saccade.training.events import Started, Step

    overrides = [f"data.folder={json.dumps(data)}", "training.report_every=1"]
    ready = 0.0
    for event in Run.begin(read_recipe(recipe, overrides=overrides), folder / f"run-{time.time_ns()}").train():
        if isinstance(event, Started):
            ready = time.perf_counter() - begun
        if isinstance(event, Step):
            return ready, time.perf_counter() - begun
    raise RuntimeError("the run ended before its first update")


def main() -> None:
    """Every start, and the median."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--recipe", default="multi30k-transformer")
    options.add_argument("--starts", type=int, default=5)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--folder", type=Path, help="start once, here")
    given = options.parse_args()
    if given.folder:
        torch.set_num_threads(given.threads)
        print(*start(given.recipe, given.data, given.folder))
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.start", *sys.argv[1:], "--folder", folder]
        said = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(given.starts + 1)]
    ready, done = zip(*((float(words[-2]), float(words[-1])) for words in said[1:]), strict=True)
    print(f"{given.recipe}, {given.threads} threads, median of {given.starts} starts: the first update begins after {statistics.median(ready):.2f} s", end=" ")
    print(f"and is done after {statistics.median(done):.2f} s ({min(done):.2f} to {max(done):.2f})")


if __name__ == "__main__":
    main()
