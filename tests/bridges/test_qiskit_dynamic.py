"""Qiskit's measurements on the way, resets and branches: against Aer's counts and Qiskit's states by branch."""

import numpy as np
import pytest

import qjaxsim as qj

pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import Clbit, Parameter
from qiskit.circuit.classical import expr
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qjaxsim_qiskit import crosscheck, from_qasm, from_qiskit, to_qiskit

from tests.cases import mostly_slow


def teleported(theta=0.9):
    a, b = ClassicalRegister(1, "a"), ClassicalRegister(1, "b")
    circuit = QuantumCircuit(QuantumRegister(3), a, b)
    circuit.ry(theta, 0)
    circuit.rz(0.7, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((b, 1)):
        circuit.x(2)
    with circuit.if_test((a, 1)):
        circuit.z(2)
    return circuit


def test_teleportation_with_a_free_angle():
    theta = Parameter("theta")
    found = from_qiskit(teleported(theta))
    values = qj.expectation(found.circuit, [qj.X(2), qj.Y(2), qj.Z(2)])(found.params([0.9]))
    exact = [np.sin(0.9) * np.cos(0.7), np.sin(0.9) * np.sin(0.7), np.cos(0.9)]
    np.testing.assert_allclose(values, exact, atol=1e-12)
    assert crosscheck(teleported(theta)).agrees


def test_teleportation_after_the_transpiler_whose_branches_have_phases():
    transpiled = transpile(teleported(), basis_gates=["rz", "sx", "x", "cx"], optimization_level=1)
    assert any(item.operation.blocks[0].global_phase for item in transpiled.data if item.name == "if_else")
    values = qj.expectation(from_qiskit(transpiled).circuit, [qj.X(2), qj.Y(2), qj.Z(2)])()
    exact = [np.sin(0.9) * np.cos(0.7), np.sin(0.9) * np.sin(0.7), np.cos(0.9)]
    np.testing.assert_allclose(values, exact, atol=1e-12)


def expressions_in_branches():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3, 3)
    circuit.ry(a, 0)
    circuit.measure(0, 0)
    with circuit.if_test((0, 1)) as otherwise:
        circuit.rx(a * b, 1)
        circuit.crx(b * b, 1, 2)
    with otherwise:
        circuit.ry(b.log(), 2)
    circuit.measure([1, 2], [1, 2])
    return circuit


def test_expressions_of_parameters_in_branches_are_checked_against_aer():
    found = from_qiskit(expressions_in_branches())
    values = qj.probabilities(found.circuit)(found.params([0.9, 0.7]))
    one = np.sin(0.45) ** 2  # what is measured, and then what each branch turns
    flipped, followed = np.sin(0.9 * 0.7 / 2) ** 2, np.sin(0.7 * 0.7 / 2) ** 2
    other = np.sin(np.log(0.7) / 2) ** 2
    zero = [(1 - one) * (1 - other), (1 - one) * other, 0, 0]
    exact = [*zero, one * (1 - flipped), 0, one * flipped * (1 - followed), one * flipped * followed]
    np.testing.assert_allclose(values, exact, atol=1e-12)
    assert crosscheck(expressions_in_branches(), [0.9, 0.7], shots=2000).agrees


@pytest.mark.parametrize("noise", [None, "fake_manila"])
def test_angles_in_branches_must_be_real(noise):
    with pytest.raises(ValueError, match=r"must be finite real numbers, but .*log\(b\) is none at b = -0.7"):
        crosscheck(expressions_in_branches(), [0.9, -0.7], noise=noise)


def phase_estimation(phase=5 / 8, n_bits=3):
    """Iterative: one qubit is measured and reset again and again, the lowest bit first."""
    circuit = QuantumCircuit(2, n_bits)
    circuit.x(1)
    for k in range(n_bits):
        circuit.reset(0)
        circuit.h(0)
        circuit.cp(2 * np.pi * phase * 2 ** (n_bits - 1 - k), 0, 1)
        for j in range(k):
            with circuit.if_test((circuit.clbits[j], 1)):
                circuit.p(-np.pi / 2 ** (k - j), 0)
        circuit.h(0)
        circuit.measure(0, k)
    return circuit


