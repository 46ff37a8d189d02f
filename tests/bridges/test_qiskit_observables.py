"""Observables as Qiskit's operators and back."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import Parameter  # noqa: E402
from qiskit.primitives.containers.observables_array import ObservablesArray  # noqa: E402
from qiskit.quantum_info import Operator, Pauli, PauliList, SparseObservable, SparsePauliOp, Statevector  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qiskit, from_sparse_pauli_op, to_sparse_pauli_op  # noqa: E402
from qjaxsim_qiskit.ordering import reverse_state  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits import reference  # noqa: E402


def test_observables_there_and_back():
    ours = 0.5 * qj.X(0) @ qj.Y(2) - 2 * qj.Z(3) + 1j * qj.Y(1) + 0.25 * qj.I()
    theirs = to_sparse_pauli_op(ours, 4)
    dense = reference.pauli_sum_matrix(ours, 4)
    np.testing.assert_allclose(theirs.to_matrix(), reverse_state(reverse_state(dense, 4).T, 4).T, atol=1e-14)
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
    with pytest.raises(ValueError, match=r"has the projectors \['0'\]; `SparsePauliOp.from_sparse_obs"):
        from_sparse_pauli_op(SparseObservable("X0Y"))
    with pytest.raises(ValueError, match="must have numbers as coefficients, but one is a; bind its parameters"):
        from_sparse_pauli_op(SparsePauliOp(["XYZ"], np.array([Parameter("a")], dtype=object)))


def test_operators_are_taken_as_they_are_with_qubit_q_as_qubit_q():
    """As Qiskit's own statevector gives their values, and in every place that takes observables."""
    theirs = QuantumCircuit(3)
    theirs.ry(0.4, 0)
    theirs.rx(1.1, 1)
    theirs.cx(0, 2)
    theirs.ry(0.3, 2)
    operators = [
        SparsePauliOp(["ZIX", "IYI", "XXY"], [0.5, -2.0, 0.3]),
        Pauli("-XYZ"),
        SparseObservable("XIY"),
    ]
    state = Statevector(theirs)
    want = [state.expectation_value(each).real for each in [*operators[:2], SparsePauliOp("XIY")]]
    circuit = from_qiskit(theirs).circuit
    values = qj.expectation(circuit, [*operators, qj.Z(0) - 1])()
    np.testing.assert_allclose(values[:3], want, atol=1e-12)
    alone = qj.expectation(circuit, operators[0])()
    assert alone.shape == ()
    np.testing.assert_allclose(alone, want[0], atol=1e-12)
    assert crosscheck(theirs, observables=operators[0]).agrees
    with pytest.raises(ValueError, match="Observable 0 must have the circuit's 2 qubits, but has 3"):
        qj.expectation(qj.Circuit(2), operators)
    with pytest.raises(ValueError, match=r"5 qubits, but has 3; `apply_layout\(None, 5\)` puts it on the first"):
        qj.expectation(qj.Circuit(5), operators)
    wider = qj.Circuit(5).ry(0.4, 0).rx(1.1, 1).cx(0, 2).ry(0.3, 2)
    np.testing.assert_allclose(qj.expectation(wider, operators[0].apply_layout(None, 5))(), want[0], atol=1e-12)
    with pytest.raises(ValueError, match="Observable 0 must have real coefficients"):
        qj.expectation(qj.Circuit(1), SparsePauliOp("X", 1j))


def test_qiskits_lists_and_arrays_of_operators_are_several_or_one():
    circuit = qj.Circuit(3).ry(0.4, 0).rx(1.1, 1).cx(0, 2)
    ours = [qj.Z(0), -1 * qj.Y(1) @ qj.X(2), 0.5 * qj.Z(2) + qj.X(1) @ qj.X(2)]
    want = np.array([float(qj.expectation(circuit, each)()) for each in ours])
    np.testing.assert_allclose(qj.expectation(circuit, PauliList(["IIZ", "-XYI"]))(), want[:2], atol=1e-12)
    several = ObservablesArray([{"IIZ": 1}, {"XYI": -1}, {"ZII": 0.5, "XXI": 1}])
    np.testing.assert_allclose(qj.expectation(circuit, several)(), want, atol=1e-12)
    np.testing.assert_allclose(qj.variance(circuit, several[:1])(), [1 - want[0] ** 2], atol=1e-12)
    alone = qj.expectation(circuit, ObservablesArray({"ZII": 0.5, "XXI": 1}))()
    assert alone.shape == ()
    np.testing.assert_allclose(alone, want[2], atol=1e-12)
    assert qj.expectation(circuit, PauliList(["IIZ"]))().shape == (1,)
    with pytest.raises(ValueError, match=r"has the projectors \['0'\]"):
        qj.expectation(circuit, ObservablesArray([{"II0": 1}]))


def test_other_values_of_qiskits_name_the_way_to_paulis():
    circuit = qj.Circuit(3)
    with pytest.raises(
        TypeError, match=r"Argument `observables` .* \(ObservablesArray\); `ravel\(\)` gives it one axis"
    ):
        qj.expectation(circuit, ObservablesArray([[{"IIZ": 1}, {"IZI": 1}]]))
    dense = Operator(Pauli("IIZ"))
    way = "; `SparsePauliOp.from_operator` writes a matrix as a sum of Paulis"
    with pytest.raises(TypeError, match=rf"\(Operator\){way}"):
        qj.expectation(circuit, dense)
    with pytest.raises(TypeError, match=f"Observable 1 must be a PauliSum, but is Operator{way}"):
        qj.expectation(circuit, [qj.Z(0), dense])
