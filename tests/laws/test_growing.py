"""The laws of caches that grow in place: from outside they are values, and what is said is what a state that is copied every time says."""

import pytest
import torch

from saccade.attention import growing
from saccade.decoders import transformer as module
from saccade.types import detach, repeat, select, tree_map

from .parts import B, V, make_decoder, make_encoding

EXACT = {"atol": 1e-5, "rtol": 1e-5}
FORMS = ["transformer", "transformer-rotary", "transformer-relative", "transformer-span", "transformer-xl"]
every_form = pytest.mark.parametrize("name", FORMS)


@pytest.fixture(autouse=True)
def _nobody_learns():
    with torch.no_grad():
        yield


def begin(name):
    decoder = make_decoder(name)
    return (decoder, *decoder.start(make_encoding(), B))


def steps(decoder, memory, state, tokens):
    """One symbol at a time: all logits, and the state after the last."""
    said = []
    for symbol in tokens.split(1, 1):
        logits, state = decoder(symbol, state, memory)
        said.append(logits)
    return torch.cat(said, 1), state


@every_form
def test_growing_in_place_says_what_copying_says(name, monkeypatch):
    """Over several buffers: step by step, and in pieces of many sizes."""
    tokens = torch.randint(V, (B, 90))
    decoder, memory, state = begin(name)
    with torch.enable_grad():
        expected = decoder(tokens, state, memory)[0]
    monkeypatch.setattr(growing, "ROOM", 3)
    calls = []
    monkeypatch.setattr(module, "written", lambda *parts: calls.append(1) or growing.written(*parts))
    torch.testing.assert_close(steps(decoder, memory, state, tokens)[0], expected, **EXACT)
    assert len(calls) > 90  # most symbols are written in place, keys and values of two layers each
    said = []
    for piece in tokens.split([1, 2, 5, 1, 1, 30, 1, 7, 1, 1, 40], 1):
        logits, state = decoder(piece, state, memory)
        said.append(logits)
    torch.testing.assert_close(torch.cat(said, 1), expected, **EXACT)


@every_form
def test_futures_of_one_past_do_not_disturb_each_other(name):
    """However they are interleaved: each says what it would say alone."""
    decoder, memory, state = begin(name)
    past, futures = torch.randint(V, (B, 5)), [torch.randint(V, (B, 6)) for _ in range(3)]
    _, state = steps(decoder, memory, state, past)
    alone = [decoder(torch.cat([past, future], 1), decoder.start(make_encoding(), B)[1], memory)[0][:, 5:] for future in futures]
    held, said = [state] * 3, [[], [], []]
    for place in range(6):
        for number, future in enumerate(futures):
            logits, held[number] = decoder(future[:, place : place + 1], held[number], memory)
            said[number].append(logits)
    for found, expected in zip(said, alone, strict=True):
        torch.testing.assert_close(torch.cat(found, 1), expected, **EXACT)
    again, _ = steps(decoder, memory, state, futures[0])  # the past itself is as it was
    torch.testing.assert_close(again, alone[0], **EXACT)


SOME = torch.tensor([2, 0])
HEIRS = {
    "picked": (lambda tree: select(tree, SOME), lambda tokens: tokens[SOME]),
    "repeated": (lambda tree: repeat(tree, 2), lambda tokens: tokens.repeat_interleave(2, 0)),
    "detached": (detach, lambda tokens: tokens),
    "last-rows": (lambda tree: tree_map(lambda leaf: leaf[1:], tree), lambda tokens: tokens[1:]),
    "first-row": (lambda tree: tree_map(lambda leaf: leaf[:1], tree), lambda tokens: tokens[:1]),
}
"""What becomes of a state, and of its rows."""


@pytest.mark.parametrize("heir", HEIRS)
@every_form
def test_rows_that_part_do_not_disturb_each_other(name, heir):
    """Picked, repeated, detached, or views of some rows of the batch: any of them may go on first, and then go on."""
    decoder, memory, state = begin(name)
    past, future = torch.randint(V, (B, 4)), torch.randint(V, (B, 3))
    other, (part, rows) = (future + 1) % V, HEIRS[heir]
    with torch.enable_grad():
        whole, parted = (decoder(torch.cat([past, each], 1), state, memory)[0][:, 4:] for each in (future, other))
    _, state = steps(decoder, memory, state, past)
    inherited, memory_of = part(state), part(memory)
    first, after = steps(decoder, memory_of, inherited, rows(other[:, :1]))
    torch.testing.assert_close(steps(decoder, memory, state, future)[0], whole, **EXACT)
    later, _ = steps(decoder, memory_of, after, rows(other[:, 1:]))
    torch.testing.assert_close(torch.cat([first, later], 1), rows(parted), **EXACT)
    torch.testing.assert_close(steps(decoder, memory_of, inherited, rows(other))[0], rows(parted), **EXACT)


def test_where_somebody_learns_nothing_is_written_in_place():
    decoder, memory, state = begin("transformer")
    _, state = steps(decoder, memory, state, torch.randint(V, (B, 3)))
    assert state.taken is not None
    kept = [part.clone() for seen in state.layers for part in seen]
    with torch.enable_grad():
        logits, after = decoder(torch.randint(V, (B, 2)), state, memory)
        assert after.taken is None
        logits.sum().backward()
    assert all(torch.equal(one, other) for one, other in zip(kept, (part for seen in state.layers for part in seen), strict=True))
    assert int(state.taken[0]) == 3


@pytest.mark.parametrize("order", [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32)], ids=str)
def test_a_change_of_precision_is_no_rounding(order):
    """A text that goes on in another precision has keys of the finer one."""
    decoder, memory, state = begin("transformer")
    for dtype in order:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            memory, _ = decoder.start(make_encoding(), B)
            _, state = steps(decoder, memory, state, torch.randint(V, (B, 3)))
    assert state.layers[0].keys.dtype == torch.float32


def test_the_buffer_of_a_span_does_not_grow():
    decoder, memory, state = begin("transformer-xl")
    _, state = steps(decoder, memory, state, torch.randint(V, (B, 300)))
    keys = state.layers[0].keys
    assert keys.shape[2] == 3
    assert keys.untyped_storage().nbytes() <= 4 * B * 2 * (3 + 1 + growing.ROOM) * keys.shape[3]
