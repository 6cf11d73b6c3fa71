"""Schedules against torch.optim.lr_scheduler, step by step."""

import math
import random

import pytest
import torch
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from saccade.training.schedules.cosine import Cosine
from saccade.training.schedules.cyclic import Cyclic
from saccade.training.schedules.linear import Linear
from saccade.training.schedules.one_cycle import OneCycle
from saccade.training.schedules.plateau import Plateau
from saccade.training.schedules.step_decay import StepDecay


def optimizer(rate: float = 1.0) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate, momentum=0.9)


def followed(scheduler: LRScheduler, steps: int, dial: str = "lr") -> list[float]:
    """The rates, or the momenta, that torch uses for updates 0 to steps - 1."""
    found = []
    for step in range(steps):
        found.append(scheduler.optimizer.param_groups[0][dial])
        scheduler.optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return found


@pytest.mark.parametrize(("every", "factor"), [(7, 0.5), (1, 0.9)])
def test_step_decay(every: int, factor: float) -> None:
    schedule = StepDecay(0.3, 50, hold=every, every=every, factor=factor)
    assert [schedule.rate(step) for step in range(50)] == pytest.approx(followed(StepLR(optimizer(0.3), every, factor), 50), rel=1e-12)


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize(("low", "half_cycle", "gamma"), [(None, 7, 0.99), (1e-5, 64, 0.9999), (0.03, 1, 0.5)])
def test_cyclic(mode: str, low: float | None, half_cycle: int, gamma: float) -> None:
    peak, steps = 0.03, 6 * half_cycle + 3
    shape = {"mode": mode, "gamma": gamma}

    def oracle() -> CyclicLR:
        return CyclicLR(optimizer(), peak / 10 if low is None else low, peak, step_size_up=half_cycle, base_momentum=0.7, max_momentum=0.99, **shape)

    schedule = Cyclic(peak, steps, low=low, half_cycle=half_cycle, cycle_momentum=True, low_momentum=0.7, high_momentum=0.99, **shape)
    assert [schedule.rate(step) for step in range(steps)] == pytest.approx(followed(oracle(), steps), rel=1e-12)
    assert [schedule.momentum(step) for step in range(steps)] == pytest.approx(followed(oracle(), steps, "momentum"), rel=1e-12)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(
    ("steps", "share", "start", "end"), [(100, 0.3, 25.0, 1e4), (37, 0.5, 10.0, 100.0), (64, 0.25, 4.0, 1.0), (2, 0.3, 25.0, 1e4), (1, 0.3, 25.0, 1e4)]
)
def test_one_cycle(shape: str, steps: int, share: float, start: float, end: float) -> None:
    peak, strategy = 0.1, {"cosine": "cos", "linear": "linear"}[shape]
    asked = {"pct_start": share, "anneal_strategy": strategy, "div_factor": start, "final_div_factor": end, "base_momentum": 0.7, "max_momentum": 0.99}

    def oracle() -> OneCycleLR:
        return OneCycleLR(optimizer(), peak, total_steps=steps, **asked)

    knobs = {"warmup_share": share, "start_factor": start, "end_factor": end, "shape": shape}
    schedule = OneCycle(peak, steps, cycle_momentum=True, low_momentum=0.7, high_momentum=0.99, **knobs)
    # Near its end torch subtracts nearly equal numbers: the rounding of the peak is what remains.
    assert [schedule.rate(step) for step in range(steps)] == pytest.approx(followed(oracle(), steps), rel=1e-12, abs=1e-15 * peak)
    assert [schedule.momentum(step) for step in range(steps)] == pytest.approx(followed(oracle(), steps, "momentum"), rel=1e-12)


@pytest.mark.parametrize(("steps", "floor"), [(1, 0.0), (2, 0.5), (100, 0.0), (977, 0.03)])
def test_cosine(steps: int, floor: float) -> None:
    peak = 0.03
    oracle = CosineAnnealingLR(optimizer(peak), T_max=steps, eta_min=floor * peak)
    # torch goes from each rate to the next, and its rounding errors add up.
    assert [Cosine(peak, steps, floor=floor).rate(step) for step in range(steps)] == pytest.approx(followed(oracle, steps), rel=1e-9, abs=1e-12 * peak)


@pytest.mark.parametrize(("period", "stretch"), [(1, 1), (7, 1), (7, 2), (3, 3)])
def test_cosine_with_restarts(period: int, stretch: int) -> None:
    peak, steps = 0.03, 100
    oracle = CosineAnnealingWarmRestarts(optimizer(peak), T_0=period, T_mult=stretch, eta_min=0.001 * peak)
    schedule = Cosine(peak, steps, floor=0.001, period=period, stretch=stretch)
    assert [schedule.rate(step) for step in range(steps)] == pytest.approx(followed(oracle, steps), rel=1e-9)


@pytest.mark.parametrize(("steps", "floor"), [(1, 0.0), (2, 0.5), (100, 0.0), (977, 0.03)])
def test_linear(steps: int, floor: float) -> None:
    oracle = LinearLR(optimizer(0.03), start_factor=1.0, end_factor=floor, total_iters=steps)
    assert [Linear(0.03, steps, floor=floor).rate(step) for step in range(steps)] == pytest.approx(followed(oracle, steps), rel=1e-9)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 10), (37, 1), (64, 63)])
def test_linear_and_cosine_with_a_warm_up_follow_the_formulas_of_transformers(steps: int, warmup: int) -> None:
    """transformers.optimization, 4.x: its warm-up begins at 0, one step behind this one; the rest is the same."""

    def linear(step: int) -> float:
        return step / max(1, warmup) if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))

    def cosine(step: int, cycles: float = 0.5) -> float:
        if step < warmup:
            return step / max(1, warmup)
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * cycles * 2.0 * (step - warmup) / max(1, steps - warmup))))

    for schedule, formula in ((Linear(0.5, steps, warmup=warmup), linear), (Cosine(0.5, steps, warmup=warmup), cosine)):
        expected = [0.5 * formula(step + 1 if step < warmup else step) for step in range(steps)]
        assert [schedule.rate(step) for step in range(steps)] == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("compare", ["relative", "absolute"])
@pytest.mark.parametrize("seed", range(20))
def test_plateau_on_random_histories(compare: str, seed: int) -> None:
    draw = random.Random(seed)
    knobs = {"factor": draw.choice([0.1, 0.5, 0.9]), "patience": draw.randint(0, 4), "cooldown": draw.randint(0, 4), "threshold": draw.choice([0.0, 0.01, 0.2])}
    peak, floor, values = 0.03, 1e-3, [draw.uniform(0.1, 1) + step / 50 for step in range(80)]
    mode = {"relative": "rel", "absolute": "abs"}[compare]
    schedule = Plateau(peak, 800, compare=compare, floor=floor, **knobs)
    # A score that rises, and a loss that falls: its negative is what history holds.
    for sign, oracle in (
        (1, ReduceLROnPlateau(optimizer(peak), "max", threshold_mode=mode, min_lr=floor * peak, eps=0.0, **knobs)),
        (-1, ReduceLROnPlateau(optimizer(peak), "min", threshold_mode=mode, min_lr=floor * peak, eps=0.0, **knobs)),
    ):
        history, expected = [], []
        for number, value in enumerate(values if sign > 0 else [4 - value for value in values]):
            history.append((10 * number, sign * value))
            oracle.step(value)
            expected.append(oracle.optimizer.param_groups[0]["lr"])
        assert [schedule.rate(10 * number, history) for number in range(len(values))] == pytest.approx(expected, rel=1e-9)
        assert len(set(expected)) > 2
