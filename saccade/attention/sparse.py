"""Attention by blocks over a near and a far set of keys: what the kernels of all patterns share (Child et al. 2019, section 5.5)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from ..layers.dropout import Dropout
from .softmax import masked_softmax


def blocks(x: Float[Tensor, "*batch T d"], size: int) -> Float[Tensor, "*batch M L d"]:
    """Blocks of `size` places; the last is filled up with zeros, which stand after every real place and are seen by none."""
    return functional.pad(x, (0, 0, 0, -x.shape[-2] % size)).unflatten(-2, (-1, size))


def joint_weights(
    near: Float[Tensor, "*batch M L N"], far: Float[Tensor, "*batch M L F"], mask: Bool[Tensor, "M L S"], dropout: Dropout
) -> tuple[Float[Tensor, "*batch M L N"], Float[Tensor, "*batch M L F"]]:
    """One softmax over both sets of scores.  The mask shows every key in one of them only, or it would count twice."""
    weights = dropout(masked_softmax(torch.cat([near, far], -1), mask))
    here, there = weights.split([near.shape[-1], far.shape[-1]], -1)
    return here, there
