"""Running text as a task reads it."""

from ..text.passages import read_passages, split_at_the_end
from . import Data, Splits


def read_texts(data: Data) -> Splits:
    """Lines; what has no file of its own is taken from the end of the training text, validation before test.

    Messages as of `read_lines`; `UsageError` C012 if the shares leave nothing to train on.
    """
    train = read_passages(data.paths("train"), data.keep_first)
    valid, test = (read_passages(data.paths(split)) if getattr(data, split) else [] for split in ("valid", "test"))
    if not data.valid or not data.test:
        train, last, end = split_at_the_end(train, 0.0 if data.valid else data.valid_share, 0.0 if data.test else data.test_share)
        valid, test = valid or last, test or end
    return Splits(train, valid, test)