def test_iterative_phase_estimation():
    found = from_qiskit(phase_estimation())
    last = found.measurements[0]
    read = found.circuit.copy().measure(last.qubit, last.clbit)
    probabilities = qj.probabilities(read, bits=[2, 1, 0])()
    np.testing.assert_allclose(probabilities, np.eye(8)[5], atol=1e-12)


def repeat_until_success(turns=3):
    """cos(t) X-like rotation by an ancilla that must read 0; each failure is undone and tried again."""
    circuit = QuantumCircuit(2, turns)
    circuit.ry(0.7, 1)
    for k in range(turns):
        circuit.reset(0)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.ry(0.3, 0)
        circuit.measure(0, k)
        with circuit.if_test((circuit.clbits[k], 1)):
            circuit.z(1)
    return circuit


def repetition_code():
    """A flipped bit of three is found by two parities and put right."""
    circuit = QuantumCircuit(5, 2)
    circuit.ry(1.1, 0)
    circuit.cx(0, [1, 2])
    circuit.rx(0.5, 1)
    circuit.cx([0, 1, 1, 2], [3, 3, 4, 4])
    circuit.measure([3, 4], [0, 1])
    syndrome = expr.bit_and(circuit.cregs[0], 3)
    for value, qubit in ((1, 0), (3, 1), (2, 2)):
        with circuit.if_test(expr.equal(syndrome, value)):
            circuit.x(qubit)
    circuit.reset([3, 4])
    return circuit


def test_a_round_of_error_correction_puts_the_code_word_right():
    circuit = repetition_code()
    found = from_qiskit(circuit).circuit
    ideal = qj.Circuit(5).ry(1.1, 0).cx(0, 1).cx(0, 2)
    np.testing.assert_allclose(qj.density_matrix(found)(), qj.density_matrix(ideal)(), atol=1e-12)
    syndromes = qj.probabilities(found, bits=[0, 1])()
    np.testing.assert_allclose(syndromes, [np.cos(0.25) ** 2, 0, 0, np.sin(0.25) ** 2], atol=1e-12)


def switched():
    circuit = QuantumCircuit(QuantumRegister(3), ClassicalRegister(2, "c"), ClassicalRegister(1, "out"))
    circuit.h([0, 1])
    circuit.measure([0, 1], circuit.cregs[0])
    with circuit.switch(circuit.cregs[0]) as case:
        with case(0):
            circuit.ry(0.2, 2)
        with case(1, 2):
            circuit.ry(0.9, 2)
        with case(case.DEFAULT):
            circuit.x(2)
            circuit.reset(0)
    with circuit.if_test(expr.logic_and(circuit.clbits[0], expr.logic_not(circuit.clbits[1]))) as otherwise:
        circuit.x(2)
    with otherwise:
        circuit.h(1)
    circuit.measure(2, 2)
    return circuit


@pytest.mark.parametrize("build", mostly_slow([phase_estimation, switched, teleported, repeat_until_success], keep=2))
def test_counts_of_aer_follow_our_probabilities(build):
    found = crosscheck(build(), shots=20_000)
    assert [check.measure for check in found.checks] == ["p-value"]
    assert found.agrees


def test_numbers_as_truth_values():
    number = ClassicalRegister(2, "number")
    circuit = QuantumCircuit(QuantumRegister(3), number)
    circuit.ry(0.9, 0)
    circuit.ry(1.3, 1)
    circuit.measure([0, 1], number)
    with circuit.if_test((number[0], 0)), circuit.if_test(expr.logic_not(number)):
        circuit.ry(0.4, 2)
    with circuit.if_test(expr.logic_or(number, number[1])):
        circuit.ry(0.7, 2)
    zero = np.cos(0.45) ** 2 * np.cos(0.65) ** 2
    exact = zero * np.sin(0.2) ** 2 + (1 - zero) * np.sin(0.35) ** 2
    np.testing.assert_allclose(qj.probabilities(from_qiskit(circuit).circuit, [2])()[1], exact, atol=1e-12)
    assert crosscheck(circuit, shots=20_000).agrees


