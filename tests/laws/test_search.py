"""The laws of search: penalties, limits and constraints, against every sentence a small decoder can say."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from saccade.errors import UsageError
from saccade.search import Hypotheses, Search, beam_search
from saccade.search.constraints import forbid, forced_prefix, no_repeat
from saccade.types import EOS, Encoding, Padded, pad, select

from .parts import B, V, setup
from .toys import all_sentences, enumerate_sentences, make_toy, make_toy_encoding, slow_beam

EXACT = {"atol": 1e-4, "rtol": 1e-5}
TOYS = ["recurrent-fused", "recurrent-before", "transformer"]
ATTENDING = ["recurrent", "recurrent-before", "recurrent-fused", "transformer", "transformer-rotary"]
PLAIN = Search(beam=3, length_penalty=0.0)


def row(encoding: Encoding, i: int) -> Encoding:
    return select(encoding, torch.tensor([i]))


def answers(found: Hypotheses, i: int) -> list[tuple[float, float, tuple[int, ...]]]:
    """[(rank, score, symbols)] of row `i`, EOS included if it was said, what is impossible left out."""
    rows = []
    for ids, score, rank, ended in zip(*(part[i].tolist() for part in found), strict=True):
        if score > float("-inf"):
            stop = ids.index(EOS) + ended if EOS in ids else len(ids)
            rows.append((rank, score, tuple(ids[:stop])))
    return rows


def expect_found(found: Hypotheses, i: int, ids: list[tuple[int, ...]], scores: Tensor, ranks: Tensor) -> None:
    """What was found for row `i` is the whole list, in order of rank, with its true scores."""
    said = answers(found, i)
    expected = sorted(zip(ranks.tolist(), scores.tolist(), ids, strict=True), reverse=True)
    assert len(said) == len(expected)
    assert {each[2] for each in said} == {each[2] for each in expected}
    own = {each[2]: each for each in expected}
    torch.testing.assert_close(torch.tensor([each[:2] for each in said]), torch.tensor([own[each[2]][:2] for each in said]), **EXACT)
    assert (torch.tensor([each[0] for each in said]).diff() <= 0).all()


def repeats(ids: tuple[int, ...], size: int) -> bool:
    runs = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
    return len(set(runs)) < len(runs)


RULES = {
    "no-symbol-twice": (lambda prompt: no_repeat(1), lambda i, ids: not repeats(ids, 1)),
    "no-pair-twice": (lambda prompt: no_repeat(2), lambda i, ids: not repeats(ids, 2)),
    "forbidden": (lambda prompt: forbid([0, 1, 4]), lambda i, ids: not {0, 1, 4} & set(ids[2:])),
    "no-end": (lambda prompt: forbid([EOS]), lambda i, ids: EOS not in ids),
    "prefix": (lambda prompt: forced_prefix(pad([[5, 0], [], [3, 3, 1]]), prompt), lambda i, ids: ids[2:][: (2, 0, 3)[i]] == ((5, 0), (), (3, 3, 1))[i]),
    "prefix-too-long": (
        lambda prompt: forced_prefix(pad([[1, 0, 1, 0, 1, 0], [4], [5]]), prompt),
        lambda i, ids: ids[2:] == (1, 0, 1, 0) if not i else ids[2] == 5 - (i == 1),
    ),
}
"""How to ask for it, and what it means for row i, whose sentence (prompt of two symbols included) is `ids`."""
PROMPT = (4, 5)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TOYS)
def test_constraints_leave_what_they_allow_and_nothing_else(name: str, rule: str) -> None:
    """A wide beam finds exactly the allowed sentences, with the probabilities they have anyway."""
    make, allowed = RULES[rule]
    decoder, encoding = make_toy(name), make_toy_encoding()
    length = 4 if name == "recurrent-fused" or rule == "prefix-too-long" else 3
    wide = Search(beam=V**length, length_penalty=0.7)
    prompt = torch.tensor([PROMPT] * B)
    found = beam_search(decoder, encoding, prompt, wide, limits=torch.full((B,), length), constraints=[make(len(PROMPT))])
    for i in range(B):
        every = enumerate_sentences(decoder, row(encoding, i), list(PROMPT), length)
        kept = torch.tensor([bool(allowed(i, (*PROMPT, *ids))) for ids in every.ids])
        assert kept.sum() > 0
        ids, scores = [each for each, keep in zip(every.ids, kept, strict=True) if keep], every.scores[kept]
        lengths = torch.tensor([float(len(each)) for each in ids])
        expect_found(found, i, ids, scores, scores / lengths**0.7)
        assert not found.ranks.isnan().any()


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_repeat_bans_what_would_repeat(size: int, length: int) -> None:
    tokens, scores = torch.randint(3, (40, length)), torch.randn(40, 3)
    left = no_repeat(size)(scores, tokens, torch.arange(40))
    for said, before, after in zip(tokens.tolist(), scores, left, strict=True):
        runs = {tuple(said[i : i + size]) for i in range(length - size + 1)}
        for symbol in range(3):
            again = (*said[length - size + 1 :], symbol) in runs if length >= size else False
            assert after[symbol] == (float("-inf") if again else before[symbol])


def test_a_prefix_follows_its_sentence_when_others_have_left() -> None:
    """Limits of 1 and 2 symbols send rows 0 and 1 home before row 2 has said its prefix."""
    prefix = [[5], [4, 4], [0, 1, 0, 5]]
    found = beam_search(
        make_toy("transformer"),
        make_toy_encoding(),
        torch.ones(B, 1, dtype=torch.long),
        PLAIN,
        limits=torch.tensor([1, 2, 6]),
        constraints=[forced_prefix(pad(prefix), 1)],
    )
    for i in range(B):
        said = answers(found, i)
        assert said
        assert all(list(ids[: len(prefix[i])]) == prefix[i] for _, _, ids in said)


def test_constraints_that_leave_nothing_leave_nothing() -> None:
    """No NaN, and no sentence: only scores of minus infinity."""
    constraints = [forbid([5]), forced_prefix(pad([[5], [4], [5]]), 1)]
    found = beam_search(
        make_toy("recurrent"), make_toy_encoding(), torch.ones(B, 1, dtype=torch.long), PLAIN, limits=torch.full((B,), 3), constraints=constraints
    )
    assert (found.scores[[0, 2]] == float("-inf")).all()
    assert not found.ranks.isnan().any()
    assert len(answers(found, 1)) == 3


def test_the_length_penalties_are_the_published_ones() -> None:
    lengths = torch.tensor([1.0, 10.0, 20.0])
    gnmt = Search(length_penalty=0.6, length_form="gnmt").divisor(lengths)
    assert [round(value, 3) for value in gnmt.tolist()] == [1.0, 1.733, 2.354]
    torch.testing.assert_close(Search(length_penalty=0.6).divisor(lengths), torch.tensor([1.0, 10**0.6, 20**0.6]))
    assert (Search(length_penalty=0.0).divisor(torch.tensor([0.0, 7.0])) == 1).all()


def test_the_coverage_penalty_is_the_published_one() -> None:
    """Attention counts up to 1; padding does not count; what nobody looked at costs log(1e-9), not everything."""
    received = torch.tensor([[0.5, 2.5, 0.25, 0.0], [0.5, 0.5, 0.0, 0.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    expected = [0.2 * (math.log(0.5) + math.log(0.25)), 0.2 * (2 * math.log(0.5) + 2 * math.log(1e-9))]
    torch.testing.assert_close(Search(coverage_penalty=0.2).coverage(received, mask), torch.tensor(expected))


@pytest.mark.parametrize("form", ["power", "gnmt"])
@pytest.mark.parametrize("name", ATTENDING)
def test_a_wide_beam_is_exhaustive_with_coverage(name: str, form: str) -> None:
    """Attention is summed over the symbols said, EOS included, and averaged over heads and layers."""
    decoder, encoding = make_toy(name, layers=2), make_toy_encoding(batch=2)
    search = Search(beam=V**3, length_penalty=0.6, length_form=form, coverage_penalty=0.3)
    found = beam_search(decoder, encoding, torch.tensor([[1, 4]] * 2), search, limits=torch.tensor([3, 3]))
    for i in range(2):
        every = enumerate_sentences(decoder, row(encoding, i), [1, 4], 3)
        lengths = torch.tensor([float(len(ids)) for ids in every.ids])
        divisor = ((5 + lengths) / 6) ** 0.6 if form == "gnmt" else lengths**0.6
        missing = [[math.log(min(p, 1.0)) for p, real in zip(each, encoding.mask[i].tolist(), strict=True) if real] for each in every.received.tolist()]
        expect_found(found, i, every.ids, every.scores, every.scores / divisor + 0.3 * torch.tensor(missing).sum(1))


PENALTIES = {
    "none": {"length_penalty": 0.0},
    "power": {"length_penalty": 1.0},
    "gnmt": {"length_penalty": 0.8, "length_form": "gnmt"},
    "coverage": {"length_penalty": 0.6, "coverage_penalty": 0.8},
}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_a_narrow_beam_keeps_the_best_ranks_at_every_step(name: str, penalty: str) -> None:
    """As a search does that grows lists, one hypothesis at a time."""
    prompt = [1, 4]
    for seed in range(3):
        decoder, encoding = make_toy(name, seed, **({"tied": False} if seed else {})), make_toy_encoding(seed)
        search = Search(beam=2 + seed, **PENALTIES[penalty])
        found = beam_search(decoder, encoding, torch.tensor([prompt] * B), search, limits=torch.tensor([5, 4, 6]))
        for i in range(B):
            expected = slow_beam(decoder, row(encoding, i), prompt, search, [5, 4, 6][i])
            assert [ids for _, _, ids in answers(found, i)] == [ids for _, ids in expected]
            assert [rank for rank, _, _ in answers(found, i)] == pytest.approx([rank for rank, _ in expected], abs=1e-4)


@pytest.mark.parametrize("search", [{}, {"length_penalty": 0.0}, {"length_form": "gnmt", "coverage_penalty": 0.2}], ids=str)
@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_no_narrow_beam_beats_an_exhaustive_one(name: str, search: dict[str, Any]) -> None:
    """And where every beam is full, none says the same sentence twice."""
    prompt, cut = torch.ones(B, 1, dtype=torch.long), torch.full((B,), 3)
    missed = 0
    for seed in range(4):
        decoder, encoding = make_toy(name, seed), make_toy_encoding(seed)
        best = beam_search(decoder, encoding, prompt, Search(beam=V**3, **search), limits=cut).ranks[:, 0]
        for beam in (1, 2, 5):
            found = beam_search(decoder, encoding, prompt, Search(beam=beam, **search), limits=cut)
            assert (found.ranks[:, 0] <= best + 1e-5).all()
            missed += int((found.ranks[:, 0] < best - 1e-4).sum())
            assert (found.ranks.diff(dim=1) <= 0).all()
            assert all(len({ids for _, _, ids in answers(found, i)}) == beam for i in range(B))
    assert missed  # or this law would have had nothing to say


@pytest.mark.parametrize("name", TOYS)
def test_limits_hold_row_by_row(name: str) -> None:
    decoder, encoding, cut = make_toy(name), make_toy_encoding(), torch.tensor([5, 2, 3])
    endless = beam_search(decoder, encoding, torch.ones(B, 1, dtype=torch.long), PLAIN, limits=cut, constraints=[forbid([EOS])])
    assert endless.tokens.shape == (B, 3, 5)
    assert not endless.ended.any()
    for i in range(B):
        assert (endless.tokens[i, :, : cut[i]] != EOS).all()
        assert (endless.tokens[i, :, cut[i] :] == EOS).all()
    found = beam_search(decoder, encoding, torch.ones(B, 1, dtype=torch.long), Search(beam=20, length_penalty=0.0), limits=cut)
    for i in range(B):
        for ids, ended in zip(found.tokens[i].tolist(), found.ended[i].tolist(), strict=True):
            body = ids[: int(cut[i])]
            assert ended == (EOS in body)
            assert all(symbol == EOS for symbol in (body[body.index(EOS) :] if ended else ids[int(cut[i]) :]))
    assert found.ended.any()
    assert not found.ended.all()


def test_who_may_say_nothing_says_nothing() -> None:
    found = beam_search(make_toy("recurrent"), make_toy_encoding(), torch.ones(B, 1, dtype=torch.long), PLAIN, limits=torch.tensor([0, 2, 0]))
    assert found.scores[[0, 2], 0].tolist() == found.ranks[[0, 2], 0].tolist() == [0.0, 0.0]
    assert (found.tokens[[0, 2], 0] == EOS).all()
    assert not found.ended[[0, 2], 0].any()
    assert [len(answers(found, i)) for i in range(B)] == [1, 3, 1]


def test_a_decoder_that_wants_to_end_ends() -> None:
    decoder = make_toy("transformer")
    decoder.output.bias.data[EOS] = 1e4
    found = beam_search(decoder, make_toy_encoding(), torch.ones(B, 1, dtype=torch.long), Search(beam=1), limits=torch.full((B,), 9))
    assert found.tokens.tolist() == [[[EOS]]] * B
    assert found.ended.all()
    torch.testing.assert_close(found.scores, torch.zeros(B, 1))


@pytest.mark.parametrize("name", ["recurrent-blind", "recurrent-lm", "transformer-lm"])
def test_coverage_needs_attention(name: str) -> None:
    decoder, encoding = setup(name)
    with pytest.raises(UsageError) as refused:
        beam_search(decoder, encoding, torch.ones(B, 1, dtype=torch.long), Search(beam=2, coverage_penalty=0.2), limits=torch.full((B,), 3))
    assert (refused.value.code, refused.value.headline) == ("C015", "a coverage penalty needs a decoder that attends to its source")
    assert refused.value.parts["fix"] == ["coverage_penalty = 0"]


@pytest.mark.parametrize("chosen", [{"beam": 0}, {"no_repeat": -1}, {"longest_ratio": -0.5}, {"longest_extra": -1}], ids=str)
def test_an_impossible_search_is_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as refused:
        Search(**chosen)
    values = {"beam": 5, "no_repeat": 0, "longest_ratio": 2.0, "longest_extra": 20, **chosen}
    listed = ", ".join(f"{name} = {values[name]}" for name in ("beam", "no_repeat", "longest_ratio", "longest_extra"))
    assert (refused.value.code, refused.value.headline) == ("C012", f"search: {listed}")
    assert refused.value.parts["fix"] == ["a beam of at least 1, and nothing below 0"]


def argmax_sentence(logits: Tensor) -> tuple[int, ...]:
    ids = logits.argmax(-1).tolist()
    return tuple(ids[: ids.index(EOS) + 1] if EOS in ids else ids)


@pytest.mark.parametrize("name", ["recurrent", "recurrent-before", "recurrent-blind", "transformer", "transformer-post"])
def test_teacher_forced_exact_match_is_greedy_exact_match(name: str) -> None:
    """Item by item: whoever is right about every next symbol says the same sentence alone (and the reverse)."""
    decoder, encoding, length = make_toy(name), make_toy_encoding(batch=1), 3
    targets = [ids for ids in all_sentences(length) if ids[-1] == EOS]
    said = beam_search(decoder, encoding, torch.ones(1, 1, dtype=torch.long), Search(beam=1), limits=torch.tensor([length])).tokens[0, 0].tolist()
    greedy = tuple(said[: said.index(EOS) + 1] if EOS in said else said)
    if greedy[-1] != EOS:
        targets.append(greedy)  # cut off by the limit, on both sides
    matches = 0
    for target in targets:
        memory, state = decoder.start(encoding, 1)
        logits = decoder(torch.tensor([[1, *target[:-1]]]), state, memory)[0][0]
        forced_match = argmax_sentence(logits) == target
        assert forced_match == (greedy == target)
        matches += forced_match
    assert matches == 1


def test_padded_prefixes_read_their_own_length() -> None:
    """What stands behind the end of a prefix is not part of it."""
    prefix = Padded(torch.tensor([[5, 4, 4], [0, 0, 5]]), torch.tensor([1, 3]))
    scores, rule = torch.zeros(2, V), forced_prefix(prefix, 2)
    for place, free in enumerate([(False, False), (True, False), (True, False), (True, True)]):
        left = rule(scores, torch.zeros(2, 2 + place, dtype=torch.long), torch.tensor([0, 1]))
        for i in range(2):
            expected = list(range(V)) if free[i] else [int(prefix.ids[i, place])]
            assert (left[i] == 0).nonzero()[:, 0].tolist() == expected
