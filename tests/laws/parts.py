"""Small decoders and encodings that the laws are tried on."""

import numpy as np
import torch

from saccade.attention.scores import Score
from saccade.decoders import Decoder
from saccade.encoders import Encoder
from saccade.families import choose, find, knobs, members, name_of
from saccade.layers.cells import Cell
from saccade.layers.positions import Position
from saccade.types import BOS, EOS, Encoding, pad

V, D, B, S = 6, 8, 3, 5
SCORES = members("saccade.attention.scores")
CELLS = members("saccade.layers.cells")
LINEARS = members("saccade.layers.linears")
POSITIONS = members("saccade.layers.positions")
ENCODERS = members("saccade.encoders")
SIZE = {"dim": 8, "layers": 2}

VARIANTS: dict[str, dict] = {
    "recurrent": {"name": "recurrent"},
    "recurrent-before": {"name": "recurrent", "attend": "before", "readout": "maxout", "cell": "lstm"},
    "recurrent-fused": {"name": "recurrent", "input_feeding": False, "residual": True, "layers": 3},
    "recurrent-blind": {"name": "recurrent", "score": "none", "cell": "lstm", "tied": False},
    "convolutional": {"name": "convolutional", "kernel": 3},
    "convolutional-wavenet": {
        "name": "convolutional",
        "gate": "tanh",
        "kernel": 2,
        "dilation": "doubling",
        "cycle": 2,
        "skip": 6,
        "layers": 3,
        "tied": False,
        "score": "additive",
    },
    "convolutional-relu": {"name": "convolutional", "gate": "relu", "bottleneck": 5, "embedding": 6, "kernel": 4, "tied": False},
    "recurrent-zaremba": {"name": "recurrent", "score": "none", "cell": "lstm", "readout": "none", "dropout_form": "variational"},
    "transformer": {"name": "transformer", "heads": 2},
    "transformer-post": {"name": "transformer", "heads": 2, "norm": "post", "position": "learned", "activation": "gelu"},
    "bag": {"name": "bag", "hidden": 6},
    "bag-fading": {"name": "bag", "decay": 0.7, "tied": False},
    "ngram": {"name": "ngram", "order": 3},
    "ngram-katz": {"name": "ngram", "order": 4, "smoothing": "good_turing"},
    "transformer-rotary": {"name": "transformer", "heads": 2, "position": "rotary", "score": "additive", "tied": False},
    "transformer-quaternion": {"name": "transformer", "heads": 2, "linear": "quaternion"},
    "transformer-gpt": {
        "name": "transformer",
        "heads": 2,
        "position": "learned",
        "activation": "gelu_tanh",
        "embedding_scale": False,
        "initialisation": "gpt2",
    },
    "transformer-alibi": {"name": "transformer", "heads": 2, "position": "alibi"},
    "transformer-relative": {"name": "transformer", "heads": 2, "position": "relative"},
    "transformer-span": {"name": "transformer", "heads": 2, "position": "rotary", "span": 3},
    "transformer-xl": {"name": "transformer", "heads": 2, "position": "relative", "span": 4},
    "transformer-strided": {"name": "transformer", "heads": 2, "pattern": {"name": "strided", "stride": 2}},
    "transformer-fixed": {"name": "transformer", "heads": 2, "pattern": {"name": "fixed", "stride": 3, "summary": 1}, "position": "rotary"},
}
"""Every decoder, and what its knobs change about how it decodes; a new file in the folder joins by itself."""
for _name in members("saccade.decoders"):
    VARIANTS.setdefault(_name, {"name": _name})
BLIND = [name for name, knobs in VARIANTS.items() if knobs.get("score") == "none"]
"""Those that do not look at the source."""
COUNTING = [name for name, part in VARIANTS.items() if find(Decoder, part["name"]).learns == "counts"]
"""They read no source, and have no gradients."""
READING = [name for name in VARIANTS if name not in COUNTING]
LANGUAGE_MODELS = ["recurrent", "recurrent-zaremba", "convolutional", "convolutional-wavenet", "transformer", "bag", *COUNTING]
LANGUAGE_MODELS += [f"transformer-{form}" for form in ("gpt", "alibi", "relative", "span", "xl", "strided", "fixed")]
LEARNING = [*READING, *(f"{name}-lm" for name in LANGUAGE_MODELS if name not in COUNTING)]
DECODERS = [*READING, *(f"{name}-lm" for name in LANGUAGE_MODELS)]


def make_decoder(variant: str, **chosen: object) -> Decoder:
    """A small decoder in evaluation mode, weights from seed 0."""
    torch.manual_seed(0)
    alone = variant.endswith("-lm")
    part = VARIANTS[variant.removesuffix("-lm")]
    own = knobs(find(Decoder, part["name"]))
    decoder = choose(Decoder, **{**{name: value for name, value in SIZE.items() if name in own}, **part, **chosen})(V, None if alone else D)
    if decoder.learns == "counts":
        decoder.count(random_texts())
    for weight in decoder.parameters():  # large enough that every part matters, biases included
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.5)
        elif weight.is_floating_point():  # no two sentences are as likely as each other: a search has one answer
            weight += torch.randn(weight.shape) * 0.1
    return decoder.eval()


def random_texts(many: int = 40, seed: int = 2) -> list[np.ndarray]:
    """Short texts of all symbols that can be said, some oftener than others."""
    draw = np.random.default_rng(seed)
    sayable = np.arange(EOS + 1, V)
    return [np.array([BOS, *draw.choice(sayable, draw.integers(7), p=sayable[::-1] / sayable.sum()), EOS]) for _ in range(many)]


def make_encoding(batch: int = B) -> Encoding:
    """Random outputs of rows of 5, 3 and 4 symbols."""
    torch.manual_seed(1)
    mask = torch.arange(S)[None] < torch.tensor([5, 3, 4])[:batch, None]
    return Encoding(torch.randn(batch, S, D), mask, torch.randn(batch, D), torch.randint(V, (batch, S)))


def setup(variant: str, batch: int = B) -> tuple[Decoder, Encoding | None]:
    """A decoder and something to look at, or None for a language model."""
    return make_decoder(variant), None if variant.endswith("-lm") else make_encoding(batch)


def make_encoder(name: str, **chosen: object) -> Encoder:
    """A small encoder in evaluation mode."""
    torch.manual_seed(0)
    return choose(Encoder, name, **{"dim": 8, "layers": 2, **({"heads": 2} if name == "transformer" else {}), **chosen})(V).eval()


def sources() -> list[list[int]]:
    """Three sources of different lengths."""
    return [[4, 5, 3, 4, 2], [5, 4, 2], [3, 3, 5, 2]]


__all__ = [
    "BLIND",
    "CELLS",
    "DECODERS",
    "ENCODERS",
    "LEARNING",
    "POSITIONS",
    "READING",
    "SCORES",
    "VARIANTS",
    "B",
    "Cell",
    "D",
    "Position",
    "S",
    "Score",
    "V",
    "choose",
    "find",
    "make_decoder",
    "make_encoder",
    "make_encoding",
    "name_of",
    "pad",
    "random_texts",
    "setup",
    "sources",
]
