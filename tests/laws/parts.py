"""Small decoders and encodings that the laws are tried on."""

import torch

from saccade.attention.scores import Score
from saccade.decoders import Decoder
from saccade.encoders import Encoder
from saccade.families import choose, find, members, name_of
from saccade.layers.cells import Cell
from saccade.layers.positions import Position
from saccade.types import Encoding, pad

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
    "transformer": {"name": "transformer", "heads": 2},
    "transformer-post": {"name": "transformer", "heads": 2, "norm": "post", "position": "learned", "activation": "gelu"},
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
}
"""Every decoder, and what its knobs change about how it decodes; a new file in the folder joins by itself."""
for _name in members("saccade.decoders"):
    VARIANTS.setdefault(_name, {"name": _name})
LANGUAGE_MODELS = ["recurrent", "convolutional", "convolutional-wavenet", "transformer"]
LANGUAGE_MODELS += [f"transformer-{form}" for form in ("gpt", "alibi", "relative", "span", "xl")]
DECODERS = [*VARIANTS, *(f"{name}-lm" for name in LANGUAGE_MODELS)]


def make_decoder(variant: str, **chosen: object) -> Decoder:
    """A small decoder in evaluation mode, weights from seed 0."""
    torch.manual_seed(0)
    alone = variant.endswith("-lm")
    knobs = {**SIZE, **VARIANTS[variant.removesuffix("-lm")], **chosen}
    decoder = choose(Decoder, **knobs)(V, None if alone else D)
    for weight in decoder.parameters():  # large enough that every part matters, biases included
        torch.nn.init.normal_(weight, std=0.5)
    return decoder.eval()


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
    "CELLS",
    "DECODERS",
    "ENCODERS",
    "POSITIONS",
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
    "setup",
    "sources",
]
