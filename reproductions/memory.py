"""What a memory of earlier segments is worth at equal time: Transformer-XL, Dai et al. (2019), beside its twin without.

    python -m reproductions.memory DIR [--minutes 10] [--position rotary] [--span 128] [--dropout 0] [--seed 1] [--only with|without] [setting ...]

DIR holds tiny Shakespeare's input.txt; of another text: data.train=FILE data.valid=FILE.  Both are the recipe shakespeare-xl; the twin's
segments know nothing of each other (`span` of one segment, no carried state).  First the processor time of an update of each is
measured; then each trains for as many updates as fit into the minutes, its schedule over all of them.  `--only` trains one of them,
so that two cores can do it at once.  Claim (of the paper, at its size): the memory is better by at least 0.02 bits a character after 10
minutes, 0.05 after two hours.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import torch

from saccade.recipe import read_recipe
from saccade.run import Run, load
from saccade.training.events import Evaluation, Step

WARM, TIMED = 40, 120
"""Updates before the clock runs, and with it."""


def minutes_to_updates(run: Run, minutes: float) -> int:
    """How many updates fit, by the processor's time."""
    begun = 0.0
    for event in run.train():
        if isinstance(event, Step) and event.step == WARM:
            begun = time.process_time()
        if isinstance(event, Step) and event.step == WARM + TIMED:
            return int(minutes * 60 * TIMED / (time.process_time() - begun))
    raise RuntimeError("the run ended before it was timed")


class Trained(NamedTuple):
    """Updates made, minutes of processor time, and the best validation loss in bits a character."""

    run: Run
    updates: int
    minutes: float
    bits: float


def train(words: list[str], folder: Path, minutes: float) -> Trained:
    """For as many updates as fit into the minutes."""
    timing = ["training.schedule=constant", f"training.steps={WARM + TIMED}", "training.report_every=20", f"training.evaluate_every={WARM + TIMED}"]
    updates = minutes_to_updates(Run.begin(read_recipe("shakespeare-xl", overrides=[*words, *timing]), folder / "timed"), minutes)
    run = Run.begin(read_recipe("shakespeare-xl", overrides=[*words, f"training.steps={updates}", f"training.evaluate_every={updates // 8}"]), folder / "whole")
    begun = time.process_time()
    losses = [event.valid_loss for event in run.train() if isinstance(event, Evaluation)]
    return Trained(run, updates, (time.process_time() - begun) / 60, min(losses) / math.log(2))


def overlapping(run: Run) -> float:
    """Bits a character of the best model where windows overlap by half: how much of what is lost is lost by reading alone."""
    text = "".join(f"{line}\n" for line in run.splits.valid)
    symbols = load(run.path, device="cpu").explain(text, prompt="\n", alternatives=1)
    return -sum(symbol.logprob for symbol in symbols) / len(symbols) / math.log(2)


def main() -> None:
    """The two, one after the other, or one of them."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path)
    options.add_argument("settings", nargs="*")
    options.add_argument("--minutes", type=float, default=10.0)
    options.add_argument("--position", default="relative")
    options.add_argument("--span", type=int, default=128)
    options.add_argument("--dropout", type=float, default=0.0)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", choices=["with", "without"])
    given = options.parse_intermixed_args()
    torch.set_num_threads(1)
    common = [f"data.folder={json.dumps(str(given.data))}", f"decoder.position={given.position}", f"decoder.dropout={given.dropout}", f"seed={given.seed}"]
    if given.position != "relative":
        common.append('training.decays="none"')
    settings = {"with": [f"decoder.span={given.span}"], "without": ["decoder.span=64", "carry=false"]}
    found = {}
    for name in [given.only] if given.only else settings:
        with tempfile.TemporaryDirectory() as folder:
            run, updates, minutes, found[name] = train([*common, *settings[name], *given.settings], Path(folder), given.minutes)
            more = f", {overlapping(run):.4f} in windows that overlap by half" if name == "without" else ""
        print(f"{name + ' memory':<15} {updates:7,} updates   {minutes:5.1f} min   {found[name]:.4f} bits a character{more}", flush=True)
    if not given.only:
        print(f"memory is worth {found['without'] - found['with']:.4f} bits a character at equal time")


if __name__ == "__main__":
    main()
