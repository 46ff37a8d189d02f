"""Our circuits as Qiskit's: operators with their phase, names, orders, round trips."""

import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import Parameter, ParameterVector  # noqa: E402
from qiskit.circuit.library import MCPhaseGate  # noqa: E402
from qiskit.quantum_info import Operator, Statevector  # noqa: E402
from qjaxsim_qiskit import assignment, from_qiskit, to_qasm, to_qiskit  # noqa: E402
from qjaxsim_qiskit.ordering import matrix_qubits, reverse_matrix, reverse_state  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402
from qjaxsim.circuits.gates import GATES  # noqa: E402
from tests.qiskit_cases import circuit_of_everything, params_of, reversed_matrix  # noqa: E402


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


@pytest.mark.parametrize("name", sorted(set(GATES) - {"delay", "delay_dt"}))
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
    with pytest.raises(ValueError, match="Parameter 't' must be finite, but holds NaN or infinity"):
        assignment(circuit, {"x": values, "t": [1.0, np.nan]})
    with pytest.raises(TypeError, match="Parameter 'x' must be real, but is complex"):
        assignment(circuit, {"x": 1j * values, "t": 0})


def test_values_are_put_in_and_others_stay_open():
    circuit = circuit_of_everything()
    params = params_of(circuit)
    put, *left = sorted(params)
    exported = to_qiskit(circuit, {put: params[put]})
    assert {str(p).partition("[")[0] for p in exported.parameters} == set(left)
    bound = exported.assign_parameters(assignment(exported, {name: params[name] for name in left}))
    np.testing.assert_allclose(Operator(bound).data, reversed_matrix(reference.unitary(circuit, params)), atol=1e-12)
    assert to_qiskit(circuit, params).num_parameters == 0


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"v": 1.0}, ValueError, r"`params` must have keys among \['w'\], but has 'v'"),
        ({"w": [0.1, 0.2]}, ValueError, r"Parameter 'w' must have shape \(3,\), but has \(2,\)"),
        ({"w": np.ones((5, 3))}, ValueError, r"Parameter 'w' must have shape \(3,\), but has \(5, 3\)"),
        ({"w": [0.1, 0.2, np.nan]}, ValueError, "Parameter 'w' must be finite"),
        ({"w": [0.1, 0.2, 1j]}, TypeError, "Parameter 'w' must be real"),
    ],
)
def test_values_that_cannot_be_put_in(params, error, message):
    with pytest.raises(error, match=message):
        to_qiskit(qj.Circuit(1).ry(qj.Parameter("w", (3,))[1], 0), params)


def test_powers_of_numbers_are_read_back():
    a = qj.Parameter("a")
    circuit = qj.Circuit(1).ry(0.5 ** (2.4 * a), 0).rx(a ** (3**a) - 2**a, 0)
    params = {"a": np.array(0.7)}
    exported = to_qiskit(circuit)
    assert_same(circuit, exported, params)
    back = from_qiskit(exported).circuit
    np.testing.assert_allclose(reference.unitary(back, params), reference.unitary(circuit, params), atol=1e-12)


def test_delays_keep_their_durations_and_units():
    t = qj.Parameter("t", (2,))
    circuit = qj.Circuit(3).delay(1e-6 * t[1], 1).delay(2e-7, 0).delay_dt(160.0, 2).delay_dt(t[0], 0).rx(0.2, 2)
    exported = to_qiskit(circuit)
    bound = exported.assign_parameters(assignment(exported, {"t": np.array([80.0, 3.0])}))
    delays = [item for item in bound.data if item.name == "delay"]
    found = [(float(item.operation.duration), item.operation.unit) for item in delays]
    assert found == [(pytest.approx(3e-6), "s"), (2e-7, "s"), (160, "dt"), (80, "dt")]
    assert from_qiskit(exported).circuit == circuit


