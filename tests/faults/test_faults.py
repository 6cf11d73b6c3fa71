"""No fault loses a checkpoint, and the harness sees it when one is lost."""

from pathlib import Path

import pytest

from saccade import storage
from saccade.training import checkpoint, saver

from . import harness
from .harness import CUT, FAILED_AND_CUT, KINDS, Case, cases, lost


def expect_nothing_lost(wanted: list[Case], folder: Path) -> None:
    said = [f"{what}\n  again: python -m tests.faults --case {case}" for case, what in lost(wanted, folder).items()]
    assert not said, "\n".join(said)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory) -> list[Case]:
    """About 300; `make faults` injects more."""
    return cases(38 * len(KINDS), 3, tmp_path_factory.mktemp("stories"))


@pytest.mark.parametrize("kind", KINDS)
def test_no_fault_loses_a_checkpoint(tmp_path, chosen, kind):
    wanted = [case for case in chosen if case.kind == kind]
    assert len(wanted) == 38
    expect_nothing_lost(wanted, tmp_path)


def test_a_case_is_what_it_prints():
    for kind in KINDS:
        case = Case(kind, "background", 2, 17, 5)
        assert Case.read(str(case)) == case


def some(kind: str, mode: str, keep: int, folder: Path) -> list[Case]:
    """Every fifth operation of one story."""
    return [Case(kind, mode, keep, at, seed=at) for at in range(1, harness.length(mode, keep, folder / "story"), 5)]


def losses(kind: str, folder: Path, mode: str = "blocking", keep: int = 1) -> list[str]:
    found = lost(some(kind, mode, keep, folder), folder)
    return [what for what in found.values() if "is found" in what or "is damaged" in what]


@pytest.mark.parametrize("kind", ["kill", CUT])
def test_overwriting_a_checkpoint_in_place_is_seen(tmp_path, monkeypatch, kind):
    def in_place(run, step, files, size=0):
        with checkpoint.space_for(run, size):
            final = run / "step-00000001"
            storage.make_folders(final)
            listing = {name: storage.write_file(final / name, chunks)._asdict() for name, chunks in files.items()}
            text = checkpoint.json.dumps({"format": 1, "step": step, "files": listing})
            storage.write_file(final / "MANIFEST.json", [text.encode()])
            storage.disk.sync_folder(final)
        return run / f"step-{step:08d}"

    monkeypatch.setattr(saver, "commit", in_place)
    assert len(losses(kind, tmp_path)) > 3


@pytest.mark.parametrize("mode", ["blocking", "background"])
def test_pruning_before_committing_is_seen(tmp_path, monkeypatch, mode):
    commit = checkpoint.commit

    def hasty(run, step, files, size=0):
        for old in checkpoint.checkpoints(run):
            checkpoint._discard(old)
        return commit(run, step, files, size)

    monkeypatch.setattr(saver, "commit", hasty)
    assert len(losses("kill", tmp_path, mode)) > 3


def test_a_forgotten_flush_of_a_folder_is_seen_when_the_power_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.PowerCut, "sync_folder", lambda self, path: self.happen("sync_folder"))
    assert losses(CUT, tmp_path)


def test_a_forgotten_flush_of_a_folder_is_not_seen_when_the_process_is_killed(tmp_path, monkeypatch):
    """Which is why the power must be cut."""
    monkeypatch.setattr(harness.Faulty, "sync_folder", lambda self, path: self.happen("other"))
    assert not losses("kill", tmp_path)


def test_a_forgotten_flush_of_a_file_is_seen_when_the_power_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(harness.PowerCut, "sync", lambda self, handle: self.happen("sync"))
    assert losses(CUT, tmp_path)


def test_trusting_a_flush_after_one_that_failed_is_seen(tmp_path, monkeypatch):
    """A name that the disk did not confirm must be taken back: the flush after it says nothing about it."""

    def trusting(hidden, final):
        storage.disk.rename(hidden, final)
        storage.disk.sync_folder(final.parent)

    monkeypatch.setattr(checkpoint, "_publish", trusting)
    wanted = [Case(FAILED_AND_CUT, "blocking", 1, at, 2) for at in range(1, harness.length("blocking", 1, tmp_path / "story"), 3)]
    assert [what for what in lost(wanted, tmp_path).values() if "is found" in what]
