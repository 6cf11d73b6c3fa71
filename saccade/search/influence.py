"""How far back the past reaches: the gradient of one prediction by every earlier state (Bengio et al. 1994; Pascanu et al. 2013)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..decoders import Decoder
from ..types import Encoding, State, tree_map


def influence(decoder: Decoder, tokens: Int[Tensor, "B T"], target: Int[Tensor, "B"], encoding: Encoding | None = None) -> Float[Tensor, "B T"]:
    """Norm of d loss / d state, for the loss of saying `target` after all of `tokens`: place t is the state before `tokens[:, t]` was read.

    Of a recurrent decoder that is what all its layers remember; where it falls towards 0, the past is forgotten, and training
    cannot learn from it either.
    """
    with torch.enable_grad():
        memory, state = decoder.start(encoding, len(tokens))
        state = tree_map(lambda part: part.detach().requires_grad_(), state)
        before: list[list[Tensor]] = []
        for symbol in tokens.split(1, 1):
            before.append(_parts(state))
            logits, state = decoder(symbol, state, memory)
            state = tree_map(lambda part: part.view_as(part), state)  # what a layer tells the one above may be the same tensor, but is no state
        loss = torch.nn.functional.cross_entropy(logits[:, -1].float(), target, reduction="sum")
        slopes = iter(torch.autograd.grad(loss, [part for parts in before for part in parts], allow_unused=True, materialize_grads=True))
    return torch.stack([torch.cat([next(slopes).flatten(1) for _ in parts], 1).norm(dim=1) for parts in before], 1)


def _parts(state: State) -> list[Tensor]:
    """The tensors of a state."""
    found: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        found.append(part)
        return part

    tree_map(keep, state)
    return found
