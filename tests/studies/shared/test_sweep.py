"""Sweeps survive being killed, resume to the same bytes, and refuse folders they should not touch."""

import datetime
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console

from qjaxsim.common import files
from qjaxsim.common.environment import environment
from qjaxsim.studies.shared import sharing, sweep
from qjaxsim.studies.shared.sweep import Cell, CellResult, Progress, run_sweep

COLUMNS = {"x": "input, no unit", "y": "square of x", "ratio": "x / 0"}
CELLS = [Cell("x1", {"x": 1}), Cell("x2", {"x": 2}), Cell("x3", {"x": 3})]
CONFIG = {"seed": 0, "grid": {"x": [1, 2, 3]}, "rate": 0.1}

# A cell of three steps with a checkpoint after each. With STOP_AT the process hangs inside a cell until it is killed.
PROGRAM = """
import os, pathlib, sys, time
import numpy as np
from qjaxsim.common import files
from qjaxsim.studies.shared.sweep import Cell, CellResult, run_sweep

out, log, stop_at = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]

def run_cell(cell, folder):
    checkpoint = folder / "checkpoint.npy"
    state = np.load(checkpoint) if checkpoint.exists() else np.array([cell.settings["x"], 0.0])
    while state[1] < 3:
        state = np.array([np.sin(state[0] * 1.7), state[1] + 1])
        with log.open("a") as file:
            file.write(f"{cell.key} step {int(state[1])}\\n")
        files.write_npy(checkpoint, state)
        if stop_at == f"{cell.key}:{int(state[1])}":
            (folder / ".half.npy.1-0.tmp").write_text("half a file")
            print("waiting", flush=True)
            time.sleep(60)
    return CellResult({"x": cell.settings["x"], "y": state[0], "nan": np.nan}, {"state": state})

cells = [Cell(f"x{i}", {"x": i}) for i in (1, 2, 3)]
run_sweep("toy", {"seed": 0}, cells, run_cell, out, columns={}, resume="--resume" in sys.argv)
"""


def run_cell(cell, folder):
    x = cell.settings["x"]
    return CellResult({"x": x, "y": np.float64(x) ** 2, "ratio": float("nan"), "name": 'a "b", c'}, {"v": np.arange(x)})


def quiet():
    """Progress whose messages can be read."""
    return Progress(Console(file=io.StringIO()))


def messages(progress):
    return progress.console.file.getvalue()


def sweep_toy(out, cells=CELLS, config=CONFIG, run_cell=run_cell, study="toy", **options):
    options.setdefault("progress", quiet())
    return run_sweep(study, config, cells, run_cell, out, columns=COLUMNS, **options)


def test_folder_of_a_finished_sweep(tmp_path):
    rows = sweep_toy(tmp_path / "out")
    assert rows[1] == {"cell": "x2", "x": 2, "y": 4.0, "ratio": None, "name": 'a "b", c'}
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    cells = {f"cells/{cell.key}/{name}" for cell in CELLS for name in ("result.json", "arrays.npz")}
    assert names == cells | {"config.json", "summary.json", "summary.csv", "columns.json"}
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == rows
    assert (tmp_path / "out" / "summary.csv").read_text().splitlines()[:2] == [
        "cell,x,y,ratio,name",
        'x1,1,1.0,,"a ""b"", c"',
    ]
    columns = json.loads((tmp_path / "out" / "columns.json").read_text())
    assert list(columns) == ["cell", "x", "y", "ratio", "name"]
    assert columns["y"] == "square of x"
    assert columns["name"] is None
    np.testing.assert_array_equal(sweep.read_arrays(tmp_path / "out", "x3")["v"], [0, 1, 2])


def test_config_names_versions_but_not_the_machine(tmp_path):
    sweep_toy(tmp_path / "out")
    text = (tmp_path / "out" / "config.json").read_text()
    config = json.loads(text)
    assert config["study"] == "toy"
    assert config["settings"] == CONFIG
    assert config["cells"]["x2"] == {"x": 2}
    (environment,) = config["environments"]
    assert {"python", "jax", "jaxlib", "numpy", "qjaxsim", "backend", "device_kind"} <= set(environment)
    assert environment["x64"] is True
    assert str(tmp_path) not in text
    assert os.uname().nodename not in text


def test_columns_of_different_rows_are_joined_in_order(tmp_path):
    def uneven(cell, folder):
        return CellResult({"a": 1} if cell.key == "x1" else {"b": True, "a": 2}, {})

    sweep_toy(tmp_path / "out", run_cell=uneven)
    assert (tmp_path / "out" / "summary.csv").read_text() == "cell,a,b\nx1,1,\nx2,2,true\nx3,2,true\n"


