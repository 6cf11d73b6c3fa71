"""Seconds of training, validation left out, at which JoeyNMT's own log says that a BLEU was reached.

    python -m bench.peers.joeynmt.times RUN [--beam 5] [--checkpoints 1250 2500]

RUN holds train.log.  Its BLEU is greedy, on 250 sentences of val that it draws anew each time.  The times are the log's: a training that was
stopped and went on counts its pause.  With --checkpoints these are asked to
translate the whole of val and of test_2016_flickr, which takes minutes for each.
"""

import argparse
import re
import subprocess
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from bench.peers.environments import FOLDER, install

STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - ")
STEP = re.compile(r"Step: +(\d+), Batch Loss: +([\d.]+).*Tokens per Sec: +(\d+)")
BLEU = re.compile(r"Evaluation result \(.*\): bleu: +([\d.]+)")
GOALS = (25.0, 34.0)


class Checked(NamedTuple):
    """One validation: updates, seconds of training so far, BLEU, the mean speed so far in target tokens per second."""

    step: int
    seconds: float
    bleu: float
    speed: float


def moment(line: str) -> float | None:
    """Seconds since 1970, if the line begins with a time."""
    found = STAMP.match(line)
    return datetime.fromisoformat(found[1]).timestamp() + int(found[2]) / 1000 if found else None


def checks(lines: Iterable[str]) -> list[Checked]:
    """Every validation in a log; the time from a step's line to the last line of its validation does not count."""
    found: list[Checked] = []
    step, training, resumed, speeds = 0, 0.0, 0.0, []
    for line in lines:
        now = moment(line)
        if now is None:
            continue
        if hit := STEP.search(line):
            step, training = int(hit[1]), training + now - resumed
            speeds.append(int(hit[3]))
        elif hit := BLEU.search(line):
            found.append(Checked(step, training, float(hit[1]), sum(speeds) / len(speeds)))
        # Between two lines about training only a validation writes any: training goes on after its last line.
        if hit or step == 0 or ("joeynmt.training - Epoch" not in line and "joeynmt.training - EPOCH" not in line):
            resumed = now
    return found


def reached(found: list[Checked], goal: float) -> str:
    """When BLEU first stood at the goal: the validation itself, and the moment on the straight line from the one before."""
    for before, after in zip([Checked(0, 0.0, 0.0, 0.0), *found], found, strict=False):
        if after.bleu >= goal:
            share = (goal - before.bleu) / (after.bleu - before.bleu)
            crossed = before.seconds + share * (after.seconds - before.seconds)
            return f"BLEU {goal:g}: seen after {after.seconds:,.0f} s of training (update {after.step:,}), interpolated {crossed:,.0f} s"
    return f"BLEU {goal:g}: not reached in {found[-1].seconds:,.0f} s of training" if found else f"BLEU {goal:g}: no validation yet"


def translate(run: Path, step: int, beam: int, python: str) -> str:
    """What JoeyNMT's own test says of one checkpoint on val and test_2016_flickr."""
    settings = (run / "config.yaml").read_text().replace("beam_size: 1", f'beam_size: {beam}\n    load_model: "model/{step}.ckpt"')
    (run / "test.yaml").write_text(settings)
    done = subprocess.run([python, "-m", "joeynmt", "test", "test.yaml", "-o", f"said-{step}"], cwd=run, capture_output=True, text=True)
    (run / "test.yaml").unlink()
    scores = BLEU.findall(done.stdout + done.stderr)
    if len(scores) != 2:
        raise SystemExit(f"joeynmt test failed:\n{done.stderr[-2000:]}")
    return f"update {step:,}, beam {beam}: val {scores[0]}, test_2016_flickr {scores[1]}"


def main() -> None:
    """Print the climb and the times."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path)
    options.add_argument("--beam", type=int, default=5)
    options.add_argument("--checkpoints", type=int, nargs="*", default=[])
    options.add_argument("--environments", type=Path, default=FOLDER)
    given = options.parse_args()
    found = checks((given.run / "train.log").read_text(errors="replace").splitlines())
    for each in found:
        print(f"update {each.step:>5}   {each.seconds:7,.0f} s   BLEU {each.bleu:5.2f} (greedy, 250 of val)   {each.speed:,.0f} target tokens/s")
    print("\n".join(reached(found, goal) for goal in GOALS))
    for step in given.checkpoints:
        print(translate(given.run, step, given.beam, install("joeynmt", given.environments.absolute()).python), flush=True)


if __name__ == "__main__":
    main()
