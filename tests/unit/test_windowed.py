"""A model that learned from windows goes on for longer than one, and knows what it was asked."""

import pytest
import torch

from saccade.decoders import Decoder
from saccade.families import choose
from saccade.search import Sampling, sample
from saccade.search.constraints import forbid
from saccade.tasks._windowed import Windowed
from saccade.types import BOS, EOS, PAD, UNK

from .test_language_model import TRANSFORMER, model_of, task

LEARNED = {**TRANSFORMER, "position": {"name": "learned", "length": 8}}
V = 11


def windowed(window: int) -> Windowed:
    torch.manual_seed(1)
    return Windowed(choose(Decoder, **LEARNED)(V, None).eval(), window, window // 2)


def by_hand(model: Windowed, text: torch.Tensor) -> torch.Tensor:
    """Place by place: begin with everything; when a window is full, with its later half."""
    first, said = 0, []
    for place in range(text.shape[1]):
        if place - first == model.window:
            first += model.window - model.window // 2
        memory, state = model.decoder.start(None, len(text))
        said.append(model.decoder(text[:, first : place + 1], state, memory)[0][:, -1])
    return torch.stack(said, 1)


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_every_symbol_is_said_after_half_a_window_and_pieces_equal_the_whole(window):
    model, text = windowed(window), torch.randint(V, (2, 31))
    plain = by_hand(model, text)
    for sizes in ([31], [1] * 31, [3, 9, 1, 18], [window] * (30 // window) + [31 - 30 // window * window]):
        memory, state = model.start(None, 2)
        said = []
        for piece in text.split(sizes, 1):
            logits, state = model(piece, state, memory)
            said.append(logits)
        torch.testing.assert_close(torch.cat(said, 1), plain, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("window", [1, 2, 5, 8])
def test_what_a_window_does_not_hold_need_not_be_read(window):
    model = windowed(window)
    for length in range(1, 30):
        text = torch.randint(V, (1, length))
        memory, state = model.start(None, 1)
        whole, short = model(text, state, memory)[0], model(text[:, model.begins(length) :], state, memory)[0]
        torch.testing.assert_close(whole[:, -1], short[:, -1], atol=1e-5, rtol=1e-5)
        assert length - model.begins(length) <= window


@pytest.mark.parametrize("decoder", [TRANSFORMER, LEARNED])
def test_a_prompt_is_read_however_long_the_answer_may_be(decoder):
    """All of it, or what a window holds of its end; and later on half a window at a time."""
    made = task(decoder=decoder)
    model, read = model_of(made), []
    model.decoder.register_forward_pre_hook(lambda _, given: read.append(given[0][0].tolist()))
    for prompt, begins in (("the cat", True), ("the end of the cat", False)):
        read.clear()
        said = made.several(model, prompt, Sampling(longest=50, seed=3), 1)[0]
        assert len(said) == 50
        assert read[0] == [EOS] * begins + made.tokenizer.encode("the cat")
        assert {len(tokens) for tokens in read[1:]} == {1, 4}


def test_what_was_drawn_is_explained_as_it_was_drawn():
    made = task(decoder=LEARNED)
    model = model_of(made)
    prompt, sampling = "the end of the cat", Sampling(longest=30, seed=5)
    said = made.several(model, prompt, sampling, 1)[0]
    read = torch.tensor([[EOS, *made.tokenizer.encode(prompt)]])
    drawn = [float(step.logprobs[0]) for step in sample(Windowed(model.decoder, 8, 4), None, read, sampling, constraints=[forbid([PAD, BOS, UNK])])]
    symbols = made.explain(model, said, prompt)
    assert "".join(symbol.piece.text for symbol in symbols) == said
    assert len(symbols) == 30
    torch.testing.assert_close(torch.tensor([symbol.logprob for symbol in symbols]), torch.tensor(drawn), atol=1e-4, rtol=1e-4)
