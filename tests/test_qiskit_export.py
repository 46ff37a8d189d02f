"""Our circuits and observables as Qiskit's: operators with their phase, names, round trips, files."""

import warnings

import numpy as np
import pytest
from qiskit import QuantumCircuit, qasm2, qpy
from qiskit.circuit import Parameter, ParameterVector
from qiskit.quantum_info import Operator, Pauli, SparseObservable, SparsePauliOp
from qjaxsim_qiskit import (
    assignment,
    from_qasm,
    from_qiskit,
    from_qpy,
    from_sparse_pauli_op,
    to_qasm,
    to_qiskit,
    to_qpy,
    to_sparse_pauli_op,
)
from qjaxsim_qiskit.ordering import matrix_qubits, reverse_state

import qjaxsim as qj
from qjaxsim import reference
from qjaxsim.gates import GATES


def reversed_matrix(dense: np.ndarray) -> np.ndarray:
    n = len(dense).bit_length() - 1
    return reverse_state(reverse_state(dense, n).T, n).T


def circuit_of_everything() -> qj.Circuit:
    """Four qubits: array, scalar and shared parameters, layers in layers, matrices, phases, expressions."""
    x, w, s = qj.Parameter("x", (2, 3)), qj.Parameter("w", (2,)), qj.Parameter("s")
    inner = qj.Circuit(4).ry(w[0] * s, 1).crx(w[1], 2, 0)
    layer = qj.Circuit(4).repeat(inner, 2, shared=("s",)).rz(s / 2, 3).global_phase(0.1)
    out = qj.Circuit(4).h(0).u(x[0, 1], x[1, 2] ** 2, 0.3, 1).cu(x[0, 0], 0.1, -x[0, 2], x[1, 0].sin(), 3, 1)
    random = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4, 2)) @ [1, 1j])[0]
    out.unitary(random, (3, 0), "mine").repeat(layer, 3, shared=("s",)).rzx(abs(x[1, 1]), 0, 2)
    return out.global_phase(s + 0.2)


def params_of(circuit: qj.Circuit, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.2, 1.4, shape) for name, shape in circuit.parameters.items()}


def assert_same(circuit: qj.Circuit, other: QuantumCircuit, params: dict, atol: float = 1e-12) -> None:
    bound = other.assign_parameters(assignment(other, params))
    np.testing.assert_allclose(Operator(bound).data, reversed_matrix(reference.unitary(circuit, params)), atol=atol)


@pytest.mark.parametrize("layers", ["unroll", "subcircuit"])
@pytest.mark.parametrize("invert", [False, True])
def test_operators_are_equal_with_their_phase(layers, invert):
    circuit = circuit_of_everything()
    circuit = circuit.inverse() if invert else circuit
    exported = to_qiskit(circuit, layers=layers)
    params = params_of(circuit)
    assert_same(circuit, exported, params)
    assert len(exported.parameters) == 6 + 3 * 2 * 2 + 1
    assert exported.count_ops().get("layer", 0) == (3 if layers == "subcircuit" else 0)
    back = from_qiskit(exported)
    assert back.circuit.parameters == {name: circuit.parameters[name] for name in back.circuit.parameters}
    np.testing.assert_allclose(reference.unitary(back.circuit, params), reference.unitary(circuit, params), atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(GATES) - {"delay"}))
def test_every_gate_there_and_back(name):
    spec = GATES[name]
    vector = qj.Parameter("a", (max(1, spec.n_angles),))
    qubits = np.random.default_rng(len(name)).permutation(5)[: spec.n_qubits].tolist()
    circuit = qj.Circuit(5).append(name, qubits, [vector[i] for i in range(spec.n_angles)])
    exported = to_qiskit(circuit)
    assert_same(circuit, exported, params_of(circuit))
    assert from_qiskit(exported).circuit == circuit


