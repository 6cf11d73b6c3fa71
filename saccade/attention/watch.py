"""Watch where a model looks, without changing what it computes or how it is called.

with watching(model) as seen:
    model(source, tokens)
seen["decoder.cross_attention"]        # one tensor of weights for each call
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from .attention import Attention

Seen = dict[str, list[Tensor]]


@contextmanager
def watching(model: nn.Module) -> Iterator[Seen]:
    """Collect the weights of every `Attention` in `model`, named by where it stands; fused kernels stand aside meanwhile."""
    seen: Seen = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, Attention):
            calls = seen.setdefault(name.removesuffix(".attention"), [])
            handles.append(module.register_forward_hook(lambda _module, _inputs, output, calls=calls: calls.append(output[1].detach())))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
