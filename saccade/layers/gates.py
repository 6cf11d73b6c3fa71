"""Watch the gates of cells open and close, without changing what a model says or how it is called.

with watching_gates(model) as seen:
    model(source, tokens)
seen["decoder.cells.0.forget"]         # one tensor, B T D, for each call
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .cells import Cell


@contextmanager
def watching_gates(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the gates of every cell in `model`, named by where they stand and what they do; fused kernels stand aside meanwhile."""
    seen: dict[str, list[Tensor]] = {}
    handles = []
    for name, cell in model.named_modules():
        if isinstance(cell, Cell):
            calls = [seen.setdefault(f"{name}.{gate}".lstrip("."), []) for gate in cell.names]

            def collect(_module: nn.Module, _inputs: object, output: Tensor, calls: list[list[Tensor]] = calls) -> None:
                for found, gate in zip(calls, output.detach().unbind(2), strict=True):
                    found.append(gate)

            handles.append(cell.seen.register_forward_hook(collect))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
