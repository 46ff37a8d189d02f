"""What of Qiskit's circuits is refused, and how the messages name it."""

import io
import os
from pathlib import Path

import numpy as np
import pytest

if "CI" not in os.environ:
    pytest.importorskip("qiskit", reason="needs the qiskit extra")
from qiskit import ClassicalRegister, QuantumCircuit  # noqa: E402
from qiskit.circuit import (  # noqa: E402
    AnnotatedOperation,
    CircuitInstruction,
    ControlModifier,
    Gate,
    Instruction,
    Parameter,
    ParameterVector,
    PowerModifier,
)
from qiskit.circuit.classical import types  # noqa: E402
from qiskit.circuit.library import RXGate, XGate  # noqa: E402
from qiskit.quantum_info import Operator  # noqa: E402
from qjaxsim_qiskit import crosscheck, from_qasm, from_qiskit  # noqa: E402
from qjaxsim_qiskit.meaning import unrolling  # noqa: E402

import qjaxsim as qj  # noqa: E402
from qjaxsim.circuits.observables import pauli_sums  # noqa: E402


def _while(circuit):
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.x(1)


def _two_vectors(circuit):
    circuit.rx(ParameterVector("v", 3)[0], 0)
    circuit.rx(ParameterVector("v", 3)[1], 1)


def _unknown(circuit):
    inner = QuantumCircuit(1)
    inner.rx(Parameter("a") + Parameter("b"), 0)
    gate = Gate("odd", 1, [])
    gate.definition = inner
    circuit.append(gate, [1])


def _power(circuit):
    a = Parameter("a")
    circuit.rx(a, 1)
    circuit.append(AnnotatedOperation(RXGate(a), PowerModifier(0.5)), [0])


def _controlled_reset(circuit):
    inner = QuantumCircuit(1)
    inner.reset(0)
    circuit.append(AnnotatedOperation(inner.to_instruction(), ControlModifier(1)), [0, 1])


def _deep(circuit):
    a = angle = Parameter("a")
    for _ in range(300):
        angle = angle.sin() + 0.1 * a
    circuit.rx(angle, 2)


def _branch_in_a_box(circuit):
    """Whose bit equals the circuit's first one, and stands for the second."""
    circuit.add_register(ClassicalRegister(1, "d"))
    body = QuantumCircuit(1, 1)
    with body.if_test((body.clbits[0], 1)):
        body.x(0)
    circuit.box(body, [0], [1])


