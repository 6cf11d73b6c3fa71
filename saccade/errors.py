"""Every way `saccade` says no, and the exit status each one has.

    SaccadeError
    ├── UsageError      C...  exit 2   the command line, a recipe, a setting
    ├── DataError       D...  exit 3   the user's files
    ├── ModelError      M...  exit 4   a model or a checkpoint
    ├── ResourceError   R...  exit 5   disk, memory, run directory
    └── TrainingError   T...  exit 6   the run diverged

A message says what was found, what is allowed and what to do:

    error[D012] source and target have different numbers of lines
      --> train.en   200 lines
      --> train.de   190 lines
      why   line N of one file must be the translation of line N of the other
      fix   correct line 57
"""

import difflib
import unicodedata
from collections.abc import Iterable

Lines = str | Iterable[str]


def _lines(text: Lines) -> list[str]:
    return [text] if isinstance(text, str) else list(text)


class SaccadeError(Exception):
    """A coded message: headline, where it happened, why it matters, what was seen, how to mend it."""

    exit_status = 1

    def __init__(self, code: str, headline: str, *, at: Lines = (), why: Lines = (), look: Lines = (), note: Lines = (), fix: Lines = ()) -> None:
        self.code, self.headline = code, headline
        self.at = _lines(at)
        self.parts = {"why": _lines(why), "look": _lines(look), "note": _lines(note), "fix": _lines(fix)}
        super().__init__(self.render())

    def render(self, kind: str = "error") -> str:
        """The whole message, as the command line prints it."""
        rows = [f"{kind}[{self.code}] {self.headline}"]
        rows += [f"  --> {place}" for place in self.at]
        rows += [f"  {name:<4}  {line}" for name, lines in self.parts.items() for line in lines]
        return "\n".join(rows)

    def as_dict(self) -> dict[str, object]:
        """The same message as data, for `--json`."""
        return {"code": self.code, "title": self.headline, "at": self.at, **self.parts}


class UsageError(SaccadeError):
    """The command line, a recipe or a setting asks for something that does not exist."""

    exit_status = 2
    setting: str | None = None  # "training.steps": lets the recipe reader name the line

    def reworded(self, headline: str, setting: str | None = None) -> "UsageError":
        """The same message under another headline, about the same setting unless another one is named."""
        error = UsageError(self.code, headline, at=self.at, **self.parts)
        error.setting = setting or self.setting
        return error


class DataError(SaccadeError):
    """A file of the user's is not what it should be."""

    exit_status = 3


class ModelError(SaccadeError):
    """A file given as a model or a checkpoint is not one, or does not fit."""

    exit_status = 4


class ResourceError(SaccadeError):
    """The machine cannot do it now: disk, memory, a run directory in the way."""

    exit_status = 5


class TrainingError(SaccadeError):
    """Training cannot go on: the loss stopped being a number."""

    exit_status = 6


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?`, or the list of what there is, of a long one its beginning."""
    known = list(known)
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]}?"
    if len(known) > 50:
        return f"there is {', '.join(known[:10])} and {len(known) - 10:,} more"
    return f"there is {', '.join(sorted(known))}" if known else "there is nothing to choose from"


def printable(text: str, limit: int = 60) -> str:
    """`text` shortened to `limit` characters, with control characters written as `\\x00`."""
    shown = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if unicodedata.category(c)[0] not in "CZ" or c == " " else c.encode("unicode_escape").decode() for c in shown)
