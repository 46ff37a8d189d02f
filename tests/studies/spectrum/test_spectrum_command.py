"""`qjaxsim spectrum`: problems of Python files, circuits with an observable, circuits with a table, and refusals."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.command.app import run
from qjaxsim.curvature import SpectrumReport

PROBLEM = """
import sys

import jax
import jax.numpy as jnp
import numpy as np

from neighbour import SCALES


def loss(params):
    return (jnp.asarray(SCALES) * (params["w"] - 1) ** 2).sum() / 2


def given():
    return loss, {"w": jnp.zeros(4)}


def drawn():
    init = lambda key: {"w": jax.random.normal(key, (4,))}
    return {"function": loss, "params": {"w": jnp.zeros(4)}, "init": init, "title": "Four springs"}


def ends():
    raise SystemExit(3)


def ends_where_traced():
    return lambda params: sys.exit(0), {"w": jnp.zeros(4)}


def ends_at_a_start():
    def init(key):
        raise SystemExit

    return {"function": loss, "params": {"w": jnp.zeros(4)}, "init": init}


def fails():
    raise RuntimeError("no springs")


def number():
    return 3


def minus_one():
    return signed([1, -1, 1])


def from_one():
    return signed([1, 1, 2])


def signed(labels):
    from qjaxsim.models.losses import cross_entropy
    return lambda w, x: x @ w, jnp.ones((3, 2)), (jnp.eye(3), jnp.asarray(labels)), cross_entropy


def whole():
    return loss, {"w": np.ones(4, int)}


def other_init():
    return {"function": loss, "params": {"w": jnp.zeros(4)}, "init": lambda key: {"v": jnp.zeros(4)}}


def by_numpy():
    return lambda w: float(np.sum(np.asarray(w))), jnp.ones(3)


def no_batch():
    names = ("function", "params", "data", "loss")
    return {**dict(zip(names, signed([0, 1, 1]))), "batch_size": 0}


def says():
    return {"function": loss, "params": {"w": jnp.zeros(4)}, "classes": 3, "groups": None}


def misspelt():
    return {"function": loss, "parms": {}}


def constant():
    return lambda params: 3 + 0 * params["w"].sum(), {"w": jnp.ones(4)}


def noisy():
    return lambda w: (w * np.random.default_rng().random()).sum(), jnp.ones(3)
