"""The laws of sampling, over the folder of decoders: what is drawn, how often, and that nothing but seed, row and model decides it."""

import itertools
import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.errors import ModelError, UsageError
from saccade.search import Sampling, Search, Step, beam_search, sample, sample_each
from saccade.search.constraints import forbid, forced_prefix, no_repeat
from saccade.types import EOS, Encoding, pad, repeat, select

from .parts import DECODERS, B, V, make_decoder, setup
from .twins import cut

every_decoder = pytest.mark.parametrize("name", DECODERS)
CUTS = {"none": {}, "temperature": {"temperature": 0.6}, "top-k": {"top_k": 3}, "top-p": {"top_p": 0.8}, "typical": {"typical": 0.7}}
CUTS["all"] = {"temperature": 1.4, "top_k": 5, "top_p": 0.9, "typical": 0.95}
every_cut = pytest.mark.parametrize("cuts", CUTS.values(), ids=list(CUTS))
LONGEST = 6


def prompts(length: int = 2) -> Tensor:
    return torch.randint(3, V, (B, length))


def row(encoding: Encoding | None, i: int) -> Encoding | None:
    return None if encoding is None else select(encoding, torch.tensor([i]))


def together(steps: Any) -> Step:
    """All steps as one: symbols, log-probabilities and ends of shape R T."""
    return Step(*(torch.stack(part, 1) for part in zip(*steps, strict=True)))


def plain(decoder: Decoder, encoding: Encoding | None, prompt: list[int], sampling: Sampling, stream: int) -> tuple[list[int], list[float]]:
    """The same, written out: no cache, no batch; everything is read again for every symbol."""
    draw, ids, own = np.random.Generator(np.random.PCG64((sampling.seed, stream))), [], []
    for chance in 1.0 - draw.random(128)[: sampling.longest]:
        memory, state = decoder.start(encoding, 1)
        known = decoder(torch.tensor([[*prompt, *ids]]), state, memory)[0][0, -1].log_softmax(-1).tolist()
        chances, total = cut(known, sampling), 0.0
        for symbol in sorted(chances):
            total += chances[symbol]
            if total >= chance * sum(chances.values()):
                break
        ids, own = [*ids, symbol], [*own, known[symbol]]
    return ids, own


@pytest.mark.parametrize(("name", "cuts"), [*((name, {}) for name in DECODERS), *itertools.product(["recurrent", "transformer-lm"], CUTS.values())], ids=str)
def test_it_says_what_reading_everything_again_would_say(name: str, cuts: dict[str, Any]) -> None:
    """Cached = uncached: the same symbols, with the log-probabilities of the decoder itself, whatever was cut."""
    (decoder, encoding), asked, sampling = setup(name), prompts(), Sampling(longest=LONGEST, **cuts)
    found = together(sample(decoder, encoding, asked, sampling))
    for i in range(B):
        ids, own = plain(decoder, row(encoding, i), asked[i].tolist(), sampling, i)
        assert found.symbols[i].tolist() == ids
        torch.testing.assert_close(found.logprobs[i], torch.tensor(own), atol=1e-5, rtol=1e-5)


@every_decoder
@pytest.mark.parametrize("degree", [0.0, 0.001])
def test_without_heat_it_is_greedy(name: str, degree: float) -> None:
    decoder, encoding = setup(name)
    asked = prompts()
    found = together(sample(decoder, encoding, asked, Sampling(temperature=degree, top_p=0.5, longest=8), eos=EOS))
    greedy = beam_search(decoder, encoding, asked, Search(beam=1), limits=torch.full((B,), 8))
    assert torch.equal(found.symbols, greedy.tokens[:, 0])
    torch.testing.assert_close(found.logprobs.sum(1), greedy.scores[:, 0], atol=1e-4, rtol=1e-5)


@every_decoder
def test_batch_mates_do_not_matter(name: str) -> None:
    """Neither who they are nor whether they are there: a row's chance is its own."""
    decoder, encoding = setup(name)
    asked, sampling = prompts(), Sampling(longest=LONGEST)
    found = together(sample(decoder, encoding, asked, sampling, eos=EOS))
    alone = together(sample(decoder, row(encoding, 0), asked[:1], sampling, eos=EOS))
    size = alone.symbols.shape[1]
    assert torch.equal(alone.symbols[0], found.symbols[0, :size])
    torch.testing.assert_close(alone.logprobs[0], found.logprobs[0, :size], atol=1e-5, rtol=1e-5)
    mates = torch.tensor([2, 1, 0])
    other = together(sample(decoder, None if encoding is None else select(encoding, mates), asked[mates], sampling, eos=EOS))
    size = min(other.symbols.shape[1], found.symbols.shape[1])
    assert torch.equal(other.symbols[1, :size], found.symbols[1, :size])