def test_assignment_takes_batches_and_goes_by_name_and_index():
    x = ParameterVector("x", 12)
    circuit = QuantumCircuit(3)
    for index in (11, 2, 10):
        circuit.rx(x[index], 0)
    circuit.ry(Parameter("t"), 1)
    values = np.arange(24.0).reshape(2, 12)
    found = {p.name: v for p, v in assignment(circuit, {"x": values, "t": [1.0, 2.0]}).items()}
    assert found.keys() == {"x[2]", "x[10]", "x[11]", "t"}
    for index in (2, 10, 11):
        np.testing.assert_array_equal(found[f"x[{index}]"], values[:, index])
    assert isinstance(assignment(circuit, {"x": values[0], "t": 1})[x[10]], float)
    with pytest.raises(ValueError, match=r"must have the keys \['t', 'x'\], but has \['x'\]"):
        assignment(circuit, {"x": values})
    with pytest.raises(ValueError, match=r"Parameter 'x' must have shape \(\.\.\., 12,?\), but has \(3,\)"):
        assignment(circuit, {"x": np.zeros(3), "t": 0})


def test_delays_are_left_out_with_their_parameters():
    t = qj.Parameter("t", (2,))
    circuit = qj.Circuit(3).delay(t[0], 1).rx(0.2, 2)
    exported = to_qiskit(circuit)
    assert exported.count_ops() == {"rx": 1}
    assert assignment(exported, {"t": np.zeros(2)}) == {}


def test_refusals():
    with pytest.raises(ValueError, match="free of projections to be exported, but operation 1.0 projects qubit 2 on 1"):
        to_qiskit(qj.Circuit(3).h(0).repeat(qj.Circuit(3).project(2, 1), 2))
    with pytest.raises(ValueError, match="Argument `layers` must be one of 'unroll', 'subcircuit', but is 'loops'"):
        to_qiskit(qj.Circuit(3), layers="loops")


def test_order_of_bits():
    values = np.arange(2 * 8).reshape(2, 8)
    np.testing.assert_array_equal(reverse_state(values, 3)[0], [0, 4, 2, 6, 1, 5, 3, 7])
    np.testing.assert_array_equal(reverse_state(reverse_state(values, 3), 3), values)
    assert matrix_qubits([3, 0, 1]) == (1, 0, 3)


# --- observables -------------------------------------------------------------------------------------------------


def test_observables_there_and_back():
    ours = 0.5 * qj.X(0) @ qj.Y(2) - 2 * qj.Z(3) + 1j * qj.Y(1) + 0.25 * qj.I()
    theirs = to_sparse_pauli_op(ours, 4)
    np.testing.assert_allclose(theirs.to_matrix(), reversed_matrix(reference.pauli_sum_matrix(ours, 4)), atol=1e-14)
    assert from_sparse_pauli_op(theirs) == ours
    assert from_sparse_pauli_op(Pauli("-XYZ")) == -1 * qj.Z(0) @ qj.Y(1) @ qj.X(2)
    assert from_sparse_pauli_op(SparsePauliOp(["XI", "XI", "II"], [1, 2, 3])) == 3 * qj.X(1) + 3 * qj.I()
    assert from_sparse_pauli_op(SparseObservable("XIY")) == qj.Y(0) @ qj.X(2)
    np.testing.assert_array_equal(to_sparse_pauli_op(qj.Z(0) - qj.Z(0), 2).to_matrix(), np.zeros((4, 4)))


def test_wrong_observables():
    with pytest.raises(ValueError, match="acts on qubit 3, but argument `n_qubits` is 3"):
        to_sparse_pauli_op(qj.Z(3), 3)
    with pytest.raises(TypeError, match="must be a SparsePauliOp, Pauli or SparseObservable, but is str"):
        from_sparse_pauli_op("XYZ")
    with pytest.raises(ValueError, match=r"has the projectors \['0'\]"):
        from_sparse_pauli_op(SparseObservable("X0Y"))
    with pytest.raises(ValueError, match="must have numbers as coefficients, but one is a; bind its parameters"):
        from_sparse_pauli_op(SparsePauliOp(["XYZ"], np.array([Parameter("a")], dtype=object)))


# --- files -------------------------------------------------------------------------------------------------------


