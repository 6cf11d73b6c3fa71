"""The heat map as an image, by matplotlib: https://matplotlib.org."""

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError
from .looks import WordLook, merge_words

if TYPE_CHECKING:  # matplotlib is optional, and drawing needs no torch
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..types import Look

CAPTION = "Attention shows where the model looked, not why it decided."

_SCALE = ("#f3f1ea", "#2a7f92", "#06303f")  # the page's own: one hue, ever darker; black and white stand out equally in its middle
_FONTS = ("DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari", "Noto Sans Thai")
_SYSTEM_FONTS = ("Arial Unicode MS", "Segoe UI", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "WenQuanYi Zen Hei", "Unifont")
_INK, _QUIET = "#1b2a31", "#5a676d"
_LONGEST = 28  # characters of a label
_WIDEST = 24.0  # inches
_DOTS = 160  # per inch


def png(look: "Look", title: str | None) -> bytes:
    """The image file: words of the source along the top, of the output down the left.  `UsageError` C030 without matplotlib."""
    return heat(merge_words(look), title, CAPTION, "attention weight")


def heat(words: WordLook, title: str | None, caption: str, scale: str) -> bytes:
    """Shares between 0 and 1 as an image file, with what is said below them and beside the scale.  `UsageError` C030 without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("C030", "drawing a PNG needs matplotlib", fix="pip install 'saccade[plot]', or write .html or .json") from error
    columns = [_label(word) for word in words.source_words]
    angle, cell = _lettering(columns)
    width, height = min(_WIDEST, cell * len(columns) + 1.2), min(_WIDEST, 0.42 * len(words.output_words) + 0.4)
    figure = Figure(figsize=(width, height), dpi=_DOTS, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    _draw(figure, axes, words, scale)
    rows = [_label(word) for word in words.output_words]
    _letter(axes, (60 * width / len(columns), 60 * height / len(rows)), columns, rows, angle)  # 72 points are an inch; some stay air
    _caption(axes, title, caption)
    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")  # a script without a font is drawn as boxes, and the rest is right
        figure.savefig(image, format="png", bbox_inches="tight", pad_inches=0.25, metadata={"Software": None})
    return image.getvalue()


def _label(word: str) -> str:
    return word if len(word) <= _LONGEST else word[: _LONGEST - 1] + "…"


def _lettering(columns: list[str]) -> tuple[int, float]:
    """The angle of the words along the top, and the width of a column in inches: level if they fit."""
    longest = max(map(len, columns))
    level = 0.085 * longest + 0.14
    if level <= 1.0 and level * len(columns) <= 14:
        return 0, max(0.5, level)
    return (45 if len(columns) <= 40 else 90), 0.5 if len(columns) <= 40 else 0.36


def _draw(figure: "Figure", axes: "Axes", words: WordLook, label: str) -> None:
    """The cells, their numbers if there are few, and the scale."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("saccade", _SCALE)
    image = axes.imshow(words.weights, cmap=scale, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    (rows, columns), (width, height) = words.weights.shape, figure.get_size_inches()
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=min(1.2, 4 * min(width / columns, height / rows)))
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    if max(rows, columns) <= 12:
        for (row, column), weight in np.ndenumerate(words.weights):
            if weight >= 0.005:
                ink = "white" if weight >= 0.5 else "black"
                axes.text(column, row, f"{weight:.2f}", ha="center", va="center", fontsize=8.5, color=ink)
    bar = figure.add_axes((1 + 0.25 / width, 1 - min(1, 2.4 / height), 0.14 / width, min(1, 2.4 / height)))
    figure.colorbar(image, cax=bar, ticks=[0, 0.25, 0.5, 0.75, 1]).outline.set_visible(False)
    bar.tick_params(length=0, labelsize=8, labelcolor=_QUIET)
    bar.set_ylabel(label, fontsize=9, color=_QUIET)


def _letter(axes: "Axes", points: tuple[float, float], columns: list[str], rows: list[str], angle: int) -> None:
    """The words, as they are (a dollar sign is no formula), no larger than `points` of width and height allow."""
    from matplotlib.font_manager import FontProperties, fontManager

    installed = {font.name for font in fontManager.ttflist}
    font = FontProperties(family=[name for name in (*_FONTS, *_SYSTEM_FONTS) if name in installed])
    literal: dict[str, Any] = {"parse_math": False, "usetex": False, "fontproperties": font, "color": _INK}
    turned: dict[str, Any] = {"rotation": angle, "rotation_mode": "anchor", "ha": "left" if angle else "center", "va": "center" if angle == 90 else "bottom"}
    axes.xaxis.tick_top()
    axes.set_xticks(range(len(columns)), columns, **literal, **turned, size=min(10, points[0] if angle else 10))
    axes.set_yticks(range(len(rows)), rows, **literal, size=min(10, points[1]))
    axes.tick_params(axis="both", pad=6)


def _caption(axes: "Axes", title: str | None, caption: str) -> None:
    axes.annotate(caption, (0, 0), (0, -10), "axes fraction", "offset points", fontsize=8, color=_QUIET, va="top")
    if title:
        axes.set_title(title, loc="left", pad=18, fontsize=12, color=_INK, parse_math=False)
