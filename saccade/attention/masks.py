"""Who may see whom.  Masks are boolean, True = may be seen, and combine by `&` and `|`."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def causal(queries: int, keys: int, device: torch.device | None = None, span: int | None = None) -> Bool[Tensor, "Q S"]:
    """Query i stands at place keys - queries + i and sees itself and what came before: all of it, or `span` symbols with itself."""
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    return seen if span is None else seen.triu(keys - queries - span + 1)


def padding(mask: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """Real symbols only, for every head and query."""
    return mask[:, None, None]


def window(queries: int, keys: int, stride: int, device: torch.device | None = None) -> Bool[Tensor, "Q S"]:
    """Itself and the `stride` - 1 places before it: Child et al. (2019), section 4.3, the first set of the strided pattern."""
    here, there = _places(queries, keys, device)
    return (here - stride < there) & (there <= here)


def strided(queries: int, keys: int, stride: int, device: torch.device | None = None) -> Bool[Tensor, "Q S"]:
    """Every `stride`-th place, counted back from itself: the second set of the strided pattern."""
    here, there = _places(queries, keys, device)
    return ((here - there) % stride == 0) & (there <= here)


def block(queries: int, keys: int, stride: int, device: torch.device | None = None) -> Bool[Tensor, "Q S"]:
    """Its own block of `stride` places, up to itself: the first set of the fixed pattern."""
    here, there = _places(queries, keys, device)
    return (here // stride == there // stride) & (there <= here)


def fixed(queries: int, keys: int, stride: int, summary: int, device: torch.device | None = None) -> Bool[Tensor, "Q S"]:
    """The last `summary` places of every block up to itself, and itself, without which the first block would see nothing: the second set."""
    here, there = _places(queries, keys, device)
    return ((there % stride >= stride - summary) & (there <= here)) | (there == here)


def _places(queries: int, keys: int, device: torch.device | None) -> tuple[Int[Tensor, "Q 1"], Int[Tensor, "S"]]:
    """Where each query stands, and each key."""
    there = torch.arange(keys, device=device)
    return there[keys - queries :, None], there
