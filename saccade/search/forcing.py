"""Scheduled sampling: Bengio, Vinyals, Jaitly and Shazeer (2015), section 2.4."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..decoders import Decoder
from ..types import Encoding


def forced(decoder: Decoder, encoding: Encoding | None, tokens: Int[Tensor, "B T"], gold: float, generator: torch.Generator) -> Float[Tensor, "B T V"]:
    """Logits where each symbol read is the true one with probability `gold`, else drawn from what the model just said.

    One coin for each token.  Nothing flows back through a drawn symbol.  If every coin says gold, this is teacher forcing, bit
    for bit: coins come from `generator`, not from the stream that dropout draws on.
    """
    coins = torch.rand(tokens.shape, generator=generator).to(tokens.device) < gold
    coins[:, 0] = True  # the sentence begins as it begins
    memory, state = decoder.start(encoding, len(tokens))
    if coins.all():
        return decoder(tokens, state, memory)[0]
    logits: list[Tensor] = []
    for place in range(tokens.shape[1]):
        symbol = tokens[:, place]
        if place and not coins[:, place].all():
            chances = logits[-1].detach().float().softmax(-1).cpu()
            drawn = torch.multinomial(chances, 1, generator=generator)[:, 0].to(tokens.device)
            symbol = torch.where(coins[:, place], symbol, drawn)
        step, state = decoder(symbol[:, None], state, memory)
        logits.append(step[:, 0])
    return torch.stack(logits, 1)
