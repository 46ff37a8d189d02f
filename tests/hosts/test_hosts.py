"""Several processes on one problem: what one finds, in the same files; after a death on with as many as there are."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from qjaxsim.command.main import main
from qjaxsim.curvature import gauss_newton
from tests.cases import free_port
from tests.hosts import problem

HERE = Path(__file__).parent
POINT = [f"{HERE}/problem.py:problem", "--point", "start", "--spectrum", "dense", "--landscape", "none"]
TRAINED = [
    f"{HERE}/problem.py:drawn",
    "--epochs",
    "2",
    "--seeds",
    "0,1,2",
    "--spectrum",
    "dense",
    "--landscape",
    "none",
]
ENVIRONMENT = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "TF_CPP_MIN_LOG_LEVEL": "2"}
RANGES = "cells/seed0/unfinished"


def processes(arguments, outs, *, dies=None, common=(), each=None, slurm=False):
    """Exit code, output and errors of each process.

    `dies`: the number of one, and the chunks that it saves before it does; `each`: words of each; `slurm`: whether
    variables say who they are.
    """
    port, running = free_port(), []
    for index, out in enumerate(outs):
        words = ["spectrum", *arguments, "--out", str(out), *common, *(each[index] if each else ())]
        own = {"DIES": str(dies[1])} if dies and dies[0] == index else {}
        if slurm:
            words += ["--processes", "auto"]
            own |= {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(len(outs))}
            own |= {"SLURM_PROCID": str(index), "SLURM_LOCALID": str(index), "JAX_COORDINATOR_PORT": str(port)}
        else:
            words += ["--coordinator", f"127.0.0.1:{port}", "--processes", str(len(outs)), "--process", str(index)]
        environment = {**os.environ, **ENVIRONMENT, **own}
        running.append(
            subprocess.Popen(
                [sys.executable, str(HERE / "worker.py"), *words],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = [None] * len(running)

    def read(index):
        said[index] = running[index].communicate(timeout=500)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(running))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(one.returncode, *words) for one, words in zip(running, said, strict=True)]


def alone(arguments, out, *more):
    assert main(["spectrum", *arguments, "--out", str(out), "--quiet", *more]) == 0


def files_of(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def rows_of(out):
    rows = json.loads((out / "summary.json").read_text())
    return [{name: value for name, value in row.items() if not name.startswith("seconds")} for row in rows]


def assert_same_rows(found, expected):
    assert [row.keys() for row in found] == [row.keys() for row in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in theirs.items():
            if isinstance(value, float) and name != "rounding":
                assert ours[name] == pytest.approx(value, rel=1e-10, abs=1e-12), name
            elif name != "rounding":
                assert ours[name] == value, name


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.slow
def test_two_processes_without_a_common_disk_find_what_one_finds(tmp_path, double, capfd):
    # Three seeds: each process takes one, the third they do together.
    (code, output, errors), (other_code, other_output, other_errors) = processes(
        TRAINED, [tmp_path / "first", tmp_path / "second"], slurm=True
    )
    assert (code, other_code) == (0, 0), errors + other_errors
    assert "results in" in output and "gloo" not in output.lower()
    assert (other_output, other_errors) == ("", "")
    alone(TRAINED, tmp_path / "one")
    assert_same_rows(rows_of(tmp_path / "first"), rows_of(tmp_path / "one"))
    assert files_of(tmp_path / "first") == files_of(tmp_path / "one")
    cells = {name for name in files_of(tmp_path / "one") if name.startswith("cells/")}
    assert files_of(tmp_path / "second") == cells | {"config.json"}


def eigenvalues(out):
    with np.load(out / "cells" / "seed0" / "arrays.npz") as arrays:
        return arrays["eigenvalues"]


@pytest.mark.slow
def test_a_killed_process_ends_the_others_in_a_sentence_and_one_or_two_go_on(tmp_path, double, monkeypatch):
    out = tmp_path / "killed"
    (code, output, errors), (killed, *_) = processes(POINT, [out, out], dies=(1, 2))
    assert (code, killed) == (1, -9)
    assert output == "" and errors.count("\n") == 2, errors
    assert errors.splitlines()[1].startswith("error: process 1 of 2 has ended; go on with: qjaxsim spectrum ")
    assert errors.rstrip().endswith(f"--process 0 --out {out} --resume")
    # Of samples 18 to 36 the dead one had added up eight.
    assert files_of(out / RANGES) == {"0-18_hessian_so_far.npz", "18-37_hessian_so_far.npz"}
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", out, copy], check=True)

    expected = np.linalg.eigvalsh(jax.hessian(problem.mean)(problem.START.astype(float)))
    begun = []
    monkeypatch.setattr(gauss_newton, "samples_from", watched(begun, gauss_newton.samples_from))
    alone(POINT, out, "--resume")
    assert begun == [0, 4, 8]  # chunks of the samples that were missing
    np.testing.assert_allclose(eigenvalues(out), expected, rtol=0, atol=1e-13)

    for code, _, errors in processes(POINT, [copy, copy], common=["--resume", "--devices", "all"]):
        assert code == 0, errors
    np.testing.assert_allclose(eigenvalues(copy), expected, rtol=0, atol=1e-13)
    assert files_of(out) == files_of(copy)
    assert "seed0/unfinished" not in str(files_of(copy))


@pytest.mark.slow
def test_products_on_two_devices_give_the_spectrum_of_one(tmp_path, double):
    arguments = [f"{HERE}/problem.py:even", "--point", "start", "--spectrum", "lanczos", "--landscape", "none"]
    ((code, _, errors),) = processes(arguments, [tmp_path], common=["--devices", "2"])
    assert code == 0, errors
    exact = jax.hessian(lambda w: problem.loss(problem.outputs(w, problem.X[:36]), problem.Y[:36]).mean())
    expected = np.linalg.eigvalsh(exact(problem.START.astype(float)))
    (row,) = rows_of(tmp_path)
    assert (row["lambda_max"], row["lambda_min"]) == pytest.approx((expected[-1], expected[0]), abs=1e-10)
    assert row["trace"] == pytest.approx(expected.sum(), abs=1e-10)


@pytest.mark.slow
def test_a_killed_coordinator_ends_the_others_in_the_same_line(tmp_path):
    (killed, *_), (code, output, errors) = processes(POINT, [tmp_path, tmp_path], dies=(0, 2))
    assert (killed, code, output) == (-9, 1, "")
    assert "process 0 of 2 has ended; go on with: qjaxsim spectrum " in errors.splitlines()[-1]  # below JAX's own trace
    assert files_of(tmp_path / RANGES) == {"0-18_hessian_so_far.npz", "18-37_hessian_so_far.npz"}


@pytest.mark.slow
def test_processes_with_other_settings_or_another_study_in_a_folder_stop_all(tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    for code, _, errors in processes(POINT, outs, each=[["--classes", "2"], ["--classes", "3"]]):
        assert code == 2 and "All 2 processes must run the same study with the same settings and data" in errors
    (tmp_path / "one" / "notes.txt").write_text("mine")
    (code, _, errors), (other_code, _, other_errors) = processes(POINT, outs)
    assert code == 2 and "one already holds results; pass --resume" in errors
    assert other_code == 1 and other_errors.startswith("error: process 0 of 2 has stopped with an error")


@pytest.mark.slow
def test_a_state_over_two_devices_gives_the_spectrum_of_one(tmp_path):
    def spectrum(target, out, *words):
        arguments = [f"{HERE}/problem.py:{target}", "--point", "start", "--spectrum", "dense", "--landscape", "none"]
        command = [sys.executable, "-m", "qjaxsim.command.main", "spectrum", *arguments, "--dtype", "float64"]
        environment = {**os.environ, **ENVIRONMENT}
        return subprocess.run(
            [*command, "--out", str(out), *words], env=environment, capture_output=True, text=True, check=False
        )

    whole, cut, refused = (tmp_path / name for name in ("whole", "cut", "refused"))
    for ended in (spectrum("ring", whole), spectrum("ring", cut, "--state-qubits", "1")):
        assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(eigenvalues(cut), eigenvalues(whole), rtol=0, atol=1e-12)
    ended = spectrum("flips", refused, "--state-qubits", "1")  # so the state is cut
    assert "leaves 5 qubits to each device, but a term of `observables` has X or Y on 6" in ended.stderr


def watched(begun, function):
    def calling(x, y, begin, **sizes):
        begun.append(begin)
        return function(x, y, begin, **sizes)

    return calling


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--coordinator h:1 --processes 2 --process 2", "Option --process must be an integer from 0 to 1, but is 2"),
        ("--processes 2 --process 0", "Option --coordinator must be given too"),
        ("--coordinator h:1 --process 0", "Option --processes must be given too"),
        ("--coordinator h --processes 2 --process 0", "must be HOST:PORT, such as node1:7777, but is 'h'"),
        ("--coordinator h:0 --processes 2 --process 0", "must be HOST:PORT, such as node1:7777, but is 'h:0'"),
        ("--coordinator h:1 --processes x --process 0", "must be a positive integer or auto, but is 'x'"),
        ("--processes auto --process 1", "Slurm or Open MPI where --processes is auto, but is 1; leave it out"),
        ("--devices 99", "must be at most the 1 that JAX sees here, but is 99; on a CPU set JAX_NUM_CPU_DEVICES"),
        ("--state-qubits 1", "must be from 0 to 0 with the 1 devices that JAX sees here, but is 1; on a CPU set"),
        ("--devices some", "Option --devices must be a positive integer or all, but is 'some'"),
    ],
)
def test_wrong_options_are_refused_in_a_sentence(options, message, tmp_path, capsys):
    assert main(["spectrum", *POINT, "--out", str(tmp_path / "out"), *options.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and message in line
    assert not (tmp_path / "out").exists()


JOINS = """
from qjaxsim.common import hosts
hosts.MEETING = 1
with hosts.joined({coordinator!r}, {processes!r}, {process}, None):
    pass
"""


@pytest.mark.parametrize(
    ("coordinator", "processes", "process", "message"),
    [
        ("127.0.0.1:9", "2", 1, "within 1 s 127.0.0.1:9 has not brought 2 processes together"),
        (None, "auto", None, "needs Slurm or Open MPI to say who takes part, but neither does here"),
    ],
)
def test_processes_that_do_not_meet_are_told_so(coordinator, processes, process, message):
    program = JOINS.format(coordinator=coordinator, processes=processes, process=process)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "OMPI"))}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and message in ended.stderr.splitlines()[-1]
