"""Everything a run needs to go on as if it had never stopped: weights, optimizer, and a handful of numbers; randomness needs none."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .checkpoint import checkpoints, load_weights, weights_of
from .distributed import full, like, local, shared_as
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
    total: float = 0.0
    """Loss since the last report, summed over `count` symbols."""
    count: int = 0
    train_loss: float = 0.0
    first: float = 0.0
    """The loss per symbol of the first update."""
    mean: float = 0.0
    """Its running mean."""
    halvings: int = 0
    """How often the rate was halved because the run diverged."""
    norms: list[float] = field(default_factory=list)
    """Of the last four gradients."""
    history: list[tuple[int, float]] = field(default_factory=list)
    """(step, value) of every evaluation, higher is better."""


def take(progress: Progress, model: nn.Module, optimizer: torch.optim.Optimizer, averages: Sequence[Tensor] = (), carried: Sequence[Tensor] = ()) -> Snapshot:
    """A run as it stands; the tensors are those that go on being trained until they are `copied`.

    Tensors that are shared out over processes are gathered: all processes must take part.
    """
    names: dict[Tensor, str] = {weight: name for name, weight in model.named_parameters()}
    kept = {f"{key}|{names[weight]}": full(value) for weight, entries in optimizer.state.items() for key, value in entries.items() if isinstance(value, Tensor)}
    moving = {f"average|{name}": full(shared_as(weight, average)) for average, (name, weight) in zip(averages, model.named_parameters(), strict=False)}
    going = {f"carried|{number}": part.contiguous() for number, part in enumerate(carried)}
    return Snapshot({"model.safetensors": weights_of(model), "optimizer.safetensors": {**kept, **moving, **going}}, json.dumps(asdict(progress)))


def restore_state(checkpoint: Path, model: nn.Module, optimizer: torch.optim.Optimizer, averages: Sequence[Tensor] = ()) -> Progress:
    """Go back to a checkpoint that `recover` found complete."""
    load_weights(model, load_file(checkpoint / "model.safetensors"), checkpoint / "model.safetensors")
    kept: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in load_file(checkpoint / "optimizer.safetensors").items():
        entry, name = key.split("|", 1)
        if entry != "carried":
            kept[name][entry] = tensor
    moving = iter(averages)
    optimizer.state.clear()
    for name, weight in model.named_parameters():
        entries = kept[name]
        average, mine = entries.pop("average", None), next(moving, None)
        if mine is not None:  # a moving average that is asked for only now begins here
            mine.copy_(local(weight if average is None else like(weight, average)))
        if entries:
            optimizer.state[weight] = {key: like(weight, tensor) if tensor.ndim else tensor.to(weight.device) for key, tensor in entries.items()}
    state = json.loads((checkpoint / "state.json").read_text())
    return Progress(**{**state, "history": [(step, value) for step, value in state["history"]]})


def restore_carried(checkpoint: Path) -> list[Tensor]:
    """What the batches of a checkpoint carried on, all rows of it."""
    kept = load_file(checkpoint / "optimizer.safetensors")
    return [kept[key] for key in sorted((key for key in kept if key.startswith("carried|")), key=lambda key: int(key[8:]))]


def average_weights(run: Path, count: int) -> dict[str, Tensor]:
    """The mean of the last `count` checkpoints' weights (Vaswani et al. 2017, section 6.1)."""
    found = checkpoints(run)[-count:]
    total: dict[str, Tensor] = {}
    for checkpoint in found:
        for name, weight in load_file(checkpoint / "model.safetensors").items():
            total[name] = total[name] + weight if name in total else weight
    return {name: weight / len(found) for name, weight in total.items()}
