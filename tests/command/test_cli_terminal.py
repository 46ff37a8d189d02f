"""What a terminal shows: stages, whole words, help as wide as it is, and options that every command takes."""

import io
import json
import re
import sys

import jax
import numpy as np
import pytest
from qjaxsim_bench.flat import METRICS
from qjaxsim_bench.peers import MODULES
from qjaxsim_bench.peers.base import OURS
from qjaxsim_bench.problems import PROBLEMS as BENCH_PROBLEMS
from rich.console import Console
from typer.testing import CliRunner

from qjaxsim.command import app as cli_app
from qjaxsim.command import bench as cli_bench
from qjaxsim.command import main as cli
from qjaxsim.common import interrupts, verbosity
from qjaxsim.common.progress import Progress
from qjaxsim.report.tables import print_table
from qjaxsim.report.verdict import HOLDS, NOT_TESTED, Verdict
from qjaxsim.studies.shared import options as cli_options
from qjaxsim.training import TrainConfig, fit
from tests.cases import qubo_file


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(verbosity.settings, "quiet", False)
    monkeypatch.setattr(verbosity.settings, "verbose", False)


@pytest.fixture
def problem(tmp_path):
    return str(qubo_file(tmp_path))


def watched(terminal=True):
    return Progress(Console(file=io.StringIO(), force_terminal=terminal, width=100))


def shown(progress):
    return progress.console.file.getvalue()


def times_left(progress):
    return [progress.columns[-1].render(task).plain for task in progress.tasks]


@pytest.mark.parametrize("kind", ["counter", "bar"])
def test_a_bar_says_that_it_compiles_and_guesses_no_time_before_a_step(kind):
    progress = watched()
    with getattr(progress, kind)("images", 300, **({} if kind == "counter" else {"compiles": True})) as moved:
        assert [task.description for task in progress.tasks] == ["images, compiling"]
        assert times_left(progress) == [""]
        moved(*((100, 300) if kind == "counter" else (100,)))
        assert [(task.description, task.completed) for task in progress.tasks] == [("images", 100)]
        moved(*((200, 300) if kind == "counter" else (100,)))
        assert re.fullmatch(r"\d:\d\d:\d\d", times_left(progress)[0])


def test_cells_are_not_said_to_compile():
    progress = watched()
    with progress.bar("study", 3):
        assert [task.description for task in progress.tasks] == ["study"]


def test_quiet_and_verbose(monkeypatch):
    monkeypatch.setattr(verbosity.settings, "verbose", True)
    progress = watched(terminal=False)
    with progress.counter("images", 3):
        pass
    assert shown(progress) == "images, compiling\n"
    monkeypatch.setattr(verbosity.settings, "verbose", False)
    monkeypatch.setattr(verbosity.settings, "quiet", True)
    progress = watched()
    with progress, progress.bar("study", 3):
        progress.message("done")
        progress.warn("warning: damaged")
    assert shown(progress) == "warning: damaged\n"


@pytest.mark.parametrize("width", [40, 80])
def test_verdicts_break_between_words_on_a_terminal(monkeypatch, capsys, width):
    found = [
        Verdict("claim one", "a paper", HOLDS, " ".join(f"word{i}" for i in range(100)), "none"),
        Verdict("claim two", "a paper", NOT_TESTED, " ".join(f"more{i}" for i in range(100)), "none"),
    ]
    cli_options.print_verdicts(found)
    plain = capsys.readouterr().out
    assert max(map(len, plain.splitlines())) > 700  # a line each where programs read it
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    cli_options.print_verdicts(found)
    wrapped = capsys.readouterr().out
    assert wrapped.split() == plain.split()
    assert max(map(len, wrapped.splitlines())) <= width


def test_help_is_as_wide_as_the_terminal(monkeypatch, capsys):
    widths = {}
    for columns in (80, 110, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert cli.main(["study", "hessian", "-h"]) == 0
        widths[columns] = max(map(len, capsys.readouterr().out.splitlines()))
    assert widths[80] <= 80 < widths[110] <= 110 < widths[200] <= 120


def test_completion_is_there():
    text = CliRunner().invoke(cli_app.app, ["--help"]).output
    assert "--install-completion" in text and "--show-completion" in text
    done = CliRunner().invoke(cli_app.app, [], prog_name="qjaxsim", env={"_QJAXSIM_COMPLETE": "source_bash"})
    assert "complete -o" in done.output and "qjaxsim" in done.output


@pytest.mark.parametrize("words", [["--install-completion", "nosuch"], ["runs", "--show-completion"]])
def test_completion_drops_no_words(words, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))  # for what it would install
    assert cli.main(words) == 2
    option, other = sorted(words, key=lambda word: not word.startswith("--"))
    said = f"error: Option {option} takes no value and stands alone, since it is for the shell that runs it, but is "
    assert capsys.readouterr().err == f"{said}given with '{other}'; leave that out.\n"
    assert list(tmp_path.iterdir()) == []


