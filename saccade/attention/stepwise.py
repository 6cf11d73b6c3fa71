"""Attention asked one step at a time: what keys and values learn is computed once for all steps.

A decoder that feeds back what it found must ask step by step.  Left to autograd, every step writes a gradient of the size of all
keys and one of all values, and adds them up; here each step keeps two rows, and two matrix products at the end do the rest.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from .attention import Attention
from .softmax import room_behind

Look = Callable[[Tensor], Tensor]


def asked_stepwise(
    attention: Attention, keys: Float[Tensor, "B S D"], values: Float[Tensor, "B S Dv"], mask: Bool[Tensor, "B 1 S"] | None = None
) -> Callable[[Float[Tensor, "B T D"]], Float[Tensor, "B T Dv"]]:
    """A function from queries to contexts, to be called any number of times: `attention(query, keys, values, mask)[0]`.

    Scores that are no dot products, dropout on the weights, watchers and evaluation take the plain path.
    """
    factor = attention.score.dot_factor(keys.shape[-1])
    learning = torch.is_grad_enabled() and (keys.requires_grad or values.requires_grad)
    if factor is None or not learning or attention.watched() or not attention.dropout.idle():
        return lambda query: attention(query, keys, values, mask)[0]
    kind = keys.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.promote_types(keys.dtype, values.dtype)
    keys, values = keys.to(dtype), values.to(dtype)
    shown, steps = _laid_out(keys.detach(), values.detach(), mask, factor), list[_Step]()
    ticket = _Source.apply(keys, values, mask, factor, steps)
    return lambda query: _Look.apply(query.to(dtype), ticket, shown, steps)


class _Shown(NamedTuple):
    """What every step looks at: scaled keys and values with zeros behind, so that scores fill whole registers, and what to add to the scores."""

    keys: Float[Tensor, "B P D"]
    values: Float[Tensor, "B P Dv"]
    floor: Float[Tensor, "B 1 P"] | None


def _laid_out(keys: Float[Tensor, "B S D"], values: Float[Tensor, "B S Dv"], mask: Bool[Tensor, "B 1 S"] | None, factor: float) -> _Shown:
    """Added to a score, the least number there is hides its key, and minus infinity the room; a row that sees nothing finds values of zero."""
    count, more = keys.shape[1], room_behind(keys.shape[1], keys)
    floor = None
    if mask is not None:
        values = values * mask.any(-1, keepdim=True)
        floor = keys.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(keys.dtype).min)
    if more:
        floor = functional.pad(keys.new_zeros(len(keys), 1, count) if floor is None else floor, (0, more), value=float("-inf"))
        keys, values = (functional.pad(part, (0, 0, 0, more)) for part in (keys, values))
    return _Shown(keys * factor, values, floor)


class _Step(NamedTuple):
    """What one call leaves for the end, each B x T x something."""

    query: Tensor
    slope_of_scores: Tensor
    weights: Tensor
    slope_of_context: Tensor


class _Source(torch.autograd.Function):
    """Every step holds its ticket, so that autograd comes back here when all of them are done: what they send is nothing, that they send it counts."""

    @staticmethod
    def forward(ctx: Any, keys: Tensor, values: Tensor, mask: Tensor | None, factor: float, steps: list[_Step]) -> Tensor:
        ctx.count, ctx.mask, ctx.factor, ctx.steps = keys.shape[1], mask, factor, steps
        ctx.set_materialize_grads(False)
        return keys.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ticket: None) -> tuple[Tensor, Tensor, None, None, None]:
        query, slope_of_scores, weights, slope_of_context = (torch.cat(parts, 1) for parts in zip(*ctx.steps, strict=True))
        ctx.steps.clear()
        to_keys = (slope_of_scores.mT @ query)[:, : ctx.count] * ctx.factor
        to_values = (weights.mT @ slope_of_context)[:, : ctx.count]
        return to_keys, to_values if ctx.mask is None else to_values * ctx.mask.mT, None, None, None


class _Look(torch.autograd.Function):
    """One call, with the gradient of its query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, ticket: Tensor, shown: _Shown, steps: list[_Step]) -> Tensor:
        scores = query @ shown.keys.mT if shown.floor is None else torch.baddbmm(shown.floor, query, shown.keys.mT)
        weights = scores.softmax(-1, scores.dtype)
        ctx.save_for_backward(query, weights)
        ctx.shown, ctx.steps = shown, steps
        return weights @ shown.values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        (query, weights), (keys, values, _) = ctx.saved_tensors, ctx.shown
        to_scores = torch.ops.aten._softmax_backward_data(slope @ values.mT, weights, -1, weights.dtype)
        ctx.steps.append(_Step(query, to_scores, weights, slope))
        return to_scores @ keys, None, None, None
