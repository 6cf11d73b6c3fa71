"""The report of a run: one page that says how good the model is, how it became so, where it fails and how to have it again.

write_report(Path("runs/0001-translate"))      # runs/0001-translate/report.html: no network, no script, printable
"""

import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import torch

from .. import __version__
from ..errors import ModelError, SaccadeError
from ..families import contract_of, knobs, name_of
from ..recipe import Recipe, from_table, read_recipe
from ..run import RECIPE, Run, fingerprints, load
from .drawing import Line, curves, heat_map
from .looks import merge_words, shown
from .pages import hashed, page, save
from .surprise import Surprise, drawn, surprising
from .worst import Judged, worst

Record = dict[str, Any]
_DRAWN = 5
"""Of the worst sentences, so many show where the model looked."""


class Setting(NamedTuple):
    """One setting of a recipe; `default` is what holds if nobody says anything."""

    name: str
    value: str
    default: str


def write_report(run: Path) -> Path:
    """Write `run/report.html` from what the run left behind, and give back its place.

    `ModelError` M001 if there is no run, `ResourceError` R004 if the page cannot be written.  What is not there (no checkpoint yet,
    data that moved away) is left out, and the page says why.
    """
    if not (run / RECIPE).is_file():
        raise ModelError("M001", f"there is no run at {run}", fix="a directory that saccade train made: it has a recipe.toml")
    recipe = read_recipe(run / RECIPE)
    records = read_log(run / "metrics.jsonl")
    begun, ended = _last(records, "started"), _last(records, "stopped") or _last(records, "step")
    evaluations = [record for record in records if record["event"] == "evaluation"]
    style = page("style.css") + page("report.css")
    whole = Template(page("report.html")).substitute(
        policy=hashed(style),
        style=style,
        name=_text(run.resolve().name),
        subtitle=_subtitle(recipe, begun, ended),
        result=_result(run, evaluations),
        curves=_curves(records, evaluations),
        evaluations=_table_of(evaluations),
        worst=_worst(run, recipe),
        settings=_settings(settings_of(recipe)),
        ground=_ground(recipe, begun, ended),
        version=_text(__version__),
    )
    place = run / "report.html"
    save(place, whole.encode("utf-8"))
    return place


def read_log(path: Path) -> list[Record]:
    """The records of a metrics.jsonl that led to the model: what a resumed run did over again counts once, a torn last line not at all."""
    kept: list[Record] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict) or "event" not in record or not isinstance(record.get("step"), int):
            continue
        if record["event"] == "started":
            kept = [old for old in kept if old["step"] <= record["step"]]
        elif record["event"] == "step":
            kept = [old for old in kept if old["step"] < record["step"] or old["event"] == "started"]
        kept.append(record)
    return kept


def settings_of(recipe: Recipe) -> list[Setting]:
    """Every setting of a recipe beside its default: of the same part, where another part than the default one was chosen."""
    plain = from_table({"task": name_of(recipe.task)})
    found = [Setting("task", name_of(recipe.task), "translate"), Setting("seed", str(recipe.seed), str(plain.seed))]
    found += _compared(recipe.task, plain.task, "")
    for name, part in (("training", recipe.training), ("search", recipe.search), ("data", recipe.data)):
        found += _compared(partial(type(part), **vars(part)), type(part), name)
    return [Setting(name, Path(value).name or value if name == "data.folder" else value, default) for name, value, default in found]


def _compared(made: Callable, usual: Callable, where: str) -> Iterator[Setting]:
    """The knobs of `made` beside those of `usual`, which is a member of the same family, or the same member."""
    if name_of(made) != name_of(usual):
        usual = made.func if isinstance(made, partial) else made
    for knob, (hint, default) in knobs(made.func if isinstance(made, partial) else made).items():
        value, standard = (part.keywords.get(knob, default) if isinstance(part, partial) else default for part in (made, usual))
        setting = f"{where}.{knob}".lstrip(".")
        if contract_of(hint) and callable(value):
            yield Setting(setting, name_of(value), name_of(standard) if callable(standard) else "none")
            yield from _compared(value, standard if callable(standard) else value, setting)
        else:
            yield Setting(setting, _said(value), _said(standard))


def _said(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} = {each}" for key, each in value.items())
    return {None: "none", True: "true", False: "false"}.get(value, str(value)) if value is None or isinstance(value, bool) else str(value)


