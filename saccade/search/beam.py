"""Beam search for every decoder; greedy is a beam of one.

Graves (2012), Sutskever et al. (2014); length and coverage penalties of Wu et al. (2016), equation 14.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..attention.watch import Seen, watching
from ..decoders import Decoder
from ..errors import UsageError
from ..types import EOS, Encoding, State, repeat, select
from .constraints import Constraint


@dataclass(frozen=True, kw_only=True)
class Search:
    """How to look for the best sentence.

    The rank of a sentence is log P / penalty(length) + coverage: `length_form` "power" divides by length^length_penalty, "gnmt"
    by ((5 + length) / 6)^length_penalty; the length counts EOS.  `coverage_penalty` adds beta * sum over source symbols of
    log(min(attention received, 1)).  At most `longest_ratio` x source length + `longest_extra` symbols are said.
    """

    beam: int = 5
    length_penalty: float = 1.0
    length_form: Literal["power", "gnmt"] = "power"
    coverage_penalty: float = 0.0
    no_repeat: int = 0
    longest_ratio: float = 2.0
    longest_extra: int = 20

    def __post_init__(self) -> None:
        if self.beam < 1 or self.no_repeat < 0 or self.longest_ratio < 0 or self.longest_extra < 0:
            found = f"beam = {self.beam}, no_repeat = {self.no_repeat}, longest_ratio = {self.longest_ratio}, longest_extra = {self.longest_extra}"
            raise UsageError("C012", f"search: {found}", fix="a beam of at least 1, and nothing below 0")

    def divisor(self, lengths: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What log P is divided by."""
        return ((5 + lengths) / 6 if self.length_form == "gnmt" else lengths.clamp_min(1)) ** self.length_penalty

    def coverage(self, received: Float[Tensor, "R S"], mask: Bool[Tensor, "R S"]) -> Float[Tensor, "R"]:
        """The coverage penalty, at most 0; a source symbol nobody looked at counts as 1e-9, not as minus infinity."""
        missing = received.clamp(1e-9, 1.0).log().masked_fill(~mask, 0.0)
        return self.coverage_penalty * missing.sum(-1)


class Hypotheses(NamedTuple):
    """The best sentences for each source, best first; `tokens` are without the prompt and filled up with EOS after their end."""

    tokens: Int[Tensor, "B K T"]
    scores: Float[Tensor, "B K"]
    """Log-probability of the sentence, EOS included."""
    ranks: Float[Tensor, "B K"]
    """The score after the penalties: what they are sorted by."""
    ended: Bool[Tensor, "B K"]
    """False where the length limit cut a sentence off."""


class _Beams(NamedTuple):
    """All hypotheses of all sentences, one row each (K consecutive rows per sentence); selecting rows is the whole bookkeeping."""

    tokens: Int[Tensor, "R T"]
    scores: Float[Tensor, "R"]
    lengths: Float[Tensor, "R"]
    ended: Bool[Tensor, "R"]
    received: Float[Tensor, "R S"]
    state: State


@torch.no_grad()
def beam_search(
    decoder: Decoder,
    encoding: Encoding | None,
    prompt: Int[Tensor, "B P"],
    search: Search = Search(),
    *,
    limits: Int[Tensor, "B"],
    constraints: Sequence[Constraint] = (),
    eos: int = EOS,
) -> Hypotheses:
    """The `beam` best sentences for each prompt, of at most `limits` symbols each; `beam=1` is greedy search, exactly.

    A sentence that ended keeps its place in the beam as long as its rank is among the best.  The search of a sentence stops when
    everything in its beam has ended or reached its limit; it then leaves the batch, which changes no other answer.
    """
    batch, beam, device = len(prompt), search.beam, prompt.device
    memory, state = repeat(decoder.start(encoding, batch), beam)
    source = encoding.mask if encoding is not None else prompt.new_ones(batch, 1, dtype=torch.bool)
    mask, limit = repeat((source, limits), beam)
    scores = torch.full((batch, beam), float("-inf"), device=device)
    scores[:, 0] = 0.0  # the copies of the prompt count once
    zeros = torch.zeros(batch * beam, device=device)
    beams = _Beams(repeat(prompt, beam), scores.flatten(), zeros, zeros.bool(), torch.zeros(mask.shape, device=device), state)
    answers = _Answers(batch, search, prompt.shape[1], eos)
    sentence = torch.arange(batch, device=device)
    unread = beams.tokens
    watch: AbstractContextManager[Seen] = watching(decoder) if search.coverage_penalty else nullcontext({})
    with watch as seen:
        while True:
            logits, state = decoder(unread, beams.state, memory)
            beams = beams._replace(state=state, received=beams.received + _looked(seen, beams.ended) if search.coverage_penalty else beams.received)
            step = logits[:, -1].float().log_softmax(-1)
            for constraint in constraints:
                step = constraint(step, beams.tokens, sentence.repeat_interleave(beam))
            beams = _advance(beams, step, limit, mask, search, eos)
            over = (beams.ended | (beams.lengths >= limit)).view(-1, beam).all(1)
            if over.any():
                keep = (~over).nonzero()[:, 0]
                answers.add(sentence, beams, mask, over)
                if not len(keep):
                    return answers.stacked()
                rows = (keep[:, None] * beam + torch.arange(beam, device=device)).flatten()
                beams, memory, mask, limit = select((beams, memory, mask, limit), rows)
                sentence = sentence[keep]
            unread = beams.tokens[:, -1:]


