"""Speed, as tables.

    python -m bench TABLE ... --data DIR        tables: training peers

training   saccade beside a plain loop around torch.nn: the model, the loss and the update alone
peers      training beside named peers: JoeyNMT, eole, OpenNMT-py, sockeye, transformers (environments are made on first use)

DIR holds Multi30k (train.de, train.en, ..., also as .gz).  Each table has more settings: python -m bench.training --help,
python -m bench.peers --help.  What is measured and how to read it: bench/README.md.
"""

import argparse
import subprocess
import sys

TABLES = {"training": "bench.training", "peers": "bench.peers"}


def main() -> None:
    """Each table in a process of its own, so that none inherits another's memory; the exit status is that of the first that fails."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("tables", nargs="*", choices=[*TABLES, "all"], default="all", metavar="TABLE", help="all tables if left out")
    options.add_argument("--data", required=True, help="the folder of Multi30k")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    for table in TABLES if "all" in given.tables else given.tables:
        done = subprocess.run([sys.executable, "-m", TABLES[table], "--data", given.data, "--threads", str(given.threads)])
        if done.returncode:
            raise SystemExit(done.returncode)


if __name__ == "__main__":
    main()