"""
CIRCUIT = """OPENQASM 3.0;
include "stdgates.inc";
input float[64] a;
input float[64] b;
input float[64] c;
qubit[2] q;
ry(a) q[0];
ry(b) q[1];
cx q[0], q[1];
ry(c) q[1];
"""
QUICK = ["--quiet", "spectrum"]
SMALL = ["--landscape-points", "3"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "springs.py").write_text(PROBLEM)
    (tmp_path / "neighbour.py").write_text("SCALES = [1.0, 2.0, 3.0, 10.0]\n")
    (tmp_path / "script.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "mine.qasm").write_text(CIRCUIT)
    (tmp_path / "own.qasm").write_text(CIRCUIT.replace(" b;", " features;").replace("(b)", "(features)"))
    (tmp_path / "held.json").write_text(json.dumps({"a": 0.1, "b": 0.2, "c": 0.3}))
    return tmp_path


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_function_of_a_file_at_its_start(files, capsys):
    words = [*QUICK, "springs.py:given", "--point", "start", "--out", "out", *SMALL]
    assert run(words) == 0
    (row,) = summary(files / "out")
    assert row["lambda_max"] == pytest.approx(10) and row["trace"] == pytest.approx(16)
    assert row["loss"] == pytest.approx(8) and row["gradient_norm"] == pytest.approx(np.linalg.norm([1, 2, 3, 10]))
    report = SpectrumReport.load(files / "out/cells/seed0/report.npz")
    np.testing.assert_allclose(report.eigenvalues, [1, 2, 3, 10])
    assert not (files / "out/cells/seed0/unfinished").exists()
    page = (files / "out/report.html").read_text()
    assert page.count("data:image/") == 2 and "run from 1.000 to 10.00" in page
    assert "Plane of the leading eigenvectors" in page and "qjaxsim --quiet spectrum springs.py:given" in page
    assert "Hessian spectra" in capsys.readouterr().out
    assert run([*words, "--resume"]) == 0
    assert summary(files / "out") == [row]
    assert run([*words, "--landscape", "random", "--resume"]) == 2
    assert 'holds a sweep with --landscape = ["eigen"], but this one has ["random"]' in capsys.readouterr().err
    (files / "springs.py").write_text(PROBLEM + "\n")
    assert run([*words, "--resume"]) == 2
    assert "target_sha256" in capsys.readouterr().err


@pytest.mark.slow
def test_random_starts_go_to_the_minimum(files):
    words = ["springs.py:drawn", "--seeds", "1,2", "--epochs", "150", "--learning-rate", "0.1", "--landscape", "pca"]
    assert run([*QUICK, *words, "--out", "out", *SMALL]) == 0
    first, second = summary(files / "out")
    assert (first["seed"], second["seed"]) == (1, 2) and first["start_loss"] != second["start_loss"]
    for row in (first, second):
        assert row["loss"] < 1e-3 and row["loss"] <= row["start_loss"] and row["lambda_max"] == pytest.approx(10)
    made = {path.name for path in (files / "out/figures").iterdir()}
    assert {"spectra.png", "seed1_spectrum.png", "seed2_pca.png"} <= made
    assert "Four springs" in SpectrumReport.load(files / "out/cells/seed1/report.npz").title


@pytest.mark.slow
def test_circuit_with_an_observable(files):
    # Three angles reach the ground state of Z0 Z1 + X1 / 2 among real states of this form; the spectrum there is >= 0.
    words = ["mine.qasm", "--observable", "Z0 Z1 + 0.5 X1", "--epochs", "300", "--landscape", "none", "--seeds", "3"]
    assert run([*QUICK, *words, "--out", "out"]) == 0
    (row,) = summary(files / "out")
    assert row["loss"] == pytest.approx(-np.sqrt(1.25), abs=1e-3) and row["lambda_min"] > -1e-2
    report = SpectrumReport.load(files / "out/cells/seed3/report.npz")
    a, b, c = report.arrays["params"]

    def energy(angles):
        ry = lambda t: jnp.array([[jnp.cos(t / 2), -jnp.sin(t / 2)], [jnp.sin(t / 2), jnp.cos(t / 2)]])  # noqa: E731
        cx = jnp.eye(4)[jnp.array([0, 1, 3, 2])]
        state = jnp.kron(jnp.eye(2), ry(angles[2])) @ cx @ jnp.kron(ry(angles[0]), ry(angles[1]))[:, 0]
        z, x = jnp.diag(jnp.array([1.0, -1.0])), jnp.array([[0.0, 1.0], [1.0, 0.0]])
        return state @ (jnp.kron(z, z) + 0.5 * jnp.kron(jnp.eye(2), x)) @ state

    hessian = jax.jit(jax.hessian(energy))(jnp.array([a, b, c]))
    np.testing.assert_allclose(report.eigenvalues, np.linalg.eigvalsh(hessian), atol=1e-9)


@pytest.fixture
def table(files):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (20, 2))
    kinds = np.where(x[:, 0] > x[:, 1], "over", "under")
    lines = [f"{a},{b},{kind},{a + b}" for (a, b), kind in zip(x, kinds, strict=True)]
    (files / "points.csv").write_text("first,second,kind,sum\n" + "\n".join(lines) + "\n")
    (files / "many.csv").write_text("first,second,kind\n" + "".join(f"{i},{i},c{i}\n" for i in range(4)))
    (files / "one.csv").write_text("first,second,kind\n1,2,cat\n3,4,cat\n")
    return x, (kinds == "under").astype(int)


@pytest.mark.thorough
def test_circuit_with_a_table(files, table):
    words = ["mine.qasm", "--data", "points.csv", "--label", "kind", "--features", "first,second"]
    assert run([*QUICK, *words, "--epochs", "3", "--scale", "4", "--landscape", "none", "--out", "out"]) == 0
    (row,) = summary(files / "out")
    assert row["samples"] == 20 and row["parameters"] == 3 and row["gn_lambda_max"] > 0
    report = SpectrumReport.load(files / "out/cells/seed0/report.npz")
    x, labels = table
    angles = np.pi * (x - x.min(0)) / (x.max(0) - x.min(0))
    circuit = qj.Circuit(2)
    f, w = qj.Parameter("f", (2,)), qj.Parameter("w", (3,))
    circuit.ry(f[0], 0).ry(f[1], 1).ry(w[0], 0).ry(w[1], 1).cx(0, 1).ry(w[2], 1)
    values = qj.expectation(circuit, [qj.Z(0), qj.Z(1)])

    def loss(weights):
        logits = 4 * values({"f": jnp.asarray(angles), "w": weights})
        return -jax.nn.log_softmax(logits)[jnp.arange(20), jnp.asarray(labels)].mean()

    hessian = jax.jit(jax.hessian(loss))(jnp.asarray(report.arrays["params"]))
    np.testing.assert_allclose(report.eigenvalues, np.linalg.eigvalsh(hessian), atol=1e-9)


@pytest.mark.slow
def test_own_inputs_and_values(files, table):
    words = ["mine.qasm", "--data", "points.csv", "--label", "sum", "--features", "first", "--inputs", "b"]
    assert run([*QUICK, *words, "--point", "start", "--landscape", "none", "--dtype", "float32", "--out", "out"]) == 0
    (row,) = summary(files / "out")
    assert row["parameters"] == 2 and row["samples"] == 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["springs.py"], "TARGET must be a circuit (.qasm, .qasm3, .qpy) or FILE.py:FUNCTION, but is 'springs.py'"),
        (["none.qasm"], "Argument TARGET must be a file, but 'none.qasm' is none"),
        (["none.py:f"], "TARGET must be FILE.py:FUNCTION of a file, but 'none.py' is none"),
        (["springs.py:givn"], "must name a function of springs.py, but 'givn' is none (did you mean 'given'?)"),
        (["springs.py:fails"], "springs.py:fails raised RuntimeError: no springs"),
        (["springs.py:ends"], "springs.py:ends raised SystemExit: 3"),
        (["springs.py:ends_where_traced"], "must return or raise an error, but ended Python (SystemExit(0))."),
        (["springs.py:ends_at_a_start"], "must return or raise an error, but ended Python (SystemExit())."),
        (["script.py:given"], "must name a Python file that runs, but script.py raised SystemExit: 0"),
        (["springs.py:number"], "springs.py:number returned 3"),
        (["springs.py:misspelt"], "that of springs.py:misspelt has no 'params'"),
        (["springs.py:minus_one"],
         "that of springs.py:minus_one is none: y must hold classes from 0 to 1, one for each logit, but holds -1;"),
        (["springs.py:from_one"], "is none: y must hold classes from 0 to 1, one for each logit, but holds 2"),
        (["springs.py:whole"], "is none: params must hold real float arrays only, but a leaf has dtype int64"),
        (["springs.py:other_init"], "is none: init must return what params is, {'w': (4,)}, but returned {'v': (4,)}"),
        (["springs.py:by_numpy"], "under JAX it raised TracerArrayConversionError"),
        (["springs.py:no_batch"], "is none: batch_size must be a positive integer, but is 0"),
        (["springs.py:says", "--classes", "5"],
         "--classes is for problems that do not say it themselves, but that of springs.py:says has 'classes'; leave"),
        (["springs.py:says", "--blocks", "leaves"], "but that of springs.py:says has 'groups'; leave it out."),
        (["own.qasm", "--data", "points.csv", "--label", "kind", "--features", "first,second"],
         "TARGET must not have a parameter 'features', which the encoding in front calls its own; give it as --inputs"),
        (["mine.qasm", "--data", "many.csv", "--label", "kind"],
         "--observable must be given for the 4 classes of 'kind', since a circuit of 2 qubits has fewer by default"),
        (["mine.qasm", "--data", "one.csv", "--label", "kind"],
         "--label must name a column of at least two classes, but 'kind' of one.csv holds one class alone, 'cat'"),
        (["springs.py:noisy", "--point", "start"], "must be deterministic, but two calls at the same point"),
        (["springs.py:constant", "--point", "start", "--landscape", "none"],
         "Argument TARGET, springs.py:constant, does not depend on its parameters: gradient and Hessian are zero"),
        (["springs.py:given", "--seeds", "1,2"], "--seeds must be one, since springs.py:given starts from the same"),
        (["mine.qasm", "--observable", "Z0", "--params", "held.json", "--seeds", "1,2"],
         "--seeds must be one, since mine.qasm starts from the same parameters for every seed, but is [1, 2]; leave "
         "out --params."),
        (["mine.qasm", "--observable", "Z0", "--batch-size", "7"],
         "--batch-size has an effect only with samples, but mine.qasm has none; leave it out."),
        (["mine.qasm", "--data", "points.csv", "--label", "kind", "--features", "first", "--batch-size", "21"],
         "--batch-size must be at most the 20 samples, but is 21"),
        (["springs.py:given", "--spectrum", "lanczos", "--top", "5"],
         "--top must be at most the 4 parameters of springs.py:given, but is 5"),
        (["springs.py:given", "--top", "3"],
         "--top has an effect only on spectra by lanczos, but that of 4 parameters is dense (--spectrum is auto)"),
        (["springs.py:given", "--observable", "Z0"], "--observable is for circuits, but TARGET is 'springs.py:given'"),
        (["mine.qasm"], "--observable must say what to take the Hessian of for mine.qasm"),
        (["mine.qasm", "--observable", "Z0, Z1"], "--observable must be one without --data"),
        (["mine.qasm", "--label", "kind"], "--label has an effect only with --data"),
        (["mine.qasm", "--data", "points.csv"], "--label must name the column to learn with --data"),
        (["mine.qasm", "--data", "points.csv", "--label", "kind", "--features", "first", "--inputs", "d"], "'d'"),
        (["mine.qasm", "--data", "points.csv", "--label", "kind", "--inputs", "a,b,c"],
         "--inputs must leave parameters of the circuit to train, but takes all, a, b, c; leave it out"),
        (["mine.qasm", "--data", "points.csv", "--label", "kind", "--features", "first,second", "--inputs", "a"],
         "must bring a feature for each of the circuit's 1 inputs, but brings 2 (first, second)"),
        (["mine.qasm", "--data", "points.csv", "--label", "kind", "--features", "first,second", "--observable", "Z0"],
         "--observable must hold 2, one for each class of 'kind', but holds 1"),
        (["mine.qasm", "--data", "points.csv", "--label", "kind"],
         "--data must bring at most as many features as TARGET has qubits, 2, since the encoding in front takes one "
         "for each, but brings 3 (first, second, sum); choose with --features, or take a wider circuit."),
        (["mine.qasm", "--observable", "Z0", "--point", "start", "--landscape", "pca"], "--landscape holds pca"),
        (["mine.qasm", "--observable", "Z0", "--point", "start", "--epochs", "3"], "--epochs has an effect only with"),
        # Before the way to the minimum.
        (["mine.qasm", "--observable", "Z0", "--landscape", "eigen", "--landscape-points", "10000000"],
         "error: A plane of 10,000,000 x 10,000,000 points needs"),
        (["mine.qasm", "--observable", "Z0", "--params", "none.npz"], "--params must name a file, but 'none.npz'"),
    ],
)  # fmt: skip
def test_refusals(files, table, capsys, words, message):
    assert run([*QUICK, *words]) == 2
    error = capsys.readouterr().err
    # A cell that fails says so in a line of its own.
    assert message in error and error.count("\n") == 1 + error.startswith("spectrum: cell"), error


def test_saved_parameters_are_the_start(files):
    words = ["mine.qasm", "--observable", "Z0", "--params", "held.json", "--point", "start", "--landscape", "none"]
    assert run([*QUICK, *words, "--out", "out"]) == 0
    (row,) = summary(files / "out")
    # <Z0> = cos a: one eigenvalue, and two parameters without effect.
    assert row["loss"] == pytest.approx(np.cos(0.1)) and row["exact_zeros"] == 2
    assert row["lambda_min"] == pytest.approx(-np.cos(0.1))
    with np.load(files / "out/cells/seed0/params.npz") as held:
        assert {name: float(held[name]) for name in held} == {"a": 0.1, "b": 0.2, "c": 0.3}


def test_circuit_without_parameters(files, capsys):
    (files / "none.qasm").write_text('OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[1];\nh q[0];\n')
    assert run([*QUICK, "none.qasm", "--observable", "Z0"]) == 2
    assert "TARGET must be a circuit with free parameters, but none.qasm has none" in capsys.readouterr().err