def start(out, log, stop_at, *flags):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(out), str(log), stop_at, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )


def test_a_cell_may_have_several_rows(tmp_path):
    def several(cell, folder):
        return CellResult([{"x": cell.settings["x"], "part": part} for part in (1, 2)], {})

    out = tmp_path / "out"
    rows = sweep_toy(out, run_cell=several)
    assert [(row["cell"], row["x"], row["part"]) for row in rows[:3]] == [("x1", 1, 1), ("x1", 1, 2), ("x2", 2, 1)]
    assert json.loads((out / "summary.json").read_text()) == rows and len(rows) == 6

    def failing(cell, folder):
        raise AssertionError("all cells are done")

    assert sweep_toy(out, run_cell=failing, resume=True) == rows


def test_killed_in_a_cell_and_resumed_gives_the_same_bytes(tmp_path):
    whole = start(tmp_path / "whole", tmp_path / "whole.log", "never")
    killed = start(tmp_path / "out", tmp_path / "out.log", "x2:2")
    assert killed.stdout.readline() == "waiting\n"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert [row["cell"] for row in json.loads((tmp_path / "out" / "summary.json").read_text())] == ["x1"]

    resumed = start(tmp_path / "out", tmp_path / "out.log", "never", "--resume")
    _, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    _, errors_whole = whole.communicate()
    assert whole.returncode == 0, errors_whole
    assert "toy: cell 1/3 x1 already done" in errors
    assert "toy: cell 2/3 x2 done in" in errors
    assert errors_whole.count(" done in ") == 3

    # No step is lost or done twice: finished cells are read back, and the one in flight took up its checkpoint.
    assert (tmp_path / "out.log").read_text() == (tmp_path / "whole.log").read_text()
    for name in ("summary.json", "summary.csv", "columns.json", "config.json", "cells/x2/result.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    for key in ("x1", "x2", "x3"):
        np.testing.assert_array_equal(
            sweep.read_arrays(tmp_path / "out", key)["state"], sweep.read_arrays(tmp_path / "whole", key)["state"]
        )
    assert list((tmp_path / "out").rglob("*.tmp")) == []


def test_an_exception_keeps_finished_cells(tmp_path):
    ran = []

    def fails_at_x2(cell, folder):
        ran.append(cell.key)
        if cell.key == "x2" and len(ran) == 2:
            raise FloatingPointError("loss is nan")
        return run_cell(cell, folder)

    progress = quiet()
    with pytest.raises(FloatingPointError, match="loss is nan"):
        sweep_toy(tmp_path / "out", run_cell=fails_at_x2, progress=progress)
    assert "toy: cell 2/3 x2 failed after" in messages(progress)
    rows = sweep_toy(tmp_path / "out", run_cell=fails_at_x2, resume=True)
    assert ran == ["x1", "x2", "x2", "x3"]
    assert rows == sweep_toy(tmp_path / "other")


@pytest.mark.parametrize(
    "damage",
    [
        "truncated",
        "not a result",
        "no row",
        "no arrays",
        "damaged arrays",
        "other arrays",
        "a folder for the result",
        "a folder for the arrays",
    ],
)
def test_a_damaged_cell_runs_again_with_a_warning(tmp_path, damage):
    rows = sweep_toy(tmp_path / "out")
    folder = tmp_path / "out" / "cells" / "x2"
    if damage == "truncated":
        (folder / "result.json").write_text((folder / "result.json").read_text()[:20])
    elif damage == "not a result":
        (folder / "result.json").write_text("[1, 2]")
    elif damage == "no arrays":
        (folder / "arrays.npz").unlink()
    elif damage == "damaged arrays":
        (folder / "arrays.npz").write_bytes(b"PK")
    elif damage == "no row":
        result = json.loads((folder / "result.json").read_text())
        (folder / "result.json").write_text(json.dumps({**result, "row": {}}))
    elif damage.startswith("a folder"):
        place = folder / ("result.json" if damage.endswith("result") else "arrays.npz")
        place.unlink()
        place.mkdir()
    else:
        np.savez(folder / "arrays.npz", w=np.zeros(2))
    ran, progress = [], quiet()

    def counting(cell, folder):
        ran.append(cell.key)
        return run_cell(cell, folder)

    assert sweep_toy(tmp_path / "out", run_cell=counting, resume=True, progress=progress) == rows
    assert ran == ["x2"]
    assert messages(progress).count("warning: result of cell x2 cannot be used") == 1


def test_a_damaged_result_does_not_return_when_its_second_run_fails(tmp_path):
    sweep_toy(tmp_path / "out")
    folder = tmp_path / "out" / "cells" / "x2"
    (folder / "arrays.npz").unlink()

    def fails(cell, folder):
        raise RuntimeError("again")

    with pytest.raises(RuntimeError, match="again"):
        sweep_toy(tmp_path / "out", run_cell=fails, resume=True)
    assert not (folder / "result.json").exists()


def test_resuming_a_finished_or_new_sweep(tmp_path):
    rows = sweep_toy(tmp_path / "new", resume=True)

    def never(cell, folder):
        raise AssertionError("a finished cell ran")

    (tmp_path / "new" / "summary.json").unlink()
    assert sweep_toy(tmp_path / "new", run_cell=never, resume=True) == rows
    assert json.loads((tmp_path / "new" / "summary.json").read_text()) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {**CONFIG, "rate": 0.2}}, r"with `rate` = 0\.1, but this one has 0\.2; resume with the same"),
        ({"config": {**CONFIG, "grid": {"x": [1, 2]}}}, r"settings\.grid\.x = \[1, 2, 3\], but this one has \[1, 2\]"),
        ({"config": {**CONFIG, "more": True}}, r"with `more` = nothing, but this one has true"),
        ({"config": {"seed": 0, "rate": 0.1}}, r'with `grid` = \{"x": \[1, 2, 3\]\}, but this one has nothing'),
        ({"config": {**CONFIG, "seed": False}}, r"with `seed` = 0, but this one has false"),
        ({"cells": CELLS[:2]}, r'cells\.x3 = \{"x": 3\}, but this one has nothing'),
        ({"cells": [*CELLS[:2], Cell("x3", {"x": 4})]}, r"cells\.x3\.x = 3, but this one has 4"),
        ({"study": "other"}, r'study = "toy", but this one has "other"'),
    ],
)
def test_resuming_demands_the_same_settings(tmp_path, change, message):
    sweep_toy(tmp_path / "out")
    before = (tmp_path / "out" / "config.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        sweep_toy(tmp_path / "out", resume=True, **change)
    assert (tmp_path / "out" / "config.json").read_bytes() == before


def test_resuming_with_other_versions_records_both(tmp_path, monkeypatch):
    sweep_toy(tmp_path / "out")
    here = environment()
    monkeypatch.setattr(sharing, "environment", lambda: {**here, "jax": "99.0"})
    sweep_toy(tmp_path / "out", resume=True)
    sweep_toy(tmp_path / "out", resume=True)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["environments"] == [here, {**here, "jax": "99.0"}]


def test_an_existing_folder_needs_resume(tmp_path):
    sweep_toy(tmp_path / "out")
    with pytest.raises(ValueError, match=r"out already holds results; pass --resume to go on .* another --out"):
        sweep_toy(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert len(sweep_toy(tmp_path / "empty")) == 3


def test_a_sweep_that_failed_at_once_blocks_nothing(tmp_path):
    def refuses(cell, folder):
        raise ValueError("bad input")

    def stops(cell, folder):
        (folder / "half.npz").write_bytes(b"work")
        raise ValueError("bad input later")

    for run_cell in (refuses, stops):
        with pytest.raises(ValueError, match="bad input"):
            sweep_toy(tmp_path / "out", run_cell=run_cell, config={**CONFIG, "rate": 0.3})
    with pytest.raises(ValueError, match="already holds results"):
        sweep_toy(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"colour": "blue"}')
    with pytest.raises(ValueError, match="already holds results"):
        sweep_toy(tmp_path / "mine")


@pytest.mark.parametrize("content", [None, "{", "[]", '{"study": "toy"}'])
def test_resuming_a_folder_of_something_else(tmp_path, content):
    (tmp_path / "notes.txt").write_text("mine")
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"must hold the config\.json of a study to be resumed, but .* another --out"):
        sweep_toy(tmp_path, resume=True)
    assert {path.name for path in tmp_path.iterdir()} <= {"notes.txt", "config.json"}


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, below):
    (tmp_path / "file").write_text("not a folder")

    def never(cell, folder):
        raise AssertionError("a cell ran")

    with pytest.raises(ValueError, match=r"must be a folder that can be written, but: Not a directory; choose another"):
        sweep_toy(tmp_path / "file" / below, run_cell=never)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sweep.files, "write_json", denied)
    with pytest.raises(ValueError, match="can be written, but: Permission denied; choose another --out"):
        sweep_toy(tmp_path / "out")


