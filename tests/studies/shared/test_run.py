"""Runs opened again: settings, rows, trained models, and one sentence for folders that hold none; made-up study."""

import datetime
import html
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import files
from qjaxsim.report.tables import all_columns, split_columns
from qjaxsim.studies.shared import catalogue, recorded
from qjaxsim.studies.shared import run as run_module
from qjaxsim.studies.shared.catalogue import find_study, study_names
from qjaxsim.studies.shared.study import run_study
from tests.cases import run_lines_of_page
from tests.study_cases import Settings, made_up


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Folders of the made-up study are opened like those of others."""

    def find(name):
        return made_up() if name == "powers" else find_study(name)

    monkeypatch.setattr(run_module, "find_study", find)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("powers") / "out"
    run_study(made_up(), Settings(power=3.0), out, offset=0.5)
    return out


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def change_config(out, **changes):
    path = out / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_settings_rows_and_cells_are_as_recorded(finished):
    run = qj.load_run(finished)
    assert (run.study, run.settings, run.cells) == ("powers", Settings(power=3.0), ("b2", "b3", "b5"))
    assert run.finished == run.cells and run.recorded.settings["offset"] == 0.5
    assert run.rows == json.loads((finished / "summary.json").read_text())
    assert [row["value"] for row in run.rows] == [8.5, 27.5, 125.5]
    assert run.recorded.changed == {"power": 3.0}
    assert abs(run.recorded.began - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(hours=1)


def test_a_run_goes_to_other_processes(finished):
    sent = pickle.loads(pickle.dumps(qj.load_run(finished)))
    assert (sent.folder, sent.cells, sent.settings) == (finished, ("b2", "b3", "b5"), Settings(power=3.0))


def test_every_cell_with_a_model_gives_it(finished):
    run = qj.load_run(finished)
    assert list(run) == ["b2", "b3"] and "b5" not in run
    assert run["b3"].predict(7.0).tolist() == [21.0] and run.cell().key == "b2"
    assert run.cell("b3", twice=True).predict(7.0).tolist() == [42.0]
    assert repr(run["b3"]) == "TrainedPower('b3', seed 0, 1 numbers, 3.0)"
    shown = repr(run)
    assert shown.startswith(f"Run of the study 'powers' in {finished}: 3 of 3 cells finished\n")
    lines = [line.split("  ") for line in shown.splitlines()[3:]]
    assert [(line[0].strip(), line[-1].strip()) for line in lines] == [("b2", "yes"), ("b3", "yes"), ("b5", "none")]


def test_the_lines_of_the_page_run_where_the_command_was_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_study(made_up(), Settings(), Path("runs") / "po'we\"rs")
    assert run_lines_of_page(Path("runs") / "po'we\"rs" / "report.html") == "[14.]\n"
    run_study(made_up(), Settings(bases=(5,)), Path("runs") / "none")
    assert "Use it in Python" not in (tmp_path / "runs" / "none" / "report.html").read_text()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "b22",
            r"must be a finished cell of .* \(b2, b3\), but is 'b22' \(did you mean 'b2'\?\)\.",
        ),
        ("nope", r"with a trained model \(b2, b3\), but is 'nope'\."),
        (3, r"with a trained model \(b2, b3\), but is 3 "),
        ("b5", r"\(b2, b3\), but 'b5' keeps no trained model\."),
    ],
)
def test_other_cells_are_refused(finished, key, message):
    with pytest.raises(ValueError, match=message):
        qj.load_run(finished)[key]
    with pytest.raises(TypeError, match=r"`twise` is none of the choices \['twice'\] .* \(did you mean 'twice'\?\)"):
        qj.load_run(finished).cell("b2", twise=True)


def test_an_unfinished_run_gives_what_it_has(copy):
    (copy / "cells" / "b3" / "result.json").unlink()
    run = qj.load_run(copy)
    assert list(run) == ["b2"] and run.finished == ("b2", "b5")
    with pytest.raises(ValueError, match=r"\(b2\), but 'b3' is not finished\."):
        run["b3"]
    assert "not yet" in repr(run)
    (copy / "cells" / "b2" / "result.json").unlink()
    (copy / "summary.json").unlink()
    assert [row["cell"] for row in run.rows] == ["b5"]
    with pytest.raises(ValueError, match=r"\(there is none yet\): 1 of 3 are finished\."):
        run.cell()


@pytest.mark.parametrize("key", [None, "b2"])
def test_a_study_that_keeps_no_models_says_so(finished, monkeypatch, key):
    monkeypatch.setattr("qjaxsim.studies.shared.run.find_study", lambda name: made_up([], models=None))
    with pytest.raises(ValueError, match=r"none of .*, of the study 'powers', does; its numbers are `run.rows`"):
        qj.load_run(finished).cell(key)


def test_messages_and_representation_of_many_cells_stay_short(tmp_path):
    run_study(made_up(), Settings(bases=tuple(range(6, 40))), tmp_path / "out")
    run = qj.load_run(tmp_path / "out")
    with pytest.raises(ValueError, match=r"\(b6, b7, b8, b9, b10, b11, b12, b13 and 26 more\), but is 'x'"):
        run["x"]
    assert repr(run).endswith("\n... and 14 more") and len(repr(run).splitlines()) == 3 + 20 + 1


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda out: shutil.rmtree(out), r"config.json: there is none\)"),
        (lambda out: (out / "config.json").unlink(), r"config.json: there is none\)"),
        (lambda out: (out / "config.json").write_text("junk"), r"config.json: it is damaged \(Expecting value"),
        (lambda out: (out / "config.json").write_bytes(b"\xff\xfe"), r"config.json: it is damaged \('utf-8'"),
        (lambda out: (out / "config.json").write_text("[" * 100_000), "config.json: it is damaged"),
        (lambda out: (out / "config.json").write_text("[]"), r"config.json: it lacks entries\)"),
        (lambda out: (out / "config.json").write_text('{"a": 1}'), r"config.json: it lacks entries\)"),
        (lambda out: change_config(out, settings=[]), r"config.json: its entry 'settings' is damaged\)"),
        (lambda out: change_config(out, cells={"../b2": {}}), "the cells in its config.json are damaged"),
        (lambda out: change_config(out, environments=["x"]), "its config.json is damaged"),
        (lambda out: change_config(out, study="sudoku"), r"this version has no study 'sudoku'\)"),
        (
            lambda out: change_config(out, settings={"power": -1.0}),
            r"this version does not take its settings: Argument `power` .* -1.0\)",
        ),
        (
            lambda out: change_config(out, environments=[{"qjaxsim": "99.1"}]),
            r"qjaxsim 99.1 wrote it, which is newer than this, .*; install that one\)",
        ),
    ],
)
def test_folders_that_hold_no_run_are_refused_in_a_sentence(copy, spoil, reason):
    spoil(copy)
    with pytest.raises(ValueError, match=rf"^Argument `folder` must be .*, but .* holds none \({reason}"):
        qj.load_run(copy)


@pytest.mark.parametrize("text", ["junk", "{}", "[1]", "[" * 100_000])
def test_damaged_rows_are_refused_in_a_sentence(copy, text):
    (copy / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"holds none \(its summary.json (is damaged|holds no rows)"):
        _ = qj.load_run(copy).rows


def test_arrays_that_would_need_pickle_are_refused(copy):
    np.savez(copy / "cells" / "b2" / "arrays.npz", x=np.array([{}], dtype=object))
    with pytest.raises(files.DamagedError):
        qj.load_run(copy).cell()


def test_folders_of_versions_before_are_opened(copy):
    config = json.loads((copy / "config.json").read_text())
    del config["began"], config["changed"]
    (copy / "config.json").write_text(json.dumps(config))
    run = qj.load_run(copy)
    written = (copy / "config.json").stat().st_mtime
    assert run.recorded.changed is None and run.recorded.began.timestamp() == pytest.approx(written, abs=1e-3)
    assert run["b2"].predict(1.0).tolist() == [2.0]


def test_what_was_recorded_first_stays_on_resuming(copy, monkeypatch):
    before = json.loads((copy / "config.json").read_text())
    monkeypatch.setattr(recorded, "now", lambda: "2999-01-01T00:00:00+00:00")
    run_study(made_up(), Settings(power=3.0), copy, resume=True, offset=0.5)
    after = json.loads((copy / "config.json").read_text())
    assert {**after, "environments": 0} == {**before, "environments": 0}


def test_pages_link_to_the_runs_beside_them(tmp_path):
    for name, power in (("one", 2.0), ("two", 3.0)):
        run_study(made_up(), Settings(power=power), tmp_path / name)
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "report.html").write_text("")
    other = made_up(name="others")
    run_study(other, Settings(), tmp_path / "other study")
    assert "Other runs" not in (tmp_path / "one" / "report.html").read_text()
    page = (tmp_path / "two" / "report.html").read_text()
    assert '<a href="../one/report.html">one</a>: defaults</li>' in page and page.count('<a href="../') == 1
    # Written anew, the first links back.
    run_study(made_up(), Settings(), tmp_path / "one", resume=True)
    assert '<a href="../two/report.html">two</a>: power 3.0</li>' in (tmp_path / "one" / "report.html").read_text()


def test_pages_and_folders_have_names_that_are_no_unicode(tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9"))
    try:
        odd.mkdir()
    except OSError:
        pytest.skip("this file system takes Unicode alone")
    for out in (odd, tmp_path / "plain"):
        run_study(made_up(), Settings(), out)
    assert '<a href="../r%E9/report.html">' in (tmp_path / "plain" / "report.html").read_text(encoding="utf-8")
    # The page's Python names the folder by an escape, which leads there.
    (line,) = re.findall(r"qj\.load_run\((.*?)\)", html.unescape((odd / "report.html").read_text(encoding="utf-8")))
    assert Path(json.loads(line)) == odd and qj.load_run(json.loads(line)).finished


def test_the_catalogue_has_every_study_and_imports_none():
    assert [find_study(name).name for name in study_names()] == study_names()
    assert all(find_study(name).headline and find_study(name).keys for name in study_names())
    with pytest.raises(ValueError, match=r"`study` must be one of .*, but is 'hesian' \(did you mean 'hessian'\?\)"):
        catalogue.find_study("hesian")


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("attention", {"attention": "softmax", "seed": 0}),
        ("hessian", {"control": "scale", "patches": 1, "layers": 1, "seed": 1}),
        ("noisy-hessian", {"seed": 0, "noise": "local", "strength": 0.1}),
        ("qrnn", {"experiment": "training", "task": "simple", "length": 10, "network": "qrnn"}),
    ],
)
def test_every_part_of_a_split_table_says_which_row_is_which(name, keys):
    study = find_study(name)
    row, settings = dict.fromkeys(study.columns, 0.5) | keys, study.settings()
    for table in [*study.tables(settings, [row]), *study.page(settings, [row])]:
        columns = all_columns(table.rows) if table.columns is None else table.columns
        parts = split_columns(table.rows, columns, width=80, keys=table.keys)
        for part in parts if table.rows else []:
            assert keys.keys() <= set(part), (table.title, part)
        assert len(parts) > 1 or not table.rows


def test_load_run_is_imported_when_it_is_used():
    code = "import sys, qjaxsim; print('jax' in sys.modules); qjaxsim.load_run; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True"], done.stderr
