"""Gates under several controls: few of ours, the operators of Qiskit's, and noise that finds the same on both sides."""

import os

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import QuantumCircuit  # noqa: E402
from qiskit.circuit import AnnotatedOperation, ControlledGate, ControlModifier, InverseModifier, Parameter  # noqa: E402
from qiskit.circuit.library import (  # noqa: E402
    HGate,
    MCPhaseGate,
    MCXGate,
    RXGate,
    RYGate,
    RZGate,
    SwapGate,
    UGate,
    XGate,
    YGate,
    ZGate,
)
from qjaxsim_qiskit import crosscheck, from_qiskit, to_qiskit  # noqa: E402

import qjaxsim as qj  # noqa: E402
from tests.qiskit_cases import assert_imported_alike, matrix  # noqa: E402

T = Parameter("t")
BASES = [XGate(), YGate(), ZGate(), HGate(), SwapGate(), RXGate(T), RYGate(2 * T), RZGate(0.7), UGate(T, 0.4, T / 3)]


def under_controls(operation) -> QuantumCircuit:
    """An operation on shuffled qubits, which gates before and one behind tell apart."""
    out = QuantumCircuit(operation.num_qubits, global_phase=0.2)
    qubits = np.random.default_rng(operation.num_qubits).permutation(operation.num_qubits).tolist()
    for qubit in qubits:
        out.ry(0.3 + 0.4 * qubit, qubit)
    out.append(operation, qubits)
    out.cx(qubits[0], qubits[-1])
    return out


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.name)
def test_standard_gates_under_controls_are_a_few_gates_and_qiskits_operator(base):
    for n_controls, pattern, annotated in ((2, 2, False), (3, 5, True), (4, 15, False), (1, 0, True), (5, 20, False)):
        gate = base.control(n_controls, ctrl_state=pattern, annotated=annotated)
        circuit = under_controls(gate)
        assert_imported_alike(circuit, pattern)
        # Qiskit's definitions under five controls have from 43 to 246 gates.
        assert len(from_qiskit(circuit).circuit) <= 14 + 2 * gate.num_qubits
    assert_imported_alike(to_qiskit(from_qiskit(circuit).circuit), 3)


@pytest.mark.parametrize("base", [XGate(), RYGate(T), SwapGate()], ids=lambda base: base.name)
def test_controls_of_controls(base):
    gate = AnnotatedOperation(base, [ControlModifier(2, ctrl_state=1), ControlModifier(1, ctrl_state=0)])
    circuit = under_controls(gate)
    assert_imported_alike(circuit)
    assert len(from_qiskit(circuit).circuit) <= 14 + 2 * gate.num_qubits
    inverse = under_controls(AnnotatedOperation(base, [ControlModifier(2, ctrl_state=1), InverseModifier()]))
    assert_imported_alike(inverse)


def test_wide_searches_are_read_and_run_as_they_are_written():
    n, rounds, marked = 9, 4, 0b101100110
    circuit = QuantumCircuit(n)
    circuit.h(range(n))
    for _ in range(rounds):
        circuit.h(n - 1)
        circuit.append(
            MCXGate(n - 1, ctrl_state=marked & (2 ** (n - 1) - 1)), range(n)
        )  # the last bit of `marked` is 1
        circuit.h(n - 1)
        circuit.h(range(n))
        circuit.x(range(n))
        circuit.h(n - 1)
        circuit.mcx(list(range(n - 1)), n - 1)
        circuit.h(n - 1)
        circuit.x(range(n))
        circuit.h(range(n))
    ours = from_qiskit(circuit).circuit
    assert ours.count_ops()["mcp8"] == 2 * rounds and len(ours) < 70 * rounds
    # Grover's angle: sin((2 k + 1) arcsin(2**(-n / 2)))**2.
    wanted = np.sin((2 * rounds + 1) * np.arcsin(2 ** (-n / 2))) ** 2
    order = int(f"{marked:0{n}b}"[::-1], 2)  # our first qubit is the most significant bit
    np.testing.assert_allclose(qj.probabilities(ours)()[order], wanted, atol=1e-5)


def test_a_definition_of_ones_own_counts_whatever_the_base():
    own = QuantumCircuit(4)
    own.ry(0.3, 3)
    own.ccx(0, 1, 2)
    gate = ControlledGate("c3ry", 4, [0.3], num_ctrl_qubits=3, definition=own, base_gate=RYGate(0.3))
    circuit = QuantumCircuit(4)
    circuit.append(gate, [2, 0, 1, 3])
    plain = QuantumCircuit(4)
    plain.compose(own, [2, 0, 1, 3], inplace=True)
    wanted = matrix(from_qiskit(plain).circuit)
    np.testing.assert_allclose(matrix(from_qiskit(circuit).circuit), wanted, atol=1e-10)


@pytest.mark.parametrize("noisy", ["h", "cp", "s", "x"])
def test_noise_finds_the_same_gates_here_and_at_aer(noisy):
    pytest.importorskip("qiskit_aer", reason="compares with Aer")
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    circuit = QuantumCircuit(5)
    circuit.h(range(5))
    gates = [MCXGate(3), MCXGate(4, ctrl_state=5), MCPhaseGate(T, 1), MCPhaseGate(0.3, 2, ctrl_state=2)]
    gates += [each.control(2, annotated=False) for each in (RXGate(T), UGate(T, 0.2, 0.1), ZGate())]
    gates += [RYGate(T).control(3, ctrl_state=1, annotated=True)]
    for number, gate in enumerate(gates):
        circuit.append(gate, np.random.default_rng(number).permutation(5)[: gate.num_qubits].tolist())
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2 if noisy == "cp" else 1), noisy)
    report = crosscheck(circuit, [0.7], noise=model)
    assert report.agrees, report
