"""Rows of ids: the same in memory and on the disk, padded as lists are, and never half of what was prepared."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import saccade
from saccade.batches import ids as module
from saccade.batches.ids import Ids, gather, opened, prepare
from saccade.errors import DataError
from saccade.types import pad

SIZES = {"source": 70_000, "target": 300}
ABOUT = {"examples": 3, "longest": 9}
ROWS = [([5, 69_999, 2], [1, 2]), ([], [1, 299, 7, 2]), ([4], [])]
rows_of_ids = st.lists(st.lists(st.integers(0, 65_535), max_size=6), max_size=12)


def refusal(folder: Path, about: dict = ABOUT) -> DataError:
    with pytest.raises(DataError) as caught:
        opened(folder, about)
    return caught.value


def prepared(folder: Path) -> Path:
    prepare(folder, SIZES, ROWS, ABOUT)
    return folder


def lists(ids: Ids) -> list[list[int]]:
    return [row.tolist() for row in ids]


# ---- rows


@given(rows_of_ids, st.data())
@settings(deadline=None)
def test_padded_rows_are_those_of_lists(rows: list[list[int]], data: st.DataObject) -> None:
    ids = gather({"side": 65_536}, [(row,) for row in rows])[0]
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=20)) if rows else []
    for asked in (chosen, np.array(chosen, dtype=np.int64)):
        found, wanted = ids.pad(asked), pad([rows[i] for i in chosen])
        assert (found.ids.dtype, found.lengths.dtype) == (torch.int64, torch.int64)
        assert found.ids.shape == wanted.ids.shape
        assert torch.equal(found.ids, wanted.ids)
        assert torch.equal(found.lengths, wanted.lengths)


@given(rows_of_ids)
@settings(deadline=None)
def test_rows_come_back_with_their_lengths(rows: list[list[int]]) -> None:
    ids = gather({"side": 65_536}, [(row,) for row in rows])[0]
    assert (len(ids), lists(ids)) == (len(rows), rows)
    assert ids.lengths.dtype == np.int64
    assert ids.lengths.tolist() == [len(row) for row in rows]


def test_the_smallest_type_that_holds_the_vocabulary() -> None:
    assert [side.data.dtype for side in gather({"a": 65_536, "b": 65_537}, [([65_535], [65_536])])] == [np.uint16, np.int32]
    with pytest.raises(OverflowError):
        gather({"a": 65_536}, [([65_536],)])


@pytest.mark.parametrize("row", [3, -4])
def test_a_row_that_is_not_there(row: int) -> None:
    ids = gather(SIZES, ROWS)[0]
    assert ids[-1].tolist() == ids[2].tolist() == [4]
    with pytest.raises(IndexError):
        ids[row]
    with pytest.raises(IndexError):
        ids.pad([0, row])


# ---- on the disk


@given(rows_of_ids, rows_of_ids, st.integers(1, 9))
@settings(deadline=None)
def test_what_is_prepared_is_what_memory_holds(tmp_path_factory: pytest.TempPathFactory, source: list, target: list, spill: int) -> None:
    folder = tmp_path_factory.mktemp("ids") / "store"
    rows = list(zip(source, target))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SPILL", spill)
        prepare(folder, SIZES, iter(rows), ABOUT)
    for found, wanted in zip(opened(folder, ABOUT), gather(SIZES, rows), strict=True):
        assert (lists(found), found.data.dtype) == (lists(wanted), wanted.data.dtype)
        assert found.lengths.tolist() == wanted.lengths.tolist()


def test_few_numbers_wait_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SPILL", 100)
    waiting: list[int] = []

    def rows() -> Iterator[tuple[list[int]]]:
        for _ in range(1000):
            waiting.append(20_000 + 8_000 - sum(path.stat().st_size for path in (tmp_path / ".store-unfinished").iterdir()))
            yield ([7] * 10,)

    prepare(tmp_path / "store", {"side": 300}, rows(), {})
    assert len(opened(tmp_path / "store", {})[0]) == 1000
    assert waiting[0] - waiting[-1] > 20_000  # bytes reach the files while rows are still coming (files have buffers of 8 KiB)


def test_interrupted_preparation_is_none(tmp_path: Path) -> None:
    def rows() -> Iterator[tuple[list[int], list[int]]]:
        yield from ROWS
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "store", SIZES, rows(), ABOUT)
    assert refusal(tmp_path / "store").render() == (
        f"error[D034] the prepared ids in {tmp_path}/store cannot be read: no such file or directory\n  fix   saccade resume prepares them again"
    )
    assert [path.name for path in tmp_path.iterdir()] == [".store-lock"]
    assert lists(opened(prepared(tmp_path / "store"), ABOUT)[0]) == [row for row, _ in ROWS]


def test_a_killed_preparation_is_none_and_leaves_nothing_for_ever(tmp_path: Path) -> None:
    script = """
