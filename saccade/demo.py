"""The demo: dates as people write them, in many languages, become ISO 8601.  No download, no settings."""

from pathlib import Path
from typing import Any

from rich.console import Console

from .dates import Example, dates, write
from .display import clock
from .errors import UsageError
from .recipe import from_table
from .run import Model, Run, load, next_run
from .serving.picture import write as write_picture
from .supervise import follow
from .text.corpus import Pair

RECIPE: dict[str, Any] = {
    "task": "translate",
    "tokenizer": "characters",
    "target_tokenizer": "characters",
    "metrics": ["exact"],
    "encoder": {"name": "recurrent", "cell": "gru", "dim": 96, "embedding": 64, "dropout": 0.1},
    "decoder": {"name": "recurrent", "cell": "gru", "dim": 128, "attend": "before", "dropout": 0.1},
    "training": {
        "steps": 500,
        "tokens_per_batch": 4096,
        "learning_rate": 4e-3,
        "schedule": {"name": "one_cycle", "warmup_share": 0.2},
        "label_smoothing": 0.0,
        "evaluate_every": 100,
        "precision": "float32",
    },
    "search": {"beam": 3, "longest_ratio": 0.0, "longest_extra": 12},
}
SHOWN = ("17. März 2004", "le 3 septembre 1998", "Friday, June 21, 2024", "5 października 1987", "5 oktober 2031")


def run_demo(folder: Path, console: Console) -> None:
    """Write data, train, score on dates and on a format never seen, translate, draw."""
    data = dates()
    files = write(data, folder / "data")
    console.print(f'Wrote {len(data.train):,} pairs to {files["train"]}     ("{data.train[0].written}" -> "{data.train[0].iso}")', markup=False, soft_wrap=True)
    languages = {example.language.partition("-")[0] for example in data.train} - {"und"}  # und: digits only, of no language
    formats = {example.format for example in data.train}
    console.print(f"{len(languages)} languages, {len(formats)} formats; one more format is kept back for the test", markup=False)
    table = {**RECIPE, "data": {"folder": str(folder / "data"), "train": files["train"].name, "valid": files["valid"].name, "test": files["test"].name}}
    run = Run.begin(from_table(table), next_run(folder, "dates"))
    seconds = follow(console, run).seconds
    model = load(run.path)
    console.print(f"ok  trained in {clock(seconds)}", markup=False)
    _report(model, data.test, "held-out dates")
    _report(model, data.unseen_format, f'a format never seen ("{data.unseen_format[0].written}")')
    answers = model.predict(list(SHOWN))
    for answer in answers:
        print(f"  {answer.source:<26} {answer.text}")
    pictures = [*write_picture([answer.attention for answer in answers], folder / "attention.html"), *_png(answers[0].attention, folder)]
    print("where it looked  " + "  ".join(map(str, pictures)))
    print(f"try it           saccade predict {run.path} '9 de maio de 1931'")
    print("your data        saccade train FILE.tsv        (source TAB target, one pair a line)")


def _report(model: Model, examples: list[Example], name: str) -> None:
    score = model.test([Pair(example.written, example.iso) for example in examples])[0]
    print(f"exact match {score.value:5.1f} %   on {len(examples):,} {name}")


def _png(look: Any, folder: Path) -> list[Path]:
    """The first picture as PNG, if matplotlib is there."""
    try:
        return write_picture([look], folder / "attention.png")
    except UsageError:
        return []