def _last(records: Sequence[Record], event: str) -> Record:
    return next((record for record in reversed(records) if record["event"] == event), {})


def _text(text: object) -> str:
    """Any text as text of a page, and nothing else."""
    return escape(shown(str(text)))


def _breakable(text: str) -> str:
    """Names of settings may be broken after a dot or an underscore."""
    return text if " " in text else re.sub(r"(?<=[a-z])([._])(?=[a-z])", r"\1<wbr>", text)


def _clock(seconds: int | float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _hint(text: str) -> str:
    return f'<p class="hint">{_text(text)}</p>'


def _subtitle(recipe: Recipe, begun: Record, ended: Record) -> str:
    parts = [name_of(recipe.task), *(f"{part} {name_of(recipe.task.keywords[part])}" for part in ("encoder", "decoder") if part in recipe.task.keywords)]
    if begun:
        parts.append(f"{begun.get('weights', 0):,} weights")
    if ended:
        parts.append(f"{ended['step']:,} steps in {_clock(ended.get('seconds') or 0)}")
    return _text(" · ".join(parts))


def _result(run: Path, evaluations: Sequence[Record]) -> str:
    """The scores that count, each with its signature: of the test data if they were scored, else of the best evaluation."""
    best = next((record for record in reversed(evaluations) if record.get("best")), {})
    said = f"The model kept is that of step {best['step']:,}, the best by the validation data." if best else "Nothing was evaluated yet."
    try:
        scores, on = json.loads((run / "test.json").read_text(encoding="utf-8")), "test data"
    except (OSError, ValueError):
        scores, on = best.get("scores", []), "validation data"
        said += " It was not scored on test data." if best else ""
    if best and not scores:
        scores = [{"name": "loss", "value": best["valid_loss"], "signature": "mean negative log-likelihood per symbol, in nats"}]
    card = '<div><dt>{} on {}</dt><dd><span class="value">{:.2f}</span><code>{}</code></dd></div>'
    cards = "".join(card.format(_text(score["name"]), on, score["value"], _text(score["signature"])) for score in scores)
    return (f'<dl class="scores">{cards}</dl>' if cards else "") + f'<p class="quiet">{_text(said)}</p>'


def _curves(records: Sequence[Record], evaluations: Sequence[Record]) -> str:
    steps = [record for record in records if record["event"] == "step"]

    def line(name: str, found: Iterable[Record], key: str) -> Line:
        return Line(name, [(record["step"], record[key]) for record in found if record.get(key) is not None])

    names = list(dict.fromkeys(score["name"] for record in evaluations for score in record.get("scores", [])))
    figures = [curves("Loss", [line("training", steps, "loss"), line("validation", evaluations, "valid_loss")])]
    for name in names:
        points = [(record["step"], score["value"]) for record in evaluations for score in record["scores"] if score["name"] == name]
        figures.append(curves(f"{shown(name)}, validation", [Line("last", points)]))
    for title, key in (("Learning rate", "rate"), ("Gradient norm", "gradient_norm"), ("Tokens per second", "tokens_per_second")):
        figures.append(curves(title, [line("last", steps, key)]))
    drawn = "".join(figures)
    if not drawn:
        return _hint("Nothing was trained yet.")
    return (
        _hint("Over steps. Loss in nats per target symbol: that of training with label smoothing, that of validation without.")
        + f'<div class="curves">{drawn}</div>'
    )


def _table_of(evaluations: Sequence[Record]) -> str:
    if not evaluations:
        return _hint("Nothing was evaluated yet.")
    names = list(dict.fromkeys(score["name"] for record in evaluations for score in record.get("scores", [])))
    head = ["step", "epoch", "time", "training loss", "validation loss", *names]
    rows = []
    for record in evaluations:
        values = {score["name"]: f"{score['value']:.2f}" for score in record.get("scores", [])}
        training = "averaged" if record.get("train_loss") is None else f"{record['train_loss']:.4f}"
        cells = [
            f"{record['step']:,}",
            record["epoch"] + 1,
            _clock(record["seconds"]),
            training,
            f"{record['valid_loss']:.4f}",
            *(values.get(n, "") for n in names),
        ]
        rows.append((cells, "best" if record.get("best") else ""))
    return _hint("In colour: better than all before it.") + _table(head, rows, "plain")


def _table(head: Sequence[object], rows: Iterable[tuple[Sequence[object], str]], kind: str) -> str:
    top = "".join(f'<th scope="col">{_text(name)}</th>' for name in head)
    body = "".join(f'<tr class="{mark}">' + "".join(f"<td>{_breakable(_text(cell))}</td>" for cell in cells) + "</tr>" for cells, mark in rows)
    return f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _worst(run: Path, recipe: Recipe) -> str:
    """The worst sentences of the validation data; why there are none, if they cannot be had."""
    try:
        examples, model = Run.open(run).splits.valid, load(run, device=recipe.training.device)
        if model.task.continues:
            return _surprises(surprising(model, examples), min(len(examples), 100))
        found = worst(model, examples)
    except SaccadeError as error:
        return _hint(f"Not shown: {error.headline}.")
    by = f"by {found[0].score.name} of each alone" if found and found[0].score else "by log-probability"
    hint = f"The {len(found)} worst of {min(len(examples), 100)} validation examples, {by}; the model answers greedily."
    return _hint(hint) + f'<ol class="worst">{"".join(_example(one, index < _DRAWN) for index, one in enumerate(found))}</ol>'


def _surprises(found: Sequence[Surprise], judged: int) -> str:
    """The costliest lines of a language model."""
    hint = f"The {len(found)} costliest of {judged} validation lines, each read on its own. The darker a symbol, the less likely it was."
    lines = "".join(
        f'<li><p class="shaded" dir="auto" lang="">{drawn(one)}</p><div class="mark-score">{one.cost:.2f} bits a symbol</div></li>' for one in found
    )
    return _hint(hint) + f'<ol class="worst">{lines}</ol>'


def _example(one: Judged, drawn: bool) -> str:
    texts = [*((name, text, "") for name, text in one.texts), ("answer", one.answer.text, "answer")]
    empty = '<span class="quiet">(empty)</span>'
    lines = "".join(f'<dt>{_text(name)}</dt><dd class="{kind}" dir="auto" lang="">{_text(text) or empty}</dd>' for name, text, kind in texts)
    score = _text(one.score) if one.score else ""
    mark = f'<div class="mark-score">{score}<small>log-probability {one.log_probability:.2f} a symbol</small></div>'
    look = one.answer.attention if drawn else None
    picture = (
        f'<details><summary>Where it looked</summary><div class="scroll" tabindex="0">{heat_map(merge_words(look))}</div></details>'
        if look and look.weights
        else ""
    )
    return f"<li><dl>{lines}</dl>{mark}{picture}</li>"


def _settings(settings: Sequence[Setting]) -> str:
    changed = [setting for setting in settings if setting.value != setting.default]
    first = _table(["setting", "value", "default"], ((setting, "changed") for setting in changed), "plain words") if changed else ""
    hint = (
        f"{len(changed)} of {len(settings)} differ from the defaults, which are those of the parts that were chosen."
        if changed
        else f"All {len(settings)} are the defaults."
    )
    rows = ((setting, "changed" if setting.value != setting.default else "") for setting in settings)
    whole = _table(["setting", "value", "default"], rows, "plain words")
    return f"{_hint(hint)}{first}<details><summary>All settings</summary>{whole}</details>"


def _ground(recipe: Recipe, begun: Record, ended: Record) -> str:
    """What it ran on and with, and which files it read."""
    facts = {
        "Trained on": f"{begun['device']}, {begun['precision']}" if begun else "",
        "Training": f"{_clock(ended['seconds'])} ({ended['seconds']:,.0f} seconds), {ended.get('reason', 'not ended yet')}" if ended.get("seconds") else "",
        "Weights": f"{begun['weights']:,}" if begun else "",
        "Batches": f"{begun['batches']:,} an epoch, {100 * begun['padding']:.1f} % padding" if begun else "",
        "Left out": f"{begun['left_out']:,} training examples that are too long" if begun.get("left_out") else "",
        "This page": f"written on {platform.system()} {platform.machine()} with {os.cpu_count()} cores",
        "Versions": f"saccade {__version__}, torch {torch.__version__}, Python {platform.python_version()}",
    }
    told = "".join(f"<dt>{_text(name)}</dt><dd>{_text(text)}</dd>" for name, text in facts.items() if text)
    files = fingerprints(recipe.data)
    table = _table(["data file", "SHA-256"], (((Path(name).name, sha), "") for name, sha in files.items()), "plain words hashes")
    return f'<dl class="facts">{told}</dl>' + (table if files else _hint("The data files are not where they were."))
