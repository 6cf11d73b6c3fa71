"""The picture of where a model looked: no text can become anything but text, and everybody can read it."""

import base64
import hashlib
import json
import math
import os
import re
import struct
import subprocess
import sys
import warnings
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from saccade.errors import ResourceError, UsageError
from saccade.serving.picture import _UNKNOWN, END, to_html, to_json, to_png, write
from saccade.types import UNK, Look, Piece

from .test_looks import PLACE, look, looks_of_any_pieces, split

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "<!-- <script>",
    "\"><b onclick='x'>",
    "' onload='x",
    "]]> & &lt; &amp;",
    "a\u2028b\u2029c",
    "מה שלום \u202eevil",
    "nul\x00 bell\x07",
    "\ud800 half",
    "$x^2$ \\frac {y} %",
    '<link rel="stylesheet" href="style.css">',
    '<script src="app.js"></script>',
    "👩‍👩‍👧 नमस्ते สวัสดี",
]


# Data


def test_the_data_have_the_documented_shape() -> None:
    source = "ein Haus"
    seen = Look(
        source, "x y", [Piece(3, "<unk>", 0, 3), *split(source, " Ha", "us")], split("x y", "x", "y"), {PLACE: np.full((1, 3, 4), 1 / 3, np.float32)}, -0.5
    )
    assert _UNKNOWN == UNK
    data = json.loads(to_json([seen, look("a", "b")]))
    assert (data["format"], data["version"], len(data["looks"])) == ("saccade-attention", 1, 2)
    first = data["looks"][0]
    assert list(first) == ["source", "output", "score", "source_pieces", "output_pieces", "layers", "words"]
    assert first["source_pieces"][0] == {"text": "<unk>", "start": 0, "end": 3, "shown": "ein", "unknown": True}
    assert first["source_pieces"][1] == {"text": " Ha", "start": 3, "end": 6, "shown": "Ha", "unknown": False}
    assert first["layers"] == [{"name": PLACE, "heads": [[[0.3333] * 4] * 3]}]
    assert first["words"]["source"] == ["ein", "Haus", END]
    assert first["words"]["source_pieces"] == [[0], [1, 2], [3]]
    assert first["words"]["weights"] == [[0.3333, 0.6667, 0.3333]] * 3


def test_a_score_that_is_no_number_is_refused() -> None:
    seen = look("a", "b")
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json([seen._replace(score=math.nan)])


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_comes_back_out_of_the_data(text: str) -> None:
    written = to_json([look(text, text)])
    assert written.encode().decode() == written
    assert json.loads(written)["looks"][0]["source"] == text


@given(looks_of_any_pieces())
@settings(max_examples=30, deadline=None)
def test_any_look_can_be_written_as_data_and_as_a_page(seen: Look) -> None:
    assert json.loads(to_json([seen]))["looks"][0]["source"] == seen.source
    assert inlined(to_html([seen]))["looks"][0]["output"] == seen.output


