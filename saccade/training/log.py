"""metrics.jsonl: one line for each event, appended as it happens."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .loop import Evaluation, Event, Saved


def as_record(event: Event) -> dict[str, Any]:
    """An event as plain data; numbers that are none become null, since JSON has no word for them."""
    record: dict[str, Any] = {"event": type(event).__name__.lower(), **asdict(event)}
    if isinstance(event, Evaluation):
        record["scores"] = [{"name": s.name, "value": s.value, "signature": s.signature} for s in event.scores]
    if isinstance(event, Saved):
        record["path"] = event.path.name
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()}


class Log:
    """Appends to `run/metrics.jsonl`; each line is on its way to the disk before the next step begins."""

    def __init__(self, run: Path) -> None:
        self.path = run / "metrics.jsonl"

    def write(self, event: Event) -> None:
        """One line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_record(event)) + "\n")
