"""Command lines made from the commands' own options: done, or refused in one line that speaks of options that exist.

The work itself is replaced at the few places where it begins, so what is tried is everything before it. Every option
meets every bad kind of value of its type (all of them in the long profile, a part in the fixed one), and options meet
each other at random.
"""

import functools
import os
import re
import typing

import hypothesis
import jax
import numpy as np
import pytest
import typer
from hypothesis import strategies as st

from qjaxsim import datasets
from qjaxsim.command import app as cli_app
from qjaxsim.command import main as cli
from qjaxsim.studies.disentangler import model as disentangler_model
from qjaxsim.studies.shared import results_folder, sweep

QASM = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0],q[1];'
INTEGERS = ("-1", "0", "1", "3", "7", "1000", "2147483648", "99999999999999999999", "1.5", "nan", "", "x", "-0", "1e3")
NUMBERS = ("-1", "0", "0.1", "1e300", "nan", "inf", "-inf", "1e400", "", "x", "1,5")
TEXTS = (
    "", " ", ",", "0", "-1", "1", "2,3", "3,3", "1,x", "99999999999999999999", "9" * 5000, "1.5", "nan", "é ∑",
    "x" * 300, "all", "none", "ALL", "digits", "softmx", "register", "full", "a,b", "--", "`seeds`", "{}", "%s", "..",
)  # fmt: skip
FILES = (
    "", "folder", "missing", "missing/deep", "empty", "noise.npy", "noise.npz", "noise.safetensors", "w.npy",
    "line.npy", "objects.npy", "inputs.npy", "text.txt", "latin.txt", "two.qasm", "bad.qasm", "p.json", "é.npy",
    "w.bin", "x" * 300,
)  # fmt: skip
# What a command needs before any option.
BASES = {
    "data prepare": ["mnist", "--download"],
    "qubo solve": ["problem.npy"],
    "ibm run": ["two.qasm", "--backend", "fake_manila"],
    "ibm fetch": ["abc"],
    "crosscheck": ["two.qasm"],
    "compare": ["folder", "empty"],
}


def commands(group=None, path=()):
    """(path, command) of every command that does something."""
    group = typer.main.get_command(cli_app.app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands())
PATHS = sorted(COMMANDS)


def options(command):
    return [param for param in command.params if param.param_type_name == "option" and param.name != "help"]


def name_of(param):
    return max(param.opts, key=len)


def values(command, param):
    """Values to try, None for a flag."""
    if param.is_flag:
        return (None,)
    kind = str(typing.get_type_hints(command.callback)[param.name])
    kinds = {"int": INTEGERS, "float": NUMBERS, "Path": FILES}
    return next((tried for name, tried in kinds.items() if name in kind), TEXTS)


def words_of(param, value):
    return [name_of(param)] if value is None else [f"{name_of(param)}={value}"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with good and bad files, nothing prepared, and no work done."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    rng = np.random.default_rng(0)
    for name in ("noise.npy", "noise.npz", "noise.safetensors", "w.bin", "é.npy"):
        (folder / name).write_bytes(rng.bytes(200))
    np.save(folder / "w.npy", rng.normal(size=(8, 4)))
    np.save(folder / "inputs.npy", rng.normal(size=(5, 4)))
    np.save(folder / "line.npy", np.ones(3))
    np.save(folder / "problem.npy", np.diag([1.0, -1.0]))
    np.save(folder / "objects.npy", np.array([[None]]), allow_pickle=True)
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog, again and again. " * 60)
    (folder / "latin.txt").write_bytes("é".encode("latin-1") * 200)
    (folder / "two.qasm").write_text(QASM)
    (folder / "bad.qasm").write_text("OPENQASM 2.0; nonsense")
    (folder / "p.json").write_text('{"a": [1, "x"]}')

    def stop(*_, **__):
        raise typer.Exit(0)

    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("TFDS_DATA_DIR", str(folder / "tfds"))
    patch.setattr(sweep, "run_sweep", stop)
    # Reading the built-in text takes most of a command's time here.
    patch.setattr(disentangler_model, "load_text", functools.lru_cache(disentangler_model.load_text))
    patch.setattr(datasets, "prepare", stop)
    import qjaxsim_dimod
    from qjaxsim_qiskit import ibm, service
    from qjaxsim_qiskit.crosschecking import crosscheck

    patch.setattr(results_folder, "claimed", stop)
    patch.setattr(qjaxsim_dimod, "solve", stop)
    patch.setattr(crosscheck, "pair_of", stop)
    patch.setattr(ibm, "fetch", stop)
    # After the checks of options, before Qiskit is asked.
    patch.setattr(service, "plain_errors", stop)
    double = jax.config.read("jax_enable_x64")
    yield folder
    patch.undo()
    jax.config.update("jax_enable_x64", double)


def check(path, words, capsys):
    """Run one command line and look at what it says."""
    line = [*path.split(), *BASES.get(path, []), *words]
    code = cli.main(line)
    shown = capsys.readouterr()
    place = f"{line}: {code}, {shown.err!r}"
    if code == 0:
        return
    assert code == 2, place
    assert re.fullmatch(r"error: [^\n]+\n", shown.err), place
    said = shown.err
    for word in words:
        # What was typed may be anything; what is said about it may not.
        said = said.replace(typed, "") if len(typed := word.partition("=")[2]) > 3 else said
    # What an error calls a thing must be there to be typed.
    assert not re.search(r"`\w+`|\w+Error\b|\bNone\b", said), place
    known = {name for param in COMMANDS[path].params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    if "No such option" not in said:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", said)) <= known, place


def every_case():
    for path in PATHS:
        for param in options(COMMANDS[path]):
            for value in values(COMMANDS[path], param):
                yield path, param, value


def chosen_cases(path):
    """All cases of a command in the long profile, else about twenty that are spread over them."""
    cases = [(param, value) for own, param, value in every_case() if own == path]
    long = hypothesis.settings.get_current_profile_name() == "long"
    return cases if long else cases[:: max(1, len(cases) // 20)]


@pytest.mark.parametrize("path", PATHS)
def test_every_option_meets_every_bad_kind_of_value(path, here, capsys):
    failures = []
    for param, value in chosen_cases(path):
        try:
            check(path, words_of(param, value), capsys)
        except AssertionError as error:
            failures.append(str(error).splitlines()[0])
    assert not failures, "\n".join([f"{len(failures)} command lines:", *failures[:40]])


@pytest.mark.parametrize("path", PATHS)
def test_options_meet_each_other(path, here, capsys):
    params = options(COMMANDS[path])
    if len(params) < 2:
        pytest.skip("one option meets no other")

    @hypothesis.given(st.data())
    def run(data):
        few = data.draw(st.lists(st.sampled_from(params), min_size=2, max_size=5))
        drawn = [(param, data.draw(st.sampled_from(values(COMMANDS[path], param)))) for param in few]
        check(path, [word for pair in drawn for word in words_of(*pair)], capsys)

    run()


def test_the_commands_are_all_here():
    assert {
        "study hessian",
        "study qrnn",
        "crosscheck",
        "qubo solve",
        "ibm run",
        "bench",
        "data prepare",
        "runs",
        "compare",
    } <= set(PATHS)
    assert os.sep not in "".join(PATHS)