REFUSED = [
    (_while, r"operation 0 \(while_loop\) is control flow"),
    (_branch_in_a_box, r"operation 0\.0 \(if_else\) is control flow .* bits of a sub-circuit"),
    (lambda c: c.add_input("flag", types.Bool()), "Classical variables cannot be imported, but the circuit has flag"),
    (lambda c: c.add_var("flag", True), "Classical variables cannot be imported, but the circuit has flag"),
    (lambda c: c.append(Gate("oracle", 2, []), [0, 1]), r"operation 0 \(oracle\) has neither a matrix"),
    (lambda c: c.append(Instruction("thing", 1, 0, []), [1]), r"operation 0 \(thing\) has neither a matrix"),
    (lambda c: c.rx(float("nan"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\) has nan"),
    (lambda c: c.rx(float("inf"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\) has inf"),
    (lambda c: c.rx(1j * Parameter("a"), 1), r"Angles must be finite real numbers, but operation 0 \(rx\), with the"),
    (lambda c: c.rx((1j * Parameter("a")).sin(), 1), r"cannot be imported: it holds the complex or infinite number I"),
    *(
        (lambda c, angle=angle: c.rx(angle(Parameter("a")), 1), r"2\*\*a.* of operation 0 \(rx\) cannot be imported: Q")
        for angle in (
            lambda a: 2**a, lambda a: 0.3 * 2**a, lambda a: 1 - 2**a, lambda a: 1 / 2**a, lambda a: (2**a).sin(),
            lambda a: a ** (2**a), lambda a: (2**a) ** 2,
        )
    ),
    (
        lambda c: c._append(CircuitInstruction(XGate().repeat(2), c.qubits[:2])),
        r"operation 0 \(x\*2\) must have as many qubits as it is made for, 1, but has 2",
    ),
    (_deep, r"The angle of operation 0 \(rx\) is nested too deeply to be imported; make its inner part a parameter"),
    (lambda c: (c.rx(Parameter("x"), 0), c.rx(ParameterVector("x", 2)[1], 0)), "'x' names several"),
    (_two_vectors, "Parameters must have names of their own, but 'v' names several in this circuit; rename one"),
    (_power, r"operation 1 \(annotated\) cannot be taken apart: bind its parameters first \(a\)"),
    (_controlled_reset, r'operation 0 \(annotated\) cannot be taken apart: .*"reset" is not a gate'),
    (_unknown, r"must be made of the circuit's parameters, but operation 0\.0 \(rx\) has a, b too"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), REFUSED)
def test_refusals_name_operation_and_place(build, message):
    circuit = QuantumCircuit(3, 1)
    build(circuit)
    with pytest.raises(ValueError, match=message):
        from_qiskit(circuit)


def test_a_loop_of_too_many_turns_is_refused_before_its_first(monkeypatch):
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(10**12)):
        circuit.h(0)
    monkeypatch.setattr(unrolling, "each_turn", lambda *_: (pytest.fail("a turn was written out") for _ in range(1)))
    with pytest.raises(ValueError, match=r"operation 0 \(for_loop\) is a loop that writes out more than 1000000"):
        from_qiskit(circuit)


def test_other_refusals():
    for blank in ("", "  "):
        with pytest.raises(ValueError, match="Argument `source` must be a program or the path of a file, but is empty"):
            from_qasm(blank)
    for given in (None, b"OPENQASM 2.0;", io.StringIO("OPENQASM 2.0;")):
        with pytest.raises(TypeError, match="Argument `source` must be a path, as text or a `pathlib.Path`, but is "):
            from_qasm(given)
    turned = QuantumCircuit(1)
    turned.rx(Parameter("a"), 0)
    with pytest.raises(TypeError, match="must be real numbers, but is a str that makes none"):
        from_qiskit(turned).params("abc")
    with pytest.raises(TypeError, match="Argument `observables` must be a PauliSum or several, but is 3"):
        pauli_sums(3, 1)
    with pytest.raises(TypeError, match="Argument `observables` must be a PauliSum or several, but is Operator"):
        pauli_sums(Operator(np.eye(2)), 1)
    with pytest.raises(TypeError, match="must be a qiskit.QuantumCircuit, but is str"):
        from_qiskit("h q[0];")
    with pytest.raises(TypeError, match="but is PosixPath; `from_qasm` and `from_qpy` read files"):
        from_qiskit(Path("bell.qasm"))
    with pytest.raises(TypeError, match="but is ImportedCircuit; its attribute `circuit` is ours, `source` Qiskit's"):
        from_qiskit(from_qiskit(turned))
    for given, way in (
        (turned, "`qjaxsim_qiskit.from_qiskit"),
        (from_qiskit(turned), "its attribute `circuit` is one"),
    ):
        with pytest.raises(TypeError, match=f"Argument `circuit` must be a Circuit, .*{way}"):
            qj.statevector(given)
    with pytest.raises(ValueError, match="at least one qubit"):
        from_qiskit(QuantumCircuit())
    with pytest.raises(MemoryError, match=r"A state of 60 qubits in single precision needs 8.6e\+09 GiB"):
        from_qiskit(QuantumCircuit(60))
    with pytest.raises(MemoryError, match=r"A state of 2000 qubits has 2\*\*2000 amplitudes"):
        from_qiskit(QuantumCircuit(2000))
    circuit = QuantumCircuit(3)
    circuit.rx(ParameterVector("v", 4)[1], 0)
    with pytest.raises(ValueError, match=r"gives 'v' the shape \(3,\), but .* \{'v': 4\}"):
        from_qiskit(circuit, shapes={"v": (3,)})


@pytest.mark.parametrize("noise", ["fake_manila", qj.NoiseModel()])
def test_what_is_no_circuit_is_refused_under_noise_too(noise):
    pytest.importorskip("qiskit_aer", reason="Qiskit Aer is not installed")
    pytest.importorskip("qiskit_ibm_runtime", reason="needs the ibm extra")
    for given in ("circuit.qasm", from_qiskit(QuantumCircuit(2))):
        with pytest.raises(TypeError, match="`circuit` must be a qiskit.QuantumCircuit, but is"):
            crosscheck(given, noise=noise)
