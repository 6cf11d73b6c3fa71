"""The laws of a sliding span: Transformer-XL's memory, made so that where a text is cut changes nothing (docs/decisions/0004-sliding-span.md)."""

import pytest
import torch
from torch import Tensor

from saccade.decoders import Decoder
from saccade.decoders import transformer as module
from saccade.errors import UsageError
from saccade.types import detach

from .parts import B, D, V, make_decoder, make_encoding

EXACT = {"atol": 1e-5, "rtol": 1e-5}
POSITIONS = ["none", "learned", "sinusoidal", "rotary", "alibi", "relative"]
LENGTH, LAYERS = 23, 2


def make(position: str, span: int | str, memory: bool = False) -> Decoder:
    return make_decoder("transformer" if memory else "transformer-lm", position=position, span=span)


def read(decoder: Decoder, tokens: Tensor, cuts: list[int], encoding: object = None) -> tuple[Tensor, module.Said]:
    memory, state = decoder.start(encoding, len(tokens))
    said = []
    for piece in tokens.tensor_split(cuts, 1):
        logits, state = decoder(piece, state, memory)
        said.append(logits)
    return torch.cat(said, 1), state


def band(queries: int, keys: int, span: int) -> Tensor:
    """Written out: query i stands at place keys - queries + i."""
    places = range(keys - queries, keys)
    return torch.tensor([[place - span < key <= place for key in range(keys)] for place in places])


@pytest.mark.parametrize("block", [4, 128])
@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("span", [1, 2, 5])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_span_is_a_band_in_every_layer(position: str, span: int, memory: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, in pieces of any size and one by one; the reference has no span, no cache and a mask that is written out."""
    encoding = make_encoding() if memory else None
    tokens, whole = torch.randint(V, (B, LENGTH)), make(position, "none", memory)
    monkeypatch.setattr(module, "causal", lambda queries, keys, device=None, span_of=None: band(queries, keys, span))
    expected, _ = read(whole, tokens, [], encoding)
    monkeypatch.undo()
    monkeypatch.setitem(module.BLOCK, "cpu", block)
    decoder = make(position, span, memory)
    for cuts in ([], [4], [1, 2, 9], [LENGTH - 1], list(range(1, LENGTH))):
        said, state = read(decoder, tokens, cuts, encoding)
        torch.testing.assert_close(said, expected, **EXACT)
        assert all(part.shape[2] == span - 1 for seen in state.layers for part in seen)
        assert state.start == LENGTH


@pytest.mark.parametrize("block", [1, 5, LENGTH - 1])
@pytest.mark.parametrize("position", POSITIONS)
def test_blocks_of_queries_are_all_queries(position: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said, and every gradient, with and without a past."""
    decoder, tokens = make(position, "none"), torch.randint(V, (B, LENGTH))
    whole, blocks = [], []
    for found, size in ((whole, LENGTH), (blocks, block)):
        monkeypatch.setitem(module.BLOCK, "cpu", size)
        for cuts in ([], [6]):
            said, _ = read(decoder, tokens, cuts)
            found += [said, *torch.autograd.grad(said.square().mean(), list(decoder.parameters()))]
    torch.testing.assert_close(blocks, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_span_that_covers_everything_is_none(position: str) -> None:
    """Segment by segment is then one long pass: Transformer-XL's memory is exact."""
    tokens = torch.randint(V, (B, LENGTH))
    expected, _ = read(make(position, "none"), tokens, [])
    for span in (LENGTH, 10 * LENGTH):
        torch.testing.assert_close(read(make(position, span), tokens, [5, 10, 15, 20])[0], expected, **EXACT)


@pytest.mark.parametrize("span", [1, 3])
@pytest.mark.parametrize("cuts", [[], [7, 14], list(range(1, LENGTH))], ids=["whole", "pieces", "steps"])
def test_how_far_a_symbol_is_felt(cuts: list[int], span: int) -> None:
    """Each layer reaches span - 1 symbols further back, by gradient, and not one more, wherever the text was cut."""
    decoder, vectors = make("relative", span), []
    handle = decoder.embedding.register_forward_hook(lambda _m, _i, output: vectors.append(output) or output.retain_grad())
    said, _ = read(decoder, torch.randint(V, (B, LENGTH)), cuts)
    handle.remove()
    said[:, -1].square().sum().backward()
    felt = torch.cat([torch.zeros_like(x) if x.grad is None else x.grad for x in vectors], 1).abs().amax((0, 2)) > 0
    reach = LAYERS * (span - 1) + 1
    assert felt.tolist() == [False] * (LENGTH - reach) + [True] * reach


def test_what_is_carried_can_be_detached() -> None:
    """Truncated backpropagation: the next piece says the same, and learns from itself alone."""
    decoder, tokens = make("relative", 4), torch.randint(V, (B, 8))
    memory, state = decoder.start(None, B)
    _, state = decoder(tokens[:, :5], state, memory)
    assert all(part.requires_grad for seen in state.layers for part in seen)
    cut = detach(state)
    assert cut.start == state.start == 5
    said, expected = decoder(tokens[:, 5:], cut, memory)[0], decoder(tokens[:, 5:], state, memory)[0]
    assert torch.equal(said, expected)
    weight = decoder.layers[0].self_attention.key_value.weight
    one, other = (torch.autograd.grad(each.square().sum(), weight)[0] for each in (said, expected))
    assert not torch.allclose(one, other)


def test_memory_does_not_grow() -> None:
    decoder = make("alibi", 3)
    assert decoder.bounded
    assert not make("alibi", "none").bounded
    memory, state = decoder.start(None, B)
    for _ in range(4):
        _, state = decoder(torch.randint(V, (B, 50)), state, memory)
        assert sum(part.numel() for seen in state.layers for part in seen) == LAYERS * 2 * B * 2 * D
    assert state.start == 200


def test_learned_positions_end_even_if_the_span_is_short() -> None:
    decoder = make_decoder("transformer-lm", position={"name": "learned", "length": 6}, span=2)
    _, state = read(decoder, torch.randint(V, (B, 6)), [4])
    with pytest.raises(UsageError) as refused:
        decoder(torch.randint(V, (B, 1)), state, decoder.start(None, B)[0])
    assert (refused.value.code, refused.value.headline) == ("C014", "a text of 7 tokens; this model has learned 6 positions")


def test_a_span_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        make("none", 0)
    assert (refused.value.code, refused.value.headline) == ("C012", "transformer: span = 0: a symbol sees itself at least")
    assert refused.value.parts["fix"] == ['span = 1 or more, or "none"']


def test_a_decoder_whose_source_says_nothing_is_a_language_model() -> None:
    """GPT is the decoder without cross-attention: with that attention's output at zero the source changes nothing."""
    decoder, alone = make_decoder("transformer"), make_decoder("transformer-lm")
    for layer in decoder.layers:
        torch.nn.init.zeros_(layer.cross_attention.output.weight)
        torch.nn.init.zeros_(layer.cross_attention.output.bias)
    alone.load_state_dict(decoder.state_dict(), strict=False)
    tokens = torch.randint(V, (B, 7))
    torch.testing.assert_close(read(decoder, tokens, [], make_encoding())[0], read(alone, tokens, [3])[0], **EXACT)
