"""The command: one clear line for every error, the right exit code, and a quick start."""

import os
import re
import shlex
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

import qjaxsim.command.main
from qjaxsim import datasets
from qjaxsim.command import app as cli_app
from qjaxsim.command import main as cli

COMMAND = str(Path(sys.executable).with_name("qjaxsim"))


def run(*arguments, **environment):
    """The real console entry point."""
    return subprocess.run(
        [COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        timeout=60,
    )


@pytest.fixture
def prepare(monkeypatch):
    """Replaces `datasets.prepare`; calls are recorded, and `outcome` is raised or returned."""

    class Prepare:
        def __init__(self):
            self.outcome = Path("somewhere/mnist/3.0.1")
            self.calls = []

        def __call__(self, name, **options):
            self.calls.append((name, options))
            if isinstance(self.outcome, BaseException):
                raise self.outcome
            return self.outcome

    replacement = Prepare()
    monkeypatch.setattr(datasets, "prepare", replacement)
    return replacement


# --- the installed command ---------------------------------------------------------------------------------------


def test_version_of_the_installed_command():
    done = run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"qjaxsim {metadata.version('qjaxsim')}\n", "")


def test_info_of_the_installed_command(tmp_path):
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    done = run("info", TFDS_DATA_DIR=str(tmp_path), JAX_ENABLE_X64="1")
    assert done.returncode == 0, done.stderr
    lines = {line[2:22].strip(): line[23:] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert lines["qjaxsim"] == metadata.version("qjaxsim")
    assert lines["jax"] == metadata.version("jax")
    assert lines["cpu 0"] == "cpu"
    assert lines["x64"] == "on, double precision"
    assert lines["digits"] == "built in"
    assert lines["mnist"] == f"prepared in {tmp_path / 'mnist' / '3.0.1'}"
    assert lines["fashion_mnist"] == "not here (qjaxsim data prepare fashion_mnist)"
    assert lines["looked for in"] == f"{tmp_path} (TFDS_DATA_DIR)"
    assert float(lines["free"].removesuffix(" GiB")) > 0


def test_error_of_the_installed_command():
    done = run("data", "prepare", "nonsense")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: Argument NAME must be one of ['mnist', 'fashion_mnist'], but is 'nonsense'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--weights", "--text"])
def test_file_names_longer_than_file_systems_take(option, capsys):
    assert cli.main(["study", "disentangler", option, "x" * 3000]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: A file name is longer than file systems take, 'xxx") and errors.count("\n") == 1
    assert len(errors) < 200


@pytest.mark.parametrize("words", ["--help", "--json --help", "info"])
def test_a_reader_that_has_gone_is_no_failure_and_no_error(words):
    read, write = os.pipe()
    os.close(read)
    command = [COMMAND, *words.split()]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_without_any_output_there_is_no_error():
    shell = f"{shlex.quote(COMMAND)} --version >&-"
    done = subprocess.run(["sh", "-c", shell], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_that_nobody_reads_keep_their_code_and_out_of_files(tmp_path):
    shell = f"{shlex.quote(COMMAND)} compare nothing >printed 2>&-"
    done = subprocess.run(["sh", "-c", shell], cwd=tmp_path, check=False)
    assert (done.returncode, (tmp_path / "printed").read_text()) == (2, "")
    # Without a stream of its own, the number of standard error goes to the next file that is opened.
    (tmp_path / "program.py").write_text(
        "import os, sys\n"
        "from qjaxsim.command import main\n"
        "main.open_streams()\n"
        "with open('file', 'w') as file:\n"
        "    os.write(2, b'lost')\n"
        "    print('lost too', file=sys.stderr, flush=True)\n"
        "    file.write('kept')\n"
    )
    subprocess.run(["sh", "-c", f"{shlex.quote(sys.executable)} program.py 2>&-"], cwd=tmp_path, check=True)
    assert (tmp_path / "file").read_text() == "kept"


def test_interrupting_a_running_command():
    program = (
        "import signal, sys, time\n"
        # A shell that starts the tests in the background makes its children ignore the signal.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from qjaxsim import datasets\nfrom qjaxsim.command import main as cli\n"
        "datasets.prepare = lambda *a, **k: (print('ready', flush=True), time.sleep(60))\n"
        "sys.argv = ['qjaxsim', 'data', 'prepare', 'mnist', '--download']\n"
        "sys.exit(cli.main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors == "interrupted\n"


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["study", "--help"], ["study", "hessian", "--help"], ["bench", "--help"]]
)
def test_help_and_version_import_nothing_slow(arguments):
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['qjaxsim', *{arguments}]\n"
        "try:\n"
        f"    runpy.run_path({qjaxsim.command.main.__file__!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert stop.code == 0, stop.code\n"
        "slow = {'jax', 'numpy', 'matplotlib', 'sklearn', 'optax', 'rich', 'qiskit'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "qjaxsim" in done.stdout


# --- within this process -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["study"], ["data"], ["data", "prepare", "--help"]])
def test_groups_alone_show_their_help(arguments):
    shown = CliRunner().invoke(cli_app.app, arguments)
    assert shown.exit_code == 0
    assert shown.output.startswith("Usage: ")


def test_help_names_the_options():
    shown = CliRunner().invoke(cli_app.app, ["data", "prepare", "--help"])
    assert all(option in shown.output for option in ("NAME", "--from DIR", "--data-dir DIR", "--download"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], r"error: No such command 'nonsense'\. See `qjaxsim --help`\."),
        (["hessian"], r"error: No such command 'hessian'\. Did you mean 'study hessian'\? See `qjaxsim --help`\."),
        (["solve"], r"error: No such command 'solve'\. Did you mean 'qubo solve'\? See `qjaxsim --help`\."),
        (["study", "nonsense"], r"error: No such command 'nonsense'\. See `qjaxsim study --help`\."),
        (["--nonsense"], r"error: No such option: --nonsense\. See `qjaxsim --help`\."),
        (["info", "more"], r"error: Got unexpected extra argument(\(s\))? \(more\)\. See `qjaxsim info --help`\."),
        (["data", "prepare"], r"error: Missing argument '?NAME'?\. See `qjaxsim data prepare --help`\."),
    ],
)
def test_usage_errors_are_one_line(capsys, arguments, message):
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(message + "\n", shown.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "hessian", "--patches", "4", "--layers", "1", "--patches=9"],
         "Option --patches is given twice; give it once, with commas between its values."),
        (["runs", "--sort", "path", "--sort", "study"], "Option --sort is given twice; give it once."),
        (["--programs=off", "info", "--programs", "x"], "Option --programs is given twice; give it once."),
        (["--programs", "off", "runs", "--sort", "path", "--sort=state"],
         "Option --sort is given twice; give it once."),
    ],
)  # fmt: skip
def test_options_given_twice_are_refused(capsys, arguments, message):
    assert cli.main(arguments) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: {message}\n")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["study", "hessian", "--out", ""], "Option --out"),
        (["study", "hessian", "--epochs", "2", "--data-dir="], "Option --data-dir"),
        (["--programs", "", "info"], "Option --programs"),
        (["qubo", "solve", "x.coo", "--option", ""], "Option --option"),
        (["compare", "a", ""], "An argument"),
        (["study", "hessian", "--resume", ""], "An argument"),
    ],
)
def test_empty_values_are_refused(capsys, tmp_path, monkeypatch, arguments, what):
    # As a path an empty one is the folder where the command runs.
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == f"error: {what} is empty; give it a value, or leave it out.\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "option", "listed"),
    [
        (["study", "hessian", "--patches", "1,,4"], "--patches", "1,,4"),
        (["study", "hessian", "--patches=1,4", "--seeds=,2"], "--seeds", ",2"),
        (["bench", "--peers", "aer, ,qulacs"], "--peers", "aer, ,qulacs"),
        (["crosscheck", "x.qasm", "--observables", ","], "--observables", ","),
    ],
)
def test_empty_places_in_lists_are_refused(capsys, tmp_path, monkeypatch, arguments, option, listed):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 2
    told = f"error: Option {option} has an empty place in its list, {listed!r}; take a comma out.\n"
    assert capsys.readouterr().err == told
    assert cli.main(["runs", "a,,b"]) == 2 and "a,,b is none" in capsys.readouterr().err