def test_a_model_without_attention_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        write([look("a", "b")._replace(weights={})], tmp_path / "x.html")
    assert (raised.value.code, raised.value.headline) == ("C033", "this model has no attention to draw")
    assert raised.value.parts["why"] == ["its decoder looks back at nothing"]
    fix = "decoder=transformer, or with a source a recurrent one with a score; how a language model weighs its symbols: --explain"
    assert raised.value.parts["fix"] == [fix]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": np.ones((1, 2, 2))}, "x: weights are heads x 3 x 2, not 1 x 2 x 2"),
        ({"x": np.ones((3, 2))}, "x: weights are heads x 3 x 2, not 3 x 2"),
        ({"x": np.ones((0, 3, 2))}, "x: weights are heads x 3 x 2, not 0 x 3 x 2"),
        ({"x": np.full((1, 3, 2), math.nan)}, "x: a weight is not a finite number"),
    ],
)
def test_weights_must_fit_the_pieces(table: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        to_json([Look("a", "bc", split("a", "a"), split("bc", "b", "c"), table)])


# The page


class _Elements(HTMLParser):
    """Every element with its attributes, the text directly within each, and the comments."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple]] = []
        self.texts: list[str] = []
        self.inside = False
        self.comments: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, tuple(attrs)))
        self.texts.append("")
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.texts[-1] += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def asset(name: str) -> str:
    return (resources.files("saccade.serving") / "page" / name).read_text(encoding="utf-8")


def inlined(page: str) -> dict:
    parsed = _Elements(page)
    [data] = [text for text, (_, attrs) in zip(parsed.texts, parsed.elements) if ("id", "looks") in attrs]
    return json.loads(data)


def test_hostile_texts_add_no_element_attribute_or_comment() -> None:
    tame, wild = _Elements(to_html([look("a", "b")])), _Elements(to_html([look(text, text) for text in HOSTILE]))
    assert wild.elements == tame.elements
    assert not wild.comments
    assert sum(tag == "script" for tag, _ in wild.elements) == 2


def test_the_pages_data_are_the_data() -> None:
    looks = [look(text, text[::-1]) for text in HOSTILE]
    page = to_html(looks)
    page.encode()
    assert inlined(page) == json.loads(to_json(looks))
    data = page.partition('id="looks">')[2].partition("</script>")[0]
    assert not re.search("[<>&\u2028\u2029\x00]", data)


def test_the_policy_names_the_hashes_of_the_style_and_the_script_and_allows_nothing_else() -> None:
    parsed = _Elements(to_html([look("a", "b")]))
    [policy] = [dict(attrs)["content"] for tag, attrs in parsed.elements if dict(attrs).get("http-equiv") == "Content-Security-Policy"]
    inline = {tag: text for text, (tag, attrs) in zip(parsed.texts, parsed.elements) if (tag, attrs) in (("style", ()), ("script", ()))}
    hashes = {tag: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for tag, text in inline.items()}
    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src '{hashes['style']}'",
        f"script-src '{hashes['script']}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ]
    names = [tag for tag, _ in parsed.elements]
    assert names.index("meta") < names.index("style")
    assert [tag for tag in names if tag in ("style", "script")] == ["style", "script", "script"]


def test_the_assets_load_nothing_and_make_no_markup_out_of_text() -> None:
    everything = asset("index.html") + asset("app.js") + asset("style.css")
    assert len(everything.encode()) <= 80_000
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|\bon[a-z]+\s*=|setTimeout\(['\"]|srcdoc|javascript:", everything
    )
    assert not re.search(r"https?:|//[a-z]|@import|url\(|fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", everything.replace("// ", ""))
    assert not re.search(r"</script|<!--", asset("app.js"))
    assert "</style" not in asset("style.css")
    assert not re.search(r"""\sstyle=|setAttribute\("style""", everything)  # the policy would forbid them


def test_the_page_is_labelled_for_everybody() -> None:
    page = to_html([look("a", "b")])
    parsed = _Elements(page)
    elements = [(tag, dict(attrs)) for tag, attrs in parsed.elements]
    ids = [attrs["id"] for _, attrs in elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in elements:
        for reference in (*attrs.get("aria-labelledby", "").split(), *attrs.get("aria-describedby", "").split()):
            assert reference in ids
    assert set(re.findall(r'byId\("([a-z-]+)"\)', asset("app.js"))) <= set(ids)
    assert "Attention shows where the model looked, not why it decided." in page
    assert {"noscript", "details", "legend"} <= {tag for tag, _ in elements}
    assert ("html", {"lang": "en"}) in elements
    assert any(attrs.get("role") == "grid" for _, attrs in elements)
    assert any(attrs.get("aria-live") == "polite" for _, attrs in elements)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_can_be_read(scheme: int) -> None:
    colour = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", asset("style.css"), re.DOTALL)[scheme]))
    for ground in ("paper", "card"):
        for text in ("ink", "quiet", "accent"):
            assert contrast(colour[text], colour[ground]) >= 4.5
        assert contrast(colour["edge"], colour[ground]) >= 3
    # The scale is monotone, so the ends of each half decide: a number changes colour in the middle.
    steps = [luminance(colour[name]) for name in ("low", "mid", "high")]
    assert steps == sorted(steps, reverse=not scheme)
    for text, ends in {"on-low": ("low", "mid"), "on-high": ("mid", "high")}.items():
        assert min(contrast(colour[text], colour[end]) for end in ends) >= 4.5


# The image


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


def test_an_image_is_as_large_as_its_words_need(tmp_path: Path) -> None:
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    to_png(look("ein Haus", "a house"), small, title="$ A title $")
    text = " ".join(["Donaudampfschifffahrtsgesellschaft", "x", *"abcdefghijklmnop"])
    to_png(look(text, text), large)
    assert 300 < size(small)[0] < 900
    assert 200 < size(small)[1] < 700
    assert size(large)[0] > size(small)[0]
    assert max(size(large)) < 4600


def test_an_image_shows_hostile_texts_and_scripts_without_a_font_literally(tmp_path: Path) -> None:
    text = "$x^2 \\frac{ nul\x00 \ud800 \u202e 我 नमस्ते 👩 $"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_png(look(text, text), tmp_path / "hostile.png")
    assert min(size(tmp_path / "hostile.png")) > 300


def test_the_images_words_stand_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **_: (drawn.append(figure), file.write(b""))[1])
    to_png(look("a $b$", "c d-"), tmp_path / "x.png")
    axes, bar = drawn[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "$", "b", "$", END]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "d", "-", END]
    assert not any(label.get_parse_math() for label in (*axes.get_xticklabels(), *axes.get_yticklabels()))
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first word at the top
    assert bar.get_ylabel() == "attention weight"
    assert axes.images[0].get_clim() == (0, 1)


