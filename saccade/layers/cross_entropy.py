"""Label-smoothed cross-entropy: Szegedy et al. (2016), section 7, as a sum and a count."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..types import PAD, Loss

ROWS = 256
"""Rows whose float32 copy is alive at a time: few enough to stay in the cache."""


def cross_entropy(logits: Float[Tensor, "*batch V"], targets: Int[Tensor, "*batch"], smoothing: float = 0.0) -> Loss:
    """Summed over all targets that are not PAD; `nll` is the part without smoothing, for perplexity.

    The smoothed target gives 1 - smoothing to the true symbol and shares `smoothing` among all symbols but PAD.
    """
    flat, wanted = logits.flatten(0, -2), targets.flatten()
    total, nll = _CrossEntropy.apply(flat, wanted, smoothing)
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
