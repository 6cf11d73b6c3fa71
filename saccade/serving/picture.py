"""The picture of where a model looked: data for programs, a page for people, an image for papers.

    write(looks, Path("look.html"))        # one self-contained file; also .json, and .png

The data (`to_json`), version 1; weights are shares with four decimals, rows are output and columns source, the last of each is the end symbol:

    {"format": "saccade-attention", "version": 1, "looks": [{
       "source": text, "output": text, "score": number or null,
       "source_pieces": [{"text", "start", "end", "shown", "unknown"}],      start and end count code points of the text
       "output_pieces": [the same],                                          shown is for reading; unknown: not in the vocabulary
       "layers": [{"name": where the attention arose, "heads": [[[share]]]}],
       "words": {"source": [word], "output": [word],                         the mean of all heads, over words
                 "source_pieces": [[piece number]], "output_pieces": [...],  what each word is made of
                 "weights": [[share]]}}]}
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError, printable
from .looks import END, Cells, WordLook, cells, merge_words
from .pages import hashed, page, save

if TYPE_CHECKING:  # drawing needs no torch
    from ..types import Look, Piece

__all__ = ["END", "WordLook", "merge_words", "to_html", "to_json", "to_png", "write"]

_UNKNOWN = 3  # the id of UNK in every vocabulary (saccade.types, which needs torch)
_STYLE, _SCRIPT, _DATA = '<link rel="stylesheet" href="style.css">', '<script src="app.js"></script>', '<script type="application/json" id="looks"></script>'
_CHARSET = '<meta charset="utf-8">'


def to_json(looks: Sequence["Look"]) -> str:
    """The looks as data, in the format that this module's docstring describes."""
    document = {"format": "saccade-attention", "version": 1, "looks": [_look(look) for look in looks]}
    return _escaped(json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")), "\u2028\u2029")


def to_html(looks: Sequence["Look"]) -> str:
    """The looks as one web page that needs nothing else: no network, and nothing in it can run but the script whose hash it names."""
    style, script, whole = page("style.css"), page("app.js"), page("index.html")
    policy = f"default-src 'none'; style-src '{hashed(style)}'; script-src '{hashed(script)}'; img-src data:; base-uri 'none'; form-action 'none'"
    replacements = {
        _CHARSET: f'{_CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{policy}; require-trusted-types-for \'script\'">',
        _STYLE: f"<style>{style}</style>",
        _SCRIPT: f"<script>{script}</script>",
        # The data last: whatever a text says, it is not searched again.
        _DATA: _DATA.replace("><", f">{_escaped(to_json(looks), '<>&')}<"),
    }
    for place, content in replacements.items():
        before, _, after = whole.partition(place)
        whole = before + content + after
    return whole


def to_png(look: "Look", path: Path, *, title: str | None = None) -> None:
    """Write the heat map of `look` over words, the mean of all heads, as an image; `UsageError` C030 without matplotlib."""
    from .plot import png

    save(path, png(look, title))


def write(looks: Sequence["Look"], path: Path) -> list[Path]:
    """Write the looks as the ending of `path` says (.html, .json or .png) and give back what was written.

    An image shows one look: of several, the second goes to `name-2.png` and so on.  `UsageError` C031 for other endings,
    `ResourceError` R004 if the file cannot be written; a file that stood there before is replaced as a whole or not at all.
    """
    texts: dict[str, Callable[[Sequence["Look"]], str]] = {".html": to_html, ".json": to_json}
    ending = path.suffix.lower()
    if ending in texts:
        save(path, texts[ending](looks).encode())
        return [path]
    if ending != ".png":
        found = f"its ending is {printable(path.suffix)!r}" if path.suffix else "it has no ending"
        raise UsageError(
            "C031",
            f"attention cannot be drawn to {printable(path.name)!r}: {found}",
            why="the ending says what is written: .html, .json or .png",
            fix=f"{path.stem}.html",
        )
    paths = [path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in range(1, len(looks) + 1)]
    for look, place in zip(looks, paths):
        to_png(look, place)
    return paths


def _look(look: "Look") -> dict[str, object]:
    source, output = cells(look.source, look.source_pieces, "words"), cells(look.output, look.output_pieces, "words")
    return {
        "source": look.source,
        "output": look.output,
        "score": look.score,
        "source_pieces": _pieces(look.source, look.source_pieces),
        "output_pieces": _pieces(look.output, look.output_pieces),
        "layers": [{"name": name, "heads": _rounded(weights)} for name, weights in look.weights.items()],
        "words": {**_side("source", source), **_side("output", output), "weights": _rounded(merge_words(look).weights)},
    }


def _side(name: str, side: Cells) -> dict[str, object]:
    return {name: side.labels, f"{name}_pieces": side.pieces}


def _pieces(text: str, pieces: Sequence["Piece"]) -> list[dict[str, object]]:
    labels = cells(text, pieces, "pieces").labels
    return [{"text": p.text, "start": p.start, "end": p.end, "shown": label, "unknown": p.id == _UNKNOWN} for p, label in zip(pieces, labels)]


def _rounded(weights: np.ndarray) -> list:
    return np.round(weights.astype(np.float64), 4).tolist()


def _escaped(document: str, characters: str) -> str:
    """JSON with `characters`, and half characters that UTF-8 cannot write, as \\uXXXX: the same data, harmless where it stands."""
    return re.sub(f"[{characters}\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", document)