def _advance(beams: _Beams, step: Float[Tensor, "R V"], limit: Int[Tensor, "R"], mask: Bool[Tensor, "R S"], search: Search, eos: int) -> _Beams:
    """One symbol more for everything that has not ended."""
    beam, vocab = search.beam, step.shape[1]
    stopped = beams.ended | (beams.lengths >= limit)
    stay = torch.full_like(step, float("-inf"))
    stay[:, eos] = 0.0  # what stopped stays as it is, once
    total = beams.scores[:, None] + torch.where(stopped[:, None], stay, step)
    lengths = beams.lengths + ~stopped
    ranks = total / search.divisor(lengths)[:, None]
    if search.coverage_penalty:
        ranks = ranks + search.coverage(beams.received, mask)[:, None]
    best = ranks.view(-1, beam * vocab).topk(beam, dim=-1).indices
    parent, symbol = best // vocab, (best % vocab).flatten()
    rows = (parent + torch.arange(len(best), device=best.device)[:, None] * beam).flatten()
    scores = total.view(-1, beam * vocab).gather(1, best).flatten()
    tokens, received, state = select((beams.tokens, beams.received, beams.state), rows)
    stopped, ended = stopped[rows], beams.ended[rows]
    return _Beams(torch.cat([tokens, symbol[:, None]], 1), scores, lengths[rows], ended | (~stopped & (symbol == eos)), received, state)


def _looked(seen: dict[str, list[Tensor]], ended: Bool[Tensor, "R"]) -> Float[Tensor, "R S"]:
    """How much attention each source symbol got in the latest call, the mean over layers and heads; and forget the call."""
    places = [calls[-1].float() for name, calls in seen.items() if name.endswith("cross_attention") and calls]
    if not places:
        raise UsageError("C015", "a coverage penalty needs a decoder that attends to its source", fix="coverage_penalty = 0")
    for calls in seen.values():
        calls.clear()
    latest = torch.stack([weights[..., -1, :].flatten(1, -2).mean(1) if weights.ndim > 3 else weights[:, -1] for weights in places]).mean(0)
    return latest.masked_fill(ended[:, None], 0.0)


class _Answers:
    """Sentences whose search is over, put back into the order of the questions."""

    def __init__(self, batch: int, search: Search, prompt: int, eos: int) -> None:
        self.search, self.prompt, self.eos = search, prompt, eos
        self.found: list[tuple[Tensor, ...] | None] = [None] * batch

    def add(self, sentence: Int[Tensor, "N"], beams: _Beams, mask: Bool[Tensor, "R S"], over: Bool[Tensor, "N"]) -> None:
        """Keep what the sentences that are `over` found, best first."""
        beam = self.search.beam
        ranks = beams.scores / self.search.divisor(beams.lengths)
        if self.search.coverage_penalty:
            ranks = ranks + self.search.coverage(beams.received, mask)
        for i in over.nonzero()[:, 0].tolist():
            rows = torch.arange(i * beam, (i + 1) * beam, device=ranks.device)
            rows = rows[ranks[rows].argsort(descending=True, stable=True)]
            self.found[int(sentence[i])] = (beams.tokens[rows, self.prompt :], beams.scores[rows], ranks[rows], beams.ended[rows])

    def stacked(self) -> Hypotheses:
        """One tensor for all."""
        found = [each for each in self.found if each is not None]
        longest = max(each[0].shape[1] for each in found)
        tokens = torch.stack([torch.nn.functional.pad(each[0], (0, longest - each[0].shape[1]), value=self.eos) for each in found])
        return Hypotheses(tokens, *(torch.stack([each[part] for each in found]) for part in (1, 2, 3)))
