"""The laws of decoding, over the folder: a new decoder is certified the moment its file exists."""

import itertools

import pytest
import torch

from saccade.layers.cross_entropy import cross_entropy
from saccade.search import Search, beam_search
from saccade.types import EOS, PAD, select

from .parts import BLIND, DECODERS, LEARNING, SCORES, B, V, make_decoder, make_encoding, random_texts, setup

EXACT = {"atol": 1e-5, "rtol": 1e-5}


def pick(tree, rows):
    return select(tree, torch.as_tensor(rows))


def limits(batch, length):
    return torch.full((batch,), length)


@pytest.mark.parametrize("cut", [1, 3, 6])
@pytest.mark.parametrize("name", DECODERS)
def test_decoding_in_pieces_equals_decoding_at_once(name, cut):
    decoder, encoding = setup(name)
    tokens = torch.randint(V, (B, 7))
    memory, start = decoder.start(encoding, B)
    whole, _ = decoder(tokens, start, memory)
    head, state = decoder(tokens[:, :cut], start, memory)
    tail, _ = decoder(tokens[:, cut:], state, memory)
    torch.testing.assert_close(torch.cat([head, tail], 1), whole, **EXACT)


@pytest.mark.parametrize("name", DECODERS)
def test_one_symbol_at_a_time_equals_the_whole(name):
    decoder, encoding = setup(name)
    tokens = torch.randint(V, (B, 6))
    memory, state = decoder.start(encoding, B)
    whole, _ = decoder(tokens, state, memory)
    steps = []
    for place in range(6):
        logits, state = decoder(tokens[:, place : place + 1], state, memory)
        steps.append(logits)
    torch.testing.assert_close(torch.cat(steps, 1), whole, **EXACT)


@pytest.mark.parametrize("name", DECODERS)
def test_selecting_rows_commutes_with_decoding(name):
    decoder, encoding = setup(name)
    rows = torch.tensor([2, 0, 0, 1])
    tokens, later = torch.randint(V, (B, 4)), torch.randint(V, (4, 2))
    memory, state = decoder.start(encoding, B)
    _, state = decoder(tokens, state, memory)
    selected, _ = decoder(later, select(state, rows), select(memory, rows))
    memory, state = decoder.start(select(encoding, rows), 4)
    _, state = decoder(tokens[rows], state, memory)
    afresh, _ = decoder(later, state, memory)
    torch.testing.assert_close(selected, afresh, **EXACT)


@pytest.mark.parametrize("name", DECODERS)
def test_states_are_values(name):
    """Two futures of one past do not disturb each other."""
    decoder, encoding = setup(name)
    memory, start = decoder.start(encoding, B)
    _, past = decoder(torch.randint(V, (B, 3)), start, memory)
    one, other = torch.randint(V, (B, 2)), torch.randint(V, (B, 2))
    first, _ = decoder(one, past, memory)
    decoder(other, past, memory)
    again, _ = decoder(one, past, memory)
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", DECODERS)
def test_the_future_is_unseen(name):
    decoder, encoding = setup(name)
    memory, state = decoder.start(encoding, B)
    tokens = torch.randint(V, (B, 6))
    other = tokens.clone()
    other[:, 4:] = (other[:, 4:] + 1) % V
    before, after = decoder(tokens, state, memory)[0], decoder(other, state, memory)[0]
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


@pytest.mark.parametrize("name", LEARNING)
def test_no_gradient_reaches_back_from_the_future(name):
    decoder, encoding = setup(name)
    memory, state = decoder.start(encoding, B)
    vectors = []
    handle = decoder.embedding.register_forward_hook(lambda _m, _i, output: vectors.append(output) or output.retain_grad())
    tokens = torch.randint(V, (B, 6))
    logits, _ = decoder(tokens, state, memory)
    handle.remove()
    logits[:, 2].square().sum().backward()
    gradient = vectors[0].grad
    assert (gradient[:, 3:] == 0).all()
    assert (gradient[:, :3].abs().amax(-1) > 0).all()


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.endswith("-lm")])
def test_what_is_masked_is_not_seen(name):
    decoder, encoding = setup(name)
    hidden = ~encoding.mask
    other = encoding._replace(tokens=torch.where(hidden, 0, encoding.tokens), outputs=encoding.outputs.masked_fill(hidden[..., None], 99.0))
    tokens = torch.randint(V, (B, 5))
    one, two = (decoder(tokens, state, memory)[0] for memory, state in (decoder.start(each, B) for each in (encoding, other)))
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("name", [name for name in DECODERS if not name.endswith("-lm") and name not in BLIND])
def test_what_is_not_masked_is_seen(name):
    decoder, encoding = setup(name)
    tokens = torch.randint(V, (B, 5))
    for place in range(3):
        outputs = encoding.outputs.clone()
        outputs[:, place] += 1.0
        one, two = (decoder(tokens, state, memory)[0] for memory, state in (decoder.start(each, B) for each in (encoding, encoding._replace(outputs=outputs))))
        assert not torch.allclose(one, two)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("prompt", [1, 3])
