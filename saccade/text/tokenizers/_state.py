"""The bytes that tokenizers are kept in: one line of JSON that says what follows and what its digest is, then the thing itself."""

import json
import re
from hashlib import blake2b

from ...errors import ModelError

_SURROGATES = re.compile("[\ud800-\udfff]")


def pack(kind: str, body: bytes, style: str = "") -> bytes:
    """The state of a tokenizer of this `kind`."""
    header = {"tokenizer": kind, "style": style, "digest": blake2b(body, digest_size=16).hexdigest()}
    return json.dumps(header).encode() + b"\n" + body


def unpack(kind: str, state: bytes) -> tuple[str, bytes]:
    """The style and the body that `pack` was given; `ModelError` M011 unless every byte is as it was."""
    header, _, body = state.partition(b"\n")
    try:
        style = json.loads(header)["style"]
        if state == pack(kind, body, style):
            return style, body
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise damaged()


def damaged() -> ModelError:
    """M011, to be raised where a state turns out not to be one."""
    return ModelError("M011", "the tokenizer in this model is damaged", fix="copy the model again from where it came from, or train a new one")


def whole(text: str) -> str:
    """`text` with U+FFFD for every lone surrogate, which no encoding can write."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