def test_qpy_keeps_everything(tmp_path):
    circuit = circuit_of_everything()
    path = to_qpy(circuit, tmp_path / "c.qpy")
    back = from_qpy(path)
    assert back.circuit.parameters == circuit.parameters
    params = params_of(circuit)
    np.testing.assert_allclose(reference.unitary(back.circuit, params), reference.unitary(circuit, params), atol=1e-12)
    with pytest.raises(ValueError, match="must be below the file's 1 circuits, but is 1"):
        from_qpy(path, 1)
    for content in (b"", b"no circuit at all", b"QISKIT\x0e" + bytes(40), path.read_bytes()[:-20]):
        broken = tmp_path / "broken.qpy"
        broken.write_bytes(content)
        with pytest.raises(ValueError, match="must name a QPY file, but .*broken.qpy' is none") as caught:
            from_qpy(broken)
        assert "\x1b" not in str(caught.value)


def test_openqasm_3_keeps_phase_and_parameters():
    circuit = circuit_of_everything()
    params = params_of(circuit)
    back = from_qasm(to_qasm(circuit, params=params))
    np.testing.assert_allclose(reference.unitary(back.circuit), reference.unitary(circuit, params), atol=1e-10)
    x, t = qj.Parameter("x", (2, 6)), qj.Parameter("theta")
    free = qj.Circuit(3).rx(x[1, 4] + 2 * t, 0).cx(0, 2).p(x[0, 3], 2).rz(-t, 1).global_phase(t - 0.2)
    text = to_qasm(free)
    assert "input float[64] x_10;" in text and "gphase(" in text
    own = {"x_10": 0.7, "x_3": 0.2, "theta": 0.4}
    wanted = reference.unitary(free, {"x": np.r_[0, 0, 0, 0.2, np.zeros(6), 0.7, 0].reshape(2, 6), "theta": 0.4})
    again = from_qasm(text)
    np.testing.assert_allclose(reference.unitary(again.circuit, again.params(own)), wanted, atol=1e-12)


