"""Files are whole or absent, JSON is plain, hashes depend on content only."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from qjaxsim import files


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
    (tmp_path / "note.tmp").write_text("mine")
    files.remove_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["note.tmp"]


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