@pytest.mark.parametrize("key", ["", "a/b", "../up", ".hidden", "a b"])
def test_keys_must_name_a_folder(tmp_path, key):
    with pytest.raises(ValueError, match="Keys of cells must be letters, digits"):
        sweep_toy(tmp_path / "out", cells=[Cell(key)])
    assert not (tmp_path / "out").exists()


def test_keys_must_differ(tmp_path):
    with pytest.raises(ValueError, match="must differ, also in more than case, but 'p4-l2' occurs twice"):
        sweep_toy(tmp_path / "out", cells=[Cell("P4-L2"), Cell("p4-l2")])


def test_settings_and_rows_must_have_a_json_form(tmp_path):
    with pytest.raises(ValueError, match=r"config\.rate is nan"):
        sweep_toy(tmp_path / "out", config={"rate": float("nan")})
    with pytest.raises(TypeError, match=r"cells\.x\.f is a function"):
        sweep_toy(tmp_path / "out", cells=[Cell("x", {"f": run_cell})])
    assert not (tmp_path / "out").exists()
    with pytest.raises(TypeError, match=r"row of x1\.z is a complex"):
        sweep_toy(tmp_path / "out", run_cell=lambda cell, folder: CellResult({"z": 1j}, {}))
    assert not (tmp_path / "out" / "cells" / "x1" / "result.json").exists()


