"""metrics.jsonl: one line for each event, appended as it happens."""

import json
import math
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from .. import storage
from .checkpoint import space_for
from .events import Evaluation, Event, Saved, Trouble


def as_record(event: Event) -> dict[str, Any]:
    """An event as plain data; numbers that are none become null, since JSON has no word for them."""
    record: dict[str, Any] = {"event": type(event).__name__.lower(), **{field.name: getattr(event, field.name) for field in fields(event)}}
    if isinstance(event, Evaluation):
        record["scores"] = [{"name": s.name, "value": s.value, "signature": s.signature} for s in event.scores]
    if isinstance(event, Saved):
        record["path"] = event.path.name
    if isinstance(event, Trouble):
        record["error"] = event.error.as_dict()
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()}


class Log:
    """Appends to `run/metrics.jsonl`; each line is on its way to the disk before the next step begins.

    A run that goes on from step `since` first forgets what it did after that step, since it will do it again, and half a last line.
    """

    def __init__(self, run: Path, since: int | None = None) -> None:
        self.path = run / "metrics.jsonl"
        self.waiting: list[str] = []
        if since is not None and self.path.is_file():
            lines = self.path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith(b"\n") and _step(line) <= since]
            if kept != lines:
                storage.replace_file(self.path, kept)

    def write(self, event: Event) -> None:
        """One line; if there is no room for it now, it comes before the next one."""
        self.waiting.append(json.dumps(as_record(event)))
        with suppress(OSError):
            self._catch_up()

    def close(self) -> None:
        """`ResourceError` R001 or R004 if something could not be written until the end."""
        with space_for(self.path.parent, 0, "the log"):
            self._catch_up()

    def _catch_up(self) -> None:
        while self.waiting:
            storage.append_line(self.path, self.waiting[0])
            del self.waiting[0]


def _step(line: bytes) -> float:
    """Of a record; a line that is none stays where it is."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return -math.inf
