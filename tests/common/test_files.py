"""Files are whole or absent, JSON is plain, hashes depend on content only."""

import dataclasses
import errno
import io
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from qjaxsim.common import files


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float
    folder: Path


def test_text_is_replaced_and_folders_appear(tmp_path):
    path = tmp_path / "a" / "b" / "note.txt"
    files.write_text(path, "first")
    files.write_text(path, "zweite Fassung: ψ")
    assert path.read_text(encoding="utf-8") == "zweite Fassung: ψ"
    assert [p.name for p in path.parent.iterdir()] == ["note.txt"]


def test_new_files_follow_the_umask(tmp_path):
    (tmp_path / "plain").write_text("x")
    files.write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch, step):
    path = files.write_text(tmp_path / "note.txt", "old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_remove_temporaries_takes_only_leftovers(tmp_path):
    (tmp_path / ".note.txt.17-abcd.tmp").write_text("half")
    mine = {"note.tmp", ".hidden.tmp", ".note.txt.tmp"}
    for name in mine:
        (tmp_path / name).write_text("mine")
    files.remove_temporaries(tmp_path)
    files.remove_temporaries(tmp_path, "note.txt")
    assert {p.name for p in tmp_path.iterdir()} == mine


def test_json_of_numpy_paths_and_dataclasses(tmp_path):
    value = {
        "settings": Settings(np.float64(0.25), Path("runs/x")),
        "counts": np.arange(3, dtype=np.int32),
        "flag": np.bool_(True),
        "nested": [(1, None), {"text": "ok"}],
    }
    files.write_json(tmp_path / "v.json", value)
    assert json.loads((tmp_path / "v.json").read_text()) == {
        "settings": {"rate": 0.25, "folder": "runs/x"},
        "counts": [0, 1, 2],
        "flag": True,
        "nested": [[1, None], {"text": "ok"}],
    }


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), np.float32("nan"), np.array([1.0, -np.inf])])
def test_json_refuses_non_finite_numbers_or_writes_null(tmp_path, bad):
    with pytest.raises(ValueError, match=r"must be finite, but value\.rows\[0\]\.loss.* nan_as_null=True"):
        files.write_json(tmp_path / "v.json", {"rows": [{"loss": bad}]})
    assert not (tmp_path / "v.json").exists()
    files.write_json(tmp_path / "v.json", {"rows": [{"loss": bad}]}, nan_as_null=True)
    assert "null" in (tmp_path / "v.json").read_text()


def test_json_refuses_other_types():
    with pytest.raises(TypeError, match=r"value\.f is a function; convert it first"):
        files.to_json({"f": lambda: 0})
    with pytest.raises(TypeError, match=r"Keys in JSON must be strings, but value\.a has the key 3"):
        files.to_json({"a": {3: 1}})
    with pytest.raises(TypeError, match=r"value\[1\] is a complex"):
        files.to_json([1, 2j])


def test_arrays_round_trip_without_pickle(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "params/0": np.array(3, np.int32), "s": np.array(["x", "yy"])}
    files.write_npz(tmp_path / "v.npz", arrays)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as back:
        assert set(back.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
            assert back[name].dtype == array.dtype
    files.write_npy(tmp_path / "v.npy", arrays["a"])
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy", allow_pickle=False), arrays["a"])


def test_arrays_of_objects_are_refused(tmp_path):
    objects = np.array([{}], dtype=object)
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_npy(tmp_path / "v.npy", objects)
    with pytest.raises(ValueError, match="`o` holds Python objects"):
        files.write_npz(tmp_path / "v.npz", {"o": objects})
    with pytest.raises(ValueError, match="must not be arguments of numpy.savez, but one is 'file'"):
        files.write_npz(tmp_path / "v.npz", {"file": np.zeros(2)})
    assert list(tmp_path.iterdir()) == []


def test_config_hash():
    base = files.config_hash({"rate": 0.1, "layers": (1, 2)})
    assert len(base) == 16
    assert base == files.config_hash({"layers": [1, 2], "rate": np.float64(0.1)})
    assert base != files.config_hash({"layers": [2, 1], "rate": 0.1})
    with pytest.raises(ValueError, match=r"config\.rate is nan"):
        files.config_hash({"rate": float("nan")})


# --- what stands at the path already -------------------------------------------------------------------------------


def test_links_to_files_are_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "note.txt").write_text("old")
    (tmp_path / "link").symlink_to("real/note.txt")
    (tmp_path / "dangling").symlink_to("real/new.txt")
    for name in ("link", "dangling"):
        files.check_writable(tmp_path / name)
        files.write_text(tmp_path / name, "new")
        assert (tmp_path / name).is_symlink()
    assert {path.name: path.read_text() for path in (tmp_path / "real").iterdir()} == {
        "note.txt": "new",
        "new.txt": "new",
    }


