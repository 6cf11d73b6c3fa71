"""What bench.generation, reproductions.cost_of_length and reproductions.desiderata stand on."""

import random

import pytest
import torch

from bench.generation import cached, reread
from bench.members import language_models, text
from reproductions import cost_of_length, desiderata
from saccade.families import members
from saccade.types import BOS, PAD

NAMES = [name for name, _ in language_models(40, 8)]


def test_every_decoder_that_needs_no_source_is_there() -> None:
    assert set(members("saccade.decoders")) - {"recurrent"} <= set(NAMES)
    assert {"Elman", "GRU", "LSTM"} <= set(NAMES)
    assert [name for name, _ in language_models(40, 8, only="LSTM")] == ["LSTM"]


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_loop_says_what_saccade_says(name: str) -> None:
    decoder = dict(language_models(40, 8, only=name))[name]
    prompt = torch.randint(4, 40, (3, 5))
    (ours, our_logprobs), (theirs, their_logprobs) = cached(decoder, prompt, 12), reread(decoder, prompt, 12)
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(our_logprobs, their_logprobs, atol=1e-5, rtol=1e-5)


def test_a_text_begins_with_bos_and_its_symbols_follow_zipf() -> None:
    found = text(10, 20_000)
    assert (len(found), found[0], found[1:].min(), found[1:].max()) == (20_000, BOS, 4, 9)
    assert (found == 4).sum() / (found == 5).sum() == pytest.approx(2, rel=0.1)


def test_exponents_are_slopes_and_memory_is_memory() -> None:
    points = {length: {"seconds": 3e-6 * length**0.5, "bytes": 7.0, "none": 0.0} for length in cost_of_length.LENGTHS}
    points[64]["seconds"] = 1.0  # below where the fit begins
    assert cost_of_length.exponent(points, "seconds") == pytest.approx(0.5)
    assert cost_of_length.exponent(points, "bytes") == pytest.approx(0.0)
    assert cost_of_length.exponent(points, "none") != cost_of_length.exponent(points, "none")
    before = cost_of_length.settled()
    held = torch.ones(8_000_000)
    assert 32e6 <= cost_of_length.resident("VmHWM") - before <= 40e6
    del held
    assert cost_of_length.size((torch.zeros(2, 3), {"a": torch.zeros(1, dtype=torch.int64)})) == 32


@pytest.mark.skipif(torch.cuda.is_available(), reason="NO COST WAS MEASURED: autograd's threads for a GPU, once started, bar it in a forked process")
def test_a_point_is_measured_in_a_process_of_its_own() -> None:
    point = cost_of_length.alone(cost_of_length.train, "GRU", 64)
    assert point["seconds"] > 0
    assert 0 < point["bytes"] < 1e6
    assert cost_of_length.alone(cost_of_length.generate, "GRU", 64)["bytes"] == 2 * 64 * 4 + 64 * 4  # two layers, and the readout that could be fed


def test_the_answers_of_the_four_languages() -> None:
    draw = random.Random(0)
    for _ in range(50):
        x, y, answer = desiderata.first_of_two(draw, 0)
        assert (x == answer, x != y) == (True, True)
        dots = desiderata.after_dots(draw, 7)
        assert (len(dots), set(dots[1:8]), dots[8], dots[9]) == (10, {desiderata.DOT}, desiderata.ASK, dots[0])
        bits = desiderata.differ(draw, 0)
        assert (bits[8] == desiderata.LETTERS[1]) == (bits[4] != bits[6])
        letters = desiderata.after_letters(draw, 60)
        assert (len(letters), letters[-2], letters[-1]) == (63, desiderata.ASK, letters[0])
    read, said = desiderata.answers_only(torch.tensor([[BOS, 4, 5, 4], [BOS, 7, 6, 7]]))
    assert (read.tolist(), said.tolist()) == ([[BOS, 4, 5], [BOS, 7, 6]], [[PAD, PAD, 4], [PAD, PAD, 7]])


def test_cells_say_yes_and_no() -> None:
    assert desiderata.learned(desiderata.MODELS["5-gram"], "order").holds
    assert not desiderata.learned(desiderata.MODELS["5-gram"], "long-term").holds
    assert desiderata.differentiable(desiderata.MODELS["GRU"]).holds
    assert desiderata.differentiable(desiderata.MODELS["5-gram"]) == (False, "no gradient")
