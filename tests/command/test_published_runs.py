"""The runs of published budgets: commands that studies take, the order, what is kept, and stopping in time."""

import json
import os
import sys
import time

import published_runs as runs
import pytest

from qjaxsim.command.main import main
from tests.cases import mostly_slow

WORDS = "lie-variance --circuits chain --qubits 3 --depths 1,2 --draws 100 --seeds 1"
SHORT = runs.Planned("short", "nothing", WORDS, 0.1, None)


@pytest.mark.parametrize("name", mostly_slow([run.name for run in runs.RUNS[::-1]], keep=3))
def test_studies_take_every_command(name, tmp_path, capsys, monkeypatch):
    """A folder that cannot be one is the first thing wrong with it, on a machine that holds its matrices."""
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 2**37)
    (run,) = runs.chosen(name)
    if "mnist" in run.words and not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("set TFDS_DATA_DIR to a folder where TFDS has prepared mnist")
    taken = tmp_path / "file"
    taken.touch()
    assert main(["study", *run.words.split(), "--out", str(taken)])
    assert f"Results folder {taken} must be a folder" in capsys.readouterr().err


def test_names_and_estimates():
    assert len({run.name for run in runs.RUNS}) == len(runs.RUNS)
    assert all(run.cpu is not None or run.gpu is not None for run in runs.RUNS)
    assert [run.name for run in runs.chosen("qrnn_dna_200, patches_4x50")] == ["patches_4x50", "qrnn_dna_200"]
    with pytest.raises(ValueError, match=r"`only` must be one of .* but is 'patches_4x5' \(did you mean"):
        runs.chosen("patches_4x5")


def test_the_next_one_is_the_first_that_is_not_finished(tmp_path, monkeypatch):
    finished = {"patches_4x50"}
    monkeypatch.setattr(runs, "is_finished", lambda run, out: run.name in finished)
    assert runs.next_run(runs.RUNS, tmp_path, "gpu").name == "patches_9x50"
    assert runs.next_run(runs.RUNS, tmp_path, "cpu").name == "attention_50_epochs"
    finished |= {run.name for run in runs.RUNS}
    assert runs.next_run(runs.RUNS, tmp_path, "cpu") is None


@pytest.mark.slow
def test_stops_in_time_and_says_what_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "command_of", lambda run, out: [sys.executable, "-c", "import time; time.sleep(60)"])
    began = time.monotonic()
    assert runs.work([SHORT], tmp_path / "out", "cpu", 0.01, tmp_path) == 0
    assert time.monotonic() - began < 30
    assert list(tmp_path.glob("*.json")) == []
    monkeypatch.setattr(runs, "command_of", lambda run, out: [sys.executable, "-c", "raise SystemExit(3)"])
    assert runs.work([SHORT], tmp_path / "out", "cpu", 1, tmp_path) == 3
    assert "short: ended with exit code 3" in capsys.readouterr().err


def test_a_run_cut_short_says_so_and_goes_on(tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert main(["study", *SHORT.words.split(), "--out", str(out / "short")]) == 0
    assert runs.state_of(SHORT, out) == (1, 1)
    place = runs.keep(SHORT, out, "cpu", tmp_path)
    record = json.loads(place.read_text())
    assert record["note"] == "Published settings." and record["cells"] == {"finished": 1, "all": 1}
    assert {row["seed"] for row in record["rows"]} == {1} and record["command"] == f"qjaxsim study {SHORT.words}"
    monkeypatch.setattr(runs, "state_of", lambda run, out: (1, 2))
    record = json.loads(runs.keep(SHORT, out, "cpu", tmp_path).read_text())
    assert record["note"] == "Cut short: 1 of 2 cells."
    assert "1 of 2" in runs.listed([SHORT], out)
    assert runs.command_of(SHORT, out)[-1] == "--resume"


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--only", "none"]])
def test_wrong_arguments(words, capsys):
    with pytest.raises(SystemExit) as ended:
        runs.main(words)
    assert ended.value.code == 2
    assert f"Argument `{words[0][2:]}` must be" in capsys.readouterr().err
