"""Nothing is lost by precision and fast paths: any command of saccade, with the plain twin of every fast path in its place.

    python -m reproductions.plain train multi30k-transformer-fast data.folder=DIR training.precision=float32

torch's own dropout beside the residual sum and ReLU, a log-softmax over all logits at once, attention as two products and a softmax.
The scores of such runs stand beside those of `saccade train` with the same words and no `training.precision` in docs/results.md.
"""

import sys

import torch
from torch import Tensor
from torch.nn import functional

from saccade.attention import attention
from saccade.cli import main
from saccade.decoders import Decoder
from saccade.layers.dropout import Dropout
from saccade.types import PAD, Loss, Memory, State


def plain_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Loss:
    """Label-smoothed cross-entropy, spelled out."""
    chances, wanted = logits.flatten(0, -2).float().log_softmax(-1), targets.flatten()
    true = -chances.gather(1, wanted[:, None])[:, 0]
    others = -(chances.sum(-1) - chances[:, PAD]) / (chances.shape[1] - 1)
    real = wanted != PAD
    return Loss(((1 - smoothing) * true + smoothing * others)[real].sum(), real.sum(), true[real].sum().detach())


def plain_loss(decoder: Decoder, tokens: Tensor, targets: Tensor, state: State, memory: Memory, smoothing: float = 0.0) -> tuple[Loss, State]:
    """From the logits of the whole batch."""
    logits, state = decoder(tokens, state, memory)
    return plain_cross_entropy(logits, targets, smoothing), state


def plain_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Weights of 0 where nothing may be seen."""
    if mask is None:
        return scores.softmax(-1)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)


def install() -> None:
    """The plain twins stand where the fast paths stood."""
    Dropout.forward = lambda self, x: functional.dropout(x, self.rate, self.training)  # type: ignore[method-assign]
    Dropout.add = lambda self, x, y: x + self(y)  # type: ignore[method-assign]
    Dropout.relu = lambda self, x: self(x.relu())  # type: ignore[method-assign]
    Decoder.loss = plain_loss  # type: ignore[method-assign]
    attention.masked_softmax = plain_softmax
    attention.FUSED_KEYS_ON_CPU = {torch.float32: sys.maxsize, torch.bfloat16: sys.maxsize}


if __name__ == "__main__":
    install()
    main()
