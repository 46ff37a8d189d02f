"""A results folder belongs to one process at a time, and a lock never outlives it."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from qjaxsim.command import main as cli
from qjaxsim.common import files
from qjaxsim.studies.shared.results_folder import claimed, entries
from qjaxsim.studies.shared.sweep import Cell, CellResult, read_arrays, read_rows, run_sweep

HOLDER = """
import pathlib, sys, time
from qjaxsim.studies.shared.results_folder import claimed
with claimed(pathlib.Path(sys.argv[1])):
    print("claimed", flush=True)
    time.sleep(60)
"""


def test_a_folder_in_use_is_refused_and_a_killed_holder_is_none(tmp_path):
    out = tmp_path / "out"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(out)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "claimed\n"

    def never(cell, folder):
        raise AssertionError("a cell ran")

    with pytest.raises(ValueError, match=rf"{out} is in use by another process \({holder.pid}\); wait until"):
        run_sweep("toy", {}, [Cell("x")], never, out, columns={}, resume=True)
    assert entries(out) == []
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert (out / ".lock").exists()
    rows = run_sweep("toy", {}, [Cell("x")], lambda cell, folder: CellResult({"y": 1}, {}), out, columns={})
    assert rows == [{"cell": "x", "y": 1}]
    assert not (out / ".lock").exists()


def test_a_claim_ends_with_its_block(tmp_path):
    with (
        claimed(tmp_path),
        pytest.raises(ValueError, match=rf"in use by another process \({os.getpid()}\)"),
        claimed(tmp_path),
    ):
        pass
    with claimed(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_config_is_told_from_a_missing_one(tmp_path):
    (tmp_path / "config.json").write_text("junk")
    with pytest.raises(ValueError, match=r"must hold the config.json of a study .*, but it is damaged \(Exp"):
        run_sweep("toy", {}, [Cell("x")], lambda cell, folder: CellResult({}, {}), tmp_path, columns={}, resume=True)


def test_a_folder_of_a_newer_version_is_not_gone_on_with(tmp_path):
    toy = ("toy", {}, [Cell("x")], lambda cell, folder: CellResult({"y": 1}, {}), tmp_path)
    run_sweep(*toy, columns={})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "environments": [{"qjaxsim": "99.1"}]}))
    kept = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match=r"to be resumed, but qjaxsim 99\.1 wrote it, which is newer .*; install that"):
        run_sweep(*toy, columns={}, resume=True)
    assert (tmp_path / "config.json").read_bytes() == kept
    (tmp_path / "config.json").write_text(json.dumps({**config, "environments": [{"qjaxsim": "0.0.9"}]}))
    assert run_sweep(*toy, columns={}, resume=True) == [{"cell": "x", "y": 1}]


@pytest.mark.parametrize("place", ["cells", "cells/x"])
def test_a_file_where_a_folder_was_is_a_sentence(place, tmp_path):
    toy = ("toy", {}, [Cell("x")], lambda cell, folder: CellResult({"y": 1}, {}), tmp_path / "out")
    run_sweep(*toy, columns={})
    shutil.rmtree(tmp_path / "out" / place)
    (tmp_path / "out" / place).write_text("x")
    with pytest.raises(ValueError, match=r"Results folder .*out must be a folder .* but: cells/x is no folder; choose"):
        run_sweep(*toy, columns={}, resume=True)


def test_reading_a_damaged_cell(tmp_path):
    run_sweep("toy", {}, [Cell("x")], lambda cell, folder: CellResult({"y": 1}, {}), tmp_path, columns={})
    result, arrays = (tmp_path / "cells" / "x" / name for name in ("result.json", "arrays.npz"))
    result.write_text("{")
    with pytest.raises(files.DamagedError, match=r"x.result\.json cannot be read \(it holds no rows\)"):
        read_rows(tmp_path, "x")
    arrays.unlink()
    with pytest.raises(FileNotFoundError, match=r"x must hold the arrays\.npz of a finished cell, .*; bring"):
        read_arrays(tmp_path, "x")
    arrays.mkdir()
    with pytest.raises(files.DamagedError, match=r"x.arrays\.npz cannot be read \(it is a folder\)"):
        read_arrays(tmp_path, "x")


def test_a_folder_in_the_place_of_the_config_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run" / "config.json").mkdir(parents=True)
    study = ["study", "lie-variance", "--out", "run"]
    for words, said in (
        (study, "Folder run holds other things, and no file config.json to go on with; choose another --out."),
        ([*study, "--resume"], "needs a folder that holds a study, but run has no file config.json; check --out."),
        (["bench", "--quick", "--out", "run"], "Folder run holds other things, and no file settings.json to go on"),
    ):
        assert cli.main(words) == 2
        assert said in capsys.readouterr().err
    assert cli.main(["runs", "."]) == 0
    assert "passed over run: config.json: it cannot be read: Is a directory" in capsys.readouterr().out
    assert cli.main(["study", "lie-variance", "--out", "none", "--resume"]) == 2
    assert "check --out, or leave --resume out to begin there" in capsys.readouterr().err


def test_a_folder_made_for_nothing_goes_again(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(RuntimeError), claimed(tmp_path / name):
            raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("found", ["unlinked", "replaced"])
def test_a_lock_that_lost_its_name_is_taken_anew(tmp_path, monkeypatch, found):
    """The holder before deletes its file between our opening and our locking it."""
    fcntl = pytest.importorskip("fcntl")
    flock, calls = fcntl.flock, []

    def late(descriptor, operation):
        if not calls:
            (tmp_path / ".lock").unlink()
            if found == "replaced":
                (tmp_path / ".lock").touch()
        calls.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with claimed(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
