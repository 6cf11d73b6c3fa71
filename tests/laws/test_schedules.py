"""Laws of every learning-rate schedule: positive, never above the peak, continuous, a pure function of what it is asked with."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from saccade.errors import UsageError
from saccade.families import choose, members
from saccade.training.schedules import Schedule
from saccade.training.schedules.constant import Constant
from saccade.training.schedules.cosine import Cosine
from saccade.training.schedules.cyclic import Cyclic
from saccade.training.schedules.inverse_sqrt import InverseSqrt
from saccade.training.schedules.linear import Linear
from saccade.training.schedules.one_cycle import OneCycle
from saccade.training.schedules.plateau import Plateau
from saccade.training.schedules.step_decay import StepDecay

Make = Callable[[float, int], Schedule]
PEAK, STEPS = 0.02, 200

VARIANTS: dict[str, Make] = {
    "constant-warm": choose(Schedule, "constant", warmup=10),
    "inverse_sqrt-short": choose(Schedule, "inverse_sqrt", warmup=10),
    "cyclic-short": choose(Schedule, "cyclic", half_cycle=10),
    "cyclic-flat": lambda peak, steps: Cyclic(peak, steps, half_cycle=10, low=peak),
    "cyclic-halving": lambda peak, steps: Cyclic(peak, steps, half_cycle=10, low=peak / 1000, mode="triangular2"),
    "cyclic-fading": choose(Schedule, "cyclic", half_cycle=25, mode="exp_range", gamma=0.99),
    "cosine-warm": choose(Schedule, "cosine", warmup=10, floor=0.1),
    "cosine-restarts": choose(Schedule, "cosine", warmup=10, period=15, stretch=2),
    "linear-warm": choose(Schedule, "linear", warmup=10, floor=0.1),
    "plateau-warm": choose(Schedule, "plateau", warmup=10),
    "step_decay-short": choose(Schedule, "step_decay", hold=20, every=15, warmup=10, floor=0.01),
    "step_decay-gentle": choose(Schedule, "step_decay", hold=20, every=5, factor=0.9),
    "one_cycle-linear": choose(Schedule, "one_cycle", shape="linear", warmup_share=0.06, end_factor=1e20),
    "one_cycle-steep": choose(Schedule, "one_cycle", warmup_share=0.9, start_factor=1.0, end_factor=1e20),
}
"""Every schedule, and what its knobs change; a new file in the folder joins by itself."""
for _name in members("saccade.training.schedules"):
    VARIANTS[_name] = choose(Schedule, _name)
every_schedule = pytest.mark.parametrize("make", VARIANTS.values(), ids=VARIANTS)
HISTORY = [(step, value) for step, value in zip(range(0, STEPS, 5), [0.1, 0.2, 0.3, *[0.25] * 7, 0.4, *[-0.4] * 29])]
"""Evaluations that get better, stand still, and get worse."""


def rates(schedule: Schedule, steps: int = STEPS) -> list[float]:
    return [schedule.rate(step) for step in range(steps)]


@every_schedule
@pytest.mark.parametrize("peak", [1e-8, PEAK, 3.0])
def test_rates_are_positive_and_at_most_the_peak(make: Make, peak: float) -> None:
    found = rates(make(peak, STEPS), 3 * STEPS)
    assert all(type(rate) is float for rate in found)
    assert min(found) > 0
    assert max(found) <= peak * (1 + 1e-12)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("cosine-restarts", "step_decay-short")])
def test_rates_are_continuous(name: str) -> None:
    found = rates(VARIANTS[name](PEAK, STEPS), 3 * STEPS)
    assert max(abs(after - before) for before, after in pairwise(found)) <= PEAK * (0.1 + 1e-9)


@every_schedule
def test_a_rate_depends_on_the_step_alone(make: Make) -> None:
    forwards, one = rates(make(PEAK, STEPS)), make(PEAK, STEPS)
    assert [one.rate(step) for step in reversed(range(STEPS))] == forwards[::-1]
    assert rates(one) == forwards


@every_schedule
def test_a_rate_depends_on_the_past_alone(make: Make) -> None:
    whole = [make(PEAK, STEPS).rate(step, HISTORY) for step in range(STEPS)]
    assert whole == [make(PEAK, STEPS).rate(step, [seen for seen in HISTORY if seen[0] <= step]) for step in range(STEPS)]
    assert 0 < min(whole) <= max(whole) <= PEAK * (1 + 1e-12)


@every_schedule
def test_momentum_is_left_alone_unless_asked_for(make: Make) -> None:
    assert {make(PEAK, STEPS).momentum(step) for step in range(STEPS)} == {None}


@pytest.mark.parametrize("name", ["cyclic", "one_cycle"])
def test_cyclic_momentum_runs_against_the_rate(name: str) -> None:
    schedule = choose(Schedule, name, cycle_momentum=True, low_momentum=0.8, high_momentum=0.9, **({"half_cycle": 20} if name == "cyclic" else {}))(PEAK, STEPS)
    momenta, found = [schedule.momentum(step) for step in range(STEPS)], rates(schedule)
    assert (max(momenta), momenta[0]) == (0.9, 0.9)
    assert min(momenta) == pytest.approx(0.8, abs=1e-4)
    assert all((one > two) == (a < b) for one, two, a, b in zip(momenta, momenta[1:], found, found[1:]))


@every_schedule
def test_rates_scale_with_the_peak(make: Make) -> None:
    assert rates(make(10 * PEAK, STEPS)) == pytest.approx([10 * rate for rate in rates(make(PEAK, STEPS))], rel=1e-9)


@every_schedule
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_and_steps_beyond_the_run(make: Make, steps: int) -> None:
    schedule = make(PEAK, steps)
    for step in (0, 1, 2, steps, 10 * steps, 10**7):
        assert 0 < schedule.rate(step) <= PEAK * (1 + 1e-12)


@pytest.mark.parametrize(
    "name",
    ["constant-warm", "cosine-warm", "linear-warm", "plateau-warm", "inverse_sqrt-short", "cyclic-short", "cyclic-halving", "one_cycle", "one_cycle-linear"],
)
def test_the_peak_is_nearly_reached(name: str) -> None:
    assert max(rates(VARIANTS[name](PEAK, STEPS))) == pytest.approx(PEAK, rel=0.01)


# ---- what each one is


def test_constant() -> None:
    assert rates(Constant(2.0, 9), 5) == [2.0] * 5
    assert rates(Constant(2.0, 9, warmup=4), 6) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_inverse_sqrt() -> None:
    schedule = InverseSqrt(1.0, 400, warmup=4)
    assert rates(schedule, 4) == [0.25, 0.5, 0.75, 1.0]
    assert schedule.rate(15) == pytest.approx(0.5)
    assert schedule.rate(399) == pytest.approx(0.1)


@pytest.mark.parametrize(("dim", "warmup"), [(512, 4000), (64, 7)])
def test_inverse_sqrt_is_equation_3_of_vaswani_2017(dim: int, warmup: int) -> None:
    schedule = InverseSqrt((dim * warmup) ** -0.5, 100_000, warmup=warmup)
    for step in (1, 2, warmup - 1, warmup, warmup + 1, 50_000, 100_000):
        assert schedule.rate(step - 1) == pytest.approx(dim**-0.5 * min(step**-0.5, step * warmup**-1.5), rel=1e-12)


def test_cyclic_follows_the_equations_of_smith_2017() -> None:
    low, peak, half = 0.1, 0.9, 5
    scales = {"triangular": lambda cycle, step: 1.0, "triangular2": lambda cycle, step: 0.5 ** (cycle - 1), "exp_range": lambda cycle, step: 0.97**step}
    for mode, scale in scales.items():
        schedule = Cyclic(peak, 50, low=low, half_cycle=half, mode=mode, gamma=0.97)
        for step in range(40):
            cycle = math.floor(1 + step / (2 * half))
            x = abs(step / half - 2 * cycle + 1)
            assert schedule.rate(step) == pytest.approx(low + (peak - low) * max(0.0, 1 - x) * scale(cycle, step), rel=1e-12)


def test_cyclic_starts_at_a_tenth_of_the_peak() -> None:
    assert Cyclic(0.5, 100).rate(0) == pytest.approx(0.05)
    assert Cyclic(0.5, 100).rate(2000) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_cycle_passes_through_its_three_rates(shape: str) -> None:
    schedule = OneCycle(1.0, 100, warmup_share=0.25, start_factor=10.0, end_factor=50.0, shape=shape)
    assert [schedule.rate(step) for step in (0, 24, 99, 100, 5000)] == pytest.approx([0.1, 1.0, 0.002, 0.002, 0.002])
    assert schedule.rate(12) == pytest.approx(0.55)


def test_linear() -> None:
    assert rates(Linear(1.0, 4), 6) == [1.0, 0.75, 0.5, 0.25, 0.25, 0.25]
    assert rates(Linear(2.0, 6, warmup=2, floor=0.5), 6) == [1.0, 2.0, 2.0, 1.75, 1.5, 1.25]


def test_cosine_follows_equation_5_of_loshchilov_2017() -> None:
    schedule = Cosine(1.0, 1000, warmup=3, floor=0.1, period=10, stretch=2)
    for step in range(3, 13):
        assert schedule.rate(step) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * (step - 3) / 10)), rel=1e-12)
    assert [schedule.rate(step) for step in (0, 2, 3, 13, 33, 73)] == pytest.approx([1 / 3, 1, 1, 1, 1, 1])
    assert schedule.rate(23) == pytest.approx(0.55)


def test_step_decay() -> None:
    """Zaremba et al. (2014), small: lr_decay ** max(epoch - max_epoch, 0), epochs counted from 1, max_epoch = 4 (here of 3 steps)."""
    schedule = StepDecay(2.0, 21, hold=12, every=3, factor=0.5)
    assert rates(schedule, 24) == [2.0 * 0.5 ** max(epoch - 4, 0) for epoch in range(1, 9) for _ in range(3)]
    assert rates(StepDecay(1.0, 9, hold=4, every=1, factor=0.1, floor=0.05, warmup=2), 7) == pytest.approx([0.5, 1.0, 1.0, 1.0, 0.1, 0.05, 0.05])


def test_plateau_cuts_after_more_than_patience_evaluations_without_gain() -> None:
    schedule = Plateau(1.0, 100, factor=0.1, patience=1, cooldown=1, floor=0.005, warmup=2)
    history = [(1, 9.0), (10, 1.0), (20, 2.0), (30, 2.0), (40, 2.0), (50, 2.0), (60, 2.0), (70, 2.0), (80, 2.0), (90, 2.0)]
    found = [schedule.rate(step, history) for step in (0, 1, 39, 40, 50, 60, 69, 70, 80, 99)]
    assert found == pytest.approx([0.5, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
    assert schedule.rate(10**6, [(step, 0.0) for step in range(2, 1000)]) == 0.005


def test_a_gain_is_measured_by_the_size_of_the_best() -> None:
    better = [(0, -2.0), (1, -1.85), (2, -1.75)]
    assert Plateau(1.0, 9, patience=0, threshold=0.1, factor=0.5).rate(1, better) == 0.5
    assert Plateau(1.0, 9, patience=0, threshold=0.1, factor=0.5).rate(2, [better[0], better[2]]) == 1.0
    assert Plateau(1.0, 9, patience=0, threshold=0.2, compare="absolute", factor=0.5).rate(2, [better[0], better[2]]) == 1.0
    assert Plateau(1.0, 9, patience=0, threshold=0.3, compare="absolute", factor=0.5).rate(2, [better[0], better[2]]) == 0.5


# ---- refusals


@pytest.mark.parametrize(
    ("name", "knobs", "found", "allowed", "example"),
    [
        ("constant", {"warmup": -1}, "warmup = -1", "at least 0", "warmup=0"),
        ("inverse_sqrt", {"warmup": -5}, "warmup = -5", "at least 1", "warmup=4000"),
        ("inverse_sqrt", {"warmup": 0}, "warmup = 0", "at least 1", "warmup=4000"),
        ("cyclic", {"low": 3.0}, "low = 3.0", "above 0 and at most the peak rate 2.0", "low=0.2"),
        ("cyclic", {"low": 0.0}, "low = 0.0", "above 0 and at most the peak rate 2.0", "low=0.2"),
        ("cyclic", {"half_cycle": 0}, "half_cycle = 0", "at least 1", "half_cycle=2000"),
        ("cyclic", {"gamma": 1.5}, "gamma = 1.5", "above 0 and at most 1", "gamma=0.9999"),
        ("cyclic", {"gamma": 0.0}, "gamma = 0.0", "above 0 and at most 1", "gamma=0.9999"),
        ("one_cycle", {"warmup_share": 0.0}, "warmup_share = 0.0", "above 0 and below 1", "warmup_share=0.3"),
        ("one_cycle", {"warmup_share": 1.0}, "warmup_share = 1.0", "above 0 and below 1", "warmup_share=0.3"),
        ("one_cycle", {"start_factor": 0.5}, "start_factor = 0.5", "at least 1", "start_factor=25.0"),
        ("one_cycle", {"end_factor": 0.0}, "end_factor = 0.0", "at least 1", "end_factor=10000.0"),
        ("one_cycle", {"high_momentum": 1.0}, "high_momentum = 1.0", "at least 0 and below 1", "high_momentum=0.95"),
        ("cyclic", {"low_momentum": 0.96}, "low_momentum = 0.96", "at least 0 and at most high_momentum = 0.95", "low_momentum=0.85"),
        ("cosine", {"warmup": -1}, "warmup = -1", "at least 0", "warmup=0"),
        ("cosine", {"floor": -0.1}, "floor = -0.1", "between 0 and 1, a share of the peak", "floor=0.0"),
        ("cosine", {"period": -1}, "period = -1", "at least 0", "period=0"),
        ("cosine", {"stretch": 0}, "stretch = 0", "at least 1", "stretch=1"),
        ("linear", {"warmup": -1}, "warmup = -1", "at least 0", "warmup=0"),
        ("linear", {"floor": 2.0}, "floor = 2.0", "between 0 and 1, a share of the peak", "floor=0.0"),
        ("step_decay", {"hold": -1}, "hold = -1", "at least 0", "hold=1000"),
        ("step_decay", {"every": 0}, "every = 0", "at least 1", "every=1000"),
        ("step_decay", {"factor": 1.0}, "factor = 1.0", "above 0 and below 1", "factor=0.5"),
        ("step_decay", {"floor": 0.0}, "floor = 0.0", "above 0 and at most 1, a share of the peak", "floor=1e-06"),
        ("step_decay", {"warmup": -1}, "warmup = -1", "at least 0", "warmup=0"),
        ("plateau", {"factor": 1.0}, "factor = 1.0", "above 0 and below 1", "factor=0.5"),
        ("plateau", {"patience": -1}, "patience = -1", "at least 0", "patience=2"),
        ("plateau", {"threshold": 1.0}, "threshold = 1.0", "at least 0, and below 1 if relative", "threshold=0.0001"),
        ("plateau", {"cooldown": -1}, "cooldown = -1", "at least 0", "cooldown=0"),
        ("plateau", {"floor": 0.0}, "floor = 0.0", "above 0 and at most 1, a share of the peak", "floor=0.001"),
        ("plateau", {"warmup": -1}, "warmup = -1", "at least 0", "warmup=0"),
    ],
)
def test_impossible_knobs_are_refused(name: str, knobs: dict[str, float], found: str, allowed: str, example: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose(Schedule, name, **knobs)(2.0, 100)
    assert (caught.value.code, caught.value.headline) == ("C012", f"training.schedule.{found}; it must be {allowed}")
    assert caught.value.parts["fix"] == [f"training.schedule.{example}"]
    assert caught.value.setting == f"training.schedule.{next(iter(knobs))}"
