"""What the README shows is true: its Python runs, its commands parse, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saccade.cli import app
from saccade.recipe import read_recipe
from saccade.run import Run

from . import toys

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (saccade .*)$", README, re.M)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """Two text files and a run, under the names that the README uses."""
    pairs = toys.pairs(200)
    for side, name in (("source", "train.de"), ("target", "train.en")):
        (tmp_path / name).write_text("".join(f"{' '.join(getattr(pair, side))}\n" for pair in pairs), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(overrides=["size=tiny", "tokenizer=characters", "training.steps=4", 'data.train=["train.de", "train.en"]'])
    list(Run.begin(recipe, Path("runs/0001-translate")).train())
    return tmp_path


def test_the_python_of_the_readme_runs(workplace, capsys):
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["look"].weights
    assert "Stopped(step=20" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_readme_exist(command):
    words = shlex.split(command)[1:]
    shown = CliRunner().invoke(app, [words[0], "--help"])
    assert shown.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output


def test_the_settings_of_the_readme_are_real():
    # a..b is a range to search, no setting
    settings = [word for command in COMMANDS for word in shlex.split(command) if "=" in word and ".." not in word and not word.startswith("--")]
    assert len(settings) >= 5
    assert read_recipe(overrides=[setting for setting in settings if not setting.startswith("data.folder")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_nothing_is_left_to_fill_in():
    for page in PAGES:
        assert "@@" not in page.read_text(encoding="utf-8"), page
