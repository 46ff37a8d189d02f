"""PennyLane's tapes and QNodes as circuits, against PennyLane's matrices, states and gradients."""

import threading
import uuid

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.dense import applied
from qjaxsim.circuits.gates import GATES
from tests.cases import mostly_slow

qml = pytest.importorskip("pennylane", reason="needs the pennylane extra")
torch = pytest.importorskip("torch", reason="needs the torch extra")
from pennylane import numpy as pnp  # noqa: E402
from pennylane.ops.mid_measure import mid_measure  # noqa: E402

WIRES = ["b", 0, 2, "x"]
HAMILTONIAN = qml.Hamiltonian([0.3, 0.5, 0.2], [qml.Z(0), qml.X(1) @ qml.Y(3), qml.Z(2) @ qml.Z(0)])
CONTRACTION = np.array([[0.1, 0.2], [0.3, 0.4]])

CONSTANT = [
    *(gate(0) for gate in (qml.PauliX, qml.PauliY, qml.PauliZ, qml.Hadamard, qml.S, qml.T, qml.SX)),
    *(gate([2, "b"]) for gate in (qml.CNOT, qml.CY, qml.CZ, qml.CH, qml.SWAP, qml.ISWAP, qml.SISWAP, qml.ECR)),
    *(gate([2, "b", 0]) for gate in (qml.Toffoli, qml.CCZ, qml.CSWAP, qml.QFT, qml.GroverOperator, qml.QubitSum)),
    qml.QubitCarry([0, 2, "b", "x"]),
    qml.MultiControlledX([0, 2, "b", "x"], control_values=[1, 0, 1]),
    qml.IntegerComparator(2, wires=[0, 2, "b"]),
    qml.Permute([2, "b", 0], wires=[0, 2, "b"]),
    qml.AQFT(1, [0, 2, "b"]),
    qml.QubitUnitary(qml.CRot(0.1, 0.2, 0.3, [0, 1]).matrix() @ qml.CH([1, 0]).matrix(wire_order=[0, 1]), [2, "b"]),
    qml.DiagonalQubitUnitary(np.exp(1j * np.arange(4)), [2, 0]),
    qml.BlockEncode(CONTRACTION, wires=[2, 0]),
    qml.SpecialUnitary(np.arange(15) * 0.1, [2, 0]),
    qml.evolve(qml.X(0) + qml.Z(0) @ qml.X(2), 0.3),
    qml.exp(qml.X("b") @ qml.Y(2), -0.3j),
    qml.PrepSelPrep(qml.dot([0.3, 0.4], [qml.X(2), qml.Z(2)]), control=[0]),
    qml.Identity(0),
]
WITH_ANGLES = [
    *(gate(0.3, 0) for gate in (qml.RX, qml.RY, qml.RZ, qml.PhaseShift, qml.U1)),
    qml.U2(0.3, 0.4, 0),
    qml.U3(0.3, 0.5, 0.7, "b"),
    qml.Rot(0.1, 0.2, 0.3, 0),
    *(gate(0.3, [2, "b"]) for gate in (qml.CRX, qml.CRY, qml.CRZ, qml.ControlledPhaseShift, qml.PSWAP)),
    *(gate(0.3, [2, "b"]) for gate in (qml.CPhaseShift00, qml.CPhaseShift01, qml.CPhaseShift10, qml.FermionicSWAP)),
    *(gate(0.3, [2, "b"]) for gate in (qml.IsingXX, qml.IsingYY, qml.IsingZZ, qml.IsingXY, qml.SingleExcitation)),
    qml.SingleExcitationPlus(0.3, [2, "b"]),
    qml.SingleExcitationMinus(0.3, [2, "b"]),
    qml.CRot(0.3, 0.2, 0.4, [2, "b"]),
    qml.PCPhase(0.3, 3, [0, 2]),
    qml.MultiRZ(0.3, [2, 0, "b"]),
    qml.PauliRot(0.3, "YXZ", [2, 0, "b"]),
    qml.DoubleExcitation(0.3, [2, 0, "x", "b"]),
    qml.DoubleExcitationPlus(0.3, [2, 0, "x", "b"]),
    qml.DoubleExcitationMinus(0.3, [2, 0, "x", "b"]),
    qml.OrbitalRotation(0.3, [2, 0, "x", "b"]),
    qml.GlobalPhase(0.3, wires=2),
    qml.evolve(qml.X(0) @ qml.Z(2), 0.3),
    qml.prod(qml.X(0), qml.RX(0.3, 2), qml.RZ(0.3, 0)),
    qml.ControlledSequence(qml.RX(0.3, 0), control=[2, "b"]),
    qml.Select([qml.RX(0.3, 2), qml.RZ(0.4, 2)], [0]),
]
VARIANTS = {
    "plain": lambda gate: gate,
    "adjoint": lambda gate: qml.adjoint(gate, lazy=True),
    "open control": lambda gate: qml.ctrl(gate, ["y"], control_values=[0]),
    "two controls": lambda gate: qml.ctrl(gate, ["y", "z"], control_values=[1, 0]),
    "controlled adjoint": lambda gate: qml.ctrl(qml.adjoint(gate, lazy=True), "y"),
    "square": lambda gate: qml.pow(gate, 2),
}


