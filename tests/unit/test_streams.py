"""A text as a stream: every symbol is predicted once, from the one before it, wherever it is cut."""

import numpy as np
import pytest
import torch

from saccade.batches.ids import gather
from saccade.batches.streams import Stream
from saccade.errors import DataError, UsageError
from saccade.types import EOS, PAD


def stream(size: int, context: int = 4, carries: bool = True) -> Stream:
    """Ids 4, 5, 6, ... in lines of five, the fifth of which is EOS."""
    ids = [EOS if place % 5 == 4 else 4 + place for place in range(size)]
    return Stream(gather({"text": 1000}, [(ids[i : i + 5],) for i in range(0, size, 5)])[0], context, carries)


def predicted(text: Stream, budget: int, epoch: int = 0) -> list[int]:
    found = [text.batch(places.tolist()).targets for places in text.plan(budget, 1, epoch)]
    return torch.cat([targets[targets != PAD] for targets in found]).tolist()


@pytest.mark.parametrize("size", [4, 7, 16, 17, 61, 100])
@pytest.mark.parametrize("budget", [4, 9, 16, 1000])
def test_carried_rows_predict_every_symbol_once(size, budget):
    text = stream(size)
    assert sorted(predicted(text, budget)) == sorted(text.lines.flat.tolist())
    assert text.padding(text.plan(budget, 1, 0)) < 0.5 or size < 8


def test_a_row_goes_on_where_it_stopped():
    text = stream(61)
    batches = [text.batch(places.tolist()) for places in text.plan(16, 1, 0)]
    rows = torch.cat([batch.targets for batch in batches], 1)
    read = torch.cat([batch.tokens for batch in batches], 1)
    joined = rows.flatten()
    assert joined[joined != PAD].tolist() == text.lines.flat.tolist()
    inside = (rows[:, :-1] != PAD) & (rows[:, 1:] != PAD)
    assert (read[:, 1:] == rows[:, :-1])[inside].all()
    assert read[0, 0] == EOS
    assert (read[1:, 0] == torch.stack([joined[(row * rows.shape[1]) - 1] for row in range(1, len(rows))])).all()


def test_windows_begin_elsewhere_in_every_epoch_and_are_a_pure_function():
    text = stream(103, carries=False)
    first, again, second = (text.plan(16, 1, epoch) for epoch in (0, 0, 1))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert sorted(np.concatenate(first).tolist()) != sorted(np.concatenate(second).tolist())
    assert len({epoch: None for epoch in range(8) for _ in [0] if np.concatenate(text.plan(16, 1, epoch)).min() % 4 == 0}) < 8
    for epoch in range(8):
        found = predicted(text, 16, epoch)
        assert len(found) == len(set(np.flatnonzero(np.isin(text.lines.flat, found)))) or len(found) <= len(text)
        assert len(text) - len(found) < 2 * text.context


def test_behind_the_end_there_is_nothing():
    found = stream(6).excerpt(np.array([4, 8]), 4)
    assert found.targets.tolist() == [[EOS, 9, PAD, PAD], [PAD] * 4]
    assert found.tokens.tolist() == [[7, EOS, EOS, EOS], [EOS] * 4]


def test_d036_a_text_shorter_than_one_context():
    with pytest.raises(DataError) as caught:
        stream(3)
    assert caught.value.render() == "error[D036] the text has 3 symbols, one context is 4\n  fix   more text, or context=1"


def test_c012_a_budget_that_holds_no_row():
    with pytest.raises(UsageError) as caught:
        stream(9).plan(3, 1, 0)
    assert caught.value.headline == "training.tokens_per_batch = 3 holds no row of context = 4 symbols"
