"""A toy to train on in a second: letters, and the same letters back to front."""

import random
from pathlib import Path
from typing import Any

from saccade.recipe import Recipe, from_table
from saccade.text.corpus import Pair

TABLE: dict[str, Any] = {
    "task": "translate",
    "tokenizer": "characters",
    "metrics": ["exact"],
    "encoder": {"name": "recurrent", "dim": 24, "dropout": 0.1},
    "decoder": {"name": "recurrent", "dim": 24, "dropout": 0.1},
    "training": {
        "steps": 12,
        "tokens_per_batch": 64,
        "evaluate_every": 5,
        "report_every": 4,
        "schedule": "constant",
        "learning_rate": 1e-3,
        "precision": "float32",
        "device": "cpu",
    },
    "search": {"beam": 2},
}


def pairs(count: int, seed: int = 0) -> list[Pair]:
    """`count` different words with their mirror images."""
    draw = random.Random(seed)
    words = {"".join(draw.choices("abcdefg", k=draw.randint(2, 6))) for _ in range(3 * count)}
    return [Pair(word, word[::-1]) for word in sorted(words)[:count]]


def write(path: Path, count: int = 60, seed: int = 0) -> Path:
    """The same as a TSV."""
    path.write_text("".join(f"{pair.source}\t{pair.target}\n" for pair in pairs(count, seed)), encoding="utf-8")
    return path


def recipe(folder: Path, **changed: Any) -> Recipe:
    """A small recipe on toy data written to `folder`; `changed` replaces whole tables' entries."""
    write(folder / "toy.tsv")
    data = {"folder": str(folder), "train": "toy.tsv", "valid_share": 0.1, "test_share": 0.1}
    table = {**TABLE, "data": data}
    for key, value in changed.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) and isinstance(table.get(key), dict) else value
    return from_table(table)
