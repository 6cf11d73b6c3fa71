"""Files are written whole or not at all, and tensors as safetensors writes them."""

import errno
import hashlib
import os
import threading

import pytest
import torch
from safetensors.torch import load, load_file, save

from saccade import storage, tensors
from saccade.storage import append_line, make_folders, remove, replace_file, write_file
from saccade.tensors import Lazy, tensor_bytes, tensor_chunks, write_tensors

TYPES = list(tensors._NAMES)


def of(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Any bits that are valid in this type."""
    torch.manual_seed(1)
    count = torch.Size(shape).numel() * dtype.itemsize
    return torch.randint(0, 2, (count,), dtype=torch.uint8).view(dtype).reshape(shape)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (1,)], ids=str)
def test_a_tensor_is_written_as_safetensors_writes_it(dtype, shape):
    tensors = {"one": of(dtype, *shape)}
    assert b"".join(tensor_chunks(tensors, {"saccade": "{}"})) == save(tensors, {"saccade": "{}"})


def test_tensors_of_all_types_are_written_as_safetensors_writes_them():
    tensors = {f"{name} {dtype}": of(dtype, 3, 2) for name in ("b", "a", 'é "\n\x01\u2028') for dtype in reversed(TYPES)}
    found = b"".join(tensor_chunks(tensors, {"why": 'é "\\\n\x7f'}))
    assert found == save(tensors, {"why": 'é "\\\n\x7f'})
    assert len(found) > tensor_bytes(tensors) == sum(len(tensor.flatten()) * tensor.element_size() for tensor in tensors.values())
    assert b"".join(tensor_chunks({})) == save({})


def test_tensors_in_pieces_are_made_whole():
    whole = torch.arange(24.0, requires_grad=True).reshape(2, 3, 4)
    tensors = {"turned": whole.permute(2, 0, 1), "cut": whole[:, 1:, ::2], "repeated": whole[:1].expand(5, 3, 4), "shared": whole, "again": whole}
    assert b"".join(tensor_chunks(tensors)) == save({name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()})


def test_lazy_tensors_are_made_one_after_the_other(tmp_path):
    made, held = [], []

    def make(name: str) -> torch.Tensor:
        made.append(name)
        return of(torch.float32, 4)

    tensors = {name: Lazy((4,), torch.float32, lambda name=name: make(name)) for name in "cab"}
    for chunk in tensor_chunks(tensors):
        held.append((len(made), len(chunk)))
    assert [count for count, _ in held] == [0, 1, 2, 3]
    assert made == ["a", "b", "c"]
    write_tensors(tmp_path / "file", tensors)
    assert load_file(tmp_path / "file").keys() == tensors.keys()
    with pytest.raises(ValueError, match=r"a was announced as torch.float32 \(4,\), but is torch.int8 \(2,\)"):
        list(tensor_chunks({"a": Lazy((4,), torch.float32, lambda: of(torch.int8, 2))}))


def test_size_and_hash_are_those_of_the_file(tmp_path):
    content = os.urandom(3 * storage._PIECE + 17)
    written = write_file(tmp_path / "file", [content[:5], b"", memoryview(content[5:])])
    assert (tmp_path / "file").read_bytes() == content
    assert written == (len(content), hashlib.sha256(content).hexdigest())


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    class Slow(storage.Disk):
        def write(self, handle, data):
            return super().write(handle, data[:7])

    monkeypatch.setattr(storage, "disk", Slow())
    content = bytes(range(256))
    assert write_file(tmp_path / "file", [content]).sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "file").read_bytes() == content
    append_line(tmp_path / "log", "a line that is long")
    assert (tmp_path / "log").read_text() == "a line that is long\n"


class Full(storage.Disk):
    """Takes ten bytes, then no more."""

    room = 10

    def write(self, handle, data):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = super().write(handle, data[: self.room])
        self.room -= taken
        return taken


def test_a_file_that_cannot_be_replaced_stays_what_it_was(tmp_path, monkeypatch):
    replace_file(tmp_path / "file", [b"old"])
    monkeypatch.setattr(storage, "disk", Full())
    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "file", [b"new and longer than that"])
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_a_line_that_does_not_fit_leaves_nothing_of_itself(tmp_path, monkeypatch):
    append_line(tmp_path / "log", "one", durable=True)
    monkeypatch.setattr(storage, "disk", Full())
    with pytest.raises(OSError, match="No space left"):
        append_line(tmp_path / "log", "two, and much more than that")
    monkeypatch.undo()
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_files_have_the_permissions_of_other_files(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "replaced", [b"x"])
        write_tensors(tmp_path / "tensors", {})
        append_line(tmp_path / "log", "x")
    finally:
        os.umask(before)
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == dict.fromkeys(("replaced", "tensors", "log"), "0o640")


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    hidden = tmp_path / "run" / f".tmp-file-{os.getpid()}"
    hidden.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        replace_file(tmp_path / "run" / "file", [b"x"])
    (tmp_path / "run" / "link").symlink_to(tmp_path)
    remove(tmp_path / "run")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("precious", "mine")]


def test_folders_are_made_with_those_above(tmp_path):
    make_folders(tmp_path / "a" / "b" / "c")
    make_folders(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_random_numbers_go_on_while_a_thread_writes(tmp_path):
    torch.manual_seed(5)
    wanted = torch.rand(200)
    tensors = {str(number): torch.ones(1000, dtype=torch.float64) for number in range(50)}
    torch.manual_seed(5)
    thread = threading.Thread(target=write_tensors, args=(tmp_path / "file", tensors))
    thread.start()
    found = torch.cat([torch.rand(1) for _ in range(200)])
    thread.join()
    assert torch.equal(found, wanted)
    assert len(load((tmp_path / "file").read_bytes())) == 50
