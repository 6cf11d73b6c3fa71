"""Who may see whom.  Masks are boolean, True = may be seen, and combine by `&` and `|`."""

import torch
from jaxtyping import Bool
from torch import Tensor


def causal(queries: int, keys: int, device: torch.device | None = None, span: int | None = None) -> Bool[Tensor, "Q S"]:
    """Query i stands at place keys - queries + i and sees itself and what came before: all of it, or `span` symbols with itself."""
    seen = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    return seen if span is None else seen.triu(keys - queries - span + 1)


def padding(mask: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """Real symbols only, for every head and query."""
    return mask[:, None, None]
