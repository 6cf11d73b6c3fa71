"""Checkpoints that hold no code and cannot be lost: safetensors and JSON, committed by a rename.

    RUN/step-00001312/model.safetensors  optimizer.safetensors  state.json  MANIFEST.json

Everything is written into a hidden directory beside it and flushed to the disk, the manifest (sizes and hashes) last; one rename makes
it a checkpoint, and only when that is on the disk as well may an older one go.  Killed or cut off at any instant, the run has the last
checkpoint that was reported, or the one after it.  `tests/faults` fails every single operation to see that this is so.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import __version__, storage
from ..decoders import Decoder
from ..errors import ModelError, ResourceError
from ..tensors import Tensors, tensor_bytes, write_tensors
from .distributed import full, like
from .sniff import sniff

FORMAT = 1
PREFIX, MANIFEST = "step-", "MANIFEST.json"
NEEDED = {"model.safetensors", "optimizer.safetensors", "state.json"}
TRASH, DAMAGED = ".trash-", ".damaged-"


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once (shared ones under their first name), contiguous."""
    return {name: full(weight.detach()).contiguous() for name, weight in model.named_parameters()}


def load_weights(model: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Put `weights` into `model`; `ModelError` M014 names what differs, M010 says what cannot be."""
    decoders = [(f"{place}." if place else "", module) for place, module in model.named_modules() if isinstance(module, Decoder)]
    for place, decoder in decoders:
        decoder.make_room({name.removeprefix(place): tuple(weight.shape) for name, weight in weights.items() if name.startswith(place)})
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
            weight.copy_(like(weight, weights[name]))
    for place, decoder in decoders:
        try:
            decoder.check()
        except ValueError as error:
            raise ModelError("M010", f"{path} is damaged: {place.rstrip('.') or 'decoder'}: {error}", fix="copy it again; compare the sizes") from error


def _shape(weight: Tensor | None) -> str:
    return "missing" if weight is None else "x".join(map(str, weight.shape))


def save_model(path: Path, weights: Tensors, task_state: Tensors, about: dict[str, Any]) -> None:
    """One self-contained file, replaced in one step; `about` becomes JSON in its header."""
    header = {"saccade": json.dumps({"format": FORMAT, "version": __version__, **about}, sort_keys=True)}
    with space_for(path.parent, tensor_bytes(weights)):
        write_tensors(path, {**weights, **task_state}, header)


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and `about` of a model file; `ModelError` says what the file is if it is something else."""
    sniff(path)
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("saccade", "null"))
        if not isinstance(about, dict) or type(about.get("format")) is not int:
            raise ModelError("M005", f"{path} is a safetensors file, but not a saccade model", fix="a file written by saccade train")
        if about["format"] > FORMAT:
            raise _newer(path, about.get("version"), about["format"])
        return load_file(path), about
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelError("M010", f"{path} is damaged: {error}", look=f"it has {path.stat().st_size:,} bytes", fix="copy it again; compare the sizes") from error


def _newer(path: Path, version: object, format: int) -> ModelError:
    headline = f"{path} was written by saccade {version} (format {format}); this is saccade {__version__} (reads format {FORMAT})"
    return ModelError("M012", headline, fix="pip install -U saccade")


def checkpoints(run: Path) -> list[Path]:
    """Committed checkpoints, oldest first."""
    return [path for path in _named_like_one(run) if (path / MANIFEST).is_file()]


def _named_like_one(run: Path) -> list[Path]:
    found = [path for path in run.glob(f"{PREFIX}*") if re.fullmatch(rf"{PREFIX}\d{{8,}}", path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix(PREFIX)))


def commit(run: Path, step: int, files: Mapping[str, storage.Chunks], size: int = 0) -> Path:
    """Write a checkpoint of `files`, about `size` bytes; `ResourceError` R001 or R004 leaves the run as it was, to be tried again.

    A checkpoint of this step that is there and complete stays as it is.
    """
    final = run / f"{PREFIX}{step:08d}"
    hidden = run / f"{storage.HIDDEN}{final.name}-{os.getpid()}"
    with space_for(run, size or _size_of_latest(run)):
        if final.exists() and is_complete(final):
            storage.disk.sync_folder(run)  # it may be there for this process only
            return final
        try:
            storage.make_folders(run)
            storage.remove(hidden)
            storage.disk.make_folder(hidden)
            listing = {name: storage.write_file(hidden / name, chunks)._asdict() for name, chunks in files.items()}
            manifest = {"format": FORMAT, "saccade": __version__, "torch": torch.__version__, "step": step, "files": listing}
            storage.write_file(hidden / MANIFEST, [json.dumps(manifest, indent=1).encode()])
            storage.disk.sync_folder(hidden)
            if final.exists():
                _discard(final)
            _publish(hidden, final)
        except BaseException:
            with suppress(OSError):
                storage.remove(hidden)
            raise
    return final