def test_a_tilde_that_the_shell_leaves_is_the_home_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home" / "mine").mkdir(parents=True)
    (tmp_path / "~x").mkdir()
    for typed, folder in (("~/mine", tmp_path / "home" / "mine"), ("~", tmp_path / "home"), ("~x", "~x")):
        assert cli.main(["runs", typed]) == 0
        assert capsys.readouterr().out == f"No runs in {folder} or below.\n"
    assert cli.main(["study", "hessian", "--out=~/none", "--resume"]) == 2
    assert f"but {tmp_path / 'home' / 'none'} has no file config.json" in capsys.readouterr().err


@pytest.mark.parametrize("common", [[], ["--programs", "off"], ["--quiet", "--programs=off"]])
def test_messages_name_the_option_behind_common_ones(capsys, common):
    assert cli.main([*common, "study", "hessian", "--classes", "0"]) == 2
    assert capsys.readouterr().err == "error: Option --classes must name two labels or more, but names 0 alone.\n"


def test_flags_and_options_of_several_values_may_be_given_twice(capsys, tmp_path):
    (tmp_path / "p.coo").write_text("0 1 -1\n")
    options = ["--option", "num_sweeps=9", "--option", "descent=false", "--reads", "2"]
    assert cli.main(["--quiet", "qubo", "solve", str(tmp_path / "p.coo"), *options, "--quiet"]) == 0
    assert "energies" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ValueError("Argument `x` must be 1,\n  but is 2."), 2, "error: Argument `x` must be 1, but is 2."),
        (TypeError("Argument `x` must be a float."), 2, "error: Argument `x` must be a float."),
        (MemoryError("The Hessian needs 9.0 GiB."), 2, "error: The Hessian needs 9.0 GiB."),
        (MemoryError(), 2, "error: MemoryError"),
        (FileNotFoundError(2, "No such file", "x.npz"), 2, "error: [Errno 2] No such file: 'x.npz'"),
        (PermissionError(13, "Permission denied", "out"), 2, "error: [Errno 13] Permission denied: 'out'"),
        (datasets.DatasetNotFoundError("mnist lacks files"), 2, "error: mnist lacks files"),
        (ConnectionError("no network"), 1, "error: ConnectionError: no network"),
        (ImportError("install qjaxsim[tfds]"), 1, "error: ImportError: install qjaxsim[tfds]"),
        (RuntimeError(), 1, "error: RuntimeError"),
        (KeyError("rate"), 1, "error: KeyError: 'rate'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_errors_are_one_line_with_their_code(capsys, prepare, error, code, message):
    prepare.outcome = error
    assert cli.main(["data", "prepare", "mnist", "--download"]) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == f"{message}\n"


@pytest.mark.parametrize("option", ["--from", "--download"])
def test_what_a_set_that_is_ready_makes_idle_is_said(option, capsys, prepare, tmp_path):
    words = ["data", "prepare", "mnist", "--data-dir", str(tmp_path), option] + [str(tmp_path)] * (option == "--from")
    assert cli.main(words) == 0
    assert capsys.readouterr().out == "mnist is ready in somewhere/mnist/3.0.1\n"
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    assert cli.main(words) == 0
    assert f"prepared before, so that {option} was not used" in capsys.readouterr().out


def test_debug_shows_the_traceback(capsys, prepare):
    prepare.outcome = RuntimeError("broken")
    assert cli.main(["--debug", "data", "prepare", "mnist", "--download"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("Traceback (most recent call last)")
    assert errors.endswith("\nRuntimeError: broken\nerror: RuntimeError: broken\n")


def test_prepare_passes_its_options_on(capsys, prepare, tmp_path):
    assert cli.main(["data", "prepare", "mnist", "--from", str(tmp_path), "--data-dir", "d", "--download"]) == 0
    assert prepare.calls == [("mnist", {"idx_dir": tmp_path, "data_dir": Path("d"), "download": True})]
    assert capsys.readouterr().out == f"mnist is ready in {prepare.outcome}\n"


def test_prepare_needs_a_source_unless_prepared(capsys, prepare, tmp_path):
    arguments = ["data", "prepare", "mnist", "--data-dir", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == (
        "error: Preparing mnist needs its four idx .gz files: pass --from DIR, a folder that has them, or --download.\n"
    )
    assert prepare.calls == []
    (tmp_path / "mnist" / "3.0.1").mkdir(parents=True)
    (tmp_path / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    assert cli.main(arguments) == 0
    assert len(prepare.calls) == 1


def test_info_names_the_extra_of_a_missing_package(capsys, monkeypatch):
    real = metadata.version

    def version(package):
        if package in ("qiskit", "optax"):
            raise metadata.PackageNotFoundError(package)
        return real(package)

    monkeypatch.setattr(cli_app.metadata, "version", version)
    assert cli.main(["info"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert 'qiskit not installed (pip install -e ".[qiskit]" in a clone of qjaxsim)' in shown
    assert "optax missing; reinstall qjaxsim" in shown


def test_info_without_a_usable_device(capsys, monkeypatch):
    import jax

    def devices():
        raise RuntimeError("Unable to initialize backend 'cuda':\n no driver")

    monkeypatch.setattr(jax, "devices", devices)
    assert cli.main(["info"]) == 0
    assert "none                 Unable to initialize backend 'cuda': no driver" in capsys.readouterr().out


def test_info_finds_idx_files(capsys, monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    for pair in datasets.idx.FILES.values():
        for name in pair:
            (tmp_path / "mnist" / name).touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert cli.main(["info"]) == 0
    assert f"idx files in {tmp_path / 'mnist'}" in capsys.readouterr().out
