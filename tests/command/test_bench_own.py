"""Benchmarks of a user's circuit: what the simulators are given is the circuit, against Qiskit and differences."""

import json

import jax
import numpy as np
import pytest

pytest.importorskip("qiskit_aer")
from qiskit import QuantumCircuit, qasm2, qpy  # noqa: E402
from qiskit.circuit import Parameter, ParameterVector  # noqa: E402
from qiskit.quantum_info import SparsePauliOp, Statevector, random_unitary  # noqa: E402
from qjaxsim_bench import own, peers  # noqa: E402
from qjaxsim_bench.peers import base  # noqa: E402
from qjaxsim_bench.problems import problem_of  # noqa: E402
from qjaxsim_qiskit import from_qiskit  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.command import main as cli  # noqa: E402
from qjaxsim.command.bench import OF_FILE  # noqa: E402

# PennyLane asks JAX what JAX will not tell for long.
pytestmark = pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")

# 0.5 Z0 - 2 X1 Y3 and a constant; Qiskit's labels end with qubit 0.
OBSERVABLE, OPERATOR = 0.5 * qj.Z(0) - 2 * qj.X(1) @ qj.Y(3) + 7, SparsePauliOp(["IIIZ", "YIXI"], [0.5, -2])
SIMULATORS = (base.OURS, "gate-by-gate", "aer", "pennylane", "lightning")


