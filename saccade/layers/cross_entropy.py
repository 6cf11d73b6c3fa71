"""Label-smoothed cross-entropy: Szegedy et al. (2016), section 7, as a sum and a count."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..types import PAD, Loss

ROWS = 256
"""Rows whose float32 copy is alive at a time: few enough to stay in the cache."""
CHUNK = 1024
"""Rows whose logits are alive at a time in `linear_cross_entropy`: enough for matrix products at full speed."""
LOGITS_ON_GPU = 2**26
"""Logits alive at a time on a GPU, which every chunk keeps waiting: a quarter of a gigabyte in float32."""


def cross_entropy(logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], smoothing: float = 0.0) -> Loss:
    """Summed over all targets that are not PAD; `nll` is the part without smoothing, for perplexity.

    The smoothed target gives 1 - smoothing to the true symbol and shares `smoothing` among all symbols but PAD.
    """
    flat, wanted = logits.flatten(0, -2), targets.flatten()
    total, nll = _CrossEntropy.apply(flat, wanted, smoothing)
    return Loss(total, (wanted != PAD).sum(), nll.detach())


def linear_cross_entropy(
    features: Float[Tensor, "*batch D"], weight: Float[Tensor, "V D"], bias: Float[Tensor, "V"], targets: Int[Tensor, "*batch"], smoothing: float = 0.0
) -> Loss:
    """The same as `cross_entropy(features @ weight.T + bias, targets, smoothing)`, without ever holding all logits.

    Loss and gradients are one pass over chunks of rows; rows whose target is PAD are left out.  Under autocast the matrix products
    are taken in its type, all else in float32.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    flat, wanted = features.flatten(0, -2), targets.flatten()
    total, nll = _LinearCrossEntropy.apply(flat, weight, bias, wanted, smoothing, dtype)
    return Loss(total, (wanted != PAD).sum(), nll.detach())


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradient in one pass over the rows, so that no float32 tensor of the logits' size ever exists."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        total = nll = torch.zeros((), device=logits.device)
        share = smoothing / (logits.shape[1] - 1)
        for rows in range(0, len(logits), ROWS if logits.device.type == "cpu" else 4096):
            span = slice(rows, rows + (ROWS if logits.device.type == "cpu" else 4096))
            x, wanted = logits[span].float(), targets[span]
            real = wanted != PAD
            log_sum = x.logsumexp(-1)
            true = log_sum - x.gather(1, wanted[:, None])[:, 0]
            loss = true
            if smoothing:
                others = x.shape[1] - 1
                loss = (1 - smoothing) * true + share * (others * log_sum - (x.sum(-1) - x[:, PAD]))
            total, nll = total + loss[real].sum(), nll + true[real].sum()
            if gradient is not None:
                slope = (x - log_sum[:, None]).exp_()
                if smoothing:
                    slope[:, :PAD] -= share
                    slope[:, PAD + 1 :] -= share
                slope.scatter_add_(1, wanted[:, None], torch.full_like(slope[:, :1], smoothing - 1))
                gradient[span] = slope.mul_(real[:, None])
        ctx.gradient = gradient
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient * slopes[0].to(ctx.gradient.dtype), None, None


class _Chunk(NamedTuple):
    """What one chunk of rows adds; the third is the slope of the bias, whose form the logits have taken."""

    total: Tensor
    nll: Tensor
    slope: Tensor


def _slopes_in_place(logits: Float[Tensor, "R V"], bias: Float[Tensor, "V"], targets: Int[Tensor, "R"], smoothing: float) -> _Chunk:
    """The logits (without their bias) become the loss's slope with respect to them, but for the share that all symbols lose alike."""
    rows = ROWS // 4 if logits.device.type == "cpu" else len(logits)
    slope, total = torch.zeros_like(bias), bias.new_zeros(())
    nll = total
    for piece, wanted in zip(logits.split(rows), targets[:, None].split(rows), strict=True):
        x = piece.to(bias.dtype).add_(bias)
        true, best = x.gather(1, wanted)[:, 0], x.amax(-1)
        chances = torch.softmax(x, -1, out=x)
        log_sum = best - chances.amax(-1).log()  # the likeliest symbol never underflows
        total, nll = total + (log_sum - (1 - smoothing) * true).sum(), nll + (log_sum - true).sum()
        chances.scatter_add_(1, wanted, chances.new_full(wanted.shape, smoothing - 1))
        slope += chances.sum(0)
        if piece.dtype != chances.dtype:  # else it is the piece itself
            piece.copy_(chances)
    return _Chunk(total, nll, slope)


class _LinearCrossEntropy(torch.autograd.Function):
    """Smoothing is a product with the sum of the weights: it needs no pass over the logits."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, smoothing: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        rows = (targets != PAD).nonzero()[:, 0]
        x, wanted, matrix, share = features[rows].to(dtype), targets[rows], weight.to(dtype), smoothing / (len(weight) - 1)
        learning = any(ctx.needs_input_grad[:3])
        found, weight_slope, bias_slope = [], torch.zeros(0), torch.zeros_like(bias)
        total = nll = bias.new_zeros(())
        many = CHUNK if x.device.type == "cpu" else max(CHUNK, LOGITS_ON_GPU // len(weight))
        for chunk, targets_of_chunk in zip(x.split(many), wanted.split(many), strict=True):
            logits = chunk @ matrix.T
            added = _slopes_in_place(logits, bias, targets_of_chunk, smoothing)
            total, nll = total + added.total, nll + added.nll
            if learning:
                found.append(logits @ matrix)
                grown = (logits.T @ chunk).to(weight.dtype)
                weight_slope = weight_slope.add_(grown) if len(weight_slope) else grown
                bias_slope += added.slope
        slopes = torch.cat(found) if found else x
        if smoothing:
            pull, push = weight.sum(0) - weight[PAD], x.sum(0, dtype=weight.dtype)  # of all symbols but PAD, of all rows
            total = total - share * (push @ pull + len(x) * (bias.sum() - bias[PAD]))
            slopes = slopes - share * pull
        if smoothing and learning:
            kept = weight_slope[PAD].clone(), bias_slope[PAD].clone()
            weight_slope -= share * push
            bias_slope -= share * len(x)
            weight_slope[PAD], bias_slope[PAD] = kept
        if learning:
            feature_slope = torch.zeros_like(features).index_copy_(0, rows, slopes.to(features.dtype))
            ctx.save_for_backward(feature_slope, weight_slope, bias_slope)
        return total, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return *(slope * slopes[0].to(slope.dtype) for slope in ctx.saved_tensors), None, None, None
