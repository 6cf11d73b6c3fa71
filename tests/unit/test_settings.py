"""Every dial of training has bounds, and says them."""

import math
from typing import Literal, get_origin

import pytest
import torch

from saccade.errors import UsageError
from saccade.families import knobs
from saccade.training.settings import Training, pick_precision

BOUNDS = [
    *[(name, 0, "at least 1", f"{name}=1") for name in ("steps", "tokens_per_batch", "evaluate_every", "report_every", "accumulate", "keep")],
    *[(name, -1, "at least 0", f"{name}=0") for name in ("passes", "average", "patience", "save_every", "tries", "workers", "evaluate_examples")],
    ("clip", -1.0, "at least 0", "clip=0"),
    ("weight_decay", -0.1, "at least 0", "weight_decay=0.01"),
    ("learning_rate", 0.0, "above 0", "learning_rate=0.001"),
    ("epsilon", 0.0, "above 0", "epsilon=1e-09"),
    ("forcing_pace", 0.0, "above 0", "forcing_pace=1000.0"),
    ("timeout", 0.0, "above 0", "timeout=600.0"),
    ("retry_every", -1.0, "at least 0", "retry_every=0"),
    *[(name, value, "between 0 and 1", f"{name}=0.1") for name in ("label_smoothing", "forcing_floor") for value in (-0.1, 1.1)],
    *[(name, value, "at least 0 and below 1", f"{name}=0.9") for name in ("beta1", "beta2", "momentum") for value in (-0.1, 1.0)],
    *[("ema", value, "at least 0 and below 1", "ema=0.999") for value in (-0.1, 1.0)],
    *[("layer_decay", value, "above 0 and at most 1", "layer_decay=0.9") for value in (0.0, 1.1)],
]


def expect_refusal(name: str, value: object, code: str, headline: str, fix: str, setting: str) -> None:
    """Exactly this message, about this setting."""
    with pytest.raises(UsageError) as caught:
        Training(**{name: value})
    assert (caught.value.code, caught.value.headline, caught.value.parts["fix"], caught.value.setting) == (code, headline, [fix], setting)


@pytest.mark.parametrize(("name", "value", "allowed", "fix"), BOUNDS)
def test_numbers_out_of_bounds_are_refused(name, value, allowed, fix):
    expect_refusal(name, value, "C012", f"training.{name} = {value}; it must be {allowed}", f"training.{fix}", f"training.{name}")


@pytest.mark.parametrize("name", ["rates", "decays"])
@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf])
def test_numbers_in_tables_have_bounds_too(name, value):
    headline, fix = f'training.{name}."*bias" = {value}; it must be at least 0', f'training.{name}={{ "*bias" = 0.1 }}'
    expect_refusal(name, {"a": 0.0, "*bias": value}, "C012", headline, fix, f'training.{name}."*bias"')


def test_every_dial_that_is_a_number_has_bounds():
    numbers = {name for name, (hint, _) in knobs(Training).items() if hint in (int, float)}
    assert numbers == {name for name, *_ in BOUNDS}


@pytest.mark.parametrize("name", [name for name, (hint, _) in knobs(Training).items() if hint is float])
def test_what_is_no_number_is_out_of_bounds(name):
    with pytest.raises(UsageError, match=rf"training\.{name} = nan; it must be"):
        Training(**{name: math.nan})


def test_the_edges_are_allowed():
    least = {"steps": 1, "keep": 1, "accumulate": 1, "save_every": 0, "tries": 0, "workers": 0, "clip": 0.0, "ema": 0.0, "momentum": 0.0, "weight_decay": 0.0}
    assert Training(**least, layer_decay=1.0, label_smoothing=1.0, rates={"*": 0.0}, decays={}, timeout=1e-3).steps == 1


@pytest.mark.parametrize("name", [name for name, (hint, _) in knobs(Training).items() if get_origin(hint) is Literal])
def test_a_word_that_is_none_of_those_allowed_is_refused(name):
    made = Training()
    object.__setattr__(made, name, "sideways")  # round the type checker that watches the tests
    with pytest.raises(UsageError, match=rf"error\[C013\] training\.{name}: expected '.*, found 'sideways'"):
        made.__post_init__()


@pytest.mark.parametrize(
    ("tiles", "vectors", "vendor", "wanted"),
    [
        (True, True, "GenuineIntel", torch.bfloat16),
        (False, True, "GenuineIntel", torch.float32),
        (False, True, "AuthenticAMD", torch.bfloat16),
        (False, False, "AuthenticAMD", torch.float32),
    ],
)
def test_bfloat16_is_picked_where_it_is_faster(monkeypatch, tiles, vectors, vendor, wanted):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr("saccade.training.settings._vendor", lambda: vendor)
    assert pick_precision("auto", torch.device("cpu")) is wanted
    assert pick_precision("bfloat16", torch.device("cpu")) is torch.bfloat16
