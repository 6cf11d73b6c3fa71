"""What a file is by its first bytes: nothing that could run code comes near a parser."""

from pathlib import Path

from ..errors import ModelError


def sniff(path: Path) -> None:
    """`ModelError` M001-M010 by the first bytes, before any parser sees the file."""
    if not path.is_file():
        raise ModelError("M001", f"there is no model at {path}", fix="a run directory or a model.safetensors; saccade train makes one")
    with path.open("rb") as file:
        head = file.read(512)
    size = path.stat().st_size
    length = int.from_bytes(head[:8], "little") if size >= 8 else size + 1
    if length + 8 <= size and head[8:9] == b"{":
        return  # a length may look like any other format's first bytes: 640 is 80 02, as in a pickle
    text = head.lstrip().lower()
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        raise ModelError(
            "M002",
            f"{path} is a Python pickle, which can run code when opened; saccade never opens these",
            fix="if you trust it, convert it to safetensors elsewhere",
        )
    if head.startswith(b"PK\x03\x04"):
        raise ModelError(
            "M002",
            f"{path} is a zip archive (a PyTorch .pt file is one, with a pickle inside); saccade never opens these",
            fix="if you trust it, convert it to safetensors elsewhere",
        )
    if head.startswith(b"version https://git-lfs"):
        raise ModelError("M003", f"{path} is a Git LFS pointer ({size} bytes), not the model itself", fix=f"git lfs pull --include {path.name}")
    if text.startswith((b"<!doctype", b"<html")):
        start = head.lstrip()[:15].decode("ascii", "replace")
        raise ModelError("M004", f'{path} is a web page (it starts with "{start}")', fix="the download link probably needs a log-in; download it again")
    found = f"its header alone should have {length:,}" if head[8:9] == b"{" else "it does not begin like a safetensors file"
    raise ModelError("M010", f"{path} is damaged or not a model", look=f"it has {size:,} bytes; {found}", fix="copy it again; compare the sizes")
