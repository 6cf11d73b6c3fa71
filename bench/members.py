"""Every language model there is, at one width: the members of `saccade.decoders` that need no source."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from saccade.decoders import Decoder
from saccade.errors import UsageError
from saccade.families import choose, find, knobs, members
from saccade.types import BOS

VARIANTS: dict[str, list[dict[str, Any]]] = {"recurrent": [{"cell": cell} for cell in ("elman", "gru", "lstm")]}
"""Members that are several models."""


def language_models(vocab: int, width: int, layers: int = 2) -> Iterator[tuple[str, Decoder]]:
    """(name, model in evaluation mode, weights from seed 0); a member that counts has counted a text of 100,000 symbols."""
    for name in members("saccade.decoders"):
        known = knobs(find(Decoder, name))
        sizes = {knob: size for knob, size in {"dim": width, "layers": layers, "heads": 4}.items() if knob in known}
        for chosen in VARIANTS.get(name, [{}]):
            torch.manual_seed(0)
            try:
                decoder = choose(Decoder, name, **sizes, **chosen)(vocab, None).eval()
            except UsageError:  # it needs a source
                continue
            if decoder.learns == "counts":
                decoder.count([text(vocab, 100_000)])
            yield " ".join([name, *map(str, chosen.values())]), decoder


def text(vocab: int, length: int, seed: int = 0) -> np.ndarray:
    """A text in which symbol n is drawn in proportion to 1 / n (Zipf); the special symbols but BOS, which begins it, never come."""
    chances = 1 / np.arange(1, vocab - 3)
    drawn = np.random.default_rng(seed).choice(np.arange(4, vocab), length, p=chances / chances.sum())
    return np.concatenate([[BOS], drawn])


def weights(decoder: Decoder) -> int:
    """How many numbers it has learned."""
    return sum(weight.numel() for weight in decoder.parameters())
