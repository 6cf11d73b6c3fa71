"""Models as other programs write and read them."""

from pathlib import Path
from typing import Any

from .errors import UsageError
from .interop.arpa import read_arpa, write_arpa
from .recipe import from_table
from .run import Model, plain
from .tasks._tensors import bytes_of
from .text.tokenizers._state import pack
from .text.vocabulary import SPECIALS, Vocabulary
from .training.checkpoint import save_model, weights_of


def export_model(model: Model, path: Path) -> None:
    """Write what other programs read: an n-gram model as ARPA (SRILM, KenLM), word vectors as text (word2vec, gensim).

    `UsageError` C028 for another ending or another model.
    """
    writers = {".arpa": _write_arpa, ".vec": _write_vectors, ".txt": _write_vectors}
    if path.suffix not in writers:
        fix = "a name that ends in .arpa (n-grams), .vec or .txt (word vectors)"
        raise UsageError("C028", f"{path}: no way to write {path.suffix or 'a file without an ending'}", fix=fix)
    writers[path.suffix](model, path)


def _write_arpa(model: Model, path: Path) -> None:
    decoder: Any = getattr(model.network, "decoder", None)
    if getattr(decoder, "learns", "") != "counts":
        raise UsageError("C028", "only a model that counts can be written as ARPA", fix="a model with decoder = ngram")
    write_arpa(decoder, model.task.tokenizer.symbols(), path)  # type: ignore[attr-defined]


def _write_vectors(model: Model, path: Path) -> None:
    export = getattr(model.task, "export", None)
    if export is None:
        raise UsageError("C028", "only word vectors can be written as text", fix="a model with task = word_vectors")
    export(model.network, path)


def import_model(path: Path, out: Path) -> None:
    """Make a model of an ARPA file: words are what stands between blanks, every line is a text of its own.  `DataError` D040 to D043."""
    symbols, tables = read_arpa(path)
    table = {"task": "language_model", "documents": True, "tokenizer": {"name": "words", "split": "spaces"}}
    recipe = from_table({**table, "decoder": {"name": "ngram", "order": len(tables.chances)}})
    task = recipe.task()
    task.restore({"tokenizer.text": bytes_of(pack("words", Vocabulary(symbols[len(SPECIALS) :]).to_json()))})
    network = task.build()
    network.get_submodule("decoder").become(tables)  # type: ignore[operator]
    about = {"recipe": plain(recipe), "step": 0, "valid": []}
    save_model(out / "model.safetensors" if out.is_dir() or not out.suffix else out, weights_of(network), task.state(), about)
