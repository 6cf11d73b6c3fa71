"""Data of any size: seconds and memory to prepare a large corpus for training, in a process of its own.

    python -m bench.corpora --gigabytes 2 [--size 8000] [--output corpora.json]
    python -m bench.corpora --lines 1000000

Two files of plausible words are written to a temporary folder (TMPDIR), together of the size asked for, and then prepared as
`saccade train` does: lines counted and checked, a share set aside, oddities looked for, a tokenizer learned from an even sample,
all pairs encoded into a store, the first epoch planned.  Resident memory is the peak so far (VmHWM), the import of torch included.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

GATE = 500  # megabytes of resident memory, for 2 GB of text


def words(draw: random.Random, count: int) -> list[str]:
    """Different words of one to five syllables."""
    syllables = [one + vowel for one in "bcdfghklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "ei", "ou", "\u00e4")]
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choices(syllables, k=draw.randint(1, 5)))] = None
    return list(found)


def write_side(path: Path, size: int, seed: int, lines: int) -> int:
    """A file of `size` bytes, or of `lines` lines if that is not 0; how many lines it has.  Words are as frequent as Zipf says."""
    draw = random.Random(seed)
    known = words(draw, 50_000)
    weights = list(accumulate(1 / rank for rank in range(1, len(known) + 1)))
    phrases = [" ".join(draw.choices(known, cum_weights=weights, k=draw.randint(2, 7))) for _ in range(100_000)]
    written = count = 0
    with path.open("wb") as file:
        while written < size if not lines else count < lines:
            least = min(20_000, lines - count) if lines else 20_000
            block = "".join(f"{one} {other} {last}.\n" for one, other, last in zip(*(draw.choices(phrases, k=least) for _ in range(3)))).encode()
            written, count = written + file.write(block), count + least
    return count


def resident() -> float:
    """The most megabytes that this process ever held in memory."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def prepare(folder: Path, size: int) -> None:
    """Every stage, one JSON line each: its name, its seconds and the peak of memory so far."""

    def stage(name: str, work: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        found = work()
        print(json.dumps({"stage": name, "seconds": time.perf_counter() - begun, "resident": resident()}), flush=True)
        return found

    stage("import torch", lambda: __import__("torch"))
    stage("import saccade", lambda: __import__("saccade.tasks.translate"))
    from functools import partial

    from saccade.batches.lengths import plan
    from saccade.tasks import Splits
    from saccade.tasks.translate import Translate
    from saccade.text.corpus import check_pairs, read_pairs, split_by_source
    from saccade.text.tokenizers.unigram import Unigram

    task = Translate(tokenizer=partial(Unigram, size=size))
    pairs = stage("count and check lines", lambda: read_pairs([folder / "source", folder / "target"]))
    splits = Splits(*stage("set aside", lambda: split_by_source(pairs, valid=0.001, test=0.001)))
    stage("look for oddities", lambda: check_pairs(splits.train))
    stage("learn a tokenizer", lambda: task.learn(splits))
    examples = stage("encode into a store", lambda: task.examples(splits.train, folder / "train"))
    stage("open the store again", lambda: task.examples(splits.train, folder / "train"))
    batches = stage("plan an epoch", lambda: plan(*examples.lengths(), tokens_per_batch=4096, seed=1, epoch=0))
    stage("pad 1,000 batches", lambda: [examples.batch(rows) for rows in batches[:1000]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--size", type=int, default=8000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.prepare:
        prepare(asked.prepare, asked.size)
        return
    folder = Path(tempfile.mkdtemp(prefix="saccade-corpora-"))
    try:
        lines = write_side(folder / "source", int(asked.gigabytes * 5e8), 1, asked.lines)
        write_side(folder / "target", 0, 2, lines)
        megabytes = sum((folder / side).stat().st_size for side in ("source", "target")) / 1e6
        print(f"{megabytes:,.0f} MB of text, {lines:,} pairs")
        rows = []
        with subprocess.Popen([sys.executable, "-m", "bench.corpora", "--prepare", folder, "--size", str(asked.size)], stdout=subprocess.PIPE) as child:
            for line in child.stdout or ():
                rows.append(json.loads(line))
                row = rows[-1]
                print(
                    f"{row['stage']:<24}{row['seconds']:9.2f} s {megabytes / row['seconds']:10,.0f} MB/s {row['resident']:8,.0f} MB resident at most",
                    flush=True,
                )
        if child.returncode:
            raise SystemExit(child.returncode)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    before = next((place for place, row in enumerate(rows) if row["stage"] == "plan an epoch"))
    prepared = {"megabytes": megabytes, "pairs": lines, "seconds": sum(row["seconds"] for row in rows[2:before]), "resident": rows[before - 1]["resident"]}
    print(f"prepared in {prepared['seconds']:,.1f} s, {megabytes / prepared['seconds']:,.1f} MB/s, {prepared['resident']:,.0f} MB resident at most")
    print(f"of these {rows[0]['resident']:,.0f} MB are the import of torch; the gate is {GATE} MB")
    if asked.output:
        asked.output.write_text(json.dumps({**prepared, "stages": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
