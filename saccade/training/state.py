"""Everything a run needs to go on as if it had never stopped: weights, optimizer, random states, and a handful of numbers."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .. import storage
from .checkpoint import checkpoints, commit, load_weights, prune, verify, weights_of
from .saver import Snapshot


@dataclass
class Progress:
    """Where a run stands; the order of the data needs no more than `epoch` and `position`."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    without_gain: int = 0
    evaluated: int = 0
    recent: list[int] = field(default_factory=list)


def take(progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer, more: Mapping[str, storage.Tensors] | None = None) -> Snapshot:
    """A run as it stands; the tensors are those that go on being trained until they are `copied`.  `more` files hold further tensors."""
    tensors: dict[str, storage.Tensors] = {
        "model.safetensors": weights_of(model),
        "optimizer.safetensors": {**_optimizer_tensors(model, optimizer), **_random_states()},
    }
    return Snapshot({**tensors, **(more or {})}, json.dumps({**asdict(progress), "threads": torch.get_num_threads()}))


def save_state(run: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer, keep: int) -> Path:
    """Commit a checkpoint of everything, and keep the last `keep`."""
    snapshot = take(progress, model, optimizer)
    found = commit(run, progress.step, snapshot.files, snapshot.size)
    prune(run, keep)
    return found


def restore_state(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path | None = None) -> Progress | None:
    """Go back to `checkpoint`, which `recover` found complete, or to the latest one, if there is one: its hashes are checked first (M010)."""
    if checkpoint is None:
        found = checkpoints(run)
        if not found:
            return None
        checkpoint = found[-1]
        verify(checkpoint)
    load_weights(model, load_file(checkpoint / "model.safetensors"), checkpoint / "model.safetensors")
    tensors = load_file(checkpoint / "optimizer.safetensors")
    kept: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        entry, name = key.split("|", 1)
        kept[name][entry] = tensor
    optimizer.state.clear()
    for name, weight in model.named_parameters():
        entries = kept[name]
        if entries:
            optimizer.state[weight] = {key: tensor.to(weight.device) for key, tensor in entries.items()}
    torch.set_rng_state(tensors["random|cpu"])
    if "random|cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random|cuda"])
    state = json.loads((checkpoint / "state.json").read_text())
    state.pop("threads")
    return Progress(**state)


def average_weights(run: Path, count: int) -> dict[str, Tensor]:
    """The mean of the last `count` checkpoints' weights (Vaswani et al. 2017, section 6.1)."""
    found = checkpoints(run)[-count:]
    total: dict[str, Tensor] = {}
    for checkpoint in found:
        for name, weight in load_file(checkpoint / "model.safetensors").items():
            total[name] = total[name] + weight if name in total else weight
    return {name: weight / len(found) for name, weight in total.items()}


def _optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {weight: name for name, weight in model.named_parameters()}
    return {f"{key}|{names[weight]}": value for weight, entries in optimizer.state.items() for key, value in entries.items() if isinstance(value, Tensor)}


def _random_states() -> dict[str, Tensor]:
    states = {"random|cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random|cuda"] = torch.cuda.get_rng_state()
    return states