def test_beam_of_one_is_greedy(name, prompt):
    decoder, encoding = setup(name)
    tokens = torch.randint(3, V, (B, prompt))
    found = beam_search(decoder, encoding, tokens, Search(beam=1, length_penalty=0.7), limits=limits(B, 8))
    (memory, state), ended = decoder.start(encoding, B), torch.zeros(B, dtype=torch.bool)
    for place in range(found.tokens.shape[-1]):
        logits, _ = decoder(tokens, state, memory)  # no cache: all is read again from the start
        symbol = torch.where(ended, EOS, logits[:, -1].argmax(-1))
        ended |= symbol == EOS
        assert torch.equal(symbol, found.tokens[:, 0, place])
        tokens = torch.cat([tokens, symbol[:, None]], 1)


def rescore(decoder, encoding, prompt, ids):
    """The log-probability of one sentence, re-read from the start without a cache, and its length."""
    memory, state = decoder.start(encoding, 1)
    stop = ids.index(EOS) + 1 if EOS in ids else len(ids)
    logits, _ = decoder(torch.tensor([[*prompt, *ids[: stop - 1]]]), state, memory)
    chosen = logits[0, len(prompt) - 1 :].log_softmax(-1).gather(1, torch.tensor(ids[:stop])[:, None])
    return chosen.sum().item(), stop


SEARCHES = [
    Search(beam=V**3, length_penalty=0.0),
    Search(beam=V**3, length_penalty=0.8),
    Search(beam=V**3, length_penalty=1.2, length_form="gnmt"),
]


@pytest.mark.parametrize("search", SEARCHES, ids=["none", "power", "gnmt"])
@pytest.mark.parametrize("name", DECODERS)
def test_a_wide_beam_is_exhaustive(name, search):
    decoder, encoding = setup(name, batch=1)
    every = []
    for sentence in itertools.product(range(V), repeat=3):
        ids = list(sentence)
        if EOS in ids and any(i != EOS for i in ids[ids.index(EOS) :]):
            continue
        score, size = rescore(decoder, encoding, [1], ids)
        divisor = ((5 + size) / 6 if search.length_form == "gnmt" else size) ** search.length_penalty
        if score > float("-inf"):
            every.append((score / divisor, ids))
    every.sort(reverse=True)
    found = beam_search(decoder, encoding, torch.tensor([[1]]), search, limits=limits(1, 3))
    assert found.tokens[0, : len(every)].tolist() == [ids for _, ids in every]
    torch.testing.assert_close(found.ranks[0, : len(every)], torch.tensor([rank for rank, _ in every]), **EXACT)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("name", DECODERS)
def test_search_tells_the_truth_about_its_scores(name, penalty):
    decoder, encoding = setup(name)
    prompt = torch.randint(3, V, (B, 2))
    found = beam_search(decoder, encoding, prompt, Search(beam=4, length_penalty=penalty), limits=limits(B, 7))
    for i, k in itertools.product(range(B), range(4)):
        alone = None if encoding is None else pick(encoding, [i])
        score, _ = rescore(decoder, alone, prompt[i].tolist(), found.tokens[i, k].tolist())
        assert abs(score - found.scores[i, k].item()) < 1e-4


@pytest.mark.parametrize("name", DECODERS)
def test_batch_mates_do_not_matter(name):
    decoder, encoding = setup(name)
    prompt = torch.randint(3, V, (B, 2))
    cut = torch.tensor([6, 3, 5])
    together = beam_search(decoder, encoding, prompt, Search(beam=3), limits=cut)
    for i in range(B):
        alone = beam_search(decoder, None if encoding is None else pick(encoding, [i]), prompt[i : i + 1], Search(beam=3), limits=cut[i : i + 1])
        torch.testing.assert_close(alone.scores[0], together.scores[i], **EXACT)
        length = alone.tokens.shape[-1]
        assert torch.equal(alone.tokens[0], together.tokens[i, :, :length])
        assert (together.tokens[i, :, length:] == EOS).all()