@every_decoder
def test_forking_a_prompt_is_sampling_it_again_and_again(name: str) -> None:
    (decoder, encoding), asked, sampling = setup(name), prompts(), Sampling(longest=LONGEST, temperature=8.0)
    forked = together(sample(decoder, encoding, asked, sampling, samples=4, eos=EOS))
    separate = together(sample(decoder, repeat(encoding, 4), repeat(asked, 4), sampling, eos=EOS))
    assert torch.equal(forked.symbols, separate.symbols)
    torch.testing.assert_close(forked.logprobs, separate.logprobs, atol=1e-5, rtol=1e-5)
    assert len({tuple(ids) for ids in forked.symbols[:4].tolist()}) > 1


@every_decoder
def test_who_ended_leaves_and_nobody_notices(name: str) -> None:
    """Up to its end every row is what it is when nobody ends; after it there is EOS of log-probability 0."""
    (decoder, encoding), asked, sampling = setup(name), prompts(), Sampling(longest=40)
    found = together(sample(decoder, encoding, asked, sampling, samples=5, eos=EOS))
    endless = together(sample(decoder, encoding, asked, sampling, samples=5))
    assert not endless.ended.any()
    assert found.ended[:, :-1].any()
    for i, ended in enumerate(found.ended.tolist()):
        stop = ended.index(True) + 1 if True in ended else len(ended)
        assert torch.equal(found.symbols[i, :stop], endless.symbols[i, :stop])
        torch.testing.assert_close(found.logprobs[i, :stop], endless.logprobs[i, :stop], atol=1e-5, rtol=1e-5)
        assert EOS not in found.symbols[i, : stop - 1].tolist()
        assert (found.symbols[i, stop:] == EOS).all()
        assert (found.logprobs[i, stop:] == 0).all()
        assert all(ended[stop:])


@every_decoder
def test_the_logprobs_add_up_to_the_sequence_s_own(name: str) -> None:
    decoder, encoding = setup(name)
    asked = prompts()
    found = together(sample(decoder, encoding, asked, Sampling(longest=LONGEST, temperature=2.0, top_k=4), eos=EOS))
    for i in range(B):
        ids = found.symbols[i].tolist()
        ids = ids[: ids.index(EOS) + 1] if EOS in ids else ids
        memory, state = decoder.start(row(encoding, i), 1)
        known = decoder(torch.tensor([[*asked[i].tolist(), *ids[:-1]]]), state, memory)[0][0, 1:].log_softmax(-1)
        assert found.logprobs[i].sum().item() == pytest.approx(known.gather(1, torch.tensor(ids)[:, None]).sum().item(), abs=1e-4)


@every_decoder
def test_it_goes_on_from_a_state(name: str) -> None:
    decoder, encoding = setup(name)
    asked = prompts(5)
    memory, state = decoder.start(encoding, B)
    _, state = decoder(asked[:, :3], state, memory)
    whole = together(sample(decoder, encoding, asked, Sampling(longest=4), samples=2))
    later = together(sample(decoder, encoding, asked[:, 3:], Sampling(longest=4), samples=2, state=state))
    assert torch.equal(whole.symbols, later.symbols)
    torch.testing.assert_close(whole.logprobs, later.logprobs, atol=1e-5, rtol=1e-5)


@every_decoder
def test_prompts_of_all_lengths(name: str) -> None:
    """Each is continued as if it were alone, with the chance of its own place."""
    decoder, encoding = setup(name)
    asked, sampling = [[1, 4, 5], [3], [5, 4, 3]], Sampling(longest=LONGEST)
    found = sample_each(decoder, encoding, asked, sampling, samples=2)
    for i, k in itertools.product(range(B), range(2)):
        ids, own = plain(decoder, row(encoding, i), asked[i], sampling, 2 * i + k)
        stop = ids.index(EOS) + 1 if EOS in ids else len(ids)
        assert found[i][k].symbols == ids[:stop]
        assert found[i][k].logprobs == pytest.approx(own[:stop], abs=1e-5)
        assert found[i][k].ended == (EOS in ids)