def test_without_matplotlib_there_is_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError) as raised:
        write([look("a", "b")], tmp_path / "x.png")
    assert (raised.value.code, raised.value.headline) == ("C030", "drawing a PNG needs matplotlib")
    assert raised.value.parts["fix"] == ["pip install 'saccade[plot]', or write .html or .json"]
    assert not list(tmp_path.iterdir())


# Files


def test_the_ending_says_what_is_written(tmp_path: Path) -> None:
    looks = [look("ein", "one"), look("zwei", "two")]
    assert write(looks, tmp_path / "new" / "x.json") == [tmp_path / "new" / "x.json"]
    assert (tmp_path / "new" / "x.json").read_text(encoding="utf-8") == to_json(looks)
    assert write(looks, tmp_path / "x.HTML") == [tmp_path / "x.HTML"]
    assert (tmp_path / "x.HTML").read_text(encoding="utf-8") == to_html(looks)
    assert inlined(to_html([])) == {"format": "saccade-attention", "version": 1, "looks": []}


def test_several_images_are_numbered(tmp_path: Path) -> None:
    paths = write([look("a b", "c"), look("d", "e")], tmp_path / "x.png")
    assert paths == [tmp_path / "x.png", tmp_path / "x-2.png"]
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert all(size(path) for path in paths)


@pytest.mark.parametrize(
    ("name", "headline", "fix"),
    [
        ("look.svg", "attention cannot be drawn to 'look.svg': its ending is '.svg'", "look.html"),
        ("look", "attention cannot be drawn to 'look': it has no ending", "look.html"),
    ],
)
def test_other_endings_are_refused(name: str, headline: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        write([look("a", "b")], tmp_path / name)
    assert (raised.value.code, raised.value.headline, raised.value.parts["fix"]) == ("C031", headline, [fix])
    assert raised.value.parts["why"] == ["the ending says what is written: .html, .json or .png"]
    assert not list(tmp_path.iterdir())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    path.write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ResourceError) as raised:
        write([look("a", "b")], path)
    assert (raised.value.code, raised.value.headline) == ("R004", f"cannot write {path}: No space left on device")
    assert raised.value.parts["fix"] == ["write to another folder"]
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("x.json", "before")]


def test_drawing_needs_neither_torch_nor_matplotlib() -> None:
    check = "import sys, saccade.serving.picture, saccade.serving.plot; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
