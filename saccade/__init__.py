"""saccade: from text to text.

    text/       files      -> ids            corpus, tokenizers, vocabulary
    batches/    ids        -> Padded         order, buckets by length
    layers/     parts too small to have a stage: cells, linears, positions, embeddings, feed-forward
    attention/  query      -> context        who looks at what: scores, masks, watching
    encoders/   Padded     -> Encoding       what the source says
    decoders/   Encoding   -> logits, state  what to say next
    search/     decoder    -> sequences      greedy, beamed, sampled, forced while training
    metrics/    sequences  -> a score        with its signature
    tasks/      all of it  -> a number       data + model + loss + metric
    training/   task       -> events         an iterator; checkpoints, schedules
    interop/    a model    -> a file         ARPA: what others write and read
    serving/    a look     -> a picture      HTML, PNG, JSON; a run -> its report

Imports run one way:
    errors <- storage <- tensors <- types <- families <- text <- batches <- layers <- attention <- encoders <- decoders <- search <- models <- metrics
    <- tasks <- training <- recipe <- run <- interop <- serving <- dates doctor listing display prompting exchange asked
    <- supervise <- space <- study <- demo tune <- cli
A folder that holds a contract in its `__init__` is a family: every other file in it is one member, and nothing is registered.
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "types": ["Batch", "Encoding", "Look", "Loss", "Padded", "Piece", "Symbol"],
    "errors": ["DataError", "ModelError", "ResourceError", "SaccadeError", "TrainingError", "UsageError"],
    "attention": ["Attention", "MultiHead", "watching"],
    "encoders": ["Encoder"],
    "decoders": ["Decoder"],
    "search": ["Hypotheses", "Sampling", "Search", "beam_search", "sample"],
    "models": ["LanguageModel", "Seq2Seq"],
    "tasks": ["Task"],
    "training": ["Training", "train"],
    "recipe": ["Recipe", "read_recipe"],
    "run": ["Answer", "Model", "Run", "load"],
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 (strings all)


def __getattr__(name: str) -> object:
    """Public names are imported when they are first used: `import saccade` costs nothing, `saccade --help` no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'saccade' has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
