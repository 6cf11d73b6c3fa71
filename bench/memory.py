"""Peak resident memory of training beside a plain torch.nn loop: the same batches, each in a process of its own.

    python -m bench.memory --data DIR [--setting transformer] [--updates 60] [--threads 2]

The updates run over batches spread evenly over all shapes of an epoch.  What counts is VmHWM, the most that the process ever
had in memory, and how much more that is than before the first update (Linux only).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from bench.training import SETTINGS, batches_of, ours, theirs, update


def resident() -> dict[str, int]:
    """MB now (VmRSS) and at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) // 1024 for line in lines if line.startswith(("VmHWM", "VmRSS"))}


def run(name: str, system: str, folder: str, updates: int, precision: torch.dtype) -> dict[str, int]:
    """In this process: memory after `updates` updates."""
    task, batches = batches_of(SETTINGS[name], folder, updates)
    torch.manual_seed(0)
    chosen = ours(task) if system == "saccade" else theirs(SETTINGS[name].peers[system](task.source.size))
    before = resident()["VmRSS"]
    optimizer = torch.optim.Adam(chosen.model.parameters(), lr=1e-4, fused=True)
    for batch in batches:
        update(chosen, optimizer, batch, precision)
    return {"before": before, **resident()}


def main() -> None:
    """Each system in a child process; print both."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--setting", choices=SETTINGS, default="transformer")
    options.add_argument("--updates", type=int, default=60)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16")
    options.add_argument("--system", help="run this one, here")
    given = options.parse_args()
    if given.system:
        torch.set_num_threads(given.threads)
        print(json.dumps(run(given.setting, given.system, given.data, given.updates, getattr(torch, given.precision))))
        return
    print(f"{given.setting} {given.precision}, {given.updates} updates, {given.threads} threads; MB")
    for system in ("saccade", *SETTINGS[given.setting].peers):
        done = subprocess.run([sys.executable, "-m", "bench.memory", *sys.argv[1:], "--system", system], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{system:<18} peak {found['VmHWM']:6,}   at the end {found['VmRSS']:6,}   before the first update {found['before']:6,}", flush=True)


if __name__ == "__main__":
    main()
