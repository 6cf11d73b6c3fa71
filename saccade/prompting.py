"""Prompts in, continuations out; texts in, what the model thought of every symbol out."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .errors import UsageError, printable
from .run import Model
from .search import Sampling
from .serving.picture import write
from .tasks import Prediction
from .text.passages import read_passages
from .text.stream import chunks, is_file
from .types import Symbol


class Wanted(NamedTuple):
    """How a prompt is to be continued, and what is to be shown of it."""

    sampling: Sampling
    stops: Sequence[str]
    samples: int
    explain: bool
    as_json: bool
    attention: Path | None = None
    """Where to draw where the model looked back."""


def continue_prompts(model: Model, prompts: Sequence[str], prefix: str, wanted: Wanted) -> None:
    """Print the continuation of every prompt while it comes, of those in files and on stdin too; `prefix` stands behind each."""
    if wanted.samples < 1:
        raise UsageError("C012", f"--samples {wanted.samples}; it must be at least 1", fix="--samples 3")
    looks = []
    for chunk in chunks(prompts, sys.stdin.buffer, 1):
        for prompt in chunk:
            warn_of_unknown(model, prompt + prefix)
            for part in go_on(model, prompt, prefix, wanted):
                print(part, end="", flush=True)
            if wanted.attention:
                (said,) = model.task.several(model.network, prompt + prefix, wanted.sampling, 1, wanted.stops)
                looks.append(model.task.look(model.network, prompt, Prediction(prefix + said, 0.0, 0.0, [], True)))
    if wanted.attention:
        for path in write(looks, wanted.attention):
            print(f"wrote {path}", file=sys.stderr)


def go_on(model: Model, prompt: str, prefix: str, wanted: Wanted) -> Iterator[str]:
    """What to print, as it comes: one continuation, several, or what the model thought of each symbol it said."""
    whole = prompt + prefix
    if wanted.samples == 1 and not wanted.explain and not wanted.as_json:
        yield prefix
        yield from model.stream(whole, wanted.sampling, stops=wanted.stops)
        yield "\n"
        return
    for number, said in enumerate(model.task.several(model.network, whole, wanted.sampling, wanted.samples, wanted.stops), 1):
        text = prefix + said
        symbols = model.explain(text, prompt=prompt) if wanted.explain else []
        if wanted.as_json:
            record = {"prompt": prompt, "sample": number, "text": text} | ({"symbols": [as_record(symbol) for symbol in symbols]} if symbols else {})
            yield json.dumps(record, ensure_ascii=False) + "\n"
        elif wanted.explain:
            yield from (f"{line}\n" for line in table(symbols))
        else:
            yield f"{number}\t{text}\n"


def warn_of_unknown(model: Model, text: str) -> None:
    """C027, as a warning, if the model never learned a part of `text`."""
    if unknown := model.task.unknown(text):
        shown = ", ".join(printable(part) for part in unknown[:5])
        headline = f"the model never learned {len(unknown)} part{'s' * (len(unknown) > 1)} of the text"
        print(UsageError("C027", headline, look=shown, note="it reads them as one unknown symbol").render("warning"), file=sys.stderr)


def score_texts(model: Model, words: Sequence[str], as_json: bool) -> None:
    """Print every symbol of the texts with its log-probability in nats, one a line; the sum goes to stderr."""
    total, count = 0.0, 0
    for text in texts_of(words, model.task.whole_lines):
        warn_of_unknown(model, text)
        for symbol in model.explain(text, alternatives=0):
            print(json.dumps(as_record(symbol), ensure_ascii=False) if as_json else f"{symbol.logprob:.4f}\t{shown(symbol.piece.text)}")
            total, count = total + symbol.logprob, count + 1
    print(f"{total:.2f} nats, {count:,} symbols, {total / max(count, 1):.4f} a symbol", file=sys.stderr)


def texts_of(words: Sequence[str], lines: bool) -> Iterator[str]:
    """The texts to be scored, of files, of the command line or of stdin: every line one of its own, or every file a whole."""
    if words and not lines:
        for word in words:
            yield "".join(f"{line}\n" for line in (read_passages([Path(word)]) if is_file(word) else [word]))
        return
    found = (f"{line}\n" for chunk in chunks(words, sys.stdin.buffer, 1024) for line in chunk)
    yield from found if lines else ["".join(found)]


def as_record(symbol: Symbol) -> dict[str, Any]:
    """For JSON."""
    piece, others = symbol.piece, {"alternatives": symbol.alternatives} if symbol.alternatives else {}
    record = {"text": piece.text, "start": piece.start, "end": piece.end, "logprob": symbol.logprob, "rank": symbol.rank, "entropy": symbol.entropy}
    return record | others | ({} if symbol.order is None else {"order": symbol.order})


def table(symbols: Sequence[Symbol]) -> Iterator[str]:
    """Symbol, probability, rank, entropy in bits, of a model that counts the order that answered, and what else it could have been."""
    orders = any(symbol.order is not None for symbol in symbols)
    width = max([6, *(len(shown(symbol.piece.text)) for symbol in symbols)])
    yield f"{'symbol':<{width}}  probability    rank  entropy{'  order' * orders}  likeliest"
    for symbol in symbols:
        others = "  ".join(f"{shown(text)} {math.exp(score):.3f}" for text, score in symbol.alternatives)
        order = f"{symbol.order:>7}" if orders else ""
        yield f"{shown(symbol.piece.text):<{width}} {math.exp(symbol.logprob):>12.4f} {symbol.rank:>7,} {symbol.entropy / math.log(2):>8.2f}{order}  {others}"


def shown(text: str) -> str:
    """A symbol that stands in one column: white space is visible."""
    return {"\n": "\u23ce", " ": "\u2423", "\t": "\u21e5"}.get(text) or printable(text)