def matrix_of(circuit, params=None):
    """The circuit's matrix, gate by gate in NumPy."""
    total = np.eye(2**circuit.n_qubits, dtype=complex)
    for operation in circuit.operations:
        total = applied(matrix_of_one(operation, params), operation.qubits, total)
    return total


def matrix_of_one(operation, params):
    if not hasattr(operation, "angles"):
        return operation.matrix
    angles = [
        angle.evaluate(lambda name, index: np.ravel(params[name])[index], np) if hasattr(angle, "evaluate") else angle
        for angle in operation.angles
    ]
    return GATES[operation.name].matrix(np, *map(np.asarray, angles))


def assert_close(found, wanted):
    """Equal, global phase included."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-7)


@pytest.mark.parametrize("variant", VARIANTS)
def test_gates_and_what_is_made_of_them_are_pennylanes_matrices(variant):
    for gate in CONSTANT + WITH_ANGLES:
        operation = VARIANTS[variant](gate)
        order = ["q", *(wire for wire in [*WIRES, "y", "z"] if wire in operation.wires)]
        wanted = qml.matrix(operation, wire_order=order)
        assert_close(
            matrix_of(qj.from_pennylane(qml.tape.QuantumScript([operation]), wire_order=order).circuit), wanted
        )


@pytest.mark.parametrize("variant", VARIANTS)
def test_trainable_angles_are_entries_of_one_parameter_in_every_gate(variant):
    for gate in WITH_ANGLES:
        operation = VARIANTS[variant](gate)
        order = ["q", *(wire for wire in [*WIRES, "y", "z"] if wire in operation.wires)]
        found = qj.from_pennylane(qml.tape.QuantumScript([operation]), parameters="trainable", wire_order=order)
        assert found.params["params"].tolist() == list(operation.data)
        assert_close(matrix_of(found.circuit, found.params), qml.matrix(operation, wire_order=order))
        # The angles are followed, not only copied: at other values it is the gate with these.
        values = np.linspace(-1.0, 2.0, len(operation.data))
        other = qml.tape.QuantumScript([operation]).bind_new_parameters(values, range(len(values)))
        assert_close(matrix_of(found.circuit, {"params": values}), qml.matrix(other, wire_order=order))


def test_a_gate_that_the_table_has_is_that_gate():
    tape = qml.tape.QuantumScript([qml.Rot(0.1, 0.2, 0.3, 1), qml.CNOT([2, 0]), qml.IsingZZ(0.5, [0, 1])])
    wanted = qj.Circuit(3).rz(0.1, 1).ry(0.2, 1).rz(0.3, 1).cx(2, 0).rzz(0.5, 0, 1)
    assert qj.from_pennylane(tape).circuit == wanted
    single = qml.tape.QuantumScript([qml.ctrl(qml.RX(0.4, 0), 1), qml.adjoint(qml.S(0)), qml.Barrier([0, 1])])
    assert qj.from_pennylane(single).circuit == qj.Circuit(2).crx(0.4, 1, 0).sdg(0)


@pytest.mark.parametrize("seed", mostly_slow(range(6), keep=2))
def test_random_circuits_have_the_states_of_default_qubit(seed):
    rng = np.random.default_rng(seed)
    labels = ["a", 7, 0, "c", "y", "z"]
    operations = [qml.BasisState(rng.integers(2, size=2), ["c", "a"]), *(qml.Hadamard(wire) for wire in labels)]
    for number in rng.integers(len(CONSTANT + WITH_ANGLES), size=12):
        gate = (CONSTANT + WITH_ANGLES)[number]
        places = rng.permutation(4)[: len(gate.wires)]
        gate = gate.map_wires(dict(zip(gate.wires, (labels[place] for place in places), strict=True)))
        operations.append(VARIANTS[list(VARIANTS)[rng.integers(len(VARIANTS))]](gate))

    @qml.qnode(qml.device("default.qubit", wires=labels))
    def node():
        for operation in operations:
            qml.apply(operation)
        return qml.state()

    found = qj.from_pennylane(node)
    assert found.wires == tuple(labels)
    assert_close(qj.statevector(found.circuit)(), node())


# --- templates and parameters ----------------------------------------------------------------------------------------


def block(weights, wires):
    qml.RX(weights[0], wires[0])
    qml.CRot(*weights[1:], wires=wires)
    qml.ctrl(qml.U3(*weights[1:], wires[0]), wires[1])
    qml.ctrl(qml.adjoint(qml.U2(*weights[:2], wires[1])), wires[0])
    qml.ctrl(qml.U1(weights[2], wires[1]), wires[0])
    qml.ctrl(qml.GlobalPhase(weights[3]), wires[0])


TEMPLATES = {
    "angles": ((4,), lambda x: qml.AngleEmbedding(x, range(4), rotation="Y")),
    "products of data": ((3,), lambda x: qml.IQPEmbedding(x, [2, 0, 1], n_repeats=2)),
    "basic layers": ((2, 3), lambda x: qml.BasicEntanglerLayers(x, [1, 2, 0])),
    "strong layers": ((2, 4, 3), lambda x: qml.StronglyEntanglingLayers(x, range(4))),
    "random layers": ((2, 5), lambda x: qml.RandomLayers(x, range(3), seed=3)),
    "conserving": ((1, 3, 2), lambda x: qml.ParticleConservingU1(x, range(4), init_state=np.array([1, 1, 0, 0]))),
    "clusters": ((2,), lambda x: qml.UCCSD(x, range(4), [[0, 1, 2]], [[[0, 1], [2, 3]]], np.array([1, 1, 0, 0]))),
    "Trotter": ((), lambda x: qml.TrotterProduct(HAMILTONIAN, x, n=2, order=2)),
    "Trotter with own weights": ((2,), lambda x: qml.TrotterProduct(qml.dot(x, HAMILTONIAN.ops[:2]), 0.7, order=2)),
    "time evolution": ((), lambda x: qml.ApproxTimeEvolution(HAMILTONIAN, x, 2)),
    "phase estimation": ((), lambda x: qml.QuantumPhaseEstimation(qml.RX(x, 0), estimation_wires=[1, 2])),
    "Fourier": ((), lambda x: [qml.RX(x, 0), qml.QFT(range(4)), qml.adjoint(qml.QFT)([3, 1])]),
    "Grover": ((), lambda x: [qml.RX(x, 0), qml.GroverOperator(range(4))]),
    "controlled function": ((4,), lambda x: qml.ctrl(block, [3, 2], control_values=[0, 1])(x, [1, 0])),
    "own arithmetic": ((2,), lambda x: [qml.RX(qml.math.sin(x[0]) * x[1] / 3, 2), qml.RY(2 - x[0] ** 2, 0)]),
    "logarithm": ((2,), lambda x: [qml.RX(qml.math.log(x[0] + 2), 2), qml.RY((x[1] + 2) ** 0.5, 0)]),
    "other functions": (
        (2,),
        lambda x: [
            qml.AngleEmbedding(qml.math.stack([pnp.tanh(x[0]), pnp.deg2rad(90 * x[1]) + pnp.expm1(x[0])]), [2, 0]),
            qml.RY(qml.math.cast(pnp.sinh(x[0]) - pnp.cosh(x[1]), float), 0),
            qml.RX(pnp.log1p(x[0] + 2) + pnp.log2(x[1] + 2) * pnp.log10(x[0] + 2), 2),
        ],
    ),
    "roots": ((2,), lambda x: [qml.RX(qml.math.sqrt(x[0] + 2), 2), qml.RY(pnp.sqrt(x[1] + 2), 0)]),
    "many controls": ((), lambda x: [qml.RY(x, 6), qml.ctrl(qml.RX(x, 6), range(6))]),
    "wide constants": ((), lambda x: [qml.RX(x, 0), qml.Hadamard(6), qml.MultiControlledX(range(7))]),
    "basis state": ((), lambda x: [qml.BasisState([1, 0, 1], [3, 1, 0]), qml.RX(x, 2)]),
    "a state, twice": ((), lambda x: [qml.StatePrep([0.6, 0.8j], [1]), qml.RX(x, 0), qml.StatePrep([0.8, 0.6j], [0])]),
}


def test_gates_under_many_controls_are_a_few_of_ours():
    for k in (3, 4, 6):
        controls, values = ["y", "z", 2, "b", "x", 1][:k], [1, 0, 1, 1, 0, 1][:k]
        bases = [qml.X(0), qml.Z(0), qml.PhaseShift(0.3, 0), qml.RX(0.4, 0), qml.RY(0.5, 0), qml.RZ(0.6, 0)]
        made = [qml.ctrl(base, controls, control_values=values) for base in bases]
        made += [qml.ctrl(qml.Toffoli([*controls[:2], 0]), controls[2:]), qml.ctrl(made[2], ["q"])]
        for operation in made:
            order = list(operation.wires)
            found = qj.from_pennylane(qml.tape.QuantumScript([operation]), wire_order=order).circuit
            assert_close(matrix_of(found), qml.matrix(operation, wire_order=order))
            # PennyLane's own decompositions of those under six controls have from 8 to 300 gates.
            assert len(found) <= 6 + 2 * values.count(0)


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_with_numbers_and_with_arguments_have_the_states_of_default_qubit(name):
    shape, template = TEMPLATES[name]

    @qml.qnode(qml.device("default.qubit"))
    def node(x, unused=None):
        template(x)
        return qml.state()

    x, other = np.random.default_rng(len(name)).uniform(-2, 2, (2, *shape))
    plain = qj.from_pennylane(node, x)
    assert plain.circuit.parameters == {} and plain.params == {}
    assert_close(matrix_of(plain.circuit)[:, 0], node(x))
    found = qj.from_pennylane(node, np.zeros(shape), parameters="arguments")
    assert found.circuit.parameters == {"x": shape}
    for values in (x, other):
        assert_close(matrix_of(found.circuit, {"x": values})[:, 0], node(values))


@pytest.mark.parametrize("interface", mostly_slow(["torch", "jax"]))
def test_a_model_has_the_values_and_gradients_that_it_has_in_pennylane(interface):
    own = {"jax": jax.numpy.asarray, "torch": lambda array: torch.tensor(array, requires_grad=True)}[interface]

    @qml.qnode(qml.device("default.qubit", wires=3), interface=interface)
    def node(x, weights, scale=0.5, layers=1, ring=True):
        qml.AngleEmbedding(scale * x, wires=range(3))
        for _ in range(layers):
            qml.StronglyEntanglingLayers(weights, wires=range(3) if ring else [0, 1])
        return qml.expval(qml.Z(0) @ qml.Y(2)), qml.expval(0.3 * qml.X(1) - qml.Z(0)), qml.probs(wires=[2, 0])

    rng = np.random.default_rng(4)
    x, weights = rng.normal(size=3), rng.normal(size=(2, 3, 3))
    plain = qml.QNode(node.func, qml.device("default.qubit", wires=3))
    wanted = plain(x, weights, layers=2)
    constant = qj.from_pennylane(node, own(x), own(weights), layers=2)
    np.testing.assert_allclose(qj.expectation(constant.circuit, constant.observables)(), wanted[:2], rtol=0, atol=1e-5)
    found = qj.from_pennylane(node, own(x), own(weights), layers=2, parameters="arguments")
    assert found.circuit.parameters == {"x": (3,), "weights": (2, 3, 3)}  # `scale` was not given
    np.testing.assert_array_equal(found.params["weights"], weights)

    values = qj.expectation(found.circuit, found.observables)
    np.testing.assert_allclose(values(found.params), wanted[:2], rtol=0, atol=1e-12)
    (qubits,) = found.probabilities
    np.testing.assert_allclose(qj.probabilities(found.circuit, qubits)(found.params), wanted[2], rtol=0, atol=1e-12)

    def first(x, weights):
        return plain(x, weights, layers=2)[0]

    slopes = jax.grad(lambda params: values(params)[0])(found.params)
    theirs = qml.grad(first)(pnp.array(x, requires_grad=True), pnp.array(weights, requires_grad=True))
    for name, slope in zip(("x", "weights"), theirs, strict=True):
        np.testing.assert_allclose(slopes[name], slope, rtol=0, atol=1e-12)


def test_only_trainable_numbers_of_gates_become_entries():
    state = qml.StatePrep([0.6, 0.8], [0])
    operations = [state, qml.RX(0.1, 0), qml.Rot(0.2, 0.3, 0.4, 1), qml.QubitUnitary(qml.H.compute_matrix(), 2)]
    tape = qml.tape.QuantumScript([*operations, qml.RZ(0.5, 2)], [qml.expval(0.7 * qml.Z(0))])
    assert len(tape.trainable_params) == 8  # with the state, the matrix and the coefficient
    found = qj.from_pennylane(tape, parameters="trainable")
    assert found.params["params"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert found.observables == (0.7 * qj.Z(0),)
    tape.trainable_params = [3, 6]
    found = qj.from_pennylane(tape, parameters="trainable")
    assert found.params["params"].tolist() == [0.3, 0.5]
    assert found.circuit.operations[-1].angles == (qj.Parameter("params", (2,))[1],)

    @qml.qnode(qml.device("default.qubit"))
    def node(x, w):
        qml.RX(x, 0)
        qml.RY(2 * w[1], 0)
        return qml.expval(qml.Z(0))

    found = qj.from_pennylane(node, 0.3, pnp.array([0.4, 0.5], requires_grad=True), parameters="trainable")
    assert found.params["params"].tolist() == [1.0] and found.circuit.operations[0].angles == (0.3,)


# --- wires and measurements ------------------------------------------------------------------------------------------


def test_wires_are_numbered_as_pennylane_numbers_them():
    def wires(operations, **options):
        return qj.from_pennylane(qml.tape.QuantumScript(operations), **options).wires

    assert wires([qml.CNOT(["b", "a"])]) == ("b", "a")
    assert wires([qml.X(2), qml.CNOT([1, 0])]) == (0, 1, 2)
    assert wires([qml.X(3), qml.X(1)]) == (3, 1)
    assert wires([qml.X(3), qml.X(1)], wire_order=[0, 1, 2, 3]) == (0, 1, 2, 3)

    def node(measurement):
        def function():
            qml.X("c")
            qml.RY(0.3, "a")
            return measurement()

        return qml.QNode(function, qml.device("default.qubit", wires=["a", "b", "c"]))

    assert qj.from_pennylane(node(lambda: qml.expval(qml.Z("c")))).wires == ("a", "c")
    assert qj.from_pennylane(node(qml.state)).wires == ("a", "b", "c")
    found = qj.from_pennylane(node(qml.probs))
    assert found.probabilities == ((0, 1, 2),)
    np.testing.assert_allclose(qj.probabilities(found.circuit)(), node(qml.probs)(), rtol=0, atol=1e-6)


def test_observables_of_every_kind_have_pennylanes_matrices():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))
    observables = [
        qml.Z(2),
        qml.X(0) @ qml.Y(2),
        qml.Hamiltonian([0.3, -0.4], [qml.Z(0), qml.X(1) @ qml.Y(2)]),
        qml.prod(qml.X(0), qml.X(0), qml.Z(1)) + 0.5 * qml.Identity(0),
        qml.Hermitian(matrix + matrix.conj().T, [2, 0]),
        qml.Projector([1, 0], [2, 0]),
        qml.Hadamard(1) @ qml.Z(0),
        qml.SparseHamiltonian(HAMILTONIAN.sparse_matrix(wire_order=range(4)), range(4)),
    ]
    tape = qml.tape.QuantumScript([qml.RX(0.1, wire) for wire in range(4)], [qml.expval(each) for each in observables])
    found = qj.from_pennylane(tape)
    for own, other in zip(found.observables, observables, strict=True):
        wanted = qml.matrix(other, wire_order=range(4))
        np.testing.assert_allclose(reference.pauli_sum_matrix(own, 4), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [qml.RX, lambda x, wire: qml.evolve(qml.s_prod(0.5, qml.X(wire)), x)])
def test_fractional_powers_of_rotations_multiply_their_angles(make):
    found = qj.from_pennylane(qml.tape.QuantumScript([qml.pow(make(7.0, 0), 0.5)]))
    np.testing.assert_allclose(qj.unitary(found.circuit)(), qml.RX(3.5, 0).matrix(), rtol=0, atol=1e-5)


def test_postselected_measurements_are_projections():
    @qml.qnode(qml.device("default.qubit"))
    def node():
        qml.RY(0.7, 0)
        qml.CRX(1.3, [0, 1])
        qml.measure(1, postselect=1, reset=True)
        qml.CNOT([0, 1])
        return qml.probs(wires=[0, 1])

    found = qj.from_pennylane(node)
    np.testing.assert_allclose(qj.probabilities(found.circuit, [0, 1])(), node(), rtol=0, atol=1e-6)


def test_deferred_conditions_on_several_measurements_keep_their_order():
    @qml.defer_measurements
    @qml.qnode(qml.device("default.qubit", wires=5))
    def node(x):
        for wire in range(3):
            qml.RY(x[wire], wire)
        first, second = qml.measure(0), qml.measure(1)
        qml.cond(first + second == 1, qml.RX)(x[0], 2)
        qml.cond(first & second, qml.RZ, qml.RX)(x[1], 2)
        qml.RX(0.4, 2)
        return qml.expval(qml.Z(2))

    found = qj.from_pennylane(node, np.array([0.3, 0.5, -0.7]), parameters="arguments")
    x = np.array([1.1, -0.4, 0.6])
    np.testing.assert_allclose(qj.expectation(found.circuit, found.observables)({"x": x})[0], node(x), atol=1e-12)


def test_what_is_computed_from_deferred_measurements_is_an_observable():
    @qml.defer_measurements
    @qml.qnode(qml.device("default.qubit"))
    def node(x):
        qml.RX(x, 0)
        first = qml.measure(0)
        qml.RY(x, 0)
        qml.CNOT([0, 1])
        second = qml.measure(0, reset=True)
        qml.RX(0.3, 0)
        means = qml.expval(first), qml.expval(2 * first - second + 1), qml.expval(first == second), qml.expval(qml.Z(1))
        return *means, qml.probs(op=[second, first]), qml.probs(op=first)

    found = qj.from_pennylane(node, 0.3, parameters="arguments")
    params, (*means, both, one) = {"x": np.array(0.9)}, node(0.9)
    np.testing.assert_allclose(qj.expectation(found.circuit, found.observables)(params), means, atol=1e-12)
    for qubits, wanted in zip(found.probabilities, (both, one), strict=True):
        np.testing.assert_allclose(qj.probabilities(found.circuit, qubits)(params), wanted, atol=1e-12)


def test_postselected_measurements_may_be_deferred_with_others():
    @qml.defer_measurements
    @qml.qnode(qml.device("default.qubit", wires=5))
    def node(x):
        for wire in range(3):
            qml.RY(x[wire], wire)
        qml.CNOT([0, 1])
        first, second = qml.measure(0, postselect=1), qml.measure(1, reset=True)
        qml.cond(first & ~second, qml.RX)(x[1], 2)
        qml.CRX(x[0], [2, 1])
        return qml.expval(qml.Y(2)), qml.expval(qml.Z(1))

    found = qj.from_pennylane(node, np.array([0.3, 0.5, -0.7]), parameters="arguments")
    x = np.array([1.1, -0.4, 0.6])
    np.testing.assert_allclose(qj.expectation(found.circuit, found.observables)({"x": x}), node(x), atol=1e-12)


def test_a_thread_that_reads_while_another_ends_keeps_the_order_and_leaves_pennylane_as_it_was(monkeypatch):
    @qml.defer_measurements
    @qml.qnode(qml.device("default.qubit"))
    def node():
        measured = [qml.measure(wire) for wire in range(5)]
        qml.cond(measured[4] & measured[2] & measured[0] & measured[3] & measured[1], qml.X)(5)
        return qml.expval(qml.Z(5))

    wanted = qj.from_pennylane(node).circuit
    construct, entered, go = qml.workflow.construct_batch, threading.Event(), threading.Event()
    other = threading.Thread(target=qj.from_pennylane, args=(node,))

    def in_turn(qnode):
        if threading.current_thread() is other:
            entered.set()
            assert go.wait(60)
        else:
            go.set()
            other.join(60)
        return construct(qnode)

    monkeypatch.setattr(qml.workflow, "construct_batch", in_turn)
    other.start()
    assert entered.wait(60)
    assert qj.from_pennylane(node).circuit == wanted
    assert mid_measure.uuid is uuid
