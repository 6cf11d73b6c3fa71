"""Tensors as a safetensors file, one at a time: https://github.com/huggingface/safetensors.

That library writes a file by itself; here its bytes go through `storage`, like everything that changes a disk.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .storage import Written, replace_file


class Lazy(NamedTuple):
    """A tensor that is made when its turn comes to be written, such as one gathered from several processes."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    make: Callable[[], Tensor]


Tensors = Mapping[str, Tensor | Lazy]


def write_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Written:
    """Write a safetensors file in one step."""
    return replace_file(path, tensor_chunks(tensors, metadata))


_NAMES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e8m0fnu: "F8_E8M0",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""What safetensors calls them, in the order in which it puts them into a file: the widest first, so that all are aligned."""


def tensor_bytes(tensors: Tensors) -> int:
    """Their size in memory, and nearly that of their file."""
    return sum(math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors.values())


def tensor_chunks(tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """A safetensors file, byte for byte as that library makes it, while no more than one tensor is copied or made at a time."""
    ranks = {dtype: rank for rank, dtype in enumerate(_NAMES)}
    ordered = sorted(tensors.items(), key=lambda item: (ranks[item[1].dtype], item[0]))
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name, tensor in ordered:
        made = tensor.make() if isinstance(tensor, Lazy) else tensor
        if (tuple(made.shape), made.dtype) != (tuple(tensor.shape), tensor.dtype):
            raise ValueError(f"{name} was announced as {tensor.dtype} {tuple(tensor.shape)}, but is {made.dtype} {tuple(made.shape)}")
        yield made.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
