"""The spoken digits: the mu law at its ends and in between, the Markov chain, and that every sample is predicted once."""

import copy
import math

import numpy as np
import pytest
import torch

from reproductions.spoken import DILATED, FIRST, LEVELS, UNDILATED, bits_per_sample, build, compress, cuts, expand, generation, markov_bits, pairs_of
from saccade.types import BOS, PAD

RECORDINGS = [np.array([3, 250, 7]), np.array([9, 9, 128, 0, 255]), np.arange(700) % 256]


def test_the_mu_law_keeps_its_ends_and_its_middle() -> None:
    """Full scale at both ends; silence is level 128, the upper one of the two that lie equally near."""
    assert compress(np.array([-32768, 32767, 0], np.int16)).tolist() == [0, 255, 128]
    assert expand(np.array([0, 255])).tolist() == [-32768, 32767]


def test_the_mu_law_rounds_to_the_nearest_level_and_never_turns_back() -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    levels = compress(samples)
    assert (np.diff(levels) >= 0).all()
    assert set(levels) == set(range(LEVELS))
    assert np.array_equal(compress(expand(np.arange(LEVELS))), np.arange(LEVELS))
    bent = np.sign(samples) * np.log1p(255 * np.abs(samples / 32768)) / math.log(256)
    assert np.abs((bent + 1) / 2 * 255 - levels).max() <= 0.5


def test_small_samples_get_finer_levels() -> None:
    steps = np.diff(expand(np.arange(LEVELS)).astype(int))
    assert steps[127] < 10 < 1000 < steps[254]


def test_the_markov_chain_is_counted_and_smoothed() -> None:
    seen = pairs_of([np.array([1, 1, 2])])
    assert (seen[LEVELS, 1], seen[1, 1], seen[1, 2], seen.sum()) == (1, 1, 1, 3)
    heard = pairs_of([np.array([1, 2])])
    wanted = -(math.log2(1.5 / (1 + 128)) + math.log2(1.5 / (2 + 128))) / 2
    assert markov_bits(seen, heard, 0.5) == pytest.approx(wanted)


def test_every_sample_is_predicted_once_from_all_before_it() -> None:
    """Cut and carried, in rows of several, as read one by one at once."""
    model = build({**DILATED, "dim": 8, "layers": 3, "skip": 8}, seed=1).eval()
    nats = 0.0
    for levels in RECORDINGS:
        ids = torch.tensor([[BOS, *(levels + FIRST).tolist()]])
        said = model(ids[:, :-1], model.start(None, 1)[1], None)[0].log_softmax(-1)
        nats -= said.gather(2, ids[:, 1:, None]).sum().item()
    count = sum(map(len, RECORDINGS))
    assert bits_per_sample(model, RECORDINGS) == pytest.approx(nats / count / math.log(2), rel=1e-5)
    targets = torch.cat([cut.targets.flatten() for cut in cuts(RECORDINGS, 2)])
    assert int((targets != PAD).sum()) == count


def test_queues_change_nothing_but_the_time() -> None:
    """To within rounding: in float64 nothing is left of the difference."""
    model = build({**DILATED, "dim": 8, "layers": 4, "skip": 8}, seed=1)
    for streams in (1, 3):
        found, exact = (generation(each, samples=80, seed=1, streams=streams) for each in (model, copy.deepcopy(model).double()))
        assert found.difference <= 1e-5
        assert exact.difference <= 1e-13
        assert found.cached > 0 < found.naive


def test_dilation_costs_no_weight() -> None:
    sizes = [sum(weight.numel() for weight in build(chosen, seed=1).parameters()) for chosen in (DILATED, UNDILATED)]
    assert sizes[0] == sizes[1]
    assert [build(chosen, seed=1).receptive_field for chosen in (DILATED, UNDILATED)] == [2047, 21]