def test_a_wrong_branch_is_found(monkeypatch):
    right = qj.Circuit.if_bits
    monkeypatch.setattr(qj.Circuit, "if_bits", lambda self, bits, values, *more: right(self, bits, 0, *more))
    assert not crosscheck(switched(), shots=20_000).agrees


def test_noise_with_measurements_on_the_way(monkeypatch):
    methods, run = [], AerSimulator.run

    def noted(self, *arguments, **options):
        methods.append(self.options.method)
        return run(self, *arguments, **options)

    monkeypatch.setattr(AerSimulator, "run", noted)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.2, 1), ["x", "h"])
    assert crosscheck(teleported(), noise=model, shots=20_000).agrees
    with_channel = teleported()
    with_channel.append(depolarizing_error(0.3, 1), [2])
    assert crosscheck(with_channel, shots=20_000).agrees
    # On some circuits with noise the process ends where Aer chooses.
    assert list(dict.fromkeys(methods)) == ["statevector", "density_matrix"]


def test_programs_with_conditions():
    program = """OPENQASM 3; include "stdgates.inc"; qubit[2] q; bit[2] c;
    h q[0]; c[0] = measure q[0]; if (c[0]) { x q[1]; } else { h q[1]; }"""
    found = from_qasm(program).circuit
    np.testing.assert_allclose(qj.probabilities(found)(), [0.25, 0.25, 0, 0.5], atol=1e-12)


def test_ours_to_qiskit_and_back():
    own = qj.Circuit(2).h(0).measure(0, 1).if_bits([1, 0], [1, 0], qj.Circuit(2).ry(0.4, 1)).reset(0).h(0)
    other = to_qiskit(own)
    assert crosscheck(own, shots=20_000).agrees
    back = from_qiskit(other).circuit
    np.testing.assert_allclose(qj.density_matrix(back)(), qj.density_matrix(own)(), atol=1e-12)


def test_loops_that_break_by_a_measured_bit_are_refused():
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(3)):
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
    with pytest.raises(ValueError, match="operation 0.2.0 ends a loop, or a turn of it"):
        from_qiskit(circuit)


@pytest.mark.parametrize("switch", [False, True])
def test_bits_that_blocks_do_not_hold_are_asked_for_all_the_same(switch):
    circuit, flip = QuantumCircuit(2, 1), QuantumCircuit(1)
    circuit.ry(1.1, 0)
    circuit.measure(0, 0)  # at the end of its qubit
    flip.x(0)
    if switch:
        circuit.switch(circuit.clbits[0], [(1, flip)], [1], [])
    else:
        circuit.if_else((circuit.clbits[0], True), flip, None, [1], [])
    one = np.sin(0.55) ** 2
    np.testing.assert_allclose(qj.probabilities(from_qiskit(circuit).circuit)(), [1 - one, 0, 0, one], atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])  # of the block's register; with three bits they equal the circuit's own
def test_bits_of_blocks_stand_for_those_of_the_branch_in_turn(size):
    circuit, block = QuantumCircuit(2, 3), QuantumCircuit(1, size)
    circuit.ry(1.1, 0)
    circuit.measure(0, 0)
    block.x(0)
    block.measure(0, 1)
    with block.if_test((block.clbits[1], 1)):
        block.ry(0.6, 0)
    circuit.if_else((circuit.clbits[0], True), block, None, [1], [1, 2, 0][:size])
    found, one = from_qiskit(circuit).circuit, np.sin(0.55) ** 2
    np.testing.assert_allclose(qj.probabilities(found, bits=[1, 2])(), [1 - one, one, 0, 0], atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(found, [1])()[0], 1 - one + one * np.sin(0.3) ** 2, atol=1e-12)


