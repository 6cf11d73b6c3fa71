"""The laws of patterns: by blocks as by the mask, and from anywhere to anywhere in two steps."""

from math import isqrt, log

import pytest
import torch
from torch import Tensor, nn

from saccade.attention import Attention, watching
from saccade.attention.masks import block, causal, fixed, strided, window
from saccade.attention.patterns import Pattern
from saccade.attention.scores import Score
from saccade.errors import UsageError
from saccade.families import choose, members

from .parts import B, V, make_decoder
from .test_attention import EXACT, Constant, every_lead, every_score, make_attention

CASES: dict[str, dict] = {
    "strided-1": {"name": "strided", "stride": 1},
    "strided-3": {"name": "strided", "stride": 3},
    "fixed-1": {"name": "fixed", "stride": 1, "summary": 1},
    "fixed-3": {"name": "fixed", "stride": 3, "summary": 3},
    "fixed-4": {"name": "fixed", "stride": 4, "summary": 1},
    "fixed-5": {"name": "fixed", "stride": 5, "summary": 2},
} | {name: {"name": name} for name in members("saccade.attention.patterns")}
"""Every pattern, as it comes and small enough to repeat; a new file in the folder joins by itself."""
LENGTHS = [1, 3, 4, 8, 13, 33]
every_pattern = pytest.mark.parametrize("case", CASES)
every_length = pytest.mark.parametrize("length", LENGTHS)


def make_pattern(case: str, **chosen: object) -> Pattern:
    return choose(Pattern, **CASES[case] | chosen)()