import os, sys
from pathlib import Path
from saccade.batches.ids import prepare
def rows():
    yield [4], [5]
    os.kill(os.getpid(), 9)
prepare(Path(sys.argv[1]), {"source": 70000, "target": 300}, rows(), {})
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(saccade.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", script, tmp_path / "store"], env=environment, check=False).returncode == -9
    assert sorted(path.name for path in tmp_path.iterdir()) == [".store-lock", ".store-unfinished"]
    assert refusal(tmp_path / "store", {}).code == "D034"
    prepared(tmp_path / "store")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".store-lock", "store"]
    assert lists(opened(tmp_path / "store", ABOUT)[1]) == [row for _, row in ROWS]


def test_what_is_complete_is_not_prepared_again(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    before = (store / "source.ids").stat().st_ino
    prepare(store, SIZES, iter([]), ABOUT)
    assert (store / "source.ids").stat().st_ino == before
    prepare(store, SIZES, ROWS[:1], {**ABOUT, "longest": 3})
    assert len(opened(store, {**ABOUT, "longest": 3})[0]) == 1
    assert refusal(store).headline == f"the prepared ids in {store} are those of other data or another tokenizer"


@pytest.mark.parametrize("name", ["source.ids", "source.offsets", "target.ids", "target.offsets"])
@pytest.mark.parametrize("change", ["shorter", "longer", "gone"])
def test_a_damaged_file_is_noticed_and_prepared_again(tmp_path: Path, name: str, change: str) -> None:
    store = prepared(tmp_path / "store")
    size = (store / name).stat().st_size
    if change == "gone":
        (store / name).unlink()
        assert refusal(store).headline == f"the prepared ids in {store} cannot be read: no such file or directory"
    else:
        found = size + (1 if change == "longer" else -1)
        os.truncate(store / name, found)
        assert refusal(store).headline == f"the prepared ids in {store} are damaged: {name} has {found:,} bytes, {size:,} were written"
    prepared(store)
    assert lists(opened(store, ABOUT)[0]) == [row for row, _ in ROWS]


@pytest.mark.parametrize("header", ["", "[]", "{}", "[" * 10_000, '{"format": 1}', '{"format": 1, "byteorder": "%s", "about": %s, "sides": {"../x": {}}}'])
def test_a_damaged_header(tmp_path: Path, header: str) -> None:
    store = prepared(tmp_path / "store")
    (store / "IDS.json").write_text(header % (sys.byteorder, json.dumps(ABOUT)) if "%" in header else header)
    assert refusal(store).headline == f"the prepared ids in {store} are damaged: IDS.json is not what was written"


def test_a_header_of_another_format(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    header = json.loads((store / "IDS.json").read_text())
    (store / "IDS.json").write_text(json.dumps({**header, "format": 2}))
    assert refusal(store).headline == f"the prepared ids in {store} were written by another saccade or another machine"


def test_ids_that_are_cut_short_in_use_are_named_and_kill_nobody(tmp_path: Path) -> None:
    store = tmp_path / "store"
    prepare(store, SIZES, ROWS * 10_000, ABOUT)
    source = opened(store, ABOUT)[0]
    size = (store / "source.ids").stat().st_size
    os.truncate(store / "source.ids", 12)
    for use in (lambda: source[29_000], lambda: source.pad([29_000]), lambda: source.lengths):
        with pytest.raises(DataError) as caught:
            use()
        assert caught.value.render() == (
            f"error[D034] the prepared ids {store}/source.ids were cut short while they were in use\n"
            f"  look  the file has 12 bytes, {size:,} were written\n"
            "  fix   saccade resume prepares them again"
        )
        assert caught.value.exit_status == 3


def test_ids_that_are_removed_in_use_stay_readable(tmp_path: Path) -> None:
    store = prepared(tmp_path / "store")
    source, target = opened(store, ABOUT)
    for path in store.iterdir():
        path.unlink()
    assert (lists(source), lists(target)) == ([row for row, _ in ROWS], [row for _, row in ROWS])


def test_many_prepare_at_once_and_one_does_it(tmp_path: Path) -> None:
    encoders: list[int] = []

    def rows(number: int) -> Iterator[tuple[list[int], list[int]]]:
        encoders.append(number)
        yield from [([4], [5])] * 1000

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: prepare(tmp_path / "store", SIZES, rows(number), {}), range(4)))
    assert len(encoders) == 1
    assert len(opened(tmp_path / "store", {})[0]) == 1000
