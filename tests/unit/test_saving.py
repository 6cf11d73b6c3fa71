"""Checkpoints: saved in the background with the same bytes, recovered when damaged, and the log with them."""

import errno
import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from saccade import storage
from saccade.errors import ModelError, ResourceError
from saccade.training.checkpoint import checkpoints, commit, prune, recover, save_model
from saccade.training.log import Log
from saccade.training.saver import Saver, Snapshot


def snapshot(step: int) -> Snapshot:
    weights = {"weight": torch.full((50, 4), float(step)), "bias": torch.arange(3)[::2]}
    return Snapshot({"model.safetensors": weights, "optimizer.safetensors": {"random|cpu": torch.zeros(5, dtype=torch.uint8)}}, f'{{"step": {step}}}')


def save(run: Path, *steps: int, keep: int = 5, background: bool = False) -> Path:
    saver = Saver(run, keep, background)
    for step in steps:
        saver.save(step, snapshot(step))
    saver.close()
    return run


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_both_ways_of_saving_write_the_same_bytes(tmp_path):
    one, two = save(tmp_path / "one", 3, 6, 9, keep=2), save(tmp_path / "two", 3, 6, 9, keep=2, background=True)
    assert [path.name for path in checkpoints(one)] == ["step-00000006", "step-00000009"]
    assert contents(one) == contents(two)
    assert {name.split("/")[1] for name in contents(one)} == {"model.safetensors", "optimizer.safetensors", "state.json", "MANIFEST.json"}


class Gate(storage.Disk):
    """Nothing is opened until it is."""

    def __init__(self) -> None:
        self.there, self.error = threading.Event(), None

    def open(self, path, append=False, exclusive=False):
        assert self.there.wait(60)
        if self.error:
            raise self.error
        return super().open(path, append, exclusive)


def test_what_is_saved_is_what_was_when_it_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "disk", gate := Gate())
    taken, saver = snapshot(1), Saver(tmp_path, 2, background=True)
    before = torch.get_rng_state()
    saver.save(1, taken)
    for tensor in taken.tensors["model.safetensors"].values():
        tensor.zero_()
    assert saver.poll() == []
    gate.there.set()
    saver.wait()
    assert saver.poll() == [tmp_path / "step-00000001"]
    assert saver.poll() == []
    assert torch.equal(torch.get_rng_state(), before)
    assert load_file(tmp_path / "step-00000001" / "model.safetensors")["weight"].unique().tolist() == [1.0]
    assert load_file(tmp_path / "step-00000001" / "model.safetensors")["bias"].tolist() == [0, 2]


def test_one_checkpoint_is_in_flight_and_the_next_one_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "disk", gate := Gate())
    saver = Saver(tmp_path, 5, background=True)
    saver.save(1, snapshot(1))
    threading.Timer(0.1, gate.there.set).start()
    saver.save(2, snapshot(2))
    assert (tmp_path / "step-00000001").is_dir()
    saver.close()
    assert saver.poll() == [tmp_path / "step-00000001", tmp_path / "step-00000002"]


@pytest.mark.parametrize("background", [True, False])
def test_a_full_disk_is_said_once_and_at_the_end_and_can_be_mended(tmp_path, monkeypatch, background):
    save(tmp_path, 1)
    before = contents(tmp_path)
    monkeypatch.setattr(storage, "disk", gate := Gate())
    gate.error = OSError(errno.ENOSPC, "No space left on device")
    gate.there.set()
    saver = Saver(tmp_path, 5, background)
    if background:
        saver.save(2, snapshot(2))
    with pytest.raises(ResourceError) as caught:
        saver.wait() if background else saver.save(2, snapshot(2))
    assert caught.value.code == "R001"
    assert caught.value.headline.startswith("the disk is full: needed 1 kB for a checkpoint, ")
    assert caught.value.parts["note"] == ["the last complete checkpoint is step-00000001; nothing was damaged"]
    assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert saver.poll() == []
    with pytest.raises(ResourceError, match="the disk is full"):
        saver.close()
    if background:
        with pytest.raises(ResourceError, match="the disk is full"):
            saver.wait()  # tries again
    gate.error = None
    if background:
        saver.wait()
    else:
        saver.save(2, snapshot(2))
    saver.close()
    assert saver.poll() == [tmp_path / "step-00000002"]
    assert load_file(tmp_path / "step-00000002" / "model.safetensors")["weight"].unique().tolist() == [2.0]


def test_a_checkpoint_that_is_there_stays_if_it_is_complete_and_only_then(tmp_path):
    save(tmp_path, 1)
    other = snapshot(1)._replace(state='{"step": 1, "other": true}')
    commit(tmp_path, 1, other.files)
    assert (tmp_path / "step-00000001" / "state.json").read_text() == '{"step": 1}'
    damage(tmp_path / "step-00000001" / "model.safetensors")
    commit(tmp_path, 1, other.files)
    assert (tmp_path / "step-00000001" / "state.json").read_text() == other.state
    assert recover(tmp_path).warnings == []


def test_nothing_to_recover(tmp_path):
    assert recover(tmp_path) == (None, [])


