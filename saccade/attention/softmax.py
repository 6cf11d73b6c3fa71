"""Softmax over the keys that may be seen."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

LANES = 64
"""Bytes in a vector register: over rows that do not fill it torch's softmax runs three times as long, forward and backward."""


def masked_softmax(scores: Float[Tensor, "*batch Q S"], mask: Bool[Tensor, "*#batch #Q S"] | None = None) -> Float[Tensor, "*batch Q S"]:
    """Weights that add up to 1 over the keys where `mask` is True; all zeros, with zero gradients, where it is True nowhere."""
    hidden = None if mask is None else ~mask
    return (
        _MaskedSoftmax.apply(scores, hidden) if torch.is_grad_enabled() and scores.requires_grad else _padded_softmax(scores, hidden)[..., : scores.shape[-1]]
    )


def room_behind(columns: int, like: Tensor) -> int:
    """How many columns more fill the registers of a CPU, for numbers of the type of `like`."""
    return -columns % (LANES // like.element_size()) if like.device.type == "cpu" else 0


def _room(like: Tensor, fill: float) -> Tensor:
    """`like` with columns of `fill` behind, as many as fill the registers of a CPU."""
    more = room_behind(like.shape[-1], like)
    return torch.cat([like, like.new_full((*like.shape[:-1], more), fill)], -1) if more else like


def _padded_softmax(scores: Float[Tensor, "*batch S"], hidden: Bool[Tensor, "*#batch S"] | None) -> Float[Tensor, "*batch P"]:
    """The weights, in the type of the scores whatever autocast thinks, with columns behind that mean nothing: what the way back wants to have kept."""
    columns = scores.shape[-1]
    shown = scores if hidden is None else scores.masked_fill(hidden, torch.finfo(scores.dtype).min)  # finite: a row of minus infinities would be no number
    weights = _room(shown, float("-inf")).softmax(-1, scores.dtype)
    if hidden is not None and (hidden.device.type != "cpu" or hidden.all(-1).any()):  # else whoever sees something has given what is hidden no weight
        weights[..., :columns].masked_fill_(hidden, 0.0)
    return weights


class _MaskedSoftmax(torch.autograd.Function):
    """What is hidden has weight 0, so that softmax's own backward sends it nothing."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, hidden: Tensor | None) -> Tensor:
        weights = _padded_softmax(scores, hidden)
        ctx.save_for_backward(weights)
        return weights[..., : scores.shape[-1]]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        return torch.ops.aten._softmax_backward_data(_room(slope, 0.0), weights, -1, weights.dtype)[..., : slope.shape[-1]], None
