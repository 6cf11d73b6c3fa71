"""Checkpoints that hold no code: safetensors and JSON, committed by a rename.

    RUN/step-00001312/model.safetensors  optimizer.safetensors  state.json  MANIFEST.json

Everything is written into a directory beside it, flushed to the disk, the manifest (sizes and hashes) last; then one rename
makes it a checkpoint.  Killed before the rename, the one before is the latest.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .. import __version__
from ..errors import ModelError, ResourceError

FORMAT = 1
PREFIX = "step-"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once (shared ones under their first name), contiguous."""
    return {name: weight.detach().contiguous() for name, weight in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put `weights` into `model`; `ModelError` M014 names what differs."""
    wanted = dict(model.named_parameters())
    differ = [
        f"{name}: {_shape(weights.get(name))} in the file, {_shape(weight)} in the model"
        for name, weight in wanted.items()
        if _shape(weights.get(name)) != _shape(weight)
    ]
    if differ:
        raise ModelError("M014", f"{path} holds a model of another shape: {len(differ)} weights differ", look=differ[:3], fix="the recipe it was trained with")
    with torch.no_grad():
        for name, weight in wanted.items():
            weight.copy_(weights[name])


def _shape(weight: Tensor | None) -> str:
    return "missing" if weight is None else "x".join(map(str, weight.shape))


def save_model(path: Path, weights: dict[str, Tensor], task_state: dict[str, Tensor], about: dict[str, Any]) -> None:
    """One self-contained file, replaced in one step; `about` becomes JSON in its header."""
    header = {"saccade": json.dumps({"format": FORMAT, "version": __version__, **about}, sort_keys=True)}
    with space_for(path.parent, _size(weights)):
        hidden = path.with_name(f".{path.name}-{os.getpid()}")
        try:
            save_file({**weights, **task_state}, hidden, metadata=header)
            _flush(hidden)
            os.replace(hidden, path)
        finally:
            hidden.unlink(missing_ok=True)
        _flush(path.parent)


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and `about` of a model file; `ModelError` says what the file is if it is something else."""
    sniff(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("saccade", "null"))
        if not isinstance(about, dict) or type(about.get("format")) is not int:
            raise ModelError("M005", f"{path} is a safetensors file, but not a saccade model", fix="a file written by saccade train")
        if about["format"] > FORMAT:
            raise ModelError(
                "M012",
                f"{path} was written by saccade {about.get('version')} (format {about['format']}); this is saccade {__version__} (reads format {FORMAT})",
                fix="pip install -U saccade",
            )
        return load_file(path), about
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelError("M010", f"{path} is damaged: {error}", look=f"it has {path.stat().st_size:,} bytes", fix="copy it again; compare the sizes") from error


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


def save_checkpoint(run: Path, step: int, files: dict[str, Callable[[Path], None]]) -> Path:
    """Commit a checkpoint; `files` maps names to functions that write them."""
    final = run / f"{PREFIX}{step:08d}"
    if final.exists():
        return final
    hidden = run / f".tmp-{step}-{os.getpid()}"
    with space_for(run, _size_of_latest(run)):
        try:
            hidden.mkdir(parents=True)
            for name, write in files.items():
                write(hidden / name)
                _flush(hidden / name)
            listing = {name: {"bytes": (hidden / name).stat().st_size, "sha256": _hash(hidden / name)} for name in files}
            manifest = {"format": FORMAT, "saccade": __version__, "torch": torch.__version__, "step": step, "files": listing}
            (hidden / "MANIFEST.json").write_text(json.dumps(manifest, indent=1))
            _flush(hidden / "MANIFEST.json")
            _flush(hidden)
            os.replace(hidden, final)
            _flush(run)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
    return final


def checkpoints(run: Path) -> list[Path]:
    """Committed checkpoints, oldest first."""
    return sorted(path for path in run.glob(f"{PREFIX}*") if (path / "MANIFEST.json").is_file())


def prune(run: Path, keep: int) -> None:
    """Remove all but the last `keep`, each by a rename first, so that no half of one is ever taken for a checkpoint."""
    for old in checkpoints(run)[:-keep]:
        trash = run / f".trash-{old.name}"
        os.replace(old, trash)
        shutil.rmtree(trash, ignore_errors=True)


def verify(checkpoint: Path) -> None:
    """`ModelError` M010 unless every file has the size and the hash that the manifest says."""
    fix = f"remove {checkpoint.name} to go on from the checkpoint before it"
    try:
        listing = json.loads((checkpoint / "MANIFEST.json").read_text())["files"]
    except (ValueError, KeyError) as error:
        raise ModelError("M010", f"{checkpoint} is damaged", look=f"its MANIFEST.json cannot be read: {error}", fix=fix) from error
    for name, wanted in listing.items():
        path = checkpoint / name
        found = path.stat().st_size if path.exists() else 0
        if found != wanted["bytes"] or _hash(path) != wanted["sha256"]:
            look = (
                f"{name} has {found:,} bytes, the manifest says {wanted['bytes']:,}"
                if found != wanted["bytes"]
                else f"the content of {name} is not what was written"
            )
            raise ModelError("M010", f"{checkpoint} is damaged", look=look, fix=fix)


@contextmanager
def space_for(folder: Path, size: int, what: str = "a checkpoint") -> Iterator[None]:
    """Turn a full disk into `ResourceError` R001, with both numbers as far as `size` (bytes) is known; R004 if it cannot be written at all."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error) or "quota exceeded" in str(error)
        if not full:
            raise ResourceError("R004", f"cannot write to {folder}: {error}", fix="another run directory: --run DIR") from error
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        needed = f"needed {_spoken(size)} for {what}" if size else f"no room for {what}"
        kept = checkpoints(folder)
        note = f"the last complete checkpoint is {kept[-1].name}; nothing was damaged" if kept else "no checkpoint was complete yet"
        fix = "make room, or another place: --run DIR" if what == "a run" else f"make room, then: saccade resume {folder}"
        raise ResourceError("R001", f"the disk is full: {needed}, {_spoken(shutil.disk_usage(there).free)} free in {folder}", note=note, fix=fix) from error


def _spoken(size: int) -> str:
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e3:,.0f} kB"


def _size_of_latest(run: Path) -> int:
    """Bytes of the latest checkpoint: what the next one will need; 0 if there is none."""
    return sum(path.stat().st_size for found in checkpoints(run)[-1:] for path in found.iterdir())


def _size(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Wait until the disk has it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