def test_what_an_interrupted_process_left_is_cleared_away(tmp_path):
    save(tmp_path, 1, 2)
    for name in (".tmp-step-00000003-1", ".trash-step-00000000"):
        shutil.copytree(tmp_path / "step-00000001", tmp_path / name)
    (tmp_path / ".tmp-model.safetensors-1").write_text("half")
    (tmp_path / "notes.txt").write_text("mine")
    assert recover(tmp_path) == (tmp_path / "step-00000002", [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-00000001", "step-00000002"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    run = save(tmp_path, 5, 10)
    file = run / "step-00000010" / "optimizer.safetensors"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ModelError) as caught:
        recover(run, fallback=False)
    assert caught.value.render() == (
        f"error[M010] {run}/step-00000010 is damaged\n"
        f"  look  optimizer.safetensors has 50 bytes, the manifest says {size}\n"
        "  fix   remove step-00000010 to go on from the checkpoint before it"
    )
    found, (warning,) = recover(run)
    assert found == run / "step-00000005"
    assert warning.render("warning") == (
        f"warning[M010] {run}/step-00000010 is damaged\n"
        f"  look  optimizer.safetensors has 50 bytes, the manifest says {size}\n"
        "  note  the previous checkpoint step-00000005 is complete and will be used\n"
        "  fix   to stop instead: --no-fallback"
    )
    assert checkpoints(run) == [found]
    assert (run / ".damaged-step-00000010").is_dir()  # until there is a newer one
    with pytest.raises(ModelError, match=r"had a damaged checkpoint\n  look  it is kept as .damaged-step-00000010\n  fix   leave out --no-fallback"):
        recover(run, fallback=False)
    assert recover(run) == (found, [])
    save(run, 8, keep=1)
    assert [path.name for path in run.iterdir()] == ["step-00000008"]


def test_no_checkpoint_is_complete(tmp_path):
    run = save(tmp_path, 5)
    (run / "step-00000005" / "MANIFEST.json").unlink()
    with pytest.raises(ModelError) as caught:
        recover(run)
    assert caught.value.headline == f"{run}/step-00000005 is damaged"
    assert caught.value.parts["fix"] == [f"begin again: saccade train {run}/recipe.toml"]
    assert (run / "step-00000005").is_dir()


@pytest.mark.parametrize(
    ("manifest", "look"),
    [
        ("[]", "its MANIFEST.json cannot be read: "),
        ("[" * 100_000, "its MANIFEST.json cannot be read: "),
        ('{"format": 1, "files": {"model.safetensors": 5}}', "its MANIFEST.json cannot be read: "),
        ('{"format": 1, "files": {}}', "model.safetensors is not in its MANIFEST.json"),
    ],
)
def test_manifests_that_are_none(tmp_path, manifest, look):
    run = save(tmp_path, 1, 2)
    (run / "step-00000002" / "MANIFEST.json").write_text(manifest)
    found, (warning,) = recover(run)
    assert found == run / "step-00000001"
    assert warning.parts["look"][0].startswith(look)


def test_a_checkpoint_of_a_newer_saccade_is_refused_and_left_alone(tmp_path):
    run = save(tmp_path, 1, 2)
    path = run / "step-00000002" / "MANIFEST.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3, "saccade": "0.4"}))
    before = contents(run)
    for act in (lambda: recover(run), lambda: commit(run, 2, snapshot(2).files)):
        with pytest.raises(ModelError) as caught:
            act()
        assert caught.value.code == "M012"
        assert caught.value.headline == f"{run}/step-00000002 was written by saccade 0.4 (format 3); this is saccade 0.1.0 (reads format 1)"
        assert caught.value.parts["fix"] == ["pip install -U saccade"]
    assert contents(run) == before


def test_steps_are_ordered_as_numbers_and_only_checkpoints_are_pruned(tmp_path):
    run = save(tmp_path, 99_999_999, 100_000_000)
    shutil.copytree(run / "step-99999999", run / "step-of-mine")
    assert [path.name for path in checkpoints(run)] == ["step-99999999", "step-100000000"]
    prune(run, 1)
    assert sorted(path.name for path in run.iterdir()) == ["step-100000000", "step-of-mine"]


def test_a_model_file_has_the_permissions_of_other_files(tmp_path):
    save_model(tmp_path / "model.safetensors", {"weight": torch.ones(2)}, {}, {})
    (tmp_path / "other").touch()
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_log_forgets_what_will_be_done_again(tmp_path):
    lines = [json.dumps({"event": event, "step": step}) for event, step in (("started", 0), ("step", 4), ("saved", 4), ("step", 8))]
    path = tmp_path / "metrics.jsonl"
    Log(tmp_path, since=4)
    assert not path.exists()
    path.write_text("\n".join([*lines, '{"event": "st']))
    Log(tmp_path)
    assert path.read_text().endswith('"st')
    Log(tmp_path, since=8)
    assert path.read_text().splitlines() == lines
    inode = path.stat().st_ino
    Log(tmp_path, since=8)
    assert path.stat().st_ino == inode
    path.write_text(path.read_text() + "not JSON\n")
    Log(tmp_path, since=4)
    assert path.read_text().splitlines() == [*lines[:3], "not JSON"]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