def sequences(decoder: Decoder, prompt: list[int], sampling: Sampling) -> dict[tuple[int, int], float]:
    """How probable every pair of symbols is, by counting them all out."""
    memory, state = decoder.start(None, V)
    logits, _ = decoder(torch.tensor([[*prompt, first] for first in range(V)]), state, memory)
    firsts = cut(logits[0, -2].log_softmax(-1).tolist(), sampling)
    seconds = [cut(each, sampling) for each in logits[:, -1].log_softmax(-1).tolist()]
    return {(a, b): firsts[a] / sum(firsts.values()) * seconds[a][b] / sum(seconds[a].values()) for a in firsts for b in seconds[a]}


@every_cut
@pytest.mark.parametrize("name", ["recurrent-lm", "transformer-lm"])
def test_it_is_drawn_as_often_as_it_is_probable(name: str, cuts: dict[str, Any]) -> None:
    """Chi-square of 20,000 pairs of symbols against every pair's probability; what was cut off never comes."""
    decoder, sampling, count = make_decoder(name), Sampling(longest=2, seed=5, **cuts), 20_000
    for weight in decoder.parameters():
        weight.data *= 0.5
    expected = sequences(decoder, [1, 4], sampling)
    drawn = together(sample(decoder, None, torch.tensor([[1, 4]]), sampling, samples=count)).symbols
    seen = dict.fromkeys(expected, 0)
    for a, b in drawn.tolist():
        assert (a, b) in expected
        seen[a, b] += 1
    cells = [(seen[pair], chance * count) for pair, chance in expected.items()]
    rare = [cell for cell in cells if cell[1] < 10]
    cells = [cell for cell in cells if cell[1] >= 10] + ([tuple(map(sum, zip(*rare, strict=True)))] if rare else [])
    distance = sum((observed - wanted) ** 2 / wanted for observed, wanted in cells)
    degrees = len(cells) - 1
    assert degrees >= 4
    assert distance < degrees + 4 * math.sqrt(2 * degrees)


def test_a_seed_is_a_sample() -> None:
    decoder, encoding = setup("transformer-lm")
    asked, one = torch.ones(1, 1, dtype=torch.long), Sampling(longest=40)
    first, again, other = (together(sample(decoder, encoding, asked, each, samples=3)).symbols for each in (one, one, replace(one, seed=2)))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(ids) for ids in first.tolist()}) == 3
    longer = together(sample(decoder, encoding, asked, replace(one, longest=150), samples=3)).symbols  # beyond the first block of numbers
    assert torch.equal(longer[:, :40], first)
    assert not torch.equal(longer[:, 128:150], longer[:, :22])
    torch.rand(7)
    before = torch.get_rng_state()
    assert torch.equal(together(sample(decoder, encoding, asked, one, samples=3)).symbols, first)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_prompt_is_read_once_and_each_symbol_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, encoding = setup("transformer-lm")
    read = []
    decoder.embedding.register_forward_pre_hook(lambda _module, inputs: read.append(tuple(inputs[0].shape)))
    steps = sample(decoder, encoding, prompts(5), Sampling(longest=3), samples=4)
    assert read == [(B, 5)]
    next(steps)
    assert read == [(B, 5)]
    assert torch.is_grad_enabled()  # what happens between two steps is not our business
    assert not next(steps).logprobs.requires_grad
    assert read == [(B, 5), (4 * B, 1)]
    assert len(list(steps)) == 1
    assert read == [(B, 5), (4 * B, 1), (4 * B, 1)]  # the last symbol is not read: nothing comes after it
    whole = together(sample(decoder, encoding, prompts(5), Sampling(longest=3)))
    monkeypatch.setattr(sys.modules["saccade.search.sample"], "PREFILL", 2)
    pieces = together(sample(decoder, encoding, prompts(5), Sampling(longest=3)))
    assert whole.symbols.shape == pieces.symbols.shape
    assert read[-5:-2] == [(B, 2), (B, 2), (B, 1)]


