"""The order of the data and the cutting into batches: pure, complete, within the budget, the same shapes in every epoch."""

import os
import subprocess
import sys
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import saccade
from saccade.batches.lengths import Waste, plan, shapes, waste
from saccade.batches.order import permutation
from saccade.errors import UsageError


def corpus(size: int, seed: int = 0) -> tuple[list[int], list[int]]:
    """Lengths of sentences and their translations: skewed, and correlated like those of neighbouring languages."""
    numbers = np.random.default_rng(seed)
    source = np.maximum(4, numbers.gamma(9.0, 1.6, size).round()).astype(int)
    target = np.maximum(3, source + numbers.normal(0, 3, size).round()).astype(int)
    return source.tolist(), target.tolist()


def batch_shapes(batches: list[np.ndarray], source: list[int], target: list[int]) -> list[tuple[int, int, int]]:
    return [(len(rows), max(source[i] for i in rows), max(target[i] for i in rows)) for rows in batches]


# ---- order


@pytest.mark.parametrize("size", [0, 1, 2, 7, 1000])
def test_an_order_has_every_index_once(size: int) -> None:
    order = permutation(3, 5, size)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(size))


def test_an_order_is_a_pure_function() -> None:
    first = permutation(1, 0, 100).tolist()
    np.random.seed(7)
    before = np.random.get_state()[1].tolist()
    permutation(1, 1, 100)
    assert permutation(1, 0, 100).tolist() == first
    assert np.random.get_state()[1].tolist() == before


def test_orders_stay_the_same_for_ever() -> None:
    """A run must resume exactly under a later version of NumPy: these numbers may never change."""
    assert permutation(1, 0, 10).tolist() == [2, 3, 0, 7, 4, 1, 8, 5, 9, 6]
    assert permutation(1, 0, 10, stream=1).tolist() == [7, 9, 0, 5, 3, 4, 1, 8, 6, 2]


def test_seeds_epochs_and_streams_give_different_orders() -> None:
    asked = [(seed, epoch, stream) for seed in (0, 1, 2**32, 2**32 + 1) for epoch in (0, 1, 2) for stream in (0, 1)]
    orders = {tuple(permutation(seed, epoch, 50, stream=stream).tolist()) for seed, epoch, stream in asked}
    assert len(orders) == len(asked)


def test_all_orders_are_equally_likely() -> None:
    found = Counter(tuple(permutation(0, epoch, 3).tolist()) for epoch in range(3000))
    assert set(found) == set(permutations(range(3)))
    assert all(400 < count < 600 for count in found.values()), found  # 500 expected, standard deviation 20


@pytest.mark.parametrize(("name", "seed", "epoch"), [("seed", -1, 0), ("epoch", 0, -1)])
def test_a_negative_seed_or_epoch_is_refused(name: str, seed: int, epoch: int) -> None:
    with pytest.raises(UsageError) as caught:
        permutation(seed, epoch, 3)
    assert (caught.value.code, caught.value.headline) == ("C012", f"{name} = -1; it must be at least 0")
    assert caught.value.parts["fix"] == [f"{name}=0"]


def test_batching_does_not_load_torch() -> None:
    code = "import sys, saccade.batches.lengths; print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(saccade.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout == "False\n"


# ---- lengths


