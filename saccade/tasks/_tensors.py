"""What tasks keep and show, as tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def bytes_of(state: bytes) -> Tensor:
    """Bytes as a tensor that a model file can hold."""
    return torch.from_numpy(np.frombuffer(state, dtype=np.uint8).copy())


def heads_of(calls: Sequence[Tensor]) -> np.ndarray:
    """All calls of one attention for one text: heads x T x S."""
    weights = torch.cat([call.float() for call in calls], -2)[0]
    return (weights if weights.ndim == 3 else weights[None]).cpu().numpy()