def _publish(hidden: Path, final: Path) -> None:
    """Make it a checkpoint.  If the disk does not confirm the new name, it is taken back: a later flush might confirm what was lost."""
    storage.disk.rename(hidden, final)
    try:
        storage.disk.sync_folder(final.parent)
    except OSError:
        with suppress(OSError):
            storage.disk.rename(final, hidden)
        raise


def prune(run: Path, keep: int) -> None:
    """Remove all but the last `keep`, each by a rename first, so that no half of one is ever taken for a checkpoint.

    What cannot be removed now is removed after the next checkpoint.
    """
    with suppress(OSError):
        for old in [*checkpoints(run)[: -max(keep, 1)], *run.glob(f"{DAMAGED}*")]:
            _discard(old)
        _sweep(run, TRASH)


def _discard(checkpoint: Path) -> None:
    """Out of the way, to be removed when the disk has confirmed that."""
    trash = checkpoint.with_name(f"{TRASH}{checkpoint.name}")
    storage.remove(trash)
    storage.disk.rename(checkpoint, trash)
    storage.disk.sync_folder(checkpoint.parent)


def _sweep(run: Path, *prefixes: str) -> None:
    for prefix in prefixes:
        for path in run.glob(f"{prefix}*"):
            with suppress(OSError):
                storage.remove(path)


class Recovered(NamedTuple):
    """Where a run goes on: its newest complete checkpoint, and what was wrong with newer ones."""

    checkpoint: Path | None
    warnings: list[ModelError]


def recover(run: Path, fallback: bool = True) -> Recovered:
    """Find the newest complete checkpoint (sizes and hashes are checked) and clear away what an interrupted process left behind.

    For the process that holds the lock of the run.  Damaged checkpoints are hidden, and removed when the next one is committed; without
    `fallback`, or if no other is complete, `ModelError` M010.  M012 if a newer saccade wrote one.
    """
    _sweep(run, storage.HIDDEN, TRASH)
    damaged: list[tuple[Path, ModelError]] = []
    found, there = None, _named_like_one(run)
    while there and not found:
        checkpoint = there.pop()
        try:
            verify(checkpoint)
        except ModelError as error:
            if error.code != "M010":
                raise
            damaged.append((checkpoint, error))
        else:
            found = checkpoint
    hidden = sorted(run.glob(f"{DAMAGED}*"))
    if hidden and not fallback:
        raise ModelError("M010", f"{run} had a damaged checkpoint", look=f"it is kept as {hidden[-1].name}", fix="leave out --no-fallback")
    if damaged and not (fallback and found):
        raise damaged[0][1]
    for checkpoint in [*(path for path, _ in damaged), *(path for path in there if not (path / MANIFEST).is_file())]:
        storage.remove(run / f"{DAMAGED}{checkpoint.name}")
        storage.disk.rename(checkpoint, run / f"{DAMAGED}{checkpoint.name}")
    if found or damaged:
        storage.disk.sync_folder(run)  # what is found may be there for this process only
    note = f"the previous checkpoint {found.name} is complete and will be used" if found else ""
    return Recovered(
        found, [ModelError("M010", error.headline, look=error.parts["look"], note=note, fix="to stop instead: --no-fallback") for _, error in damaged]
    )


def is_complete(checkpoint: Path) -> bool:
    """Has every file the size and the hash that the manifest says?"""
    try:
        verify(checkpoint)
    except ModelError as error:
        if error.code != "M010":
            raise
        return False
    return True


def verify(checkpoint: Path) -> None:
    """`ModelError` M010 unless every file has the size and the hash that the manifest says; M012 if a newer saccade wrote it."""
    try:
        manifest = json.loads((checkpoint / MANIFEST).read_bytes())
        listing = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
        format = int(manifest["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(checkpoint, f"its {MANIFEST} cannot be read: {error}") from error
    if format > FORMAT:
        raise _newer(checkpoint, manifest.get("saccade"), format)
    for name in sorted(NEEDED - listing.keys()):
        raise _damaged(checkpoint, f"{name} is not in its {MANIFEST}")
    for name, (size, digest) in listing.items():
        path = checkpoint / Path(name).name
        found = path.stat().st_size if path.is_file() else 0
        if found != size:
            raise _damaged(checkpoint, f"{name} has {found:,} bytes, the manifest says {size:,}")
        if _hash(path) != digest:
            raise _damaged(checkpoint, f"the content of {name} is not what was written")


def _damaged(checkpoint: Path, look: str) -> ModelError:
    before = [path for path in checkpoints(checkpoint.parent) if path.name < checkpoint.name]
    fix = f"remove {checkpoint.name} to go on from the checkpoint before it" if before else f"begin again: saccade train {checkpoint.parent / 'recipe.toml'}"
    return ModelError("M010", f"{checkpoint} is damaged", look=look, fix=fix)


def _hash(path: Path) -> str:
    """SHA-256 of a file; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


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