@pytest.mark.parametrize("budget", [1, 30, 64, 1000, 10**6])
def test_every_row_once_and_within_the_budget(budget: int) -> None:
    source, target = corpus(500)
    batches = plan(source, target, tokens_per_batch=budget, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for rows, longest_source, longest_target in batch_shapes(batches, source, target):
        assert rows == 1 or rows * max(longest_source, longest_target) <= budget


@pytest.mark.parametrize("budget", [50, 400, 3000])
def test_batches_are_those_of_cutting_row_by_row(budget: int) -> None:
    """The plain loop, one row at a time, over the order that the docstring promises."""
    source, target = corpus(400, seed=2)
    position = {row: i for i, row in enumerate(permutation(5, 3, 400).tolist())}

    def key(row: int) -> tuple[int, int, int]:
        longer, difference = max(source[row], target[row]), source[row] - target[row]
        return longer, difference if longer % 2 == 0 else -difference, position[row]

    expected: list[list[int]] = [[]]
    for row in sorted(range(400), key=key):
        longest = max(max(source[i], target[i]) for i in [*expected[-1], row])
        if expected[-1] and (len(expected[-1]) + 1) * longest > budget:
            expected.append([])
        expected[-1].append(row)
    found = plan(source, target, tokens_per_batch=budget, seed=5, epoch=3)
    assert sorted(rows.tolist() for rows in found) == sorted(expected)


def test_a_pair_longer_than_the_budget_stands_alone() -> None:
    batches = plan([3, 50, 3, 3], [3, 3, 60, 3], tokens_per_batch=12, seed=0, epoch=0)
    assert sorted(sorted(rows.tolist()) for rows in batches) == [[0, 3], [1], [2]]


def test_every_epoch_has_the_same_shapes_with_other_rows_in_another_order() -> None:
    source, target = corpus(2000)
    epochs = [plan(source, target, tokens_per_batch=512, seed=1, epoch=epoch) for epoch in range(3)]
    multisets = [Counter(batch_shapes(batches, source, target)) for batches in epochs]
    assert multisets[0] == multisets[1] == multisets[2]
    assert shapes(epochs[0], source, target) == set(multisets[0])
    sequences = [batch_shapes(batches, source, target) for batches in epochs]
    assert sequences[0] != sequences[1] != sequences[2]
    shared = [{frozenset(rows.tolist()) for rows in batches} for batches in epochs]
    assert len(shared[0] & shared[1]) < len(shared[0]) / 2


def test_a_plan_is_a_pure_function() -> None:
    source, target = corpus(300)
    plans = [plan(lengths, others, tokens_per_batch=200, seed=4, epoch=9) for lengths, others in ((source, target), (np.array(source), np.array(target)))]
    assert [rows.tolist() for rows in plans[0]] == [rows.tolist() for rows in plans[1]]
    other = plan(source, target, tokens_per_batch=200, seed=5, epoch=9)
    assert [rows.tolist() for rows in plans[0]] != [rows.tolist() for rows in other]


def test_plans_stay_the_same_for_ever() -> None:
    """A run must resume exactly under a later version: these numbers may never change."""
    source, target = [7, 7, 1, 5, 9, 8, 7, 5, 8, 6, 4, 9], [6, 7, 1, 3, 11, 8, 9, 7, 7, 6, 2, 7]
    found = plan(source, target, tokens_per_batch=20, seed=1, epoch=2)
    assert [rows.tolist() for rows in found] == [[5, 8], [2, 10, 3], [4], [11, 6], [1, 7], [9, 0]]


def test_long_and_short_batches_are_mixed() -> None:
    source, target = corpus(4000)
    longest = [max(s, t) for _, s, t in batch_shapes(plan(source, target, tokens_per_batch=256, seed=1, epoch=0), source, target)]
    assert abs(np.corrcoef(longest, range(len(longest)))[0, 1]) < 0.2
    assert longest != sorted(longest)


def test_little_is_wasted_on_either_side() -> None:
    source, target = corpus(8000)
    found = waste(plan(source, target, tokens_per_batch=1024, seed=1, epoch=0), source, target)
    assert max(found) < 0.05
    order = sorted(range(8000), key=lambda row: (target[row], source[row]))
    by_target = waste(np.array_split(np.array(order), 160), source, target)
    at_random = waste(np.array_split(permutation(1, 0, 8000), 160), source, target)
    assert found.total < 0.7 * by_target.total < 0.2 * at_random.total


def test_waste_counts_padding() -> None:
    found = waste([np.array([0, 1]), np.array([2])], [1, 3, 2], [4, 4, 2])
    assert found == pytest.approx(Waste(source=2 / 8, target=0.0, total=2 / 18))


def test_nothing_and_empty_texts_are_planned_too() -> None:
    assert plan([], [], tokens_per_batch=10, seed=0, epoch=0) == []
    assert waste([], [], []) == Waste(0.0, 0.0, 0.0)
    assert shapes([], [], []) == set()
    batches = plan([0, 0, 0], [0, 0, 0], tokens_per_batch=2, seed=0, epoch=0)
    assert sorted(len(rows) for rows in batches) == [1, 2]
    assert waste(batches, [0, 0, 0], [0, 0, 0]) == Waste(0.0, 0.0, 0.0)


def test_an_impossible_budget_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        plan([1], [1], tokens_per_batch=0, seed=0, epoch=0)
    assert (caught.value.code, caught.value.headline) == ("C012", "tokens_per_batch = 0; it must be at least 1")
    assert caught.value.parts["fix"] == ["tokens_per_batch=4096"]


def test_unpaired_lengths_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        plan([1, 2], [1], tokens_per_batch=9, seed=0, epoch=0)
    assert (caught.value.code, caught.value.headline) == ("C022", "2 source lengths but 1 target lengths")
    assert caught.value.parts["fix"] == ["give one source and one target length for every pair"]
