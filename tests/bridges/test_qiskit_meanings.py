"""What Qiskit leaves open: gates with two meanings, instructions of simulators, static control flow."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
    pytest.importorskip("qiskit_aer", reason="needs the qiskit extra")
import qiskit_aer  # noqa: E402, F401 (adds instructions to circuits)
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import Gate, Instruction, Parameter  # noqa: E402
from qiskit.circuit.classical import expr, types  # noqa: E402
from qiskit.quantum_info import Operator, SparsePauliOp, Statevector, random_statevector, random_unitary  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qiskit, to_qiskit  # noqa: E402
from qjaxsim_qiskit.meaning import unrolling  # noqa: E402

import qjaxsim as qj  # noqa: E402
from tests.cases import mostly_slow
from tests.qiskit_cases import matrix, state  # noqa: E402

# --- matrix and definition ---------------------------------------------------------------------------------------


class Lying(Gate):
    """Of which the matrix is one thing and the definition another."""

    def __init__(self, n: int):
        super().__init__("lying", n, [])

    def __array__(self, dtype=None, copy=None):
        return np.eye(2**self.num_qubits, dtype=dtype)

    def _define(self):
        self.definition = QuantumCircuit(self.num_qubits)
        self.definition.ry(0.7, self.num_qubits - 1)


class MatrixAlone(Gate):
    """Without a definition."""

    def __init__(self, dense):
        super().__init__("dense", len(dense).bit_length() - 1, [])
        self.dense = dense

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.dense, dtype)


@pytest.mark.parametrize("n", [2, 6, 7])
def test_the_definition_counts_at_every_width(n):
    circuit = QuantumCircuit(n)
    circuit.append(Lying(n), range(n))
    assert from_qiskit(circuit).circuit == qj.Circuit(n).ry(0.7, n - 1)
    if n == 2:
        assert crosscheck(circuit).agrees


@pytest.mark.parametrize("n", mostly_slow([2, 7], keep=1))
def test_gates_with_a_matrix_alone(n):
    circuit = QuantumCircuit(n + 1)
    circuit.h(range(n + 1))
    circuit.append(MatrixAlone(random_unitary(2**n, seed=n).data), [n, *range(1, n)])
    np.testing.assert_allclose(state(from_qiskit(circuit)), Statevector(circuit).data, atol=1e-10)
    if n == 2:
        assert crosscheck(circuit).agrees
    wrong = QuantumCircuit(n)
    wrong.append(MatrixAlone(np.ones((2**n, 2**n))), range(n))
    with pytest.raises(ValueError, match=r"operation 0 \(dense\) must have a unitary matrix of"):
        from_qiskit(wrong)


# --- instructions of simulators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["set_unitary", "set_density_matrix", "set_stabilizer"])
@pytest.mark.parametrize("inside", [False, True])
def test_instructions_that_set_a_state_are_refused(kind, inside):
    start = QuantumCircuit(2)
    start.h(0)
    value = Operator(start)
    if kind == "set_density_matrix":
        from qiskit.quantum_info import DensityMatrix

        value = DensityMatrix(start)
    elif kind == "set_stabilizer":
        from qiskit.quantum_info import StabilizerState

        value = StabilizerState(start)
    circuit = QuantumCircuit(2)
    getattr(circuit, kind)(value)
    if inside:
        outer = QuantumCircuit(2)
        outer.append(circuit.to_instruction(), [0, 1])
        circuit = outer
    circuit.cx(0, 1)
    place = "0.0" if inside else "0"
    for work in (from_qiskit, crosscheck):
        with pytest.raises(
            ValueError, match=rf"operation {place} \({kind}\) is an instruction to a simulator that may"
        ):
            work(circuit)


@pytest.mark.parametrize("inside", [False, True])
def test_states_that_are_set_first_are_where_the_circuit_begins(inside):
    start = random_statevector(8, seed=3)
    circuit = QuantumCircuit(3)
    circuit.set_statevector(start)
    if inside:
        outer = QuantumCircuit(3)
        outer.append(circuit.to_instruction(), [0, 1, 2])
        circuit = outer
    circuit.cx(0, 1)
    circuit.t(2)
    after = QuantumCircuit(3)
    after.cx(0, 1)
    after.t(2)
    np.testing.assert_allclose(state(from_qiskit(circuit)), start.evolve(after).data, atol=1e-12)
    late = QuantumCircuit(2)
    late.h(0)
    late.set_statevector(Statevector([0, 0, 0, 1]))
    with pytest.raises(ValueError, match=r"operation 1 \(set_statevector\) sets the state of qubits that are in use"):
        from_qiskit(late)


@pytest.mark.parametrize("how", ["initialize", "prepare_state"])
def test_amplitudes_labels_and_numbers_that_qubits_begin_in(how):
    amplitudes = random_statevector(8, seed=1)
    for given, qubits in ((amplitudes, [2, 0, 3]), ("+l1", [3, 1, 0]), (5, [0, 2, 3])):
        circuit = QuantumCircuit(4)
        circuit.h(({0, 1, 2, 3} - set(qubits)).pop())
        getattr(circuit, how)(given, qubits)
        circuit.cx(0, 3)
        plain = QuantumCircuit(4)
        plain.h(({0, 1, 2, 3} - set(qubits)).pop())
        plain.prepare_state(given, qubits)
        plain.cx(0, 3)
        np.testing.assert_allclose(state(from_qiskit(circuit)), Statevector(plain).data, atol=1e-12)


def test_states_of_numbers_go_to_qiskit_and_back():
    psi = np.array([0.6, 0, 0, 0.8j])
    own = qj.Circuit(3).h(1).initialize(psi, (2, 0)).cx(0, 1)
    other = to_qiskit(own)
    np.testing.assert_allclose(Statevector(other.decompose(reps=6)).data, state(from_qiskit(other)), atol=1e-12)
    assert crosscheck(own, gradients=False).agrees
    with pytest.raises(ValueError, match="operation 0 prepares that of parameter 'x'; initialize with an array"):
        to_qiskit(qj.Circuit(1).initialize(qj.Parameter("x", (2,))))


def test_unknown_directives_are_not_skipped():
    class Odd(Instruction):
        _directive = True

        def __init__(self):
            super().__init__("odd", 1, 0, [])

    circuit = QuantumCircuit(2)
    circuit.append(Odd(), [1])
    with pytest.raises(ValueError, match=r"operation 0 \(odd\) is an instruction to a simulator"):
        from_qiskit(circuit)
    with circuit.box():
        circuit.add_var("flag", True)
    del circuit.data[0]
    with pytest.raises(ValueError, match=r"operation 0\.0 \(store\) stores a classical value"):
        from_qiskit(circuit)


def test_instructions_that_save_something_are_left_out():
    circuit = QuantumCircuit(3, 1)
    circuit.h(0)
    circuit.save_statevector()
    circuit.cx(0, 2)
    circuit.save_expectation_value(SparsePauliOp("ZZ"), [0, 1], "value")
    circuit.measure(0, 0)
    circuit.save_probabilities()
    imported = from_qiskit(circuit)
    assert imported.circuit == qj.Circuit(3).h(0).cx(0, 2)
    assert imported.source.count_ops() == {"h": 1, "cx": 1} and len(imported.measurements) == 1
    assert crosscheck(circuit).agrees


# --- final measurements ------------------------------------------------------------------------------------------


def test_measurements_are_final_across_barriers_delays_and_saving():
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.measure(0, 2)
    circuit.barrier()
    circuit.delay(100, 0)
    circuit.ry(0.3, 1)
    circuit.save_statevector()
    circuit.measure(1, 0)
    circuit.barrier(0, 1)
    circuit.measure(2, 1)
    found = [(m.qubit, m.register, m.index) for m in from_qiskit(circuit).measurements]
    assert found == [(1, "c", 0), (2, "c", 1), (0, "c", 2)]
    assert crosscheck(circuit).agrees


def test_sub_circuits_may_end_in_measurements():
    inner = QuantumCircuit(2, 2, name="pair", global_phase=0.3)
    inner.h(0)
    inner.cx(0, 1)
    inner.measure([0, 1], [1, 0])
    circuit = QuantumCircuit(3, 3)
    circuit.append(inner.to_instruction(), [2, 0], [0, 2])
    circuit.ry(0.2, 1)
    imported = from_qiskit(circuit)
    assert [(m.qubit, m.clbit) for m in imported.measurements] == [(0, 0), (2, 2)]
    assert imported.circuit == qj.Circuit(3).h(2).cx(2, 0).ry(0.2, 1).global_phase(0.3)
    assert crosscheck(circuit).agrees


# --- static control flow -----------------------------------------------------------------------------------------


def test_boxes_loops_and_branches_on_constants_are_written_out():
    a = Parameter("a")
    circuit = QuantumCircuit(3, global_phase=0.1)
    with circuit.box():
        circuit.h(0)
        with circuit.for_loop(range(1, 6, 2)) as i:
            circuit.rx(i * a, 1)
            with circuit.if_test(expr.lift(False)):
                circuit.continue_loop()
            circuit.cx(1, 2)
    body = QuantumCircuit(1)
    step = body.add_input("step", types.Uint(4))
    with body.if_test(expr.greater_equal(expr.bit_and(step, 6), 4)):
        body.ry(0.2, 0)
    body.z(0)
    circuit.for_loop(range(2, 5), step, body, [2], [])
    with circuit.for_loop(range(9)):
        circuit.y(0)
        with circuit.if_test(expr.lift(True)):
            circuit.break_loop()
        circuit.x(0)
    with circuit.if_test(expr.less(expr.lift(3, types.Uint(8)), 5)) as otherwise:
        circuit.s(0)
    with otherwise:
        circuit.x(0)
    with circuit.switch(expr.lift(6)) as case:
        with case(1, 2):
            circuit.x(2)
        with case(case.DEFAULT):
            circuit.t(2)
    with circuit.while_loop(expr.lift(False)):
        circuit.x(1)
    by_hand = QuantumCircuit(3, global_phase=0.1)
    by_hand.h(0)
    for i in (1, 3, 5):
        by_hand.rx(0.4 * i, 1)
        by_hand.cx(1, 2)
    by_hand.z(2)
    by_hand.z(2)
    by_hand.ry(0.2, 2)
    by_hand.z(2)
    by_hand.y(0)
    by_hand.s(0)
    by_hand.t(2)
    imported = from_qiskit(circuit)
    np.testing.assert_allclose(matrix(imported.circuit, imported.params([0.4])), Operator(by_hand).data, atol=1e-12)
    assert crosscheck(circuit).agrees


def test_global_phases_of_loops_count_every_turn():
    circuit = QuantumCircuit(2)
    body = QuantumCircuit(1, global_phase=0.25)
    body.h(0)
    circuit.for_loop([0, 1, 2], None, body, [1], [])
    assert from_qiskit(circuit).circuit == qj.Circuit(2).h(1).h(1).h(1).global_phase(0.75)


@pytest.mark.parametrize(
    ("left", "operation", "right", "wanted"),
    [
        (5, expr.add, 12, 1), (5, expr.sub, 6, 15), (7, expr.mul, 3, 5), (14, expr.div, 4, 3), (6, expr.bit_xor, 3, 5),
        (6, expr.bit_or, 1, 7), (5, expr.shift_left, 2, 4), (12, expr.shift_right, 2, 3),
    ],
)  # fmt: skip
def test_constants_wrap_as_their_types_do(left, operation, right, wanted):
    uint = types.Uint(4)
    circuit = QuantumCircuit(1)
    value = operation(expr.lift(left, uint), expr.lift(right, uint))
    with circuit.if_test(expr.equal(value, expr.lift(wanted, uint))):
        circuit.h(0)
    with circuit.if_test(expr.equal(expr.bit_not(value), expr.lift(15 - wanted, uint))):
        circuit.x(0)
    with circuit.if_test(expr.logic_not(expr.index(value, 0))):
        circuit.y(0)
    expected = qj.Circuit(1).h(0).x(0)
    assert from_qiskit(circuit).circuit == (expected if wanted % 2 else expected.y(0))


def test_loops_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(unrolling, "MOST_OPERATIONS", 100)
    circuit = QuantumCircuit(1)
    with circuit.while_loop(expr.lift(True)):
        circuit.x(0)
    with pytest.raises(ValueError, match=r"0 \(while_loop\) is a loop that writes out more than 100 operations"):
        from_qiskit(circuit)
