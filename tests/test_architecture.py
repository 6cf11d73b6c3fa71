"""The house keeps its shape: imports run one way, the map tells the truth, families are folders, nothing is pickled."""

import ast
import re
from pathlib import Path

import pytest

import saccade

PACKAGE = Path(saccade.__file__).parent
STAGES = re.search(r"Imports run one way:\n(.*?)\nA folder", saccade.__doc__, re.S)[1].split("<-")
ORDER = {name: place for place, stage in enumerate(STAGES) for name in stage.split()}
MODULES = sorted(PACKAGE.rglob("*.py"))
TOP = {"__init__", "__main__"}


def stage_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(line, parts below saccade) of every import inside the package, also those inside functions."""
    base = path.relative_to(PACKAGE).with_suffix("").parts
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                above = base[: len(base) - node.level]
                parts = (*above, *(node.module.split(".") if node.module else ()))
            elif node.module and node.module.split(".")[0] == "saccade":
                parts = tuple(node.module.split(".")[1:])
            else:
                continue
            found += [(f"{path.name}:{node.lineno}", parts or (alias.name,)) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(f"{path.name}:{node.lineno}", tuple(alias.name.split(".")[1:])) for alias in node.names if alias.name.split(".")[0] == "saccade"]
    return found


@pytest.mark.parametrize("path", [path for path in MODULES if stage_of(path) not in TOP], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    here = stage_of(path)
    for where, parts in imports(path):
        if parts and parts[0] not in ("__version__",):
            assert parts[0] in ORDER, f"{where} imports {parts[0]}, which is not on the map"
            assert ORDER[parts[0]] <= ORDER[here], f"{where}: {here} may not import {parts[0]}, which comes later"


def test_the_map_names_every_stage_and_no_other():
    there = {stage_of(path) for path in MODULES} - TOP
    assert there == set(ORDER)
    drawn = set(re.findall(r"^    (\w+)/ ", saccade.__doc__, re.M))
    assert drawn == {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}


FAMILIES = [
    "text/tokenizers",
    "layers/cells",
    "layers/linears",
    "layers/positions",
    "attention/scores",
    "attention/patterns",
    "encoders",
    "decoders",
    "metrics",
    "tasks",
    "training/schedules",
]
WRAPPERS = {("rotary", "sinusoidal"), ("relative", "sinusoidal"), ("scaled_dot", "dot")}
"""A member may import a sibling only to share its formula."""


@pytest.mark.parametrize("family", FAMILIES)
def test_members_do_not_import_their_siblings(family):
    folder = PACKAGE / family
    members = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert members
    for path in folder.glob("*.py"):
        for where, parts in imports(path):
            sibling = parts[-1] if parts[:-1] == Path(family).parts else None
            assert sibling not in members or (path.stem, sibling) in WRAPPERS, f"{where} imports its sibling {sibling}"


def test_search_knows_the_contract_of_a_decoder_and_no_member():
    for path in (PACKAGE / "search").glob("*.py"):
        for where, parts in imports(path):
            assert parts[0] != "decoders" or len(parts) == 1, where


def test_nothing_is_pickled_and_no_name_is_imported_from_data():
    forbidden = re.compile(
        r"\b(pickle|joblib|shelve|dill|marshal)\b.*import|import .*\b(pickle|joblib|shelve|dill|marshal)\b|torch\.(load|save)\(|\beval\(|\bexec\(|yaml"
    )
    for path in MODULES:
        text = path.read_text(encoding="utf-8").replace("model.eval(", "").replace(".eval()", "")
        found = forbidden.search(text)
        assert not found, f"{path.name}: {found[0] if found else ''}"


def test_help_is_quick_because_torch_stays_out():
    import subprocess
    import sys

    lines = ["import sys", "sys.argv = ['saccade', '--help']", "from saccade import cli", "try:", "    cli.main()", "except SystemExit:", "    pass"]
    code = "\n".join([*lines, "print('torch' in sys.modules, 'numpy' in sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("False False")


def test_files_and_functions_stay_short():
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path.name}: {node.name}"


def test_every_code_has_its_line_in_the_docs_and_no_line_is_left_over():
    used = {code for path in MODULES for code in re.findall(r"[\"\[]([CDMRT]\d{3})[\"\]]", path.read_text(encoding="utf-8"))}
    told = set(re.findall(r"^\| ([CDMRT]\d{3}) \|", (PACKAGE.parent / "docs/errors.md").read_text(encoding="utf-8"), re.M))
    assert used == told
