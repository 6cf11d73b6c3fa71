"""The laws of scheduled sampling: between teacher forcing and running free."""

import pytest
import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.search import Search, beam_search
from saccade.search.forcing import forced
from saccade.types import EOS

from .parts import LEARNING, B, V, make_decoder, setup
from .toys import make_toy, make_toy_encoding

every_decoder = pytest.mark.parametrize("name", LEARNING)
LENGTH = 5


def coins(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(decoder: Decoder, logits: Tensor) -> dict[str, Tensor]:
    decoder.zero_grad()
    generator = torch.Generator().manual_seed(9)
    (logits * torch.randn(logits.shape, generator=generator)).sum().backward()
    return {place: weight.grad.clone() for place, weight in decoder.named_parameters() if weight.grad is not None}


@every_decoder
def test_all_gold_is_teacher_forcing_bit_by_bit(name: str) -> None:
    """Outputs, gradients and the stream that dropout draws on: nothing tells the two apart."""
    decoder, encoding = make_decoder(name, dropout=0.3).train(), setup(name)[1]
    tokens = torch.randint(V, (B, LENGTH))
    torch.manual_seed(7)
    memory, state = decoder.start(encoding, B)
    taught, _ = decoder(tokens, state, memory)
    learned, stream = gradients(decoder, taught), torch.get_rng_state()
    torch.manual_seed(7)
    logits = forced(decoder, encoding, tokens, 1.0, coins())
    assert torch.equal(logits, taught)
    assert torch.equal(torch.get_rng_state(), stream)
    again = gradients(decoder, logits)
    assert again.keys() == learned.keys()
    assert all(torch.equal(again[place], learned[place]) for place in learned)
    torch.manual_seed(8)
    assert not torch.equal(forced(decoder, encoding, tokens, 1.0, coins()), taught)  # dropout was there to be told apart


@every_decoder
def test_no_gold_from_a_decided_decoder_is_running_free(name: str) -> None:
    decoder, encoding = make_decoder(name, dropout=0.3), setup(name)[1]
    decoder.output.register_forward_hook(lambda _module, _inputs, logits: logits * 1e4)  # the draw is the maximum
    tokens = torch.randint(3, V, (B, LENGTH))
    with torch.no_grad():
        logits = forced(decoder, encoding, tokens, 0.0, coins())
    memory, state = decoder.start(encoding, B)
    symbol = tokens[:, :1]
    for place in range(LENGTH):
        free, state = decoder(symbol, state, memory)
        torch.testing.assert_close(logits[:, place], free[:, 0], atol=1e-2, rtol=1e-5)
        symbol = free.argmax(-1)
    said = beam_search(decoder, encoding, tokens[:, :1], Search(beam=1), limits=torch.full((B,), LENGTH)).tokens[:, 0]
    for ours, greedy in zip(logits.argmax(-1).tolist(), said.tolist(), strict=True):
        stop = greedy.index(EOS) + 1 if EOS in greedy else len(greedy)
        assert ours[:stop] == greedy[:stop]


def read_by(decoder: Decoder) -> list[Tensor]:
    """Every symbol the decoder is given from now on."""
    read = []
    decoder.embedding.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].clone()))
    return read


@every_decoder
@pytest.mark.parametrize("gold", [0.0, 0.5])
def test_nothing_flows_back_through_a_drawn_symbol(name: str, gold: float) -> None:
    """What is learned is what teacher forcing on the symbols read would teach."""
    decoder, encoding = setup(name)
    tokens, read = torch.randint(V, (B, LENGTH)), read_by(decoder)
    logits = forced(decoder, encoding, tokens, gold, coins(1))
    symbols = torch.cat(read, 1)
    assert torch.equal(symbols[:, 0], tokens[:, 0])
    assert not torch.equal(symbols, tokens)
    learned = gradients(decoder, logits)
    memory, state = decoder.start(encoding, B)
    taught, _ = decoder(symbols, state, memory)
    torch.testing.assert_close(logits, taught, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(learned, gradients(decoder, taught), atol=1e-4, rtol=1e-4)


def test_one_coin_for_each_token() -> None:
    """A share `gold` of the symbols is the true one, in every column but the first, each row for itself."""
    decoder, rows, gold = make_decoder("recurrent-lm", tied=False), 2000, 0.3
    decoder.output.bias.data[5] = -1e4  # nobody draws a 5: where a 5 was read, the coin said gold
    read = read_by(decoder)
    with torch.no_grad():
        forced(decoder, None, torch.full((rows, LENGTH), 5), gold, coins())
    true = torch.cat(read, 1) == 5
    assert true[:, 0].all()
    for column in true[:, 1:].float().unbind(1):
        assert column.mean().item() == pytest.approx(gold, abs=5 * (gold * (1 - gold) / rows) ** 0.5)
    both = (true[:, 1] & true[:, 2]).float().mean().item()
    assert both == pytest.approx(gold**2, abs=5 * (gold**2 / rows) ** 0.5)


def test_symbols_are_drawn_as_probable_as_the_decoder_says() -> None:
    decoder, encoding, rows = make_toy("transformer"), make_toy_encoding(batch=1), 4000
    many = encoding._replace(outputs=encoding.outputs.expand(rows, -1, -1), mask=encoding.mask.expand(rows, -1), final=encoding.final.expand(rows, -1))
    read = read_by(decoder)
    with torch.no_grad():
        logits = forced(decoder, many, torch.ones(rows, 2, dtype=torch.long), 0.0, coins())
    shares = torch.bincount(read[1][:, 0], minlength=V) / rows
    chances = logits[0, 0].softmax(-1)
    assert ((shares - chances).abs() < 5 * (chances * (1 - chances) / rows).sqrt() + 1e-6).all()
    assert (chances > 0.05).sum() > 1


def test_the_coins_are_their_own_stream() -> None:
    decoder, encoding = make_toy("recurrent"), make_toy_encoding()
    tokens, before = torch.randint(V, (B, LENGTH)), torch.get_rng_state()
    first = forced(decoder, encoding, tokens, 0.5, coins(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(forced(decoder, encoding, tokens, 0.5, coins(1)), first)
    assert not torch.equal(forced(decoder, encoding, tokens, 0.5, coins(2)), first)
