"""Many processes, on one machine or several, started by torchrun: who they are, and how they add up.

    torchrun --nproc-per-node 4 -m saccade train ... --directory DIR

The run directory must be one that all of them see.  Every number that decides anything is the same in every process.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn

from ..errors import ResourceError, UsageError


@dataclass(frozen=True)
class World:
    """This process among all; alone it costs nothing."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Process 0 writes the files and speaks."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Is this the only process?"""
        return self.size == 1

    def share(self, rows: Sequence[int]) -> Sequence[int]:
        """This process's rows of a batch: every batch is split among all, whatever their number."""
        return rows[self.rank :: self.size]

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over all processes, in double precision."""
        if self.alone:
            return [float(number) for number in numbers]
        total = torch.tensor(numbers, dtype=torch.float64)
        distributed.all_reduce(total)
        return total.tolist()

    def rows_of_all(self, mine: Tensor, rows: int) -> Tensor:
        """All `rows` of a batch, of which every process has its `share`; all must ask."""
        if self.alone:
            return mine
        room = mine.new_zeros(-(-rows // self.size), *mine.shape[1:])
        room[: len(self.share(range(rows)))] = mine[: len(self.share(range(rows)))]
        found = [torch.empty_like(room) for _ in range(self.size)]
        distributed.all_gather(found, room)
        return torch.stack(found, 1).flatten(0, 1)[:rows]

    def agreed(self, number: float) -> float:
        """What process 0 says."""
        return self.sums([number if self.first else 0.0])[0]

    def wait(self) -> None:
        """Until all have come here."""
        if not self.alone:
            distributed.barrier()

    def wrap(self, module: nn.Module, parallel: str, device: torch.device) -> nn.Module:
        """`module` with gradients averaged over all processes; "fsdp" also shares out weights, gradients and optimizer (`shared`)."""
        if self.alone or not any(weight.requires_grad for weight in module.parameters()):
            return module
        if parallel == "ddp":
            return nn.parallel.DistributedDataParallel(module, device_ids=None if device.type == "cpu" else [device])
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        return fully_shard(module, mesh=init_device_mesh(device.type, (self.size,)), reshard_after_forward=False)  # type: ignore[return-value]


def environment() -> tuple[int, int, int]:
    """RANK, WORLD_SIZE and LOCAL_RANK as torchrun sets them, (0, 1, 0) without it; `UsageError` C024 if they make no sense."""
    found = {name: os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))}
    if not all(value.isdigit() for value in found.values()) or not 0 <= int(found["RANK"]) < int(found["WORLD_SIZE"]):
        said = ", ".join(f"{name}={value}" for name, value in found.items())
        fix = "torchrun --nproc-per-node 2 -m saccade train ... sets them; without torchrun: unset RANK WORLD_SIZE LOCAL_RANK"
        raise UsageError("C024", f"this is no place among processes: {said}", why="WORLD_SIZE must be at least 1 and RANK below it", fix=fix)
    return int(found["RANK"]), int(found["WORLD_SIZE"]), int(found["LOCAL_RANK"])


def join(timeout: float, device: str = "auto") -> World:
    """This process's place; the first call meets the others.  `timeout` in seconds: how long one may be silent before it counts as gone.

    Each process has a GPU of its own unless `device` is "cpu"; `ResourceError` R002 if there are too few.
    """
    rank, size, local = environment()
    if size > 1 and not distributed.is_initialized():
        gpu = torch.cuda.is_available() and device != "cpu"
        if gpu:
            if local >= (there := torch.cuda.device_count()):
                found = f"process {local + 1} of this machine has no GPU: there {'is 1' if there == 1 else f'are {there}'}"
                raise ResourceError("R002", found, fix=f"torchrun --nproc-per-node {there}, or training.device=cpu")
            torch.cuda.set_device(local)
        with lost_neighbours():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=timedelta(seconds=timeout))
    return World(rank, size)


def leave() -> None:
    """Say goodbye to the others, if there are any."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def lost_neighbours(alone: bool = False) -> Iterator[None]:
    """Turn a collective that failed into `ResourceError` R007: another process is gone or silent."""
    if alone:
        yield
        return
    try:
        yield
    except (RuntimeError, distributed.DistError) as error:
        said = str(error).split("\n")[0]
        if not isinstance(error, distributed.DistError) and not any(word in said for word in ("onnection", "imed out", "imeout", "gloo")):
            raise
        raise ResourceError(
            "R007",
            "another process of this training is gone or has been silent for too long",
            look=said[:200],
            note="what was saved is unharmed",
            fix="run the same torchrun command again: it goes on from the last checkpoint (torchrun --max-restarts 3 does so by itself)",
        ) from error


def only_last(module: nn.Module, last: bool) -> AbstractContextManager:
    """Gradients travel once an update, with its last part."""
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return nullcontext() if last else module.no_sync()
    share: Any = getattr(module, "set_requires_gradient_sync", None)
    if share:
        share(last)
    return nullcontext()


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside, a module that is shared out has all its weights: for evaluating with it."""
    parts: list[Any] = [part for part in module.modules() if hasattr(part, "unshard")]
    for part in parts:
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()


def full(tensor: Tensor) -> Tensor:
    """All of a tensor that is shared out (every process must ask); any other as it is."""
    whole: Callable[[], Tensor] | None = getattr(tensor, "full_tensor", None)
    return whole() if whole else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's share of a tensor; one that is not shared out as it is."""
    own: Callable[[], Tensor] | None = getattr(tensor, "to_local", None)
    return own() if own else tensor


def like(tensor: Tensor, whole: Tensor) -> Tensor:
    """`whole`, shared out as `tensor` is."""
    if not hasattr(tensor, "device_mesh"):
        return whole.to(tensor.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    layout = cast(DTensor, tensor)
    return distribute_tensor(whole.to(tensor.device), layout.device_mesh, layout.placements)


def shared_as(weight: Tensor, part: Tensor) -> Tensor:
    """A tensor whose share in this process is `part`, shared out as `weight` is."""
    if not hasattr(weight, "device_mesh"):
        return part
    from torch.distributed.tensor import DTensor

    layout = cast(DTensor, weight)
    return DTensor.from_local(part, layout.device_mesh, layout.placements, shape=weight.shape, stride=weight.stride())