@pytest.fixture(params=["folder", "pipe", "device", "link to a device", "loop", "below a file", "full"])
def unwritable(request, tmp_path, monkeypatch):
    """A path that no file can be written at, and the reason."""
    path = tmp_path / "out"
    if request.param == "folder":
        path.mkdir()
        return path, "it is a folder"
    if request.param == "pipe":
        os.mkfifo(path)
        return path, "it is no regular file but a pipe"
    if request.param == "device":
        return Path("/dev/full"), "it is no regular file but a pipe, a device"
    if request.param == "link to a device":
        path.symlink_to("/dev/null")
        return path, "it is no regular file"
    if request.param == "loop":
        path.symlink_to("out")
        return path, "Too many levels of symbolic links"
    if request.param == "below a file":
        path.write_text("a file")
        return path / "note.txt", "Not a directory"

    class Full(io.FileIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", lambda self, *a, **k: Full(os.open(self, os.O_CREAT | os.O_WRONLY), "w"))
    return path, "No space left on device"


def identity(path):
    """What is at a path: not when it was last read, which following a link changes."""
    if not os.path.lexists(path):
        return None
    found = path.lstat()
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns


def test_other_things_are_never_replaced(unwritable):
    path, reason = unwritable
    before = identity(path)
    for attempt in (files.check_writable, lambda path: files.write_text(path, "new")):
        with pytest.raises(files.NotWrittenError, match=rf"^{path} cannot be written: .*{reason}"):
            attempt(path)
    assert identity(path) == before
    assert not [name for name in os.listdir(path.parent) if name.endswith(".tmp")] if path.parent.is_dir() else True


def test_checking_leaves_nothing(tmp_path):
    files.check_writable(tmp_path / "new" / "folder" / "note.txt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["qubo", "solve", "absent.coo"], ["crosscheck", "absent.qasm"]])
def test_commands_refuse_such_files_before_the_work(unwritable, words, capsys):
    from qjaxsim.command import main as cli

    path, reason = unwritable
    assert cli.main([*words, "--out", str(path)]) == 2
    error = capsys.readouterr().err
    assert f"error: Option --out must name a file that can be written, but {path} cannot: " in error and reason in error
    assert error.count("\n") == 1


# --- damaged files -------------------------------------------------------------------------------------------------


def _damaged(path, damage):
    files.write_npz(path, {"a": np.arange(500.0), "b": np.ones(3)})
    whole = path.read_bytes()
    if damage == "an object":
        np.savez(path, a=np.array([{}], dtype=object), b=np.ones(3))
    elif damage == "other names":
        files.write_npz(path, {"c": np.ones(3)})
    elif damage == "one array":
        with path.open("wb") as file:
            np.save(file, np.ones(3))
    else:
        path.write_bytes({
            "cut short": whole[: len(whole) // 2],
            "empty": b"",
            "garbage": bytes(range(256)) * 8,
            "pickle": pickle.dumps({"a": 1}),
            "a bit": whole[:400] + bytes([whole[400] ^ 1]) + whole[401:],
        }[damage])  # fmt: skip


@pytest.mark.parametrize(
    "damage", ["cut short", "empty", "garbage", "pickle", "a bit", "an object", "other names", "one array"]
)
def test_damaged_arrays_are_one_error_of_ours(tmp_path, damage):
    path = tmp_path / "state.npz"
    _damaged(path, damage)
    with pytest.raises(files.DamagedError, match=rf"^{path} cannot be read \(.*\); delete it to start") as caught:
        files.read_npz(path, "a", "b")
    assert caught.value.path == path
    assert "pickle" not in str(caught.value) and "allow" not in str(caught.value)


# Places in the archive's directory, counted from its entry of the first array; the last, of its end, from the back.
DIRECTORY = {"version": (6, 255), "encrypted": (8, 1), "patched": (8, 32), "method": (10, 99), "offset": (-6, 255)}


@pytest.mark.parametrize("field", DIRECTORY)
def test_damage_in_the_directory_of_an_archive_is_the_same_error(tmp_path, field):
    path = files.write_npz(tmp_path / "state.npz", {"a": np.arange(4.0), "b": np.ones(3)})
    whole, (place, byte) = bytearray(path.read_bytes()), DIRECTORY[field]
    whole[place if place < 0 else whole.index(b"PK\x01\x02") + place] = byte
    path.write_bytes(whole)
    with pytest.raises(files.DamagedError, match=r"\(its arrays cannot be read\)"):
        files.read_npz(path)


def test_a_folder_in_the_place_of_a_file_is_to_be_moved_not_deleted(tmp_path):
    for read in (files.read_npz, files.read_npy):
        with pytest.raises(files.DamagedError, match=r"cannot be read \(it is a folder\); move it away to start"):
            read(tmp_path)


_HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (4"
BROKEN = [_HEADER.ljust(128), _HEADER.replace(b"': '", b"',: ").ljust(128)]


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps(3), *BROKEN])
def test_a_damaged_array(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(files.DamagedError, match="its array cannot be read"):
        files.read_npy(tmp_path / "a.npy")


def test_missing_files_are_not_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read_npz(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError):
        files.read_npy(tmp_path / "none.npy")


def test_what_is_put_aside_is_kept(tmp_path):
    for content in ("first", "second"):
        (tmp_path / "a").write_text(content)
        files.put_aside(tmp_path / "a")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.damaged1": "first",
        "a.damaged2": "second",
    }
