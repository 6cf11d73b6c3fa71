"""Web pages as single files: their parts, the hashes that a policy names, and writing them whole or not at all."""

import base64
import hashlib
import os
from importlib import resources
from pathlib import Path

from ..errors import ResourceError


def page(name: str) -> str:
    """A file of the folder `page`."""
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def hashed(content: str) -> str:
    """What a Content-Security-Policy calls `content` by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def save(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: under another name first.  `ResourceError` R004 if it cannot be written."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise ResourceError("R004", f"cannot write {path}: {error.strerror}", fix="write to another folder") from error
