"""Keys and values that grow: written behind the old ones where that looks like a new value from outside.

A tensor of S places may be the front of a wider buffer.  Who appends first takes the room behind it; who appends to the same past once
more finds the room `taken` and copies.  So two futures of one past do not disturb each other, and a text that is said symbol by symbol
is copied now and then, not at every symbol (docs/performance.md).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

ROOM = 64
"""Places to spare in a new buffer, at least."""


def joined(before: Float[Tensor, "B H S d"], more: Float[Tensor, "B H T d"]) -> Float[Tensor, "B H U d"]:
    """One behind the other, in a tensor of its own: what autograd understands."""
    return torch.cat([before, more], 2)


def written(before: Float[Tensor, "B H S d"], more: Float[Tensor, "B H T d"]) -> Float[Tensor, "B H U d"]:
    """The same in the buffer of `before`; `has_room` was asked first."""
    shape = (*before.shape[:2], before.shape[2] + more.shape[2], before.shape[3])
    whole = before.as_strided(shape, before.stride(), before.storage_offset())
    whole[:, :, before.shape[2] :].copy_(more)
    return whole


def copied(before: Float[Tensor, "B H S d"], more: Float[Tensor, "B H T d"]) -> Float[Tensor, "B H U d"]:
    """The same in a new buffer, with room for half as much again."""
    length = before.shape[2] + more.shape[2]
    dtype = torch.promote_types(before.dtype, more.dtype)
    front = more.new_empty(*more.shape[:2], length + max(ROOM, length // 2), more.shape[3], dtype=dtype)[:, :, :length]
    front[:, :, : before.shape[2]].copy_(before)
    front[:, :, before.shape[2] :].copy_(more)
    return front


def has_room(front: Float[Tensor, "B H S d"], taken: Int[Tensor, "B"] | None, more: int, dtype: torch.dtype) -> bool:
    """May `more` places of `dtype` be written behind `front`?  `taken`: the end of what is in use of each row's buffer."""
    if taken is None or front.dtype != dtype:
        return False
    end = end_of(front)
    return int(taken.max()) == end and end + more <= front.stride(1) // front.stride(2)


def end_of(front: Float[Tensor, "B H S d"]) -> int:
    """The place in the buffer behind the last of `front`."""
    return front.storage_offset() % front.stride(1) // front.stride(2) + front.shape[2]
