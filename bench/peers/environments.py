"""One environment for each peer, at pinned versions: what breaks on today's Python and torch, and the way around it, stands here.

    python -m bench.peers.environments [--folder bench/.environments] [NAME ...]

A peer that does not install is not skipped: the last line of its error is kept and stands in the table.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "bench" / ".environments"
TORCH = ("--constraint", str(ROOT / "constraints.txt"), "torch==2.13.0")
PROBE = "import importlib.metadata as m, sys; print(' '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"


class Environment(NamedTuple):
    """How one peer is installed: the arguments of each `pip install`, and the import that proves it."""

    installs: tuple[tuple[str, ...], ...]
    proof: str
    reports: tuple[str, ...]
    """The packages whose versions the table prints."""


ENVIRONMENTS = {
    # joeynmt calls SentencePieceProcessor.SetVocabulary, which sentencepiece 0.2.3 no longer has, and importlib_metadata, which it does not declare.
    "joeynmt": Environment(
        (TORCH, ("torch==2.13.0", "joeynmt==2.3.0", "importlib_metadata", "sentencepiece==0.2.1")), "import joeynmt.training", ("joeynmt", "torch")
    ),
    # eole's command line imports aiohttp, which it does not declare.
    "eole": Environment((TORCH, ("torch==2.13.0", "eole==0.6.4", "aiohttp")), "import eole.bin.main", ("eole", "torch")),
    # OpenNMT-py pins torch < 2.3 and runs on 2.13 unchanged.
    "opennmt": Environment(
        (
            TORCH,
            ("--no-deps", "OpenNMT-py==3.5.1"),
            ("torch==2.13.0", "configargparse", "ctranslate2>=4,<5", "tensorboard", "flask", "waitress", "pyonmttok", "pyyaml", "sacrebleu"),
            ("torch==2.13.0", "rapidfuzz", "pyahocorasick", "fasttext-wheel", "spacy", "six"),
        ),
        "import onmt.bin.train",
        ("OpenNMT-py", "torch"),
    ),
    # sockeye pins torch < 1.14 and numpy < 2; it runs on torch 2.13 with numpy 1.26.
    "sockeye": Environment(
        (TORCH, ("--no-deps", "sockeye==3.1.34"), ("torch==2.13.0", "numpy==1.26.4", "sacrebleu", "pyyaml", "portalocker")),
        "import sockeye.train",
        ("sockeye", "torch", "numpy"),
    ),
    "transformers": Environment((TORCH, ("torch==2.13.0", "transformers==5.23.0")), "from transformers import MarianMTModel", ("transformers", "torch")),
    "flair": Environment((TORCH, ("torch==2.13.0", "flair==0.15.1")), "import flair.models", ("flair", "torch")),
}


class Installed(NamedTuple):
    """One environment as it stands: its interpreter, the versions, or why there are none."""

    python: str
    versions: str
    error: str


def last_line(text: str) -> str:
    """The last line that says something, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("WARNING", "[notice]"))]
    return lines[-1][:300] if lines else "no message"


def install(name: str, folder: Path) -> Installed:
    """Make one environment, unless a finished one of the same prescription stands there."""
    environment, place = ENVIRONMENTS[name], folder / name
    python, record = str(place / "bin" / "python"), place / "installed.json"
    prescription = json.dumps(environment)
    if record.exists() and json.loads(record.read_text())["prescription"] == prescription:
        return Installed(**json.loads(record.read_text())["installed"])
    steps = [[sys.executable, "-m", "venv", "--clear", str(place)]]
    steps += [[python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments] for arguments in environment.installs]
    steps += [[python, "-c", environment.proof], [python, "-c", PROBE, *environment.reports]]
    found = Installed(python, "", "")
    for step in steps:
        print(f"{name}: {' '.join(step[1:])}", file=sys.stderr, flush=True)
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            found = Installed(python, "", last_line(done.stderr))
            break
        found = Installed(python, done.stdout.strip(), "")
    place.mkdir(parents=True, exist_ok=True)
    if not found.error:  # a failure may be the network's: it is tried again next time
        record.write_text(json.dumps({"prescription": prescription, "installed": found._asdict()}, indent=1))
    return found


def main() -> None:
    """Make what is asked for and print one line for each."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ENVIRONMENTS) + "; all if left out")
    options.add_argument("--folder", type=Path, default=FOLDER)
    given = options.parse_args()
    for name in given.names or ENVIRONMENTS:
        found = install(name, given.folder.absolute())
        print(f"{name:<14}{found.versions or 'not installed: ' + found.error}", flush=True)


if __name__ == "__main__":
    main()
