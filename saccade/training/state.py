"""Everything a run needs to go on as if it had never stopped: weights, optimizer, random states, and a handful of numbers."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .checkpoint import checkpoints, load_weights, prune, save_checkpoint, verify, weights_of


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


def save_state(run: Path, progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer, keep: int) -> Path:
    """Commit a checkpoint of everything."""
    found = save_checkpoint(
        run,
        progress.step,
        {
            "model.safetensors": lambda path: save_file(weights_of(model), path),
            "optimizer.safetensors": lambda path: save_file({**_optimizer_tensors(model, optimizer), **_random_states()}, path),
            "state.json": lambda path: _write(path, json.dumps({**asdict(progress), "threads": torch.get_num_threads()})),
        },
    )
    prune(run, keep)
    return found


def restore_state(run: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Go back to the latest checkpoint, if there is one: its hashes are checked first (`ModelError` M010)."""
    found = checkpoints(run)
    if not found:
        return None
    latest = found[-1]
    verify(latest)
    load_weights(model, load_file(latest / "model.safetensors"), latest / "model.safetensors")
    tensors = load_file(latest / "optimizer.safetensors")
    for name, weight in model.named_parameters():
        kept = ("step", "exp_avg", "exp_avg_sq", "square_avg", "acc_delta", "momentum_buffer")
        entries = {key: tensors[f"{key}|{name}"] for key in kept if f"{key}|{name}" in tensors}
        if entries:
            optimizer.state[weight] = {key: tensor.to(weight.device) for key, tensor in entries.items()}
    torch.set_rng_state(tensors["random|cpu"])
    if "random|cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random|cuda"])
    state = json.loads((latest / "state.json").read_text())
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
    return {
        f"{key}|{names[weight]}": value.contiguous()
        for weight, entries in optimizer.state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def _random_states() -> dict[str, Tensor]:
    states = {"random|cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["random|cuda"] = torch.cuda.get_rng_state()
    return states


def _write(path: Path, text: str) -> None:
    path.write_text(text)
