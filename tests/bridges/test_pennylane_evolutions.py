"""Angles that reach PennyLane's gates through complex numbers, against dense matrix exponentials."""

import functools

import numpy as np
import pytest
from scipy.linalg import expm

import qjaxsim as qj

qml = pytest.importorskip("pennylane", reason="needs the pennylane extra")

PAULIS = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Y": np.array([[0, -1j], [1j, 0]]), "Z": np.diag([1, -1])}


def dense(word):
    return functools.reduce(np.kron, [PAULIS[letter] for letter in word])


def evolved(word, factor):
    return expm(1j * factor * dense(word))


def under_control(gate):
    """On qubit 1, which the gate leaves alone."""
    one = np.kron(np.kron(np.eye(2), np.diag([0, 1])), np.eye(2))
    return np.eye(8) - one + one @ gate


def model(x):
    for wire in range(3):
        qml.RY(0.3 + 0.4 * wire, wire)
    qml.exp(qml.X(0) @ qml.Z(1), -1j * x[0])
    qml.exp(qml.X(0) @ qml.Y(1) @ qml.Z(2), 0.5j * x[0] * x[1])
    qml.exp(2.5 * qml.X(1), 1j * (np.pi * x[1] - 2) / 3)
    qml.ctrl(qml.exp(qml.Y(0) @ qml.X(2), -(0.5j - 1j * x[1])), 1)
    qml.adjoint(qml.exp(qml.Z(0) @ qml.X(2), -1j * x[0] ** 2))
    qml.RX(qml.math.imag(1j * x[0] * (2 + 1j * x[1])), 0)
    qml.RZ(qml.math.sin(qml.math.real(2j * (-1j * x[0]))), 1)
    qml.RY(qml.math.real(qml.math.sum(x * np.array([1j, 2 + 1j]))), 2)
    return qml.state()


def exact(a, b):
    controlled = under_control(evolved("YIX", b - 0.5))
    gates = [
        *(expm(-0.5j * (0.3 + 0.4 * q) * dense("I" * q + "Y" + "I" * (2 - q))) for q in range(3)),
        evolved("XZI", -a),
        evolved("XYZ", 0.5 * a * b),
        evolved("IXI", 2.5 * (np.pi * b - 2) / 3),
        controlled,
        evolved("ZIX", a**2),
        evolved("XII", -a),
        evolved("IZI", -np.sin(2 * a) / 2),
        evolved("IIY", -b),
    ]
    return functools.reduce(lambda state, gate: gate @ state, gates, np.eye(8)[0])


@pytest.mark.parametrize("example", [[0.0, 0.0], [0.4, -0.7]])
def test_exponentials_with_imaginary_coefficients_are_expressions(example):
    node = qml.QNode(model, qml.device("default.qubit", wires=3))
    found = qj.from_pennylane(node, np.array(example), parameters="arguments")
    assert found.circuit.parameters == {"x": (2,)}
    values = np.array([[0.8, -1.3], [-2.1, 0.6]])
    states = qj.statevector(found.circuit)({"x": values})
    np.testing.assert_allclose(states, [exact(*each) for each in values], atol=1e-12)


def test_evolutions_under_a_multiple_have_a_trainable_time():
    operations = [
        qml.RY(0.4, 0),
        qml.evolve(0.5 * qml.X(0) @ qml.Z(2), 0.3),
        qml.Rot(0.1, 0.2, 0.3, 1),
        qml.evolve(-1.5 * qml.Y(1), 0.7),
    ]
    tape = qml.tape.QuantumScript(operations, [qml.state()], trainable_params=[1, 3, 5])
    found = qj.from_pennylane(tape, parameters="trainable", wire_order=range(3))
    np.testing.assert_allclose(found.params["params"], [0.3, 0.2, 0.7])
    time, angle, other = 1.1, -0.6, 2.3
    state = expm(-0.2j * dense("YII")) @ np.eye(8)[0]
    state = expm(-0.5j * time * dense("XIZ")) @ state
    for turn, word in ((0.1, "IZI"), (angle, "IYI"), (0.3, "IZI"), (-3.0 * other, "IYI")):
        state = expm(-0.5j * turn * dense(word)) @ state
    ours = qj.statevector(found.circuit)({"params": np.array([time, angle, other])})
    np.testing.assert_allclose(ours, state, atol=1e-12)


