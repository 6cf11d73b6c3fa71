"""Kill a training again and again; in the end it has the same bytes as one that nobody killed.

    python -m tests.kills [--kills 20] [--seed 1] [--only 2-processes]

For one and two processes (gloo), 0 and 2 workers, saving in the background or not: `--kills` times SIGKILL at a random moment,
to all processes or, of two, to one; then `saccade resume` until the end.
"""

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from saccade.training.checkpoint import checkpoints

from . import toys

SETTINGS = [
    "task=translate",
    "tokenizer=characters",
    "encoder.name=recurrent",
    "decoder.name=recurrent",
    "encoder.dim=32",
    "decoder.dim=32",
    "metrics=['exact']",
    "training.steps=3000",
    "training.evaluate_every=500",
    "training.save_every=5",
    "training.report_every=5",
    "training.tokens_per_batch=96",
    "training.precision=float32",
    "training.device=cpu",
    "training.ema=0.9",
    "training.forcing=linear",
    "training.forcing_pace=500",
]
CHILD = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)}


def command(processes: int, *words: str) -> list[str]:
    """`saccade WORDS` in so many processes."""
    alone = [sys.executable, "-m", "saccade"]
    many = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "saccade"]
    return [*(alone if processes == 1 else many), *words]


def children(parent: int) -> list[int]:
    """The processes right below this one: of torchrun, the ranks."""
    return list(map(int, subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True).stdout.split()))


def start(folder: Path, run: Path, processes: int, settings: list[str]) -> subprocess.Popen:
    """Begin the run, or go on with it."""
    words = ["resume", str(run)] if (run / "recipe.toml").exists() else ["train", str(folder / "toy.tsv"), *SETTINGS, *settings, "--directory", str(run)]
    return subprocess.Popen(command(processes, *words), cwd=folder, env=CHILD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def kill(child: subprocess.Popen, processes: int, draw: random.Random) -> None:
    """All of it at once, or one process of several: the others must then end by themselves."""
    ranks = children(child.pid)
    if processes > 1 and ranks and draw.random() < 0.5:
        os.kill(draw.choice(ranks), signal.SIGKILL)
        child.communicate(timeout=60)
    if child.poll() is None:
        for process in [child.pid, *ranks]:  # torchrun gives every rank a session of its own: no group holds them all
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        child.communicate()


def finish(folder: Path, run: Path, processes: int, settings: list[str]) -> None:
    """To the end; the child's message is shown if it does not get there."""
    child = start(folder, run, processes, settings)
    _, said = child.communicate(timeout=600)
    if child.returncode:
        raise RuntimeError(f"{run}: exit status {child.returncode}\n{said.decode()}")


def bytes_of(run: Path) -> list[bytes]:
    """The best model's weights (its header names the settings, which differ), the last weights, the optimizer."""
    last, best = checkpoints(run)[-1], (run / "model.safetensors").read_bytes()
    return [best[8 + int.from_bytes(best[:8], "little") :], *((last / name).read_bytes() for name in ("model.safetensors", "optimizer.safetensors"))]


def trained(run: Path) -> float:
    """Seconds of training that its log knows of."""
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return max((json.loads(line).get("seconds", 0.0) for line in lines if line.endswith("}")), default=0.0)


def live(child: subprocess.Popen, run: Path, draw: random.Random, share: float) -> None:
    """Wait for a random moment: while it starts, or up to twice `share` seconds after it began to train."""
    log, begun = run / "metrics.jsonl", time.monotonic()
    before = log.stat().st_mtime_ns if log.exists() else 0
    starting = draw.uniform(0.5, 8.0) if draw.random() < 0.2 else 120.0
    while child.poll() is None and time.monotonic() - begun < starting and (log.stat().st_mtime_ns if log.exists() else 0) == before:
        time.sleep(0.02)
    time.sleep(draw.uniform(0.0, 2 * share))


def trial(folder: Path, processes: int, workers: int, saving: str, kills: int, seed: int) -> tuple[int, bool]:
    """How many kills hit a running training, and whether the end is the same."""
    settings, draw = [f"training.workers={workers}", f"training.saving={saving}"], random.Random(seed)
    whole, killed = folder / f"whole-{processes}", folder / f"killed-{processes}-{workers}-{saving}"
    if not whole.exists():
        finish(folder, whole, processes, settings)
    hits = 0
    while hits < kills:
        child = start(folder, killed, processes, settings)
        live(child, killed, draw, trained(whole) / (2 * kills))
        hits += child.poll() is None
        kill(child, processes, draw)
        if child.returncode == 0:
            break
    finish(folder, killed, processes, settings)
    return hits, bytes_of(whole) == bytes_of(killed)


def main() -> None:
    """A table; exit status 1 if any end differs."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--only", default="")
    given = options.parse_args()
    same = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toys.write(folder / "toy.tsv", 400)
        for processes, workers, saving in itertools.product((1, 2), (0, 2), ("blocking", "background")):
            title = f"{processes}-processes {workers}-workers {saving}"
            if given.only in title:
                hits, equal = trial(folder, processes, workers, saving, given.kills, given.seed)
                same.append(equal)
                print(f"{title:<36} {hits:3d} kills   {'the same bytes' if equal else 'DIFFERENT'}", flush=True)
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
