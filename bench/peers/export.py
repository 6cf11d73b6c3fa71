"""The data that every system reads: one tokenizer, one vocabulary, and for those that can be driven the very same batches.

    python -m bench.peers.export --data DIR --folder WORK [--batches 3] [--tokens 4096]

Writes `batches.json` (ids; 0 padding, 1 BOS, 2 EOS, 3 unknown), `train.source` and `train.target` (the whole corpus, one symbol
for each id, EOS left to the reader) and `vocabulary.txt` (those symbols).
"""

import argparse
import json
from pathlib import Path

from saccade.batches.lengths import plan
from saccade.recipe import read_recipe
from saccade.types import BOS, EOS


def symbol(number: int) -> str:
    """An id as a word that no tokenizer splits or renames."""
    return f"w{number}"


def export(data: str, folder: Path, batches: int, tokens: int) -> dict[str, int]:
    """Write everything; what was written, in numbers."""
    recipe = read_recipe("multi30k-transformer", overrides=[f"data.folder={json.dumps(data)}"])
    task = recipe.task()
    splits = task.read(recipe.data)
    task.learn(splits)
    examples = task.examples(splits.train)
    planned = plan(*examples.lengths(), tokens_per_batch=tokens, seed=1, epoch=0)
    # In the plan's order, which is random: batches from all over the lengths, short ones and long ones.
    chosen = planned[:batches]
    sides = {"source": examples.source, "target": examples.target}
    folder.mkdir(parents=True, exist_ok=True)
    held = {"vocabulary": task.source.size, "batches": [{side: [rows[i].tolist() for i in batch] for side, rows in sides.items()} for batch in chosen]}
    (folder / "batches.json").write_text(json.dumps(held))
    for side, rows in sides.items():
        lines = [" ".join(symbol(number) for number in row if number not in (BOS, EOS)) for row in rows]
        (folder / f"train.{side}").write_text("\n".join(lines) + "\n")
        (folder / f"few.{side}").write_text("\n".join(lines[:10]) + "\n")  # for trainers that do not start without validation data
    (folder / "vocabulary.txt").write_text("\n".join(symbol(number) for number in range(4, task.source.size)) + "\n")
    counted = [sum(len(examples.target[i]) - 1 for i in batch) for batch in chosen]
    return {
        "pairs": len(examples.source),
        "vocabulary": task.source.size,
        "batches": len(chosen),
        "target tokens a pass": sum(counted),
    }


def main() -> None:
    """Write the files and say what they hold, as one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--folder", type=Path, required=True)
    options.add_argument("--batches", type=int, default=3)
    options.add_argument("--tokens", type=int, default=4096)
    given = options.parse_args()
    print(json.dumps(export(given.data, given.folder, given.batches, given.tokens)))


if __name__ == "__main__":
    main()
