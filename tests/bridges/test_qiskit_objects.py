"""Qiskit's states, operators and gates where arrays are asked for: refused, and turned as the messages say taken."""

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit", reason="needs the qiskit extra")

from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.circuit.library import CCXGate, CRYGate, YGate
from qiskit.quantum_info import Clifford, DensityMatrix, Operator, Pauli, SparsePauliOp, Statevector

QUBITS = [0, 1, 2]


def circuit_of_theirs():
    made = QuantumCircuit(3)
    made.ry(0.4, 0)
    made.rx(1.1, 1)
    made.cx(0, 2)
    made.crz(0.7, 2, 1)
    made.ry(0.3, 2)
    return made


STATE, MATRIX = Statevector(circuit_of_theirs()), Operator(circuit_of_theirs())
HERMITIAN = SparsePauliOp(["ZIX", "IYI", "XXY"], [0.5, -2.0, 0.3])


class OwnGate(Gate):
    """A gate that knows its matrix alone."""

    def __init__(self):
        super().__init__("own", 2, [])

    def __array__(self, dtype=None, copy=None):
        return np.diag([1, 1, 1j, 1]).astype(dtype or complex)


TURNED = {
    "unitary": (lambda given: qj.Circuit(3).unitary(given, QUBITS), MATRIX, "matrix"),
    "kraus": (lambda given: qj.Circuit(3).kraus([given], QUBITS), MATRIX, "matrices"),
    "initialize": (lambda given: qj.Circuit(3).initialize(given), STATE, "state"),
    "Hermitian": (lambda given: qj.Hermitian(given, QUBITS), Operator(HERMITIAN), "matrix"),
    "Projector": (lambda given: qj.Projector(given, QUBITS), STATE, "state"),
    "pauli_coefficients": (qj.pauli_coefficients, Operator(HERMITIAN), "matrix"),
    "initial": (lambda given: qj.statevector(qj.Circuit(3).h(0))(initial=given), STATE, "initial"),
    "initials": (lambda given: qj.statevector(qj.Circuit(3).h(0))(initial=[given]), STATE, "initial"),
}


@pytest.mark.parametrize("place", TURNED)
def test_states_and_operators_are_no_arrays(place):
    take, given, name = TURNED[place]
    message = rf"`{name}` must be an array whose first qubit .* but is Qiskit's \w+, .* `reverse_qargs\(\).data`"
    with pytest.raises(TypeError, match=message):
        take(given)


@pytest.mark.parametrize(
    "given", [CCXGate(), CRYGate(0.3), OwnGate(), Clifford(CCXGate().base_gate.control(1)), Pauli("XYZ")]
)
def test_gates_and_other_operators_are_none_either(given):
    with pytest.raises(TypeError, match=r"Qiskit's \w+, where it is the least; give `Operator\(it\).reverse_qargs"):
        qj.Circuit(3).unitary(given, range(given.num_qubits))


def test_others_say_what_is_to_be_done():
    with pytest.raises(TypeError, match="is Qiskit's SparsePauliOp, .*, or take it as an observable itself"):
        qj.Hermitian(HERMITIAN, QUBITS)
    with pytest.raises(TypeError, match="`initial` must be an array of amplitudes, but is Qiskit's DensityMatrix"):
        qj.statevector(qj.Circuit(3).h(0))(initial=DensityMatrix(STATE))
    with pytest.raises(TypeError, match="Parameter 'x' must be an array whose first qubit .* Qiskit's Statevector"):
        qj.statevector(qj.Circuit(3).initialize(qj.Parameter("x", (2, 8))))({"x": STATE})
    with pytest.raises(TypeError, match="`observables` must be a PauliSum or several, but is .*ccx"):
        qj.expectation(qj.Circuit(3).h(0), CCXGate())


def test_what_the_messages_say_gives_qiskit_s_numbers():
    want = STATE.expectation_value(HERMITIAN).real
    matrix, state = MATRIX.reverse_qargs().data, STATE.reverse_qargs().data
    observable = qj.Hermitian(Operator(HERMITIAN).reverse_qargs().data, QUBITS)
    for circuit in (
        qj.Circuit(3).unitary(matrix, QUBITS),
        qj.Circuit(3).initialize(state),
        qj.Circuit(3).kraus([matrix], QUBITS),
    ):
        assert abs(qj.expectation(circuit, observable)() - want) < 1e-12
        assert abs(qj.expectation(circuit, HERMITIAN)() - want) < 1e-12
        assert abs(qj.expectation(circuit, qj.Projector(state, QUBITS))() - 1) < 1e-12
    begun = qj.expectation(qj.Circuit(3).z([0, 1, 2]).z([0, 1, 2]), observable)
    assert abs(begun(initial=state) - want) < 1e-12


def test_of_one_qubit_there_is_a_single_order():
    circuit = qj.Circuit(2).initialize(Statevector([0.6, 0.8j]), 1).unitary(YGate(), 1)
    assert abs(qj.expectation(circuit, qj.Hermitian(Operator(Pauli("Z")), 1))() - 0.28) < 1e-12


def test_circuits_are_no_operations():
    for given in (circuit_of_theirs(), [circuit_of_theirs()], circuit_of_theirs().data):
        with pytest.raises(TypeError, match=r"`operations` must hold .* Qiskit's as `qjaxsim_qiskit.from_qiskit\(it\)"):
            qj.Circuit(3).extend(given)
