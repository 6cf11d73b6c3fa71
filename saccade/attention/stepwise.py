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

from .attention import Attention
from .softmax import padded_softmax, softmax_slope

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
    steps: list[_Step] = []
    ticket = _Source.apply(keys, values, steps)
    hidden = None if mask is None else ~mask
    return lambda query: _Look.apply(query.to(dtype), ticket, (keys.detach(), values.detach(), hidden), factor, steps)


class _Step(NamedTuple):
    """What one call leaves for the end, each B x T x something."""

    query: Tensor
    slope_of_scores: Tensor
    weights: Tensor
    slope_of_context: Tensor


class _Source(torch.autograd.Function):
    """Every step holds its ticket, so that autograd comes back here when all of them are done: what they send is nothing, that they send it counts."""

    @staticmethod
    def forward(ctx: Any, keys: Tensor, values: Tensor, steps: list[_Step]) -> Tensor:
        ctx.steps = steps
        ctx.set_materialize_grads(False)
        return keys.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ticket: None) -> tuple[Tensor, Tensor, None]:
        query, slope_of_scores, weights, slope_of_context = (torch.cat(parts, 1) for parts in zip(*ctx.steps, strict=True))
        ctx.steps.clear()
        return slope_of_scores.mT @ query, weights.mT @ slope_of_context, None


class _Look(torch.autograd.Function):
    """One call, with the gradient of its query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, ticket: Tensor, source: tuple[Tensor, Tensor, Tensor | None], factor: float, steps: list[_Step]) -> Tensor:
        keys, values, hidden = source
        scores = (query * factor if factor != 1.0 else query) @ keys.mT
        weights = padded_softmax(scores, hidden)
        ctx.save_for_backward(query, weights)
        ctx.source, ctx.factor, ctx.steps = (keys, values), factor, steps
        return weights[..., : keys.shape[1]] @ values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None, None]:
        (query, weights), (keys, values) = ctx.saved_tensors, ctx.source
        to_weights = slope @ values.mT
        to_scores = softmax_slope(to_weights, weights)
        if ctx.factor != 1.0:
            to_scores = to_scores * ctx.factor
        ctx.steps.append(_Step(query, to_scores, weights[..., : keys.shape[1]], slope))
        return to_scores @ keys, None, None, None, None