def test_refusals():
    with pytest.raises(ValueError, match="free of projections to be exported, but operation 1.0 projects qubit 2 on 1"):
        to_qiskit(qj.Circuit(3).h(0).repeat(qj.Circuit(3).project(2, 1), 2))
    with pytest.raises(ValueError, match="Argument `layers` must be one of 'unroll', 'subcircuit', but is 'loops'"):
        to_qiskit(qj.Circuit(3), layers="loops")
    w, other = qj.Parameter("w", (2, 2)), qj.Parameter("w[2]")
    for circuit in (qj.Circuit(3).rx(w[1, 0], 0).ry(other, 2), qj.Circuit(3).rx(w[1, 0] + other, 0)):
        with pytest.raises(ValueError, match=r"different names in Qiskit, .* but 'w\[2\]' is such an element and"):
            to_qiskit(circuit)
    assert to_qiskit(qj.Circuit(3).rx(w[0, 1], 0).ry(other, 2)).num_parameters == 2


def test_order_of_bits():
    values = np.arange(2 * 8).reshape(2, 8)
    np.testing.assert_array_equal(reverse_state(values, 3)[0], [0, 4, 2, 6, 1, 5, 3, 7])
    np.testing.assert_array_equal(reverse_state(reverse_state(values, 3), 3), values)
    assert matrix_qubits([3, 0, 1]) == (1, 0, 3)
    on_two = np.kron(np.array([[0, 1], [1, 0]]), np.eye(2))  # X on the most significant of two bits
    np.testing.assert_array_equal(reverse_matrix(on_two), np.kron(np.eye(2), np.array([[0, 1], [1, 0]])))


def test_matrices_of_single_precision_become_the_nearest_unitary():
    exact = np.linalg.qr(np.random.default_rng(2).normal(size=(4, 4, 2)) @ [1, 1j])[0]
    single = qj.Circuit(3).h(1).unitary(exact.astype(np.complex64), (2, 0), "mine")
    exported = to_qiskit(single)
    assert exported.data[1].label == "mine"
    found = Operator(exported).data
    np.testing.assert_allclose(found @ found.conj().T, np.eye(8), atol=1e-14)
    np.testing.assert_allclose(found, reversed_matrix(reference.unitary(single)), atol=2e-7)
    assert "mine" not in to_qasm(single)
    double = qj.Circuit(3).unitary(exact, (2, 0), "mine")
    assert from_qiskit(to_qiskit(double)).circuit == double


@pytest.mark.parametrize("metadata", [{"qjaxsim": "mine"}, {"qjaxsim": {"shapes": {"x": [-2, -2], "y": 3}}}, None])
def test_metadata_of_others_is_left_alone(metadata):
    circuit = QuantumCircuit(3, metadata=metadata)
    circuit.rx(ParameterVector("x", 4)[2], 1)
    assert from_qiskit(circuit).circuit.parameters == {"x": (4,)}


# --- the package -------------------------------------------------------------------------------------------------


def test_without_qiskit_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("qjaxsim_qiskit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "qiskit", None)
    with pytest.raises(
        ImportError,
        match=r'^Qiskit.s circuits need the package qiskit; install it with: pip install -e "\.\[qiskit\]" in a clone',
    ):
        importlib.import_module("qjaxsim_qiskit")


def test_slow_packages_are_imported_where_they_are_used():
    code = "import sys, qjaxsim_qiskit; print({'qiskit_ibm_runtime', 'qiskit_aer', 'sympy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_many_controls_there_and_back():
    """As Qiskit's phase with controls, open ones too."""
    t = qj.Parameter("t")
    circuit = qj.Circuit(4).h(range(4)).mcp(2 * t, [3, 0, 1], 2).mcrx(0.3, [0, 2], 1).mcx([2, 1, 0], 3)
    theirs = to_qiskit(circuit)
    assert theirs.count_ops()["mcphase"] == 3
    values = {"t": np.float64(0.7)}
    bound = theirs.assign_parameters([0.7])
    np.testing.assert_allclose(reverse_state(Statevector(bound).data, 4), qj.statevector(circuit)(values), atol=1e-12)
    again = from_qiskit(bound).circuit
    assert again.count_ops()["mcp3"] == 2
    np.testing.assert_allclose(qj.statevector(again)(), qj.statevector(circuit)(values), atol=1e-12)
    opened = QuantumCircuit(3)
    opened.h([0, 1, 2])
    opened.append(MCPhaseGate(0.4, 2, ctrl_state=1), [2, 0, 1])
    state = qj.statevector(from_qiskit(opened).circuit)()
    np.testing.assert_allclose(state, reverse_state(Statevector(opened).data, 3), atol=1e-12)
