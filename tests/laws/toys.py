"""Every sentence a small decoder can say, and how probable each is: the oracle that search is measured against."""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saccade.attention import watching
from saccade.decoders import Decoder
from saccade.families import choose
from saccade.search import Search
from saccade.types import EOS, Encoding, repeat

from .parts import VARIANTS, B, D, S, V


def make_toy(variant: str, seed: int = 0, **chosen: object) -> Decoder:
    """One layer, weights from `seed`, large enough to have opinions."""
    torch.manual_seed(seed)
    decoder = choose(Decoder, **{"dim": 8, **VARIANTS[variant], "layers": 1, **chosen})(V, D)
    for weight in decoder.parameters():
        nn.init.normal_(weight, std=0.6)
    return decoder.eval()


def make_toy_encoding(seed: int = 0, batch: int = B) -> Encoding:
    """Sources of 5, 3 and 4 symbols."""
    torch.manual_seed(seed + 100)
    mask = torch.arange(S)[None] < torch.tensor([5, 3, 4])[:batch, None]
    return Encoding(torch.randn(batch, S, D), mask, torch.randn(batch, D))


class Sentences(NamedTuple):
    """All of them, for one source: their symbols (EOS included), log-probabilities and the attention each source symbol received."""

    ids: list[tuple[int, ...]]
    scores: Tensor
    received: Tensor


def all_sentences(length: int) -> list[tuple[int, ...]]:
    """Everything that ends with its only EOS, and what the limit cuts off."""
    inner = [symbol for symbol in range(V) if symbol != EOS]
    ended = [(*body, EOS) for size in range(length) for body in itertools.product(inner, repeat=size)]
    return [*ended, *itertools.product(inner, repeat=length)]


@torch.no_grad()
def enumerate_sentences(decoder: Decoder, encoding: Encoding, prompt: list[int], length: int) -> Sentences:
    """Read every sentence from its start, all in one batch, and add up."""
    ids = all_sentences(length)
    said = torch.tensor([[*each, *[EOS] * (length - len(each))] for each in ids])
    memory, state = decoder.start(repeat(encoding, len(ids)), len(ids))
    read = torch.cat([torch.tensor(prompt).expand(len(ids), -1), said[:, :-1]], 1)
    with watching(decoder) as seen:
        logits, _ = decoder(read, state, memory)
    counted = torch.arange(length) < torch.tensor([len(each) for each in ids])[:, None]
    chosen = logits[:, len(prompt) - 1 :].log_softmax(-1).gather(2, said[..., None])[..., 0]
    looks = [torch.cat(calls, -2) for name, calls in seen.items() if name.endswith("cross_attention") and calls]
    if not looks:
        return Sentences(ids, (chosen * counted).sum(1), torch.zeros(len(ids), S))
    mean = torch.stack([look.mean(1) if look.ndim == 4 else look for look in looks]).mean(0)
    return Sentences(ids, (chosen * counted).sum(1), (mean[:, len(prompt) - 1 :] * counted[..., None]).sum(1))


@torch.no_grad()
def slow_beam(decoder: Decoder, encoding: Encoding, prompt: list[int], search: Search, limit: int) -> list[tuple[float, tuple[int, ...]]]:
    """Beam search for one source, without cache, batch or tensors of hypotheses: [(rank, symbols)], best first."""

    def rank(ids: tuple[int, ...], score: float, received: Tensor) -> float:
        divisor = ((5 + len(ids)) / 6 if search.length_form == "gnmt" else len(ids)) ** search.length_penalty
        missing = sum(math.log(min(max(float(p), 1e-9), 1.0)) for p, real in zip(received, encoding.mask[0], strict=True) if real)
        return score / divisor + search.coverage_penalty * missing

    beams = [((), 0.0, torch.zeros(encoding.mask.shape[1]))]
    for _ in range(limit):
        grown = [beam for beam in beams if beam[0] and beam[0][-1] == EOS]
        for ids, score, received in (beam for beam in beams if not beam[0] or beam[0][-1] != EOS):
            memory, state = decoder.start(encoding, 1)
            with watching(decoder) as seen:
                logits, _ = decoder(torch.tensor([[*prompt, *ids]]), state, memory)
            looks = [calls[-1][0, ..., -1, :] for name, calls in seen.items() if name.endswith("cross_attention")]
            now = received + torch.stack([look.reshape(-1, look.shape[-1]).mean(0) for look in looks]).mean(0)
            grown += [((*ids, symbol), score + step, now) for symbol, step in enumerate(logits[0, -1].log_softmax(-1).tolist())]
        beams = sorted(grown, key=lambda beam: -rank(*beam))[: search.beam]
        if all(ids[-1] == EOS for ids, _, _ in beams):
            break
    return [(rank(*beam), beam[0]) for beam in beams]
