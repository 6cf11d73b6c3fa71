"""Where weights begin, when a paper says otherwise than each part for itself."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

Initialisation = Literal["xavier", "gpt", "gpt2"]
"""As each part says (Xavier's for matrices); GPT's: N(0, 0.02); GPT-2's: the same, what is added to the residual stream divided by the root of how often."""


def initialise(model: nn.Module, how: Initialisation, adding: Sequence[nn.Module]) -> None:
    """Radford et al. (2018), section 4.1, and (2019), section 2.3; `adding` are the parts that write to the residual stream.

    Every matrix is drawn anew; what is no matrix (biases at zero, norms at one) stays as it is.
    """
    if how == "xavier":
        return
    scaled = {weight for part in adding for weight in part.parameters()} if how == "gpt2" else set()
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.02 * (len(adding) ** -0.5 if weight in scaled else 1.0))
