"""Schedules against torch.optim.lr_scheduler, step by step."""

import pytest
import torch
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, OneCycleLR

from saccade.training.schedules.cyclic import Cyclic
from saccade.training.schedules.one_cycle import OneCycle


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def followed(scheduler: LRScheduler, steps: int) -> list[float]:
    """The rates that torch uses for updates 0 to steps - 1."""
    found = []
    for step in range(steps):
        found.append(scheduler.get_last_lr()[0])
        scheduler.optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return found


@pytest.mark.parametrize("mode", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize(("low", "half_cycle", "gamma"), [(None, 7, 0.99), (1e-5, 64, 0.9999), (0.03, 1, 0.5)])
def test_cyclic(mode: str, low: float | None, half_cycle: int, gamma: float) -> None:
    peak, steps = 0.03, 6 * half_cycle + 3
    oracle = CyclicLR(optimizer(), peak / 10 if low is None else low, peak, step_size_up=half_cycle, mode=mode, gamma=gamma, cycle_momentum=False)
    schedule = Cyclic(peak, steps, low=low, half_cycle=half_cycle, mode=mode, gamma=gamma)
    assert [schedule.rate(step) for step in range(steps)] == pytest.approx(followed(oracle, steps), rel=1e-12)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
@pytest.mark.parametrize(
    ("steps", "share", "start", "end"), [(100, 0.3, 25.0, 1e4), (37, 0.5, 10.0, 100.0), (64, 0.25, 4.0, 1.0), (2, 0.3, 25.0, 1e4), (1, 0.3, 25.0, 1e4)]
)
def test_one_cycle(shape: str, steps: int, share: float, start: float, end: float) -> None:
    peak, strategy = 0.1, {"cosine": "cos", "linear": "linear"}[shape]
    oracle = OneCycleLR(
        optimizer(), peak, total_steps=steps, pct_start=share, anneal_strategy=strategy, cycle_momentum=False, div_factor=start, final_div_factor=end
    )
    schedule = OneCycle(peak, steps, warmup_share=share, start_factor=start, end_factor=end, shape=shape)
    # Near its end torch subtracts nearly equal numbers: the rounding of the peak is what remains.
    assert [schedule.rate(step) for step in range(steps)] == pytest.approx(followed(oracle, steps), rel=1e-12, abs=1e-15 * peak)
