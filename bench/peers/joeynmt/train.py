"""Train JoeyNMT on Multi30k German-English by config.yaml, with a vocabulary of 8,000 unigram pieces learned on both sides.

    python -m bench.peers.joeynmt.train --data DIR --run RUN [--threads 1] [--minutes 75]

RUN must not exist; afterwards it holds data/, model/ (one checkpoint every 250 updates) and train.log.  For the times:
python -m bench.peers.joeynmt.times RUN.
"""

import argparse
import gzip
import os
import shutil
import signal
import subprocess
from pathlib import Path

from bench.peers.environments import FOLDER, install

LEARN = """
import pathlib, sentencepiece as s
s.SentencePieceTrainer.train(input="data/train.de,data/train.en", model_prefix="data/sentencepiece", vocab_size=8000, model_type="unigram",
                             character_coverage=1.0, num_threads=1)
pieces = s.SentencePieceProcessor(model_file="data/sentencepiece.model")
learned = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
specials = ["<unk>", "<pad>", "<s>", "</s>"]
pathlib.Path("data/vocabulary.txt").write_text("\\n".join([*specials, *[piece for piece in learned if piece not in specials]]) + "\\n")
"""


def prepare(data: Path, run: Path) -> None:
    """The corpus unpacked, the settings beside it."""
    (run / "data").mkdir(parents=True)
    for split in ("train", "val", "test_2016_flickr"):
        for side in ("de", "en"):
            plain, packed = data / f"{split}.{side}", data / f"{split}.{side}.gz"
            text = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
            (run / "data" / plain.name).write_bytes(text)
    shutil.copy(Path(__file__).parent / "config.yaml", run)


def main() -> None:
    """Install, prepare, learn the pieces, train; stop after the minutes that are given."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--run", type=Path, required=True)
    options.add_argument("--threads", type=int, default=1)
    options.add_argument("--minutes", type=float, default=75.0)
    options.add_argument("--environments", type=Path, default=FOLDER)
    given = options.parse_args()
    installed = install("joeynmt", given.environments.absolute())
    if installed.error:
        raise SystemExit(f"joeynmt is not installed: {installed.error}")
    prepare(given.data, given.run)
    subprocess.run([installed.python, "-c", LEARN], cwd=given.run, check=True, capture_output=True)
    threads = os.environ | {"OMP_NUM_THREADS": str(given.threads)}
    with (given.run / "train.log").open("w") as log:
        command = [installed.python, "-m", "joeynmt", "train", "config.yaml", "--skip-test"]
        training = subprocess.Popen(command, cwd=given.run, env=threads, stdout=log, stderr=subprocess.STDOUT)
        try:
            training.wait(given.minutes * 60)
        except subprocess.TimeoutExpired:
            training.send_signal(signal.SIGINT)  # it saves what it has
            training.wait()


if __name__ == "__main__":
    main()
