"""`qjaxsim spectrum`: problems that are circuits, problems whose data change, and parameters beside inputs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.command.app import run
from qjaxsim.curvature import SpectrumReport

PROBLEMS = """
import jax.numpy as jnp
import numpy as np
import qjaxsim as qj

w, x = qj.Parameter("w", (3,)), qj.Parameter("x")
product = qj.Z(0) @ qj.Z(1) @ qj.Z(2)
start = {"w": np.array([0.4, 0.9, -0.7])}


def energy():
    circuit = qj.Circuit(3).ry(w[0], 0).ry(w[1], 1).ry(w[2], 2)
    return {"function": circuit, "params": start, "observables": product}


def model():
    circuit = qj.Circuit(3).ry(x, 0).ry(w[0], 0).ry(w[1], 1).ry(w[2], 2)
    data = {"x": np.linspace(0, 1, 5)}, np.linspace(1, -1, 5)[:, None]
    squares = lambda z, y: ((z - y) ** 2).sum(axis=1)
    return {"function": circuit, "params": start, "observables": [product], "data": data, "loss": squares}


def closed():
    matrix = np.load("matrix.npy")
    return lambda w: w @ matrix @ w / 2, jnp.ones(3)


def given():
    outputs, squares = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(axis=1) / 2
    return outputs, jnp.ones(3), (np.load("matrix.npy"), np.zeros((3, 1))), squares


def alike():
    function = lambda p: (p["a/b"] ** 2).sum() + 3 * (p["a"]["b"] ** 2).sum()
    return function, {"a/b": jnp.full(2, 5.0), "a": {"b": jnp.full(3, 7.0)}}


def regression(outputs=lambda w, x: x @ w["w"], x=np.eye(4)[:, :3], **more):
    squares = lambda z, y: ((z - y) ** 2).sum(axis=1)
    data = (x, np.zeros((4, 2)))
    return {"function": outputs, "params": {"w": jnp.ones((3, 2))}, "data": data, "loss": squares, **more}


classes = lambda: regression(classes="2")
groups = lambda: regression(groups={"first": [0, 1], "beyond": [6]})
frozen = lambda: regression(frozen=np.zeros(5, bool))
missing = lambda: regression(x=np.where(np.eye(4)[:, :3] > 0, np.nan, 1))
normalised = lambda: regression(lambda w, x: (x - x.mean(axis=0, keepdims=True)) @ w["w"])
"""
CIRCUIT = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] a;
input float[64] b;
input float[64] c;
qubit[3] q;
ry(a) q[0];
ry(b) q[0];
cx q[0], q[1];
ry(c) q[2];
"""
QUICK = ["--quiet", "spectrum"]
AT_START = ["--point", "start", "--landscape", "none"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "problems.py").write_text(PROBLEMS)
    (tmp_path / "mine.qasm").write_text(CIRCUIT)
    np.save("matrix.npy", np.diag([1.0, 2.0, 4.0]))
    return tmp_path


def of_energy(w):
    return jnp.cos(w).prod()


def of_model(w):
    values = jnp.cos(jnp.linspace(0, 1, 5) + w[0]) * jnp.cos(w[1]) * jnp.cos(w[2])
    return ((values - jnp.linspace(1, -1, 5)) ** 2).mean()


@pytest.mark.parametrize(
    ("name", "value"), [("energy", of_energy), pytest.param("model", of_model, marks=pytest.mark.thorough)]
)
def test_a_problem_may_be_a_circuit(folder, name, value):
    """On the way to the minimum too, against the closed form of the product of cosines."""
    words = [f"problems.py:{name}", "--epochs", "4", "--landscape", "none", "--out", "out"]
    assert run([*QUICK, *words]) == 0
    report = SpectrumReport.load("out/cells/seed0/report.npz")
    at = jnp.asarray(report.arrays["params"])
    assert report.numbers["loss"] == pytest.approx(float(value(at))) and value(at) < value(jnp.array([0.4, 0.9, -0.7]))
    np.testing.assert_allclose(report.eigenvalues, np.linalg.eigvalsh(jax.hessian(value)(at)), atol=1e-10)


@pytest.mark.parametrize("name", ["closed", "given"])
def test_a_folder_of_other_data_is_not_taken_up(folder, capsys, name):
    """Though the file that reads them is the same."""
    words = [*QUICK, f"problems.py:{name}", *AT_START, "--out", "out"]
    assert run(words) == run([*words, "--resume"]) == 0
    np.save("matrix.npy", np.diag([1.0, 2.0, 5.0]))
    capsys.readouterr()
    assert run([*words, "--resume"]) == 2
    message = "Folder out holds a sweep with other content of problem (`problem_sha256` differs); resume with the same"
    assert message in capsys.readouterr().err