def without_a_register():
    circuit = QuantumCircuit(QuantumRegister(3), [Clbit()], ClassicalRegister(1, "later"))
    circuit.ry(0.7, 0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ry(0.9, 1)
    circuit.measure(1, 1)
    return circuit


def of_two_registers():
    bits = [Clbit(), Clbit()]
    ways = ClassicalRegister(bits=bits, name="a"), ClassicalRegister(bits=bits[::-1], name="b")
    circuit = QuantumCircuit(QuantumRegister(3), bits, *ways)
    circuit.ry(0.7, 0)
    circuit.measure(0, 0)
    with circuit.if_test((ways[1], 2)):  # bit 0 is 1
        circuit.ry(0.9, 1)
    circuit.measure(1, 1)
    return circuit


@pytest.mark.parametrize("build", [without_a_register, of_two_registers])
def test_bits_of_no_register_and_of_two(build):
    """Counts hold it once: the second qubit turns where the first bit is 1."""
    exact = np.sin(0.35) ** 2 * np.sin(0.45) ** 2
    np.testing.assert_allclose(qj.probabilities(from_qiskit(build()).circuit, [1])()[1], exact, atol=1e-12)
    assert crosscheck(build(), shots=20_000).agrees


def test_a_bit_that_a_program_declares_alone(tmp_path):
    """`bit c;` of OpenQASM 3 is in no register."""
    (tmp_path / "alone.qasm").write_text(
        'OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit c; ry(0.7) q[0]; c = measure q[0]; if (c) { x q[2]; }'
    )
    found = from_qasm(tmp_path / "alone.qasm")
    np.testing.assert_allclose(qj.expectation(found.circuit, qj.Z(2))(), np.cos(0.7), atol=1e-12)
    assert crosscheck(found.source, shots=20_000).agrees


def test_instructions_of_ibms_runtime_are_what_they_say():
    """They have neither definition nor matrix; the X keeps its name for noise."""
    runtime = pytest.importorskip("qiskit_ibm_runtime.circuit", reason="needs the ibm extra")
    inner = QuantumCircuit(1, 1, name="measured within")
    inner.append(runtime.MidCircuitMeasure(), [0], [0])
    circuit = QuantumCircuit(3, 3)
    circuit.ry(0.7, 0)
    circuit.append(runtime.MeasureReset(), [0], [0])
    with circuit.if_test((0, 1)):
        circuit.append(runtime.XSlowGate(), [1])
        circuit.append(runtime.MidCircuitMeasure("measure_3"), [1], [1])
        circuit.append(runtime.MidCircuitReset(), [1])
        circuit.rx(0.5, 2)
    circuit.append(inner, [2], [2])
    circuit.rx(0.3, 2)
    found = from_qiskit(circuit)
    assert found.notes == ("measure_2, measure_reset of IBM's runtime: run as Qiskit's own instructions",)
    up, turned = np.sin(0.35) ** 2, np.sin(0.25) ** 2
    again = turned * np.cos(0.15) ** 2 + (1 - turned) * np.sin(0.15) ** 2  # the last turn after the measurement
    values = qj.expectation(found.circuit, [qj.Z(0), qj.Z(1), qj.Z(2)])()
    np.testing.assert_allclose(values, [1, 1, 1 - 2 * (up * again + (1 - up) * np.sin(0.15) ** 2)], atol=1e-12)
    bits = np.asarray(qj.probabilities(found.circuit, bits=[0, 1, 2])()).reshape(2, 2, 2)
    np.testing.assert_allclose(bits[1, 1], [up * (1 - turned), up * turned], atol=1e-12)
    np.testing.assert_allclose(bits[0], [[1 - up, 0], [0, 0]], atol=1e-12)
    assert crosscheck(circuit).agrees

    slow = QuantumCircuit(3)
    slow.append(runtime.XSlowGate(), [2])
    noise = qj.NoiseModel().after("xslow", qj.Circuit(1).bit_flip(0.1, 0))
    assert qj.expectation(noise.apply(from_qiskit(slow).circuit), qj.Z(2))() == pytest.approx(-0.8)
