"""Training speed beside named peers on Multi30k German-English, in target tokens per second without padding.

    python -m bench.peers --data DIR [--threads 2] [--passes 5] [--minutes 5] [--only joeynmt eole] [--output bench/results/peers.json]

DIR holds train.de and train.en, also as .gz.  Environments are made on first use (bench/peers/environments.py).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from .environments import FOLDER, ROOT
from .measure import CONFIGURATIONS, Plan, Row, measure


def machine(threads: int) -> dict[str, object]:
    """Where this was measured."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": threads,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def table(rows: list[Row]) -> str:
    """The rows of one configuration, with what saccade's fastest row makes of each."""
    best = max((row.median for row in rows if row.system == "saccade" and row.median), default=None)
    lines = [f"{'system':<24}{'precision':<10}{'batches':<9}{'tokens/s':>9}{'saccade is':>12}{'clean':>7}{'weights':>12}{'nll':>7}  versions"]
    for row in rows:
        if not row.passes:
            lines.append(f"{row.system:<24}{row.precision:<10}{row.batches:<9}  did not run: {row.error or 'stopped before its first pass'}")
            continue
        loud = statistics.median(each.tokens_per_second for each in row.passes)
        # What was measured only while others had the cores is shown, but no ratio is made of it.
        rate, ratio = f"{row.median:,.0f}" if row.median else f"~{loud:,.0f}", f"{best / row.median:.2f} x" if best and row.median else "-"
        nll = f"{row.nll:.2f}" if row.nll is not None else "-"
        counted = f"{len(row.clean)}/{len(row.passes)}"
        lines.append(f"{row.system:<24}{row.precision:<10}{row.batches:<9}{rate:>9}{ratio:>12}{counted:>7}{row.parameters:>12,}{nll:>7}  {row.versions}")
    commands = [f"  {row.system}, {row.precision}: {row.command}" for row in rows]
    return "\n".join([*lines, "", "commands:", *commands])


def export(data: str, work: Path, batches: int) -> dict[str, int]:
    """The data for all systems, written by a process of its own so that nothing of it stays in memory here."""
    arguments = ["-m", "bench.peers.export", "--data", data, "--folder", str(work), "--batches", str(batches)]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def options() -> argparse.ArgumentParser:
    """What can be asked for."""
    found = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--data", required=True, help="the folder of Multi30k")
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--passes", type=int, default=5, help="clean passes that each row wants")
    found.add_argument("--batches", type=int, default=3, help="batches in a pass")
    found.add_argument("--minutes", type=float, default=5.0, help="after this long no further cycle of a configuration begins")
    found.add_argument("--only", nargs="*", default=[], metavar="PEER", help="saccade, torch.nn loop, joeynmt, eole, opennmt, sockeye, transformers")
    found.add_argument("--configurations", nargs="*", choices=list(CONFIGURATIONS), default=list(CONFIGURATIONS))
    found.add_argument("--environments", type=Path, default=FOLDER)
    found.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "peers.json")
    return found


def main() -> None:
    """Measure, print, keep."""
    given = options().parse_args()
    where = machine(given.threads)
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
        held = export(given.data, Path(folder), given.batches)
        plan = Plan(Path(folder), given.environments.absolute(), given.threads, given.passes, given.minutes, tuple(given.only))
        print(", ".join(f"{name} {value}" for name, value in where.items()))
        kept = []
        for configuration in given.configurations:
            rows = measure(plan, configuration)
            kept += rows
            print(f"\n{CONFIGURATIONS[configuration]}\n{table(rows)}", flush=True)
            given.output.parent.mkdir(parents=True, exist_ok=True)
            given.output.write_text(json.dumps({"machine": where, "data": held, "rows": [row.to_json() for row in kept]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