def test_a_folder_of_other_parameters_is_not_taken_up(folder, capsys):
    words = [*QUICK, "mine.qasm", "--observable", "Z0", "--params", "held.json", *AT_START, "--out", "out"]
    (folder / "held.json").write_text(json.dumps({"a": 0.3, "b": 0.1, "c": 0.2}))
    assert run(words) == 0
    (folder / "held.json").write_text(json.dumps({"c": 0.2, "a": 0.3, "b": 0.1}))
    assert run([*words, "--resume"]) == 0
    (folder / "held.json").write_text(json.dumps({"a": 0.4, "b": 0.1, "c": 0.2}))
    capsys.readouterr()
    assert run([*words, "--resume"]) == 2
    assert "holds a sweep with other content of params (`params_sha256` differs)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("classes", "that of problems.py:classes is none: classes must be an integer of at least 2, but is '2'"),
        ("groups", "that of problems.py:groups is none: groups['beyond'] must give places from 0 to 5"),
        ("frozen", "that of problems.py:frozen is none: frozen must be a boolean mask of shape (6,), but is bool[5]"),
        ("missing", "Argument TARGET, problems.py:missing, must be finite at the point, but is nan there"),
        ("normalised", "Argument TARGET, problems.py:normalised, must give each sample's outputs from that sample"),
    ],
)
def test_what_the_report_refuses_is_told_before_training(folder, capsys, name, message):
    assert run([*QUICK, f"problems.py:{name}", "--epochs", "2", "--landscape", "none", "--out", "out"]) == 2
    assert message in capsys.readouterr().err and not list(folder.glob("out/**/training"))


def test_no_array_of_parameters_is_lost_to_another_of_its_name(folder):
    assert run([*QUICK, "problems.py:alike", *AT_START, "--out", "out"]) == 0
    with np.load("out/cells/seed0/params.npz") as held:
        assert {name: held[name].tolist() for name in held} == {"a/b": [7.0] * 3, "['a/b']": [5.0] * 2}
    blocks = SpectrumReport.load("out/cells/seed0/report.npz").blocks
    assert [(row["group"], row["parameters"], row["block_lambda_max"]) for row in blocks] == [
        ("a/b", 3, 6.0),
        ("['a/b']", 2, 2.0),
    ]


def test_a_single_parameter_has_no_plane(folder, capsys):
    one = CIRCUIT.replace("input float[64] b;\ninput float[64] c;\n", "").replace("(b)", "(2 * a)")
    (folder / "one.qasm").write_text(one.replace("(c)", "(a)"))
    words = [*QUICK, "one.qasm", "--observable", "Z0 Z2", "--epochs", "2", "--out", "out"]
    assert run(words) == 0
    report = SpectrumReport.load("out/cells/seed0/report.npz")
    (a,) = report.arrays["params"]  # cos(3 a) cos(a) = (cos(4 a) + cos(2 a)) / 2
    np.testing.assert_allclose(report.eigenvalues, [-8 * np.cos(4 * a) - 2 * np.cos(2 * a)], atol=1e-10)
    assert [path.name for path in (folder / "out/figures").glob("*.png") if "eigen" in path.name] == []
    assert run([*words, "--landscape", "eigen"]) == 2
    assert "--landscape needs two parameters at least, but one.qasm has one; leave it" in capsys.readouterr().err


def test_parameters_need_not_hold_what_samples_bring(folder):
    """Those that a run has saved, too: <Z0> = cos(a + b) with b of the samples."""
    x = np.array([0.0, 0.5, 1.0, 2.0])
    (folder / "points.csv").write_text("x,y\n" + "".join(f"{value},{value / 3}\n" for value in x))
    (folder / "held.json").write_text(json.dumps({"a": 0.3, "c": 0.2}))
    words = [*QUICK, "mine.qasm", "--data", "points.csv", "--label", "y", "--inputs", "b", "--scale-features", "none"]
    words += ["--observable", "Z0", *AT_START]
    assert run([*words, "--params", "held.json", "--out", "out"]) == 0
    assert run([*words, "--params", "out/cells/seed0/params.npz", "--out", "again"]) == 0
    for place in ("out", "again"):
        report = SpectrumReport.load(f"{place}/cells/seed0/report.npz")
        assert report.numbers["loss"] == pytest.approx(((np.cos(0.3 + x) - x / 3) ** 2).mean())
