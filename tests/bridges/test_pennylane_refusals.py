"""What `from_pennylane` refuses, in the words of who called it."""

from types import SimpleNamespace

import numpy as np
import pytest

import qjaxsim as qj

qml = pytest.importorskip("pennylane", reason="needs the pennylane extra")
from pennylane import numpy as pnp  # noqa: E402


def tape_of(function, *measurements):
    with qml.queuing.AnnotatedQueue() as queue:
        function()
    tape = qml.tape.QuantumScript.from_queue(queue)
    return qml.tape.QuantumScript(tape.operations, [*tape.measurements, *measurements])


def conditioned():
    qml.cond(qml.measure(0, postselect=1), qml.X)(1)


def many_terms():
    return qml.SparseHamiltonian(qml.Hamiltonian([0.5], [qml.X(1)]).sparse_matrix(wire_order=range(9)), range(9))


@pytest.mark.parametrize(
    ("tape", "message"),
    [
        (
            tape_of(lambda: [qml.X(0), qml.measure(0)]),
            r"operation 1 .* measures in the middle .* qml.defer_measurements",
        ),
        (tape_of(conditioned), r"operation 1 .* depends on it \(Conditional"),
        (tape_of(lambda: qml.ctrl(qml.measure, 1)), "must have at least one qubit, but the tape has no wires"),
        (
            tape_of(lambda: qml.RX([0.1, 0.2], 0)),
            r"operation 0 \(RX\) has a batch of parameters \(RX\); give one sample",
        ),
        (
            tape_of(lambda: qml.Displacement(0.1, 0.2, 0)),
            "neither a decomposition nor a matrix .Displacement.; write it",
        ),
        (
            tape_of(lambda: qml.QubitUnitary([[1, 1], [0, 1]], 0)),
            "must be unitary .QubitUnitary., but differs from it by 1",
        ),
        (
            tape_of(lambda: qml.X(0), qml.var(qml.Z(0))),
            r"measurement 0 \(var\(Z\(0\)\)\) cannot be converted; use qml.expval",
        ),
        (tape_of(lambda: qml.X(0), qml.probs(op=qml.X(0))), "measurement 0 .* cannot be converted"),
        (tape_of(lambda: qml.expval(qml.measure(0, postselect=1))), "measurement 0 .* or of deferred measurements"),
        (tape_of(lambda: qml.X(0), qml.state(), qml.counts()), "measurement 1 .* cannot be converted"),
        (
            tape_of(lambda: qml.X(0), qml.expval(many_terms())),
            "measurement 0 .* has no Pauli words, and no matrix on 8",
        ),
        (tape_of(lambda: qml.X(0), qml.expval(1j * qml.Z(0))), "Observable 0 must have real coefficients"),
    ],
)
def test_what_is_no_circuit_with_expectation_values_is_named(tape, message):
    with pytest.raises(ValueError, match=message):
        qj.from_pennylane(tape)


def model(function):
    def node(x):
        function(x)
        return qml.expval(qml.Z(0))

    return qml.QNode(node, qml.device("default.qubit"))


@qml.transforms.split_non_commuting
@qml.qnode(qml.device("default.qubit"))
def in_two_bases(x):
    qml.RX(x, 0)
    return qml.expval(qml.Z(0)), qml.expval(qml.X(0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: qml.AmplitudeEmbedding(x, 0, normalize=True),
            "cannot be written as an expression of its parameters",
        ),
        (lambda x: qml.RX(x[0] % 2, 0), "cannot be written as an expression of its parameters"),
        (lambda x: qml.RX(pnp.floor(x[0]), 0), "cannot be written as an expression of its parameters"),
        (lambda x: qml.evolve(qml.X(0) + qml.Z(0), x[0]), r"depends on parameters by a matrix \(Evolution\)"),
        (lambda x: qml.RX(float(x[0]), 0), "cannot be made for traced parameters .TypeError"),
        (lambda x: x[0] > 0 and qml.X(0), "gates depend on the values of the parameters"),
        (lambda x: x[1] > 0.5 and qml.X(0), "gates depend on the values of the parameters"),
        (lambda x: qml.RX(max(x[0], x[1]), 0), "gates depend on the values of the parameters"),
        (lambda x: qml.RX(np.where(x[1] > 0, x[1], 2 * x[0]), 0), "gates depend on the values of the parameters"),
        (lambda x: qml.RX(np.sign(x[1]) * 0.3, 0), "gates depend on the values of the parameters"),
        (lambda x: qml.SpecialUnitary(x[0] * np.ones(3), 0), "operation 0 .SpecialUnitary. cannot be decomposed"),
    ],
)
def test_arguments_that_gates_do_not_follow_are_refused(function, message):
    with pytest.raises(ValueError, match=message):
        qj.from_pennylane(model(function), np.array([0.0, 1.0]), parameters="arguments")


@pytest.mark.parametrize(
    "observable",
    [
        lambda x: qml.Hamiltonian([x[0], x[1]], [qml.Z(0), qml.X(1)]),
        lambda x: qml.Hermitian(x[1] * np.diag([1.0, -1.0]), 0),
        lambda x: qml.Z(0) if x[1] > 0.5 else qml.X(1),
    ],
)
def test_observables_that_follow_arguments_are_refused(observable):
    def node(x):
        qml.RX(x[0], 0), qml.RY(x[1], 1)
        return qml.expval(observable(x))

    source = qml.QNode(node, qml.device("default.qubit"))
    with pytest.raises(ValueError, match="The observables depend on the values of the parameters"):
        qj.from_pennylane(source, np.array([0.3, 1.0]), parameters="arguments")
    found = qj.from_pennylane(source, np.array([0.3, 1.0]))
    value = qj.expectation(found.circuit, found.observables)({})[0]
    np.testing.assert_allclose(value, source(np.array([0.3, 1.0])), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda tape: qj.from_pennylane("bell"),
            TypeError,
            "`source` must be a tape or a QNode of PennyLane, but is 'bell'",
        ),
        (
            lambda tape: qj.from_pennylane(SimpleNamespace(qnode=model(lambda x: qml.X(0)))),  # as layers have one
            TypeError,
            r"but is namespace\(.*; its attribute `qnode` is one",
        ),
        (
            lambda tape: qj.from_pennylane(in_two_bases, 0.3),
            ValueError,
            "Argument `source` must make one tape, but its transforms make 2; leave out those that split it",
        ),
        (lambda tape: qj.from_pennylane(tape, 0.3), TypeError, r"A tape takes no arguments, but got \(0.3,\)"),
        (lambda tape: qj.from_pennylane(tape, parameters="train"), ValueError, "did you mean 'trainable'"),
        (
            lambda tape: qj.from_pennylane(tape, parameters="arguments"),
            ValueError,
            "A tape has no arguments; use param",
        ),
        (
            lambda tape: qj.from_pennylane(tape, parameters="trainable"),
            ValueError,
            "The circuit has no trainable angle",
        ),
        (
            lambda tape: qj.from_pennylane(tape, wire_order=[1, 2]),
            ValueError,
            r"must name every wire, but \(1, 2\) lacks \[0\]",
        ),
        (
            lambda tape: qj.from_pennylane(tape, wire_order=[0, 1, 1]),
            ValueError,
            r"name a wire once, but is \(0, 1, 1\)",
        ),
        (
            lambda tape: qj.from_pennylane(model(lambda x: qml.X(0)), 3, parameters="arguments"),
            ValueError,
            "The circuit has no argument that is a float or an array of floats; give it such .1.0 for 1.",
        ),
    ],
)
def test_wrong_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call(qml.tape.QuantumScript([qml.CNOT([0, 1])]))
