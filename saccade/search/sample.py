"""Sampling: what comes next is drawn, symbol by symbol, from what a decoder says (ancestral sampling), cut as Holtzman et al. (2020) and others cut it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..decoders import Decoder
from ..errors import ModelError, UsageError
from ..types import EOS, Encoding, State, repeat, select
from .constraints import Constraint, temperature, top_k, top_p, typical

PREFILL = 512
"""Symbols of a prompt that are read at a time: their logits stand in memory together."""
BLOCK = 128
"""Numbers drawn at a time for each row."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw: from log P / `temperature` (0 is always the most probable symbol), then from no more than the `top_k` most probable
    symbols (0: all), the fewest that hold `top_p` of what is left, and the fewest, from the most `typical`, that hold that much of it.

    `seed` decides every draw; at most `longest` symbols are drawn.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    typical: float = 1.0
    seed: int = 1
    longest: int = 200

    def __post_init__(self) -> None:
        allowed = {
            "temperature": (self.temperature == 0 or 0.001 <= self.temperature < math.inf, "0 (always the most probable symbol), or 0.001 and more"),
            "top_k": (self.top_k >= 0, "0 (all symbols), or how many"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1 (all symbols)"),
            "typical": (0 < self.typical <= 1, "above 0 and at most 1 (all symbols)"),
            "seed": (self.seed >= 0, "0 or more"),
            "longest": (self.longest >= 1, "1 or more"),
        }
        for name, (right, wanted) in allowed.items():
            if not right:
                raise UsageError("C012", f"sampling: {name} = {getattr(self, name)}", fix=f"{name}: {wanted}")

    def filters(self) -> list[Constraint]:
        """What is done to the log-probabilities before one symbol is drawn."""
        if self.temperature == 0:
            return [temperature(self.temperature)]
        stages = [(temperature(self.temperature), self.temperature != 1), (top_k(self.top_k), self.top_k > 0)]
        stages += [(top_p(self.top_p), self.top_p < 1), (typical(self.typical), self.typical < 1)]
        return [stage for stage, wanted in stages if wanted]


class Step(NamedTuple):
    """One symbol more for every row; a row that ended goes on as EOS of log-probability 0."""

    symbols: Int[Tensor, "R"]
    logprobs: Float[Tensor, "R"]
    """Under the decoder itself, whatever was cut: their sum is the log-probability of the sequence."""
    ended: Bool[Tensor, "R"]


class Said(NamedTuple):
    """What was drawn after one prompt, EOS included if it was."""

    symbols: list[int]
    logprobs: list[float]
    ended: bool


class _Rows(NamedTuple):
    """The rows that go on: who they are, and what the decoder says comes next."""

    number: Int[Tensor, "R"]
    sentence: Int[Tensor, "R"]
    tokens: Int[Tensor, "R L"]
    memory: Any
    state: State
    logits: Float[Tensor, "R V"]


def sample(
    decoder: Decoder,
    encoding: Encoding | None,
    prompt: Int[Tensor, "B P"],
    sampling: Sampling = Sampling(),
    *,
    samples: int = 1,
    constraints: Sequence[Constraint] = (),
    eos: int | None = None,
    state: State | None = None,
) -> Iterator[Step]:
    """`samples` continuations of each prompt (row b * samples + k is the k-th of prompt b), one step after the other, up to `longest`.

    The prompt is read once, after what `state` has read if it is given.  With `eos` a row that drew it ends and leaves the batch, which changes
    no other row; when all ended there are no more steps.  `UsageError` C036 if `constraints` forbid everything, `ModelError` M015 if
    the decoder says nothing that is a number.
    """
    rows = _read(decoder, encoding, prompt, state, samples)
    return _draw(decoder, rows, sampling, constraints, eos, _Chance(sampling.seed, range(len(rows.number))))


def sample_each(
    decoder: Decoder,
    encoding: Encoding | None,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling = Sampling(),
    *,
    samples: int = 1,
    eos: int | None = EOS,
) -> list[list[Said]]:
    """`samples` continuations of each prompt, whatever their lengths: prompts of one length are read together, and no answer depends on the others."""
    answers: dict[int, list[Said]] = {}
    for length in sorted({len(prompt) for prompt in prompts}):
        group = [place for place, prompt in enumerate(prompts) if len(prompt) == length]
        device = next(decoder.parameters()).device
        asked = torch.tensor([prompts[place] for place in group], device=device)
        source = None if encoding is None else select(encoding, torch.tensor(group, device=device))
        streams = [place * samples + k for place in group for k in range(samples)]
        steps = _draw(decoder, _read(decoder, source, asked, None, samples), sampling, (), eos, _Chance(sampling.seed, streams))
        said = _collected(list(steps))
        answers.update((place, said[i * samples : (i + 1) * samples]) for i, place in enumerate(group))
    return [answers[place] for place in range(len(prompts))]


def _collected(steps: Sequence[Step]) -> list[Said]:
    """Steps as sequences: each up to its end."""
    symbols, logprobs, ended = (torch.stack(part, 1).tolist() for part in zip(*steps, strict=True))
    lengths = [len(row) - max(0, sum(row) - 1) for row in ended]
    return [Said(s[:n], p[:n], e[-1]) for s, p, e, n in zip(symbols, logprobs, ended, lengths, strict=True)]


@torch.no_grad()
def _read(decoder: Decoder, encoding: Encoding | None, prompt: Int[Tensor, "B P"], state: State | None, samples: int) -> _Rows:
    """Prefill, once for all samples of a prompt; then every sample has a copy of the state."""
    if not prompt.shape[1] or samples < 1:
        found = f"{samples} samples after a prompt of {prompt.shape[1]} symbols"
        raise UsageError("C012", f"sampling: {found}", fix="at least one sample, and a prompt that begins with BOS")
    memory, start = decoder.start(encoding, len(prompt))
    state = start if state is None else state
    for piece in prompt.split(PREFILL, 1):
        logits, state = decoder(piece, state, memory)
    sentence = torch.arange(len(prompt), device=prompt.device)
    rows = repeat((sentence, prompt, memory, state, logits[:, -1]), samples)
    return _Rows(torch.arange(len(prompt) * samples, device=prompt.device), *rows)


def _draw(decoder: Decoder, rows: _Rows, sampling: Sampling, constraints: Sequence[Constraint], eos: int | None, chance: "_Chance") -> Iterator[Step]:
    """The loop: cut, draw, give out, read.  What is read is read when the next symbol is asked for."""
    filters, count, end = (*constraints, *sampling.filters()), len(rows.number), -1 if eos is None else eos
    symbols = rows.tokens[:, -1:]  # read already
    for place in range(sampling.longest):
        if place:
            rows = _listen(decoder, rows, symbols, bool(constraints))
        symbols, logprobs = _say(rows, filters, chance(place, rows.number), bool(constraints))
        step = Step(symbols[:, 0], logprobs, symbols[:, 0] == end)
        yield step if len(rows.number) == count else _in_place(step, rows.number, count, end)
        if eos is not None and step.ended.any():
            going = (~step.ended).nonzero()[:, 0]
            if not len(going):
                return
            rows, symbols = select((rows, symbols), going)


@torch.no_grad()
def _listen(decoder: Decoder, rows: _Rows, symbols: Int[Tensor, "R 1"], remember: bool) -> _Rows:
    """The rows after one symbol more."""
    logits, state = decoder(symbols, rows.state, rows.memory)
    tokens = torch.cat([rows.tokens, symbols], 1) if remember else rows.tokens
    return rows._replace(tokens=tokens, state=state, logits=logits[:, -1])


@torch.no_grad()
def _say(rows: _Rows, filters: Sequence[Constraint], chance: Float[Tensor, "R 1"], constrained: bool) -> tuple[Int[Tensor, "R 1"], Float[Tensor, "R"]]:
    """A symbol for each row, and its log-probability before anything was cut.

    It is the first up to which the chances add up to `chance` times their sum: `chance` is above 0, so nothing impossible is drawn.
    """
    known = scores = rows.logits.float().log_softmax(-1)
    for each in filters:
        scores = each(scores, rows.tokens, rows.sentence)
    total = scores.softmax(-1).cumsum(1, dtype=torch.float64)
    if not math.isfinite(float(total[:, -1].sum())):  # minus infinity everywhere, or no numbers
        if constrained:
            raise UsageError("C036", "the constraints forbid every symbol", fix="fewer forbidden symbols, or a shorter forced prefix")
        raise ModelError("M015", "the model says nothing that is a number: its weights are no use", fix="copy it again, or train with a lower rate")
    symbols = torch.searchsorted(total, chance * total[:, -1:])
    return symbols, known.gather(1, symbols)[:, 0]


def _in_place(step: Step, number: Int[Tensor, "N"], count: int, end: int) -> Step:
    """The step of all rows, of which only some go on."""
    symbols = step.symbols.new_full((count,), end).index_copy_(0, number, step.symbols)
    logprobs = step.logprobs.new_zeros(count).index_copy_(0, number, step.logprobs)
    return Step(symbols, logprobs, step.ended.new_ones(count).index_copy_(0, number, step.ended))


class _Chance:
    """One number above 0 and at most 1 for each row and place, from a stream of the row's own: who else is in the batch does not matter."""

    def __init__(self, seed: int, streams: Sequence[int]) -> None:
        self.streams = [np.random.Generator(np.random.PCG64((seed, stream))) for stream in streams]

    def __call__(self, place: int, number: Int[Tensor, "R"]) -> Float[Tensor, "R 1"]:
        """The numbers of place `place`; places are asked for in order."""
        if place % BLOCK == 0:
            self.block = torch.from_numpy(np.stack([1.0 - stream.random(BLOCK) for stream in self.streams])).to(number.device)
        return self.block[number, place % BLOCK, None]