def theirs(bent=False):
    """Every gate of the list, gates that are taken apart, factors, sums and numbers as angles."""
    a, v = Parameter("a"), ParameterVector("v", 4)
    circuit = QuantumCircuit(4, global_phase=0.3)
    for qubit in range(4):
        circuit.h(qubit)
    for number, name in enumerate(("x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "id")):
        circuit.ry(0.2 + number, number % 4)
        getattr(circuit, name)(number % 4)
    circuit.rx(v[0], 0)
    circuit.p(2 * a, 1)
    circuit.rz(v[1] - a / 2 + 0.1, 2)
    circuit.cp(v[2], 0, 3)
    circuit.rzz(-v[3], 1, 3)
    circuit.crx(a, 2, 0)
    circuit.u(0.3, v[1], v[0] + v[2], 3)
    circuit.ry(a.sin() * v[3] if bent else v[3], 1)
    for gate, qubits in (("cx", (0, 1)), ("cz", (3, 2)), ("swap", (1, 3)), ("ccx", (0, 2, 3)), ("cswap", (3, 0, 1))):
        getattr(circuit, gate)(*qubits)
    circuit.iswap(0, 2)
    circuit.unitary(random_unitary(8, seed=5), [3, 0, 1])
    return circuit


PARAMS = {"a": np.array(0.7), "v": np.array([0.4, -1.1, 2.0, 0.9])}


def state(params, circuit):
    numbers = dict(zip(circuit.parameters, [params["a"], *params["v"]], strict=True))
    return Statevector(circuit.assign_parameters({p: float(x) for p, x in numbers.items()}))


def task_of(name, circuit, folder):
    made = own.own_circuit("mine", from_qiskit(circuit).circuit, PARAMS, OBSERVABLE)
    (folder / own.FILE).write_text(made.text)
    return problem_of(name).make(str(folder / own.FILE))


def result_of(peer, task):
    if peer in ("pennylane", "lightning"):
        pytest.importorskip("pennylane")
    with jax.numpy_dtype_promotion("standard"):  # as their users have it
        work = peers.load(peer).prepare(task, "double")
        if work.compile:
            work.compile()
        return np.asarray(work.result(work.run())).reshape(-1)


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("peer", SIMULATORS)
def test_all_simulators_are_given_the_circuit(peer, tmp_path):
    circuit = theirs()
    task = task_of("own-state", circuit, tmp_path)
    assert {name for name, _, _ in task.ops} == {*own.GATES}
    found, want = result_of(peer, task), state(PARAMS, circuit).reverse_qargs().data
    # Nobody is given the global phase.
    np.testing.assert_allclose(found * np.vdot(found, want) / abs(np.vdot(found, want)), want, atol=1e-10)


@pytest.mark.parametrize("bent", [False, True])
@pytest.mark.parametrize("peer", SIMULATORS)
def test_expectation_values_and_gradients_are_those_in_the_circuits_parameters(peer, bent, tmp_path):
    circuit = theirs(bent)

    def value(flat):
        return state({"a": flat[0], "v": flat[1:]}, circuit).expectation_value(OPERATOR).real

    at = np.array([PARAMS["a"], *PARAMS["v"]])
    if peer != "gate-by-gate":
        found = result_of(peer, task_of("own-expectation", circuit, tmp_path))
        np.testing.assert_allclose(found, [value(at)], atol=1e-10)
    task = task_of("own-gradient", circuit, tmp_path)
    if peer == "aer":
        assert not peers.load(peer).supports(task, "double")
        return
    step = 1e-5 * np.eye(5)
    differences = [(value(at + d) - value(at - d)) / 2e-5 for d in step]
    np.testing.assert_allclose(result_of(peer, task), differences, atol=1e-8)


def test_hessians_are_those_of_differences_of_gradients(tmp_path):
    circuit = theirs()
    task = task_of("own-hessian", circuit, tmp_path)
    energy = qj.expectation(from_qiskit(circuit).circuit, OBSERVABLE)

    def gradient(flat):
        found = jax.grad(lambda p: energy(p))({"a": flat[0], "v": flat[1:]})
        return np.array([found["a"], *found["v"]])

    at, step = np.array([PARAMS["a"], *PARAMS["v"]]), 1e-5 * np.eye(5)
    differences = [(gradient(at + d) - gradient(at - d)) / 2e-5 for d in step]
    np.testing.assert_allclose(result_of(base.OURS, task).reshape(5, 5), differences, atol=1e-7)


def test_angles_that_are_no_sums_are_in_double_precision_where_jax_is_not():
    a = qj.Parameter("a", (3,))
    circuit = qj.Circuit(3).ry(a[0] * a[1], 0).rx(a[1] * a[2] * a[2], 2)
    values = np.array([0.7, -1.3, 2.1])
    with jax.enable_x64(False):
        made = own.own_circuit("mine", circuit, {"a": values}, qj.Z(0))
    want = [values[0] * values[1], values[1] * values[2] ** 2]
    np.testing.assert_allclose(made.angles.at(np, made.theta), want, atol=1e-14)


def test_a_circuit_makes_the_problems_that_it_can():
    assert tuple(own.OWN) == OF_FILE

    def problems(circuit, params):
        return own.own_circuit("mine", circuit, params, qj.Z(0)).problems()

    w = qj.Parameter("w", (2,))
    assert problems(qj.Circuit(2).ry(0.1, 0), {}) == ("own-state", "own-expectation")
    assert problems(qj.Circuit(2).ry(2 * w[0] + w[1], 0), {"w": np.ones(2)}) == tuple(own.OWN)
    assert "own-hessian" not in problems(qj.Circuit(2).ry(w[0] * w[1], 0), {"w": np.ones(2)})


def files(folder):
    """A circuit with a parameter, one without, and ones that are refused."""
    a, given = Parameter("a"), QuantumCircuit(2)
    given.ry(a, 0)
    given.cx(0, 1)
    with (folder / "given.qpy").open("wb") as file:
        qpy.dump(given, file)
    plain = QuantumCircuit(2)
    plain.h(0)
    (folder / "plain.qasm").write_text(qasm2.dumps(plain))
    plain.reset(0)
    plain.h(0)
    (folder / "reset.qasm").write_text(qasm2.dumps(plain))
    bent = QuantumCircuit(1)
    bent.ry(a * a, 0)
    with (folder / "bent.qpy").open("wb") as file:
        qpy.dump(bent, file)
    measured = QuantumCircuit(3, 1)
    measured.h(0)
    measured.measure(0, 0)
    with measured.if_test((measured.clbits[0], 1)):
        measured.x(2)
    with (folder / "branch.qpy").open("wb") as file:
        qpy.dump(measured, file)
    (folder / "junk.qpy").write_bytes(b"junk")
    (folder / "batch.json").write_text('{"a": [0.1, 0.2]}')
    (folder / "other.json").write_text('{"a": 0.3}')


def test_a_run_on_a_file_ends_on_a_page_and_is_resumed_with_the_same_numbers_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    line = ["bench", "given.qpy", "--quick", "--seconds", "0.02", "--peers", "aer,qnn-shift", "--out", "run"]
    line += ["--problems", "own-expectation", "--observable", "Z0 Z1 + 2"]
    assert cli.main(line) == 0, capsys.readouterr().err
    said = capsys.readouterr()
    assert "own-expectation   given" in said.out and "Targets" not in said.out
    assert "not asked, since they lack such work or take too long: qnn-shift" in said.err
    record = json.loads((tmp_path / "run" / "bench.json").read_text())
    assert [(cell["peer"], cell["status"]) for cell in record["cells"]] == [(base.OURS, "ok"), ("aer", "ok")]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Benchmarks of given" in page and "circuit.json" in page and "targets.md" not in page
    assert (tmp_path / "run" / "figures" / "own-expectation.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main([*line, "--resume"]) == 0
    capsys.readouterr()
    assert cli.main([*line, "--resume", "--params", "other.json"]) == 2
    assert "the circuit, its parameters or the observable differ from its run; use the same" in capsys.readouterr().err


WRONG = {
    "plain.qasm --problems own-gradient": "Option --problems has own-gradient, which needs a circuit with parameters",
    "bent.qpy --problems own-hessian": "Option --problems has own-hessian, which needs angles that are sums of",
    "plain.qasm --problems layered": "Option --problems names 'layered', but only these exist: own-state, own-exp",
    "--problems own-state": "Option --problems has own-state, which is computed of a circuit; give FILE",
    "--observable Z0": "Option --observable has an effect only with FILE",
    "plain.qasm --targets": "Option --targets has an effect only without FILE",
    "plain.qasm --observable Z0,Z1": "Option --observable must be one Pauli sum, but 'Z0,Z1' has 2",
    "plain.qasm --observable 3": "Option --observable must have a term beside its constant, but has none",
    "plain.qasm --random-params 1": "Option --random-params has an effect only on a circuit with parameters",
    "given.qpy --params other.json --random-params 1": "Give either --params or --random-params",
    "given.qpy --params batch.json": "Option --params must hold one set of values, but the file has a batch of them",
    "reset.qasm": "Argument FILE must hold a circuit of gates alone, since not every simulator takes more, but it",
    "junk.qpy": "Argument FILE must name a QPY file, but 'junk.qpy' cannot be read",
    "branch.qpy": "Argument FILE must hold a circuit of gates alone, since not every simulator takes more, but it",
    "nowhere.qasm": "Argument FILE must be a file, but 'nowhere.qasm' is none",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_one_line(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files(tmp_path)
    assert cli.main(["bench", *words.split(), "--quick", "--out", "run"]) == 2
    error = capsys.readouterr().err
    assert WRONG[words] in error and error.count("\n") == 1, error
    assert not (tmp_path / "run").exists()


def test_too_many_qubits_are_refused():
    with pytest.raises(ValueError, match="`file` must hold at most 30 qubits, but wide has 31"):
        own.own_circuit("wide", qj.Circuit(31).h(0), {}, qj.Z(0))