def test_reading_arrays_of_an_unfinished_cell(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"arrays\.npz"):
        sweep.read_arrays(tmp_path, "x1")


def test_default_folder_names_the_time(tmp_path):
    now = datetime.datetime(2026, 2, 3, 4, 5, 6)
    assert sweep.default_folder("hessian", tmp_path, now) == tmp_path / "hessian" / "20260203-040506"
    # Not `time.strftime`, whose clock lags by milliseconds.
    before = datetime.datetime.now()
    name = sweep.default_folder("hessian").name
    assert f"{before:%Y%m%d-%H%M%S}" <= name <= f"{datetime.datetime.now():%Y%m%d-%H%M%S}"


def test_progress_is_plain_lines_without_a_terminal(tmp_path):
    progress = quiet()
    sweep_toy(tmp_path / "out", progress=progress)
    lines = messages(progress).splitlines()
    assert lines.pop(0) == f"results folder: {tmp_path / 'out'}"
    assert [line.split(" done in ")[0] for line in lines] == [f"toy: cell {i}/3 x{i}" for i in (1, 2, 3)]


def test_progress_on_a_terminal_has_a_bar_over_cells_and_bars_inside(tmp_path):
    progress = Progress(Console(file=io.StringIO(), force_terminal=True, width=90))
    seen = []

    def with_bars(cell, folder):
        progress.add_task("training", total=7)
        with progress.bar("hessian", 4, done=1) as advance:
            advance(2)
            seen.append([(task.description, task.completed, task.total) for task in progress.tasks])
        return run_cell(cell, folder)

    sweep_toy(tmp_path / "out", run_cell=with_bars, progress=progress)
    assert seen == [[("toy", i, 3), ("training", 0, 7), ("hessian", 3, 4)] for i in range(3)]
    assert progress.tasks == []
    assert "toy" in messages(progress)


def test_a_damaged_file_of_an_earlier_attempt_is_put_aside_and_its_part_begun_anew(tmp_path):
    out, progress = tmp_path / "out", quiet()

    def going_on(cell, folder):
        path = folder / "so_far.npz"
        if path.exists():
            files.read_npz(path, "x")
        files.write_npz(path, {"x": np.ones(1)})
        if len(attempts) == 1:
            path.write_bytes(b"garbage")
            attempts.append("killed")
            raise KeyError("stop")
        return run_cell(cell, folder)

    attempts = ["first"]
    with pytest.raises(KeyError, match="stop"):
        sweep_toy(out, run_cell=going_on)
    rows = sweep_toy(out, run_cell=going_on, resume=True, progress=progress)
    assert rows == sweep_toy(tmp_path / "other")
    kept = out / "cells" / "x1" / "so_far.npz.damaged1"
    assert kept.read_bytes() == b"garbage"
    assert messages(progress).splitlines()[1] == (
        f"warning: {kept.with_name('so_far.npz')} is damaged: its arrays cannot be read; kept as {kept.name}, begun "
        f"anew"
    )


def test_damaged_files_elsewhere_are_not_touched(tmp_path):
    (tmp_path / "weights.npz").write_bytes(b"garbage")

    def reading(cell, folder):
        return CellResult({}, files.read_npz(tmp_path / "weights.npz"))

    with pytest.raises(files.DamagedError, match="weights"):
        sweep_toy(tmp_path / "out", run_cell=reading)
    assert (tmp_path / "weights.npz").exists()
