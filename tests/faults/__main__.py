"""Inject faults and count what is lost.

python -m tests.faults                            3,000 of them
python -m tests.faults 10000 --seed 7
python -m tests.faults --case power-cut:background:2:57:12      one again, as it was printed
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from .harness import KINDS, Case, cases, lost


def main() -> int:
    """The exit status is 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("count", type=int, nargs="?", default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=Case.read)
    given = parser.parse_args()
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    begun = time.monotonic()
    try:
        chosen = [given.case] if given.case else cases(given.count, given.seed, folder / "stories")
        found = lost(chosen, folder)
    finally:
        shutil.rmtree(folder)
    tried, failed = Counter(case.kind for case in chosen), Counter(case.kind for case in found)
    print(f"{'fault':<24} {'injected':>9} {'lost':>6}")
    for kind in KINDS:
        if tried[kind]:
            print(f"{kind:<24} {tried[kind]:>9,} {failed[kind]:>6,}")
    print(f"{'all':<24} {len(chosen):>9,} {len(found):>6,}   in {time.monotonic() - begun:.0f} s, seed {given.seed}")
    for case, said in list(found.items())[:20]:
        print(f"\n{said}\n  again: python -m tests.faults --case {case}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
