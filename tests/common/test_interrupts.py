"""A signal ends the command at once, with one line, whole files, and a command that works."""

import os
import shlex
import signal
import subprocess
import sys
import time

import interrupt_checks
import pytest

from qjaxsim.command import main as cli
from qjaxsim.common import interrupts
from qjaxsim.studies.shared import options as cli_options

# A command that swallows exceptions while it writes a file, as callbacks of JAX do.
PROGRAM = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN if "ignoring" in sys.argv else signal.default_int_handler)
from qjaxsim.common import files, interrupts

def stubborn(file):
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass

def undo():
    pathlib.Path("undone").touch()
    time.sleep(60 if "hanging" in sys.argv else 0.3 if "slow" in sys.argv else 0)

interrupts.install()
interrupts.go_on_with(lambda: f"qjaxsim again --files {len(list(pathlib.Path().glob('*.txt')))}")
with interrupts.cleaned_up(lambda: None):
    pass
with interrupts.cleaned_up(undo):
    files._replace("note.txt", stubborn)
"""


def start(folder, *words):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("number", "verb"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")])
def test_a_signal_ends_what_swallows_exceptions(tmp_path, number, verb):
    (tmp_path / "note.txt").write_text("old")
    process = start(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"{verb}; go on with: qjaxsim again --files 1\n"
    # What was registered has run, the half-written file is gone, and the old one is whole.
    assert {path.name for path in tmp_path.iterdir()} == {"note.txt", "undone"}
    assert (tmp_path / "note.txt").read_text() == "old"


def test_a_second_signal_does_not_wait_for_the_first(tmp_path):
    process = start(tmp_path, "hanging")
    process.send_signal(signal.SIGINT)
    while not (tmp_path / "undone").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")


def test_a_signal_told_twice_is_one(tmp_path):
    # As `timeout` does, which tells the process and then its group.
    process = start(tmp_path, "slow")
    process.send_signal(signal.SIGTERM)
    while not (tmp_path / "undone").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "terminated; go on with: qjaxsim again --files 0\n")


def test_signals_that_were_ignored_stay_ignored(tmp_path):
    process = start(tmp_path, "ignoring")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert errors.startswith("terminated; ")


@pytest.mark.thorough
def test_interrupting_a_study_while_it_compiles_and_going_on(tmp_path, monkeypatch, capsys):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # else ignored where tests run in the background
    try:
        words = [*shlex.split(interrupt_checks.STUDIES["gradient-variance"]), "--out=out"]
        process = subprocess.Popen(
            [interrupt_checks.COMMAND, *words],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
    finally:
        signal.signal(signal.SIGINT, before)
    while (line := process.stderr.readline()) and line != "results folder: out\n":
        pass
    # The training is one program, which takes seconds to compile and runs for a moment.
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].startswith("interrupted; go on with: qjaxsim study gradient-variance ")
    assert "Traceback" not in errors
    assert interrupt_checks.unreadable(tmp_path / "out") == []
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(errors.splitlines()[-1].split(": qjaxsim ")[1])) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "report.html").exists()


# --- the commands to go on with ------------------------------------------------------------------------------------


def test_commands_that_are_printed_can_be_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed = ["study", "hessian", "--out", "a b", "--patches=1,4", "--resume", "--data-dir", "x'y"]
    cli_options.remember(typed)
    assert cli_options.command_line() == "qjaxsim study hessian --patches=1,4 --data-dir 'x'\"'\"'y'"
    with cli_options.results_folder("hessian", cli_options.Path("a b"), resume=False) as folder:
        assert interrupts.message() == f"interrupted; go on with: {cli_options.command_line()} --out 'a b'"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert interrupts.message("terminated").endswith(" --out 'a b' --resume")
    interrupts.go_on_with(None)
    assert interrupts.message() == "interrupted"


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("typo", "Option --resume needs a folder that holds a study, but typo has no "),
        ("file", "Results folder file must be a folder that can be written, but: Not a directory; choose"),
        ("empty", "Option --resume needs a folder that holds a study, but empty has no "),
    ],
)
def test_resuming_needs_a_study(tmp_path, monkeypatch, capsys, out, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for words in (["study", "hessian"], ["study", "qrnn"], ["bench"]):
        assert cli.main([*words, "--resume", "--out", out]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
