"""What there is to choose from."""

import importlib
import inspect
import json
from collections.abc import Iterator

from .errors import UsageError, suggestion
from .families import find, members, write_settings
from .recipe import shipped

FAMILIES = {
    "tasks": "saccade.tasks",
    "encoders": "saccade.encoders",
    "decoders": "saccade.decoders",
    "scores": "saccade.attention.scores",
    "patterns": "saccade.attention.patterns",
    "cells": "saccade.layers.cells",
    "linears": "saccade.layers.linears",
    "positions": "saccade.layers.positions",
    "tokenizers": "saccade.text.tokenizers",
    "metrics": "saccade.metrics",
    "schedules": "saccade.training.schedules",
}


def listing(family: str = "") -> Iterator[str]:
    """All families and their members; or one family, or the recipes, with what each is.  `UsageError` C010 if there is no such family."""
    if family == "recipes":
        for path in sorted(shipped().glob("*.toml"), key=lambda path: path.stem):
            yield f"{path.stem:<26} {path.read_text(encoding='utf-8').partition(chr(10))[0].lstrip('# ')}"
    elif family in FAMILIES:
        yield from _members(family)
    elif family:
        raise UsageError("C010", f"no family called {family!r}", fix=suggestion(family, [*FAMILIES, "recipes"]))
    else:
        for name, package in FAMILIES.items():
            yield f"{name:<12} {'  '.join(members(package))}"


def _members(family: str) -> Iterator[str]:
    package = importlib.import_module(FAMILIES[family])
    contracts = (c for c in vars(package).values() if inspect.isclass(c) and c.__module__ == package.__name__)
    contract = next(c for c in contracts if f"{c.__name__.lower()}s" == family)
    for name in members(package.__name__):
        member = find(contract, name)
        knobs = ", ".join(f"{key} = {json.dumps(value['name'] if isinstance(value, dict) else value)}" for key, value in write_settings(member).items())
        about = (inspect.getmodule(member).__doc__ or "").partition("\n")[0]
        yield f"{name:<14} {about}" + (f"\n{'':<14} {knobs}" if knobs else "")
