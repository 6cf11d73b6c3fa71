"""Translation's examples: the same from memory and from a store, what is too long left out, the number of it known."""

from pathlib import Path

import pytest
import torch

from saccade.batches.examples import Pairs
from saccade.errors import DataError
from saccade.tasks import Splits
from saccade.tasks.translate import Translate
from saccade.text.corpus import Pair
from saccade.text.tokenizers.characters import Characters
from saccade.types import BOS, EOS, pad

PAIRS = [Pair("ab", "ba"), Pair("a" * 9, "b"), Pair("", ""), Pair("b", "a" * 9), Pair("a" * 8, "b" * 8), Pair("c", "\u20ac")]


def taught(pairs: list[Pair] = PAIRS, **settings: object) -> Translate:
    task = Translate(tokenizer=Characters, **{"longest": 9, **settings})
    task.learn(Splits(pairs, [], []))
    return task


def lists(examples: Pairs) -> list[list[list[int]]]:
    return [[row.tolist() for row in side] for side in (examples.source, examples.target)]


def expected(task: Translate, kept: list[Pair]) -> list[list[list[int]]]:
    return [[[*task.source.encode(p.source), EOS] for p in kept], [[BOS, *task.target.encode(p.target), EOS] for p in kept]]


@pytest.mark.parametrize("chunk", [1, 2, 1024])
@pytest.mark.parametrize("both", [True, False])
def test_examples_are_the_same_in_memory_and_from_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, both: bool) -> None:
    monkeypatch.setattr("saccade.tasks.translate._CHUNK", chunk)
    task = taught(target_tokenizer=None if both else Characters)
    wanted = expected(task, [PAIRS[i] for i in (0, 2, 4, 5)])
    memory, written = task.examples(PAIRS), task.examples(PAIRS, tmp_path / "store")
    monkeypatch.setattr(Translate, "_encoded", lambda task, raw: (pytest.fail("encoded again") for _ in raw))
    again = task.examples(PAIRS, tmp_path / "store")
    assert lists(memory) == lists(written) == lists(again) == wanted
    assert len(PAIRS) - len(again.source) == 2
    assert [side.tolist() for side in memory.lengths()] == [side.tolist() for side in again.lengths()] == [[3, 1, 9, 2], [4, 2, 10, 3]]


def test_a_batch_is_what_lists_padded_are(tmp_path: Path) -> None:
    task = taught()
    source, target = expected(task, [PAIRS[i] for i in (0, 2, 4, 5)])
    for examples in (task.examples(PAIRS), task.examples(PAIRS, tmp_path / "store")):
        for rows in ([0], [3, 1, 0], [2, 2]):
            batch = examples.batch(rows)
            for found, wanted in ((batch.source, pad([source[i] for i in rows])), (batch.target, pad([target[i] for i in rows]))):
                assert torch.equal(found.ids, wanted.ids)
                assert torch.equal(found.lengths, wanted.lengths)


def test_another_tokenizer_limit_or_number_of_pairs_is_another_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    task = taught()
    task.examples(PAIRS, store)
    assert len(task.examples(PAIRS[:1], store).source) == 1
    assert len(taught(longest=10).examples(PAIRS, store).source) == 6
    other = taught([Pair("cba", "\u20ac")])
    assert lists(other.examples(PAIRS, store)) == lists(other.examples(PAIRS))


def test_d028_everything_too_long(tmp_path: Path) -> None:
    task = taught(longest=1)
    for store in (None, tmp_path / "store"):
        with pytest.raises(DataError) as caught:
            task.examples([PAIRS[0], PAIRS[1]], store)
        assert caught.value.render() == "error[D028] every pair is longer than 1 tokens\n  fix   longest=10"
    assert not (tmp_path / "store").exists()