@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_constraints_hold_for_the_right_rows(name: str) -> None:
    decoder, encoding = setup(name)
    decoder.output.bias.data[EOS] += 2.0
    wanted, asked = [[5, 4, 3], [], [3, 3, 5, 4]], prompts()
    rules = [forced_prefix(pad(wanted), 2), forbid([0, 1])]
    found = together(sample(decoder, encoding, asked, Sampling(longest=9), samples=40, constraints=rules, eos=EOS))
    free = together(sample(decoder, encoding, asked, Sampling(longest=9), samples=40, eos=EOS))
    assert torch.isin(free.symbols, torch.tensor([0, 1])).any()
    assert not torch.isin(found.symbols, torch.tensor([0, 1])).any()
    assert found.ended[40:80, 0].any()  # some rows of the second sentence leave while the third still says its prefix
    for i, k in itertools.product(range(B), range(40)):
        assert found.symbols[40 * i + k].tolist()[: len(wanted[i])] == wanted[i]
    twice = together(sample(decoder, encoding, asked, Sampling(longest=9), samples=40, constraints=[no_repeat(1)], eos=EOS))
    for said, ids, ended in zip(repeat(asked, 40).tolist(), twice.symbols.tolist(), twice.ended.tolist(), strict=True):
        whole = [*said, *ids[: ended.index(True) + 1 if True in ended else len(ids)]]
        assert len(whole[1:]) - len(set(whole[1:])) <= (said[0] == said[1])


def test_constraints_that_leave_nothing_are_told() -> None:
    decoder, encoding = setup("recurrent-lm")
    with pytest.raises(UsageError) as refused:
        list(sample(decoder, encoding, prompts(), constraints=[forbid(list(range(V)))]))
    assert (refused.value.code, refused.value.headline) == ("C036", "the constraints forbid every symbol")
    assert refused.value.parts["fix"] == ["fewer forbidden symbols, or a shorter forced prefix"]


@every_cut
def test_a_model_without_numbers_is_told(cuts: dict[str, Any]) -> None:
    decoder, encoding = setup("recurrent-lm")
    decoder.output.bias.data[3] = float("nan")
    with pytest.raises(ModelError) as refused:
        list(sample(decoder, encoding, prompts(), Sampling(**cuts)))
    assert (refused.value.code, refused.value.headline) == ("M015", "the model says nothing that is a number: its weights are no use")
    assert refused.value.parts["fix"] == ["copy it again, or train with a lower rate"]


@pytest.mark.parametrize(("samples", "length"), [(0, 2), (1, 0)])
def test_nothing_to_go_on_is_refused(samples: int, length: int) -> None:
    decoder, encoding = setup("recurrent-lm")
    with pytest.raises(UsageError) as refused:
        sample(decoder, encoding, prompts(length), samples=samples)
    assert (refused.value.code, refused.value.headline) == ("C012", f"sampling: {samples} samples after a prompt of {length} symbols")
    assert refused.value.parts["fix"] == ["at least one sample, and a prompt that begins with BOS"]


IMPOSSIBLE = [
    ("temperature", -0.1, "0 (always the most probable symbol), or 0.001 and more"),
    ("temperature", 0.0001, "0 (always the most probable symbol), or 0.001 and more"),
    ("temperature", math.inf, "0 (always the most probable symbol), or 0.001 and more"),
    ("temperature", math.nan, "0 (always the most probable symbol), or 0.001 and more"),
    ("top_k", -1, "0 (all symbols), or how many"),
    ("top_p", 0.0, "above 0 and at most 1 (all symbols)"),
    ("top_p", 1.1, "above 0 and at most 1 (all symbols)"),
    ("typical", 0.0, "above 0 and at most 1 (all symbols)"),
    ("typical", 1.5, "above 0 and at most 1 (all symbols)"),
    ("seed", -1, "0 or more"),
    ("longest", 0, "1 or more"),
]


@pytest.mark.parametrize(("knob", "value", "allowed"), IMPOSSIBLE)
def test_impossible_sampling_is_refused(knob: str, value: float, allowed: str) -> None:
    with pytest.raises(UsageError) as refused:
        Sampling(**{knob: value})
    assert (refused.value.code, refused.value.headline) == ("C012", f"sampling: {knob} = {value}")
    assert refused.value.parts["fix"] == [f"{knob}: {allowed}"]
