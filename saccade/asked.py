"""What was asked for on the command line: a recipe, files and settings, in any order."""

import json
from pathlib import Path
from typing import Any

from .errors import UsageError
from .families import find
from .recipe import Recipe, locate, read_recipe, shipped
from .tasks import Task
from .text.stream import is_file


def recipe_of(words: list[str], task: str, columns: str | None, keep_first: int | None, size: str | None) -> Recipe:
    """What was asked for: at most one recipe, files, and settings."""
    known = {path.stem for path in shipped().glob("*.toml")}
    overrides = [word for word in words if "=" in word and not is_file(word)]
    rest = [word for word in words if word not in overrides]
    recipes = [word for word in rest if word.endswith(".toml") or (word in known and not is_file(word))]
    files = [word for word in rest if word not in recipes]
    if len(recipes) > 1:
        raise UsageError("C018", f"one recipe at a time, found {len(recipes)}: {', '.join(recipes)}", fix=f"saccade train {recipes[0]}")
    if not recipes:
        _check_files(task, files)
    data: dict[str, Any] = {"train": files} if files else {}
    if columns:
        if not all(part.strip().isdigit() for part in columns.split(",")):
            raise UsageError("C012", f"--columns {columns}: expected two numbers", fix="--columns 1,2")
        data["columns"] = [int(part) for part in columns.split(",")]
    if keep_first is not None:
        data["keep_first"] = keep_first
    defaults: dict[str, Any] = {} if recipes else {"task": task}
    if size:
        defaults["size"] = size
    path = locate(Path(recipes[0])) if recipes else None
    recipe = read_recipe(path, overrides=overrides, defaults={**defaults, "data": data})
    if files and recipes:
        recipe = read_recipe(path, overrides=[*overrides, f"data.train={json.dumps(files)}"], defaults=defaults)
    if not recipe.data.train:
        raise UsageError("C019", "the recipe names no training data", fix="saccade train RECIPE source.txt target.txt, or data.folder=DIR")
    return recipe


def _check_files(task: str, files: list[str]) -> None:
    """`UsageError` C004 unless the task takes as many files."""
    least, most = find(Task, task, "task").takes
    if not least <= len(files) <= most:
        needed, fix = "two parallel ones are needed, or one TSV", "saccade train source.txt target.txt"
        if most > 2:
            needed, fix = "at least one text is needed", f"saccade train --task {task} text.txt"
        raise UsageError("C004", f"{len(files)} data files; {needed}", look=", ".join(files[:6]), fix=fix)