def gathered(attention: Attention, pattern: Pattern, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return pattern.attend((attention.score, attention.dropout), query, attention.prepare(keys), values)


def masked(attention: Attention, pattern: Pattern, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return attention(query, attention.prepare(keys), values, pattern.mask(query.shape[-2], query.shape[-2]))[0]


@every_length
@every_lead
@every_score
@every_pattern
def test_by_blocks_as_by_the_mask(case: str, score: str, lead: tuple[int, ...], length: int) -> None:
    """What is gathered, and the gradient of everything."""
    attention, pattern = make_attention(score), make_pattern(case)
    leaves = [torch.randn(*lead, length, width, requires_grad=True) for width in (4, 4, 7)]
    found, expected = (way(attention, pattern, *leaves) for way in (gathered, masked))
    torch.testing.assert_close(found, expected, **EXACT)
    slope = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad(context, [*leaves, *attention.parameters()], slope) for context in (found, expected))
    torch.testing.assert_close(ours, theirs, **EXACT)


@pytest.mark.parametrize("case", members("saccade.attention.patterns"))
def test_by_blocks_as_by_the_mask_at_length(case: str) -> None:
    attention, pattern = Attention(choose(Score, "scaled_dot")(64, 64)), make_pattern(case, stride=23)
    leaves = [torch.randn(2, 2, 517, 64, requires_grad=True) for _ in range(3)]
    found, expected = (way(attention, pattern, *leaves) for way in (gathered, masked))
    torch.testing.assert_close(found, expected, **EXACT)
    ours, theirs = (torch.autograd.grad(context.sum(), leaves) for context in (found, expected))
    torch.testing.assert_close(ours, theirs, **EXACT)


@every_pattern
def test_in_half_precision_the_softmax_is_shared_too(case: str) -> None:
    attention, pattern = make_attention("scaled_dot"), make_pattern(case)
    leaves = [torch.randn(2, 13, 4) for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (way(attention, pattern, *leaves) for way in (gathered, masked))
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, atol=3e-2, rtol=3e-2)


@every_pattern
def test_dropout_drops_weights(case: str) -> None:
    """Of equal weights a whole number is kept, and not always all."""
    attention, pattern = Attention(Constant(4, 4), dropout=0.5), make_pattern(case)
    query, ones, seen = torch.randn(2, 13, 4), torch.ones(2, 13, 1), pattern.mask(13, 13).sum(-1)
    kept = gathered(attention, pattern, query, query, ones)[..., 0] * seen / 2
    torch.testing.assert_close(kept, kept.round(), **EXACT)
    assert (kept >= -1e-5).all()
    assert (kept <= seen + 1e-5).all()
    assert (kept.round() != seen).any()
    torch.testing.assert_close(gathered(attention.eval(), pattern, query, query, ones), ones, **EXACT)


@every_length
@every_pattern
def test_a_place_sees_itself_and_nothing_after(case: str, length: int) -> None:
    pattern = make_pattern(case)
    for seen in (*pattern.sets(length, length), pattern.mask(length, length)):
        assert seen.diagonal().all()
        assert not (seen & ~causal(length, length)).any()


@every_pattern
def test_the_mask_of_a_piece_is_a_piece_of_the_mask(case: str) -> None:
    pattern = make_pattern(case)
    for queries in range(1, 14):
        assert torch.equal(pattern.mask(queries, 13), pattern.mask(13, 13)[-queries:])


@every_length
@every_pattern
def test_a_stride_as_long_as_the_text_hides_nothing(case: str, length: int) -> None:
    assert torch.equal(make_pattern(case, stride=length + 4).mask(length, length), causal(length, length))


@every_length
@every_pattern
def test_pairs_are_counted_exactly(case: str, length: int) -> None:
    pattern = make_pattern(case)
    assert tuple(pattern.pairs(length)) == tuple(int(seen.sum()) for seen in (*pattern.sets(length, length), pattern.mask(length, length)))


def reached(first: Tensor, second: Tensor) -> Tensor:
    """From whom to whom in two steps: query, over what it sees first, to what that sees second."""
    return first.float() @ second.float() > 0


@pytest.mark.parametrize("length", [13, 33, 100])
@every_pattern
def test_two_steps_reach_every_place_before(case: str, length: int) -> None:
    mask = make_pattern(case).mask(length, length)
    assert torch.equal(reached(mask, mask), causal(length, length))


def test_blocks_are_summed_up_before_summaries_are_read() -> None:
    """In the other order, what is no summary is lost outside its block."""
    near, far = make_pattern("fixed-4").sets(33, 33)
    assert torch.equal(reached(far, near | far), causal(33, 33))
    assert not torch.equal(reached(near, far), causal(33, 33))


def test_the_sets_are_those_of_the_paper() -> None:
    """Place 5 of 8, with a stride of 3: which places it sees."""
    seen = {name: mask[5].nonzero()[:, 0].tolist() for name, mask in {"window": window(8, 8, 3), "strided": strided(8, 8, 3), "block": block(8, 8, 3)}.items()}
    assert seen == {"window": [3, 4, 5], "strided": [2, 5], "block": [3, 4, 5]}
    assert fixed(8, 8, 3, 1)[4].nonzero()[:, 0].tolist() == [2, 4]
    assert fixed(8, 8, 3, 2)[4].nonzero()[:, 0].tolist() == [1, 2, 4]
    assert fixed(8, 8, 3, 1)[0].nonzero()[:, 0].tolist() == [0]
    assert torch.equal(window(2, 8, 3), window(8, 8, 3)[-2:])


def slope(counts: dict[int, int]) -> float:
    """The exponent, by least squares over logarithms."""
    x, y = torch.tensor([[log(n), log(count)] for n, count in counts.items()], dtype=torch.float64).T
    return float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def test_pairs_grow_as_the_power_of_one_and_a_half() -> None:
    """n = 1k, 4k, 16k at a stride of the root of n: the two sets of the strided pattern, and how many times fewer than dense."""
    lengths = [1024, 4096, 16384]
    pairs = {n: make_pattern("strided", stride=isqrt(n)).pairs(n) for n in lengths}
    dense = {n: n * (n + 1) // 2 for n in lengths}
    sets = {n: pairs[n].near + pairs[n].far for n in lengths}
    assert abs(slope(sets) - 1.5) < 0.005
    assert [round(dense[n] / sets[n], 1) for n in lengths] == [10.7, 21.3, 42.7]
    assert all(pairs[n].either == sets[n] - n for n in lengths)  # the place itself is in both
    assert abs(slope({n: pairs[n].either for n in lengths}) - 1.5) < 0.01
    assert abs(slope(dense) - 2) < 0.005
    summed = {n: make_pattern("fixed", stride=isqrt(n), summary=1).pairs(n) for n in lengths}
    assert abs(slope({n: summed[n].near + summed[n].far for n in lengths}) - 1.5) < 0.02


@pytest.mark.parametrize(
    ("chosen", "headline", "fix"),
    [
        ({"name": "strided", "stride": 0}, "stride = 0: a pattern needs a stride of 1 or more", "about the root of the context: 32 for 1,024 tokens"),
        ({"name": "fixed", "stride": 4, "summary": 5}, "summary = 5: of a block of 4 places, 1 to 4 can sum it up", "summary = 1"),
        ({"name": "fixed", "stride": 32, "summary": 0}, "summary = 0: of a block of 32 places, 1 to 32 can sum it up", "summary = 4"),
    ],
)
def test_what_cannot_be_a_pattern(chosen: dict, headline: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(Pattern, **chosen, where="decoder.pattern")()
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"]) == ("C012", f"decoder.pattern: {headline}", [fix])
    assert caught.value.setting == f"decoder.pattern.{headline.split()[0]}"


@pytest.mark.parametrize("case", ["strided-3", "fixed-4"])
def test_a_decoder_goes_by_blocks_at_once_and_by_the_mask_in_pieces_and_watched(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = make_decoder("transformer-lm", pattern=CASES[case])
    calls, kernel, mask = [], type(decoder.pattern).attend, type(decoder.pattern).mask
    monkeypatch.setattr(type(decoder.pattern), "attend", lambda *inputs: calls.append("blocks") or kernel(*inputs))
    monkeypatch.setattr(type(decoder.pattern), "mask", lambda *inputs: calls.append("mask") or mask(*inputs))
    memory, start = decoder.start(None, B)
    tokens = torch.randint(V, (B, 9))
    whole, _ = decoder(tokens, start, memory)
    assert calls == ["blocks"] * 2
    _, state = decoder(tokens[:, :6], start, memory)
    decoder(tokens[:, 6:], state, memory)
    assert calls == ["blocks"] * 4 + ["mask"] * 2
    with watching(decoder) as seen:
        watched, _ = decoder(tokens, start, memory)
    assert calls == ["blocks"] * 4 + ["mask"] * 4
    torch.testing.assert_close(watched, whole, **EXACT)
    for (weights,) in seen.values():
        assert torch.equal(weights[0, 0] > 0, mask(decoder.pattern, 9, 9))


def test_positions_that_score_distance_go_by_the_mask() -> None:
    """A kernel by blocks knows no distances: in pieces and at once all is as the mask has it."""
    for position in ("relative", "alibi"):
        decoder = make_decoder("transformer-lm", layers=1, pattern=CASES["fixed-4"], position=position)
        memory, state = decoder.start(None, B)
        tokens = torch.randint(V, (B, 9))
        whole, _ = decoder(tokens, state, memory)
        head, after = decoder(tokens[:, :5], state, memory)
        torch.testing.assert_close(torch.cat([head, decoder(tokens[:, 5:], after, memory)[0]], 1), whole, **EXACT)
        with watching(decoder) as seen:
            decoder(tokens, state, memory)
        for (weights,) in seen.values():
            assert torch.equal(weights[0, 0] > 0, decoder.pattern.mask(9, 9))


def test_a_span_beside_a_pattern_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        make_decoder("transformer-lm", span=3, pattern=CASES["fixed-4"])
    assert (caught.value.code, caught.value.setting) == ("C012", "transformer.span")
    assert caught.value.headline == "transformer: span = 3 beside a pattern: each says what a symbol sees"
    assert caught.value.parts["fix"] == ['span = "none", or pattern = "none"']


def test_a_decoder_sees_what_its_pattern_shows() -> None:
    """One layer: a change reaches those who see it, and no others."""
    decoder = make_decoder("transformer-lm", layers=1, pattern=CASES["fixed-4"])
    memory, state = decoder.start(None, 1)
    tokens = torch.randint(V, (1, 11))
    before = decoder(tokens, state, memory)[0][0]
    for place in range(11):
        other = tokens.clone()
        other[0, place] = (other[0, place] + 1) % V
        moved = (decoder(other, state, memory)[0][0] - before).abs().amax(-1) > 1e-6
        assert torch.equal(moved, decoder.pattern.mask(11, 11)[:, place])


def test_every_weight_learns_by_blocks() -> None:
    for case in ("strided-3", "fixed-4"):
        decoder = make_decoder("transformer-lm", pattern=CASES[case], position="learned", score="additive").train()
        memory, state = decoder.start(None, B)
        logits, _ = decoder(torch.randint(V, (B, 9)), state, memory)
        nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(V, (B * 9,))).backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in decoder.parameters())