def test_help_of_bench_names_all_problems_and_simulators():
    assert (*BENCH_PROBLEMS, *METRICS) == cli_bench.PROBLEMS
    assert set(MODULES) - {OURS} == set(cli_bench.PEERS)
    text = " ".join(CliRunner().invoke(cli_app.app, ["bench", "--help"]).output.split()).replace("- ", "-")
    assert all(name in text for name in (*cli_bench.PROBLEMS, *cli_bench.PEERS))
    assert "hours on two cores" in text


@pytest.mark.parametrize("place", [0, 1, 3])
def test_json_replaces_everything_on_standard_output(problem, capsys, place):
    words = ["qubo", "solve", problem, "--sampler", "exact"]
    assert cli.main([*words[:place], "--json", *words[place:]]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["lowest_energy"] == -2.0 and found["sampler"] == "exact"


def test_json_of_info_and_of_errors(capsys):
    assert cli.main(["info", "--json"]) == 0
    assert "jax" in json.loads(capsys.readouterr().out)["versions"]
    assert cli.main(["--json", "data", "prepare", "nonsense"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")
    assert cli.main(["study", "--help", "--json"]) == 0
    assert capsys.readouterr().out.startswith("Usage: ")
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out.startswith("versions\n")


@pytest.mark.parametrize(
    ("encoding", "printed"), [("ascii", "\\xe9 \\u2013"), ("latin-1", "é \\u2013"), ("utf-8", "é –")]
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_an_output_cannot_encode_is_printed_as_an_escape(encoding, errors, printed, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding, errors=errors))
    cli.print_anything()
    print("é –", flush=True)
    assert written.getvalue().decode(encoding).strip() == printed


def test_a_terminal_that_says_it_has_no_columns_is_printed_to(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "0")
    cli.forget_no_width()
    print_table([{"seed": 3}])
    Progress().warn("a warning")
    shown = capsys.readouterr()
    assert "seed" in shown.out and "3" in shown.out and shown.err == "a warning\n"
    monkeypatch.setenv("COLUMNS", "70")
    cli.forget_no_width()
    assert Console().width == 70


def test_values_after_two_dashes_are_no_options(capsys):
    assert cli_options.common_first(["study", "--json", "x", "--", "--quiet"]) == [
        "--json",
        "study",
        "x",
        "--",
        "--quiet",
    ]
    assert cli.main(["info", "--quiet", "--verbose"]) == 2
    assert capsys.readouterr().err == "error: Give either --quiet or --verbose.\n"


def test_an_interrupt_gives_the_terminal_its_cursor_back():
    progress = watched()
    with progress:
        assert interrupts.cleanups == [progress.stop]
        interrupts.cleanups[0]()
    assert interrupts.cleanups == []
    hidden, restored = "\x1b[?25l", "\x1b[?25h"
    assert shown(progress).index(hidden) < shown(progress).index(restored)


def test_training_says_that_it_compiles_before_its_first_epoch(monkeypatch):
    progress, seen = watched(), []

    def look():
        seen.append([task.description for task in progress.tasks])

    def metrics(params, x, y):
        jax.debug.callback(look)  # when the metrics are evaluated, which compiles them first
        return {"loss": mean_square(params, x, y)}

    def mean_square(params, x, y):
        return ((x @ params - y) ** 2).mean()

    x, y = np.ones((4, 2)), np.ones(4)
    config = TrainConfig(epochs=1, batch_size=2, learning_rate=0.1)
    with progress:
        fit(mean_square, np.ones(2), x, y, config, metrics=metrics, progress=progress)
        assert re.fullmatch(r"training, [\d.e-]+", progress.tasks[0].description)
    jax.effects_barrier()
    assert seen[0] == ["training, compiling"]
