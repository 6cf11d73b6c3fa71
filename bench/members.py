"""Every language model there is, at one width: the members of `saccade.decoders` that need no source."""

from collections.abc import Iterator
from math import isqrt
from typing import Any

import numpy as np
import torch

from saccade.decoders import Decoder
from saccade.errors import UsageError
from saccade.families import choose, find, knobs, members
from saccade.types import BOS

VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "recurrent": {"Elman": {"cell": "elman"}, "GRU": {"cell": "gru"}, "LSTM": {"cell": "lstm"}},
    "transformer": {"transformer": {}, "transformer, span": {"span": 64}, "transformer, fixed": {"pattern": "fixed"}},
}
"""Members that are several models; one whose knobs are not there is left out."""


def language_models(vocab: int, width: int, length: int = 1024, only: str = "", layers: int = 2) -> Iterator[tuple[str, Decoder]]:
    """(name, model in evaluation mode, weights from seed 0), or the one called `only`.

    A pattern's stride is the root of `length`; what counts has counted 100,000 symbols.
    """
    for name in members("saccade.decoders"):
        known = knobs(find(Decoder, name))
        sizes = {"dim": width, "layers": layers, "heads": 4}
        for label, chosen in VARIANTS.get(name, {name: {}}).items():
            if not chosen.keys() <= known.keys() or only not in ("", label):
                continue
            if "pattern" in chosen:
                chosen = {"pattern": {"name": chosen["pattern"], "stride": isqrt(length)}}
            torch.manual_seed(0)
            try:
                decoder = choose(Decoder, name, **{knob: size for knob, size in sizes.items() if knob in known}, **chosen)(vocab, None).eval()
            except UsageError:  # it needs a source
                continue
            if decoder.learns == "counts":
                decoder.count([text(vocab, 100_000)])
            yield label, decoder


def text(vocab: int, length: int, seed: int = 0) -> np.ndarray:
    """A text in which symbol n is drawn in proportion to 1 / n (Zipf); the special symbols but BOS, which begins it, never come."""
    chances = 1 / np.arange(1, vocab - 3)
    drawn = np.random.default_rng(seed).choice(np.arange(4, vocab), length - 1, p=chances / chances.sum())
    return np.concatenate([[BOS], drawn])


def weights(decoder: Decoder) -> int:
    """How many numbers it has learned."""
    return sum(weight.numel() for weight in decoder.parameters())