WORD = qml.X(0) @ qml.Z(2)
# For a time: PennyLane's operation, the entry of the parameter, and the dense matrix.
TRAINABLE = {
    "exp": (lambda t: qml.exp(WORD, -2j * t), -2, lambda t: evolved("XIZ", -2 * t)),
    "adjoint": (lambda t: qml.adjoint(qml.evolve(0.5 * WORD, t)), 1, lambda t: evolved("XIZ", t / 2)),
    "control of exp": (lambda t: qml.ctrl(qml.exp(WORD, 1j * t), 1), 1, lambda t: under_control(evolved("XIZ", t))),
    "power": (lambda t: qml.pow(qml.evolve(0.5 * WORD, t), 3), 1, lambda t: evolved("XIZ", -1.5 * t)),
    "adjoint of control": (
        lambda t: qml.adjoint(qml.ctrl(qml.evolve(0.5 * WORD, t), 1)),
        1,
        lambda t: under_control(evolved("XIZ", t / 2)),
    ),
    "product": (
        lambda t: qml.prod(qml.evolve(0.5 * WORD, t), qml.S(1)),
        1,
        lambda t: evolved("XIZ", -t / 2) @ np.kron(np.kron(np.eye(2), np.diag([1, 1j])), np.eye(2)),
    ),
    "multiple": (lambda t: qml.s_prod(1j, qml.evolve(0.5 * WORD, t)), 1, lambda t: 1j * evolved("XIZ", -t / 2)),
}


@pytest.mark.parametrize("name", TRAINABLE)
def test_evolutions_and_exponentials_within_operations_are_trainable(name):
    make, sign, wanted = TRAINABLE[name]
    tape = qml.tape.QuantumScript([qml.RY(0.4, 0), qml.RX(0.9, 1), make(0.3)], [qml.state()])
    found = qj.from_pennylane(tape, parameters="trainable", wire_order=range(3))
    np.testing.assert_allclose(found.params["params"], [0.4, 0.9, 0.3 * sign])
    start = evolved("IXI", -0.5) @ evolved("YII", -0.2)
    for time in (0.3, -1.7):
        state = qj.statevector(found.circuit)({"params": np.array([0.4, 1.0, time * sign])})
        np.testing.assert_allclose(state, wanted(time) @ start @ np.eye(8)[0], atol=1e-12)


def test_negative_powers_of_gates_with_several_angles_are_trainable():
    tape = qml.tape.QuantumScript([qml.RX(0.9, 1), qml.pow(qml.Rot(0.1, 0.2, 0.3, 1), -2)], [qml.state()])
    found = qj.from_pennylane(tape, parameters="trainable", wire_order=range(3))
    values = np.array([0.9, -0.4, 1.3, 0.7])
    inverse = evolved("IZI", -0.2) @ evolved("IYI", 0.65) @ evolved("IZI", 0.35)
    wanted = inverse @ inverse @ evolved("IXI", -0.45) @ np.eye(8)[0]
    np.testing.assert_allclose(qj.statevector(found.circuit)({"params": values}), wanted, atol=1e-12)


@pytest.mark.parametrize("around", [qml.adjoint, lambda gate: qml.ctrl(gate, 2)])
def test_matrices_within_operations_are_no_angles(around):
    """Real matrices are arrays of floats, as angles are."""
    flip = qml.QubitUnitary(np.array([[0.6, 0.8], [0.8, -0.6]]), 0)
    tape = qml.tape.QuantumScript([qml.RX(0.9, 2), around(flip)], [qml.state()])
    found = qj.from_pennylane(tape, parameters="trainable", wire_order=range(3))
    np.testing.assert_allclose(found.params["params"], [0.9])


def test_what_no_gate_does_is_refused_with_a_way_out():
    node = qml.QNode(
        lambda x: [qml.evolve(qml.X(0) @ qml.Z(1) + qml.Z(2), x), qml.state()][-1], qml.device("default.qubit")
    )
    with pytest.raises(ValueError, match="by a matrix .Evolution., .*; take it apart by qml.TrotterProduct, or keep"):
        qj.from_pennylane(node, 0.3, parameters="arguments")
    for angle in (lambda x: qml.math.real(qml.math.exp(1j * x)), lambda x: qml.math.abs(1j * x)):
        node = qml.QNode(lambda x, angle=angle: [qml.RX(angle(x), 0), qml.state()][-1], qml.device("default.qubit"))
        with pytest.raises(ValueError, match="An angle of the circuit cannot be written as an expression"):
            qj.from_pennylane(node, 0.3, parameters="arguments")