def test_openqasm_2_is_read_by_the_strictest_reader_and_says_what_it_loses():
    circuit = circuit_of_everything()
    params = params_of(circuit)
    with pytest.warns(UserWarning, match="OpenQASM 2 loses the circuit's global phase"):
        text = to_qasm(circuit, version=2, params=params)
    ours = reference.unitary(circuit, params)
    assert Operator(qasm2.loads(text)).equiv(Operator(reversed_matrix(ours)))
    back = reference.unitary(from_qasm(text).circuit)
    overlap = np.trace(back.conj().T @ ours) / len(ours)
    assert abs(overlap) == pytest.approx(1, abs=1e-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        to_qasm(qj.Circuit(3).h(0).cx(0, 1).rx(0.2, 2), version=2)


def test_wrong_exports():
    x = qj.Parameter("x", (2,))
    free = qj.Circuit(3).rx(x[0], 0)
    with pytest.raises(ValueError, match="OpenQASM 2 has no parameters, but the circuit has x; give `params`"):
        to_qasm(free, version=2)
    with pytest.raises(ValueError, match="Argument `version` must be 2 or 3, but is 1"):
        to_qasm(free, version=1)
    with pytest.raises(ValueError, match="Parameter 'x' needs the name 'x_0' for an element, which another one has"):
        to_qasm(free.ry(qj.Parameter("x_0"), 1))


USER_GATES = """OPENQASM 2.0;
include "qelib1.inc";
// a gate of its own under a standard name
gate rzz(theta) a,b { u1(theta) a; u1(theta) b; cu1(-2*theta) a,b; }
gate mine(alpha,beta) a,b,c { rx(alpha/2) c; barrier a,b; rzz(alpha*beta) a,b; ccx a,c,b; h a; }
qreg q[2];
qreg r[2];
creg c[2];
h q;
mine(0.3,sin(0.5)+1) q[1],r[0],q[0];
cx q[0],r[1];
iswap q[0],r[0];
ecr r[0],r[1];
sx q[1];
crx(pi/7) r[1],q[1];
ryy(-0.4) q[0],q[1];
measure q -> c;
"""


def test_openqasm_2_with_gates_of_its_own():
    imported = from_qasm(USER_GATES)
    assert [(m.qubit, m.register, m.index) for m in imported.measurements] == [(0, "c", 0), (1, "c", 1)]
    by_hand = qj.Circuit(4).h([0, 1])
    alpha, beta = 0.3, np.sin(0.5) + 1
    theta = alpha * beta
    # q[1], r[0], q[0] are the qubits 1, 2, 0; this rzz is diag(1, e, e, 1), not Qiskit's.
    by_hand.rx(alpha / 2, 0).p(theta, 1).p(theta, 2).cp(-2 * theta, 1, 2).ccx(1, 0, 2).h(1)
    by_hand.cx(0, 3).iswap(0, 2).ecr(2, 3).sx(1).crx(np.pi / 7, 3, 1).ryy(-0.4, 0, 1)
    ours, wanted = reference.unitary(imported.circuit), reference.unitary(by_hand)
    np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_openqasm_3_with_gates_of_its_own(tmp_path):
    path = tmp_path / "own.qasm"
    path.write_text(
        'OPENQASM 3.0;\ninclude "stdgates.inc";\ninput float[64] theta;\n'
        "gate mine(x) a, b { ry(x) a; ctrl @ p(x / 2) a, b; gphase(x); }\n"
        "qubit[3] q;\nh q[0];\nmine(theta) q[2], q[0];\nnegctrl @ x q[0], q[1];\ninv @ mine(2 * theta) q[1], q[2];\n"
    )
    imported = from_qasm(path)
    t = qj.Parameter("theta")
    by_hand = qj.Circuit(3).h(0).ry(t, 2).cp(t / 2, 2, 0).global_phase(t).x(0).cx(0, 1).x(0)
    by_hand.global_phase(-2 * t).cp(-t, 1, 2).ry(-2 * t, 1)
    for value in (0.4, -1.1):
        found = reference.unitary(imported.circuit, imported.params([value]))
        np.testing.assert_allclose(found, reference.unitary(by_hand, {"theta": value}), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("qreg q[2];\nh q[0];", ValueError, "must begin with OPENQASM 2.0; or OPENQASM 3.0;"),
        ("OPENQASM 4.0;\nqubit q;", ValueError, "must begin with OPENQASM"),
        ('OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nfoo q[0];\n', ValueError, r"cannot be read: .*4,\d+: 'f"),
        ("OPENQASM 3.0;\nqubit[2] q;\nfoo q[0];\n", ValueError, "cannot be read: .*foo"),
        ("OPENQASM 3.0;\nqubit[2] q;\nrx(0.3 q[0];\n", ValueError, r"it does not parse \(line 3, at 'q'\)"),
        ("OPENQASM 2.0;\nqreg q[20000000];\n", MemoryError, r"A state of 20000000 qubits has 2\*\*20000000 amplitudes"),
        ("OPENQASM 3.0;\nqubit[50] a;\nqubit [12] b; qubit c;\n", MemoryError, "A state of 63 qubits"),
        ("OPENQASM 2.0;\n/* qreg q[99]; */ qreg q[1]; // qreg r[9];\nqreg r[40];\n", MemoryError, "state of 41 qubits"),
        ("OPENQASM 2.0;\nopaque magic a,b;\nqreg q[2];\nmagic q[0],q[1];\n", ValueError, "neither a matrix nor a def"),
    ],
)  # fmt: skip
def test_programs_that_cannot_be_read(text, error, message):
    with pytest.raises(error, match=message):
        from_qasm(text)


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_qasm(tmp_path / "none.qasm")
    with pytest.raises(FileNotFoundError):
        from_qpy(tmp_path / "none.qpy")
    with (tmp_path / "two.qpy").open("wb") as file:
        qpy.dump([QuantumCircuit(1), QuantumCircuit(3)], file)
    assert from_qpy(tmp_path / "two.qpy", 1).circuit.n_qubits == 3
