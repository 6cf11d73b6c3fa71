"""A GPU says what the processor says: every decoder and encoder, every gradient, every search, every draw."""

import pytest
import torch

from saccade.layers.dropout import Dropout
from saccade.search import Search, beam_search
from saccade.search.sample import Sampling, sample_each
from saccade.types import BOS, pad, to

from ..laws.parts import DECODERS, LEARNING, B, V, setup, sources
from ..laws.test_encoders import every_encoder, make, probe

GPU = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="NO MODEL WAS COMPARED WITH ITSELF ON A GPU: this machine has none")
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN would round what it multiplies to 10 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def both(name):
    """The same decoder, and what it looks at, here and there."""
    return [(decoder.to(device), to(encoding, device), device) for device in ("cpu", GPU) for decoder, encoding in [setup(name)]]


def near(ours, theirs):
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
    near(*said)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LEARNING)
def test_a_decoder_learns_the_same(name, precision):
    text = torch.randint(V, (B, 7))
    losses, gradients = [], []
    for decoder, encoding, device in both(name):
        for part in decoder.train().modules():
            if isinstance(part, Dropout):
                part.rate = 0.0
        tokens = text.to(device)
        with torch.autocast(device, precision, enabled=precision is not torch.float32 and device == GPU):
            memory, state = decoder.start(encoding, B)
            found, _ = decoder.loss(tokens[:, :-1], tokens[:, 1:], state, memory, 0.1)
        found.total.backward()
        losses.append(found.total.detach())
        gradients.append({key: weight.grad for key, weight in decoder.named_parameters() if weight.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    if precision is torch.float32:
        near(*losses)
        for key, gradient in gradients[0].items():
            near(gradient.to_dense(), gradients[1][key].to_dense())
    else:
        torch.testing.assert_close(losses[1].cpu(), losses[0].float(), rtol=0.03, atol=0.0)
        norms = [sum(float(gradient.to_dense().float().square().sum()) for gradient in every.values()) ** 0.5 for every in gradients]
        assert norms[1] == pytest.approx(norms[0], rel=0.1)


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", DECODERS)
def test_a_search_finds_the_same(name, beam):
    found = []
    for decoder, encoding, device in both(name):
        prompt = torch.full((B, 1), BOS, device=device)
        found.append(beam_search(decoder, encoding, prompt, Search(beam=beam), limits=torch.full((B,), 6, device=device)))
    assert torch.equal(found[0].tokens, found[1].tokens.cpu())
    near(found[0].scores, found[1].scores)


@pytest.mark.parametrize("name", DECODERS)
def test_a_seed_draws_the_same(name):
    prompts, sampling = [[BOS], [BOS, 4], [BOS, 5]], Sampling(seed=3, temperature=0.8, top_k=4, top_p=0.95, longest=8)
    here, there = (sample_each(decoder, encoding, prompts, sampling, samples=2) for decoder, encoding, _ in both(name))
    assert [[one.symbols for one in row] for row in here] == [[one.symbols for one in row] for row in there]


@every_encoder
def test_an_encoder_says_and_learns_the_same(name):
    here, there = (probe(make(name).to(device), to(pad(sources()), device)) for device in ("cpu", GPU))
    near(there.rows, here.rows)
    for key, gradient in here.gradients.items():
        near(there.gradients[key], gradient)
