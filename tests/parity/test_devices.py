"""A GPU says what the processor says: every decoder and encoder, every gradient, every search, every draw."""

import pytest
import torch

from saccade.layers.dropout import Dropout
from saccade.search import Search, beam_search
from saccade.search.sample import Sampling, sample_each
from saccade.types import BOS, pad, to

from ..laws.parts import DECODERS, LEARNING, SCORES, B, V, make_decoder, make_encoding, setup, sources
from ..laws.test_encoders import every_encoder, make, probe

GPU = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="NO MODEL WAS COMPARED WITH ITSELF ON A GPU: this machine has none")
CLOSE = {"atol": 5e-4, "rtol": 1e-4}


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN would round what it multiplies to 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def both(name):
    """The same decoder, and what it looks at, here and there."""
    return [(decoder.to(device), to(encoding, device), device) for device in ("cpu", GPU) for decoder, encoding in [setup(name)]]


def assert_near(ours, theirs):
    torch.testing.assert_close(ours.cpu(), theirs.cpu(), **CLOSE)


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_says_the_same(name):
    text = torch.randint(V, (B, 7))
    said = []
    for decoder, encoding, device in both(name):
        memory, state = decoder.start(encoding, B)
        tokens = text.to(device)
        head, state = decoder.logprobs(tokens[:, :4], tokens[:, 1:5], state, memory)
        tail, state = decoder.logprobs(tokens[:, 4:6], tokens[:, 5:], state, memory)
        said.append(torch.cat([head, tail], 1))
    assert_near(*said)


def awake(module):
    """In training, as cuDNN wants it, but nothing is dropped."""
    for part in module.train().modules():
        if isinstance(part, Dropout):
            part.rate = 0.0
    return module


def learned(decoder, encoding, tokens, precision=torch.float32):
    """The loss, and the gradient of every weight."""
    with torch.autocast(tokens.device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
        memory, state = awake(decoder).start(encoding, B)
        found, _ = decoder.loss(tokens[:, :-1], tokens[:, 1:], state, memory, 0.1)
    found.total.backward()
    return found.total.detach(), {key: weight.grad.to_dense() for key, weight in decoder.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("name", LEARNING)
def test_a_decoder_learns_the_same(name):
    text = torch.randint(V, (B, 7))
    (here, slopes), (there, others) = (learned(decoder, encoding, text.to(device)) for decoder, encoding, device in both(name))
    assert_near(here, there)
    assert slopes.keys() == others.keys()
    for key, slope in slopes.items():
        assert_near(slope, others[key])


@pytest.mark.parametrize("name", [*LEARNING, *(f"recurrent {score}" for score in SCORES)])
def test_a_decoder_learns_nearly_the_same_in_bfloat16(name):
    variant, _, score = name.partition(" ")
    text, encoding = torch.randint(V, (B, 7), device=GPU), None if variant.endswith("-lm") else to(make_encoding(), GPU)
    chosen = {"score": score} if score else {}
    found = [learned(make_decoder(variant, **chosen).to(GPU), encoding, text, precision) for precision in (torch.float32, torch.bfloat16)]
    (whole, slopes), (rounded, others) = found
    torch.testing.assert_close(rounded, whole, rtol=0.03, atol=0.0)
    norms = [sum(float(slope.square().sum()) for slope in every.values()) ** 0.5 for every in (slopes, others)]
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", DECODERS)
def test_a_search_finds_the_same(name, beam):
    found = []
    for decoder, encoding, device in both(name):
        prompt = torch.full((B, 1), BOS, device=device)
        found.append(beam_search(decoder, encoding, prompt, Search(beam=beam), limits=torch.full((B,), 6, device=device)))
    assert torch.equal(found[0].tokens, found[1].tokens.cpu())
    assert_near(found[0].scores, found[1].scores)


@pytest.mark.parametrize("name", DECODERS)
def test_a_seed_draws_the_same(name):
    prompts, sampling = [[BOS], [BOS, 4], [BOS, 5]], Sampling(seed=3, temperature=0.8, top_k=4, top_p=0.95, longest=8)
    here, there = (sample_each(decoder, encoding, prompts, sampling, samples=2) for decoder, encoding, _ in both(name))
    assert [[one.symbols for one in row] for row in here] == [[one.symbols for one in row] for row in there]


@every_encoder
def test_an_encoder_says_and_learns_the_same(name):
    here, there = (probe(awake(make(name).to(device)), to(pad(sources()), device)) for device in ("cpu", GPU))
    assert_near(there.rows, here.rows)
    for key, gradient in here.gradients.items():
        assert_near(there.gradients[key], gradient)