@pytest.mark.parametrize("name", DECODERS)
def test_the_loss_is_the_loss_of_the_logits(name):
    """However a decoder comes by it: its sums, and the gradient of every weight."""
    decoder, encoding = setup(name)
    tokens, targets = torch.randint(V, (B, 6)), torch.randint(EOS, V, (B, 6))
    targets[1, 4:] = PAD
    smoothing = 0.1 if decoder.learns == "gradients" else 0.0
    if decoder.learns == "counts":
        decoder.count(random_texts())  # what it says sums to 1 as it was counted
    memory, state = decoder.start(encoding, B)
    ours, _ = decoder.loss(tokens, targets, state, memory, smoothing)
    theirs = cross_entropy(decoder(tokens, state, memory)[0], targets, smoothing)
    torch.testing.assert_close(tuple(ours), tuple(theirs), **EXACT)
    chances = decoder.logprobs(tokens, targets, state, memory)[0]
    torch.testing.assert_close(-chances[targets != PAD].sum().float(), theirs.nll, **EXACT)
    weights = list(decoder.parameters()) if name in LEARNING else []
    found, expected = (torch.autograd.grad(loss.total, weights, retain_graph=True, allow_unused=True) if weights else () for loss in (ours, theirs))
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_decoder_whose_logits_are_not_linear_writes_forward_and_nothing_else():
    """Its loss is then that of its own logits, not of its output layer's."""

    class Curved(type(make_decoder("recurrent"))):
        def forward(self, tokens, state, memory):
            logits, state = super().forward(tokens, state, memory)
            return logits.tanh(), state

    decoder, encoding = setup("recurrent")
    decoder.__class__ = Curved
    tokens, targets = torch.randint(V, (B, 6)), torch.randint(1, V, (B, 6))
    memory, state = decoder.start(encoding, B)
    theirs = cross_entropy(decoder(tokens, state, memory)[0], targets, 0.1)
    torch.testing.assert_close(decoder.loss(tokens, targets, state, memory, 0.1)[0].total, theirs.total)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "name", ["recurrent", "recurrent-before", "recurrent-fused", "convolutional", "convolutional-wavenet", "transformer", "transformer-post", "bag"]
)
def test_every_score_drives_every_decoder_and_every_weight_learns(name, score):
    decoder = make_decoder(name, score=score).train()
    encoding = make_encoding()
    memory, state = decoder.start(encoding, B)
    logits, _ = decoder(torch.randint(V, (B, 4)), state, memory)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(V, (B * 4,))).backward()
    missing = [weight for weight, value in decoder.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert not missing
    tokens = torch.randint(V, (B, 5))
    decoder.eval()
    whole, _ = decoder(tokens, state, memory)
    head, after = decoder(tokens[:, :2], state, memory)
    torch.testing.assert_close(torch.cat([head, decoder(tokens[:, 2:], after, memory)[0]], 1), whole, **EXACT)


def plain_beam(decoder, encoding, beam, penalty, length):
    """The same search written out: no cache, no batch, every sentence re-read from the start."""
    live = [([], 0.0, False)]
    for _ in range(length):
        longer = []
        for ids, score, ended in live:
            if ended:
                longer.append((ids, score, True))
                continue
            memory, state = decoder.start(encoding, 1)
            logits, _ = decoder(torch.tensor([[1, *ids]]), state, memory)
            chances = logits[0, -1].log_softmax(-1).tolist()
            longer += [([*ids, symbol], score + chance, symbol == EOS) for symbol, chance in enumerate(chances)]
        longer.sort(key=lambda each: -each[1] / len(each[0]) ** penalty)
        live = longer[:beam]
        if all(ended for _, _, ended in live):
            break
    return [(ids, score / len(ids) ** penalty) for ids, score, _ in live]


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("beam", [2, 4])
@pytest.mark.parametrize("name", DECODERS)
def test_a_narrow_beam_keeps_what_ranks_best(name, beam, penalty):
    decoder, encoding = setup(name, batch=1)
    found = beam_search(decoder, encoding, torch.tensor([[1]]), Search(beam=beam, length_penalty=penalty), limits=limits(1, 6))
    for k, (ids, rank) in enumerate(plain_beam(decoder, encoding, beam, penalty, 6)):
        said = found.tokens[0, k].tolist()
        assert said[: len(ids)] == ids
        assert set(said[len(ids) :]) <= {EOS}
        assert found.ranks[0, k].item() == pytest.approx(rank, abs=1e-4)
