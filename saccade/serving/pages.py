"""Web pages as single files: their parts, the hashes that a policy names, and writing them whole or not at all."""

import base64
import hashlib
from importlib import resources
from pathlib import Path

from .. import storage
from ..errors import ResourceError


def page(name: str) -> str:
    """A file of the folder `page`."""
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def hashed(content: str) -> str:
    """What a Content-Security-Policy calls `content` by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def save(path: Path, content: bytes) -> None:
    """Write a whole file or nothing.  `ResourceError` R004 if it cannot be written."""
    try:
        storage.make_folders(path.absolute().parent)
        storage.replace_file(path, [content])
    except OSError as error:
        raise ResourceError("R004", f"cannot write {path}: {error.strerror}", fix="write to another folder") from error
