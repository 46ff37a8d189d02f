"""Compiled programs kept between commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qjaxsim.command import programs
from qjaxsim.command.main import main
from qjaxsim.studies.shared.options import common_first
from tests.cases import mostly_slow

_PROBLEM = "3 3\n1 2 1\n2 3 1\n1 3 -2\n"  # Max-Cut of a triangle


def _python(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, with caches in the folder."""
    unset = ("JAX_COMPILATION_CACHE_DIR", "QJAXSIM_PROGRAMS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"QJAXSIM_CACHE": str(folder / "cache"), **variables}
    return subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)


def _run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A small command that compiles; its results go to a file."""
    (folder / "problem.gset").write_text(_PROBLEM)
    line = ["-m", "qjaxsim.command.main", "qubo", "solve", str(folder / "problem.gset")]
    return _python(folder, *line, "--seed", "5", "--out", str(folder / "samples.json"), *words, **variables)


# Options and variables are those of every command: the cheapest is given them, and compiles one small program after it.
_SMALLEST = """
import sys
from qjaxsim.command.main import main
code = main(sys.argv[1:])
import jax
jax.jit(lambda x: x + 1)(1.0)
sys.exit(code)
"""


def _samples(folder: Path) -> dict[str, object]:
    """What the command found, times aside."""
    found = json.loads((folder / "samples.json").read_text())
    return {name: found[name] for name in ("sample_data", "vectors", "variable_labels")}


def _kept(folder: Path) -> dict[str, int]:
    """Kept programs with the times at which they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("**/*-cache")}


@pytest.mark.thorough
def test_second_command_reads_what_the_first_compiled_and_damaged_programs_are_compiled_anew_and_forgotten(tmp_path):
    first = _run(tmp_path)
    kept = _kept(tmp_path / "cache" / "programs")
    assert first.returncode == 0 and kept
    samples = _samples(tmp_path)
    assert _run(tmp_path).returncode == 0
    assert _kept(tmp_path / "cache" / "programs") == kept
    assert _samples(tmp_path) == samples
    damaged = sorted((tmp_path / "cache" / "programs").glob("**/*-cache"))
    for path in damaged:
        path.write_bytes(path.read_bytes()[:20])
    second = _run(tmp_path)
    assert (second.returncode, second.stderr) == (first.returncode, first.stderr) == (0, "")
    assert _samples(tmp_path) == samples
    assert not _kept(tmp_path / "cache" / "programs")
    _run(tmp_path)
    assert set(_kept(tmp_path / "cache" / "programs")) == {path.name for path in damaged}


_OF_JAX = {"JAX_COMPILATION_CACHE_DIR": "{}/jax", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


@pytest.mark.parametrize(
    ("words", "variables", "place"),
    mostly_slow(
        [
            (["--programs={}/mine"], {"QJAXSIM_PROGRAMS": "off"}, "mine"),
            ([], {"QJAXSIM_PROGRAMS": "{}/mine"}, "mine"),
            ([], _OF_JAX, "jax"),
            (["--programs", "off"], _OF_JAX, None),
            ([], {"QJAXSIM_PROGRAMS": "off"}, None),
        ],
        keep=[0, 2],
    ),
)
def test_programs_are_kept_where_the_user_says(tmp_path, words, variables, place):
    words = [word.format(tmp_path) for word in words]
    variables = {name: value.format(tmp_path) for name, value in variables.items()}
    assert _python(tmp_path, "-c", _SMALLEST, "info", *words, **variables).returncode == 0
    written = {path.relative_to(tmp_path).parts[0] for path in tmp_path.glob("**/*-cache")}
    assert written == ({place} if place else set())


def test_folder_that_others_write_to_is_refused_and_never_used_by_default(tmp_path):
    for place in (tmp_path / "open", tmp_path / "cache" / "programs"):
        folder = place / programs._machine()
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    refused = _run(tmp_path, "--programs", str(tmp_path / "open"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: Option --programs must name a folder of your own, or off, but is ")
    assert "others may write to" in refused.stderr and refused.stderr.count("\n") == 1
    refused = _run(tmp_path, QJAXSIM_PROGRAMS=str(tmp_path / "open"))
    assert refused.returncode == 2 and refused.stderr.startswith("error: Variable QJAXSIM_PROGRAMS must name a folder")
    assert _python(tmp_path, "-c", _SMALLEST, "info").returncode == 0
    assert not _kept(tmp_path)


def test_nothing_changes_in_a_process_that_runs_jax_already(tmp_path, monkeypatch):
    monkeypatch.setenv("QJAXSIM_CACHE", str(tmp_path))
    before = dict(os.environ)
    assert programs.keep_programs() is None
    programs.forget_programs()
    assert dict(os.environ) == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["bench", "crosscheck"])
def test_commands_that_time_first_calls_refuse_kept_programs(command, capsys):
    assert main([command, "--programs", "anywhere"]) == 2
    assert capsys.readouterr().err == (
        f"error: Option --programs is not for {command}, which times first calls; leave it out.\n"
    )


def test_programs_used_longest_ago_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "MOST_BYTES", 250)
    for age in range(5):
        path = tmp_path / f"{age}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "other").write_bytes(bytes(1000))
    programs.tidy(tmp_path, damaged=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0-cache", "1-cache", "other"]
    programs.tidy(tmp_path / "nowhere", damaged=True)


def test_options_of_every_command_are_taken_anywhere():
    words = ["study", "hessian", "--programs", "off", "--json", "--", "--programs"]
    assert common_first(words) == ["--programs", "off", "--json", "study", "hessian", "--", "--programs"]
    assert common_first(["info", "--programs"]) == ["--programs", "info"]
