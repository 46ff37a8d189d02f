"""Gates with many controls and evolution under Hamiltonians, against dense matrices of this file's own."""

import jax
import numpy as np
import pytest
import scipy.linalg
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import Operator, SparsePauliOp
from qiskit.synthesis import SuzukiTrotter

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.dense import controlled
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.planning.shifts import frequencies

t = qj.Parameter("t", (2,))
ANGLES = np.array([0.7, -1.3])


def start(n_qubits):
    circuit = qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.ry(1.3 + 0.2 * q, q).rz(0.4 * q, q)
    return circuit


CALLS = {
    "mcx": (lambda c, a, *q: c.mcx(*q), lambda a: reference.unitary(qj.Circuit(1).x(0))),
    "mcp": (lambda c, a, *q: c.mcp(a, *q), lambda a: reference.unitary(qj.Circuit(1).p(a, 0))),
    "mcrx": (lambda c, a, *q: c.mcrx(a, *q), lambda a: reference.unitary(qj.Circuit(1).rx(a, 0))),
    "mcry": (lambda c, a, *q: c.mcry(a, *q), lambda a: reference.unitary(qj.Circuit(1).ry(a, 0))),
    "mcrz": (lambda c, a, *q: c.mcrz(a, *q), lambda a: reference.unitary(qj.Circuit(1).rz(a, 0))),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("controls", [[2], [3, 0], [4, 0, 2], [0, 3, 4, 2]])
def test_many_controls_are_the_controlled_matrix(name, controls):
    add, single = CALLS[name]
    dense = reference.embed(controlled(single(2 * ANGLES[0]), len(controls)), (*controls, 1), 5)
    fixed, free = add(qj.Circuit(5), 1.4, controls, 1), add(qj.Circuit(5), 2 * t[0], controls, 1)
    np.testing.assert_allclose(reference.unitary(fixed), dense, atol=1e-13)
    values = {"t": ANGLES} if free.parameters else {}
    np.testing.assert_allclose(reference.unitary(free, values), dense, atol=1e-13)
    psi = reference.statevector(start(5))
    np.testing.assert_allclose(qj.statevector(start(5).compose(free))(values), dense @ psi, atol=1e-12)
    back = start(5).compose(fixed).compose(free.inverse())
    np.testing.assert_allclose(qj.statevector(back)(values), psi, atol=1e-12)


def test_many_controls_are_differentiated_and_batched():
    circuit = start(5).mcrx(t[0], [0, 1, 2], 4).mcp(t[1], [1, 2, 3], 0).mcry(0.5 * t[0], [4, 1, 0, 2], 3).h(range(5))
    energy, observable = qj.X(0) @ qj.Z(3) + qj.Y(4), lambda a: reference.expectation(circuit, energy, {"t": a})
    run = qj.expectation(circuit, energy)
    batch = np.stack([ANGLES, -ANGLES / 2])
    np.testing.assert_allclose(run({"t": batch}), [observable(a) for a in batch], atol=1e-12)
    step = 1e-3 * np.eye(2)
    second = [
        [observable(ANGLES + p + q) - observable(ANGLES + p - q) - observable(ANGLES - p + q) for q in step]
        for p in step
    ]
    second = np.array(second) + [[observable(ANGLES - p - q) for q in step] for p in step]
    np.testing.assert_allclose(qj.hessian(run, {"t": ANGLES}), second / 4e-6, atol=1e-5)
    swept = qj.expectation(circuit, energy, options=qj.PlanOptions(gradient="adjoint"))
    slope = [(observable(ANGLES + d) - observable(ANGLES - d)) / 2e-5 for d in step / 100]
    np.testing.assert_allclose(jax.grad(lambda a: swept({"t": a}))(ANGLES), slope, atol=1e-8)


def test_many_controls_are_drawn_as_dots():
    assert [line[4:6] for line in str(qj.Circuit(3).mcp(0.3, [0, 2], 1)).splitlines()] == ["─●", " │", "─P", " │", "─●"]


def test_many_controls_need_no_matrix():
    """A matrix for 17 qubits would take 256 GiB."""
    circuit = qj.Circuit(18).x(range(17)).mcx(range(17), 17).mcrx(t[0], range(17), 17)
    chances = qj.probabilities(circuit, [17])({"t": np.float32(ANGLES)})
    np.testing.assert_allclose(chances, [np.sin(0.35) ** 2, np.cos(0.35) ** 2], atol=1e-5)
    assert frequencies("mcp15", 0) == (1.0,) and "mcp3" in GATES and "mcp03" not in GATES and "mcp3" not in list(GATES)


TERMS = qj.Z(0) @ qj.Z(1) - 0.7 * qj.X(1) + 0.4 * qj.Y(0) @ qj.X(2) + 0.3 * qj.X(0) @ qj.Z(1) @ qj.Y(2) + 0.2
TERMS += 0.6 * qj.X(1) @ qj.Z(2) - 0.35 * qj.Z(0) @ qj.X(2)


@pytest.mark.parametrize("order", [1, 2])
def test_product_formulas_are_products_of_exponentials(order):
    circuit = qj.Circuit(4).evolve(TERMS, 2 * t[0], steps=3, order=order)
    share = 2 * ANGLES[0] / 3
    each = [(pauli_sum_matrix(qj.PauliSum({term: 1}), 4), c.real) for term, c in TERMS.terms.items()]
    steps = [scipy.linalg.expm(-1j * share * c / order * matrix) for matrix, c in each]
    once = np.eye(16)
    for matrix in steps + steps[::-1] * (order - 1):
        once = matrix @ once
    np.testing.assert_allclose(reference.unitary(circuit, {"t": ANGLES}), np.linalg.matrix_power(once, 3), atol=1e-12)
    np.testing.assert_allclose(qj.unitary(circuit)({"t": ANGLES}), np.linalg.matrix_power(once, 3), atol=1e-12)


def test_the_formula_of_fourth_order_is_qiskits():
    operator = SparsePauliOp.from_sparse_list(
        [("".join(letter for _, letter in term), [q for q, _ in term], c.real) for term, c in TERMS.terms.items()], 4
    )
    gate = PauliEvolutionGate(operator, 0.8, synthesis=SuzukiTrotter(order=4, reps=2, preserve_order=True))
    circuit = qj.Circuit(4).evolve(TERMS, t[0], steps=2, order=4)
    expected = Operator(gate.definition).reverse_qargs().data
    np.testing.assert_allclose(qj.unitary(circuit)({"t": np.array([0.8, 0.0])}), expected, atol=1e-12)


def test_orders_of_the_error_and_the_exact_evolution():
    exact = scipy.linalg.expm(-1j * 0.5 * pauli_sum_matrix(TERMS, 4))
    for order, factor in ((1, 2), (2, 4), (4, 16)):
        few, many = (qj.Circuit(4).evolve(TERMS, 0.5, steps=steps, order=order) for steps in (8, 16))
        errors = [np.abs(reference.unitary(circuit) - exact).max() for circuit in (few, many)]
        np.testing.assert_allclose(errors[0] / errors[1], factor, rtol=0.1)
    narrow = qj.Circuit(4).evolve(TERMS, t[1] ** 2 / 2, order="exact")
    want = scipy.linalg.expm(-1j * ANGLES[1] ** 2 / 2 * pauli_sum_matrix(TERMS, 4))
    np.testing.assert_allclose(reference.unitary(narrow, {"t": ANGLES}), want, atol=1e-12)
    constant = qj.Circuit(1).evolve(qj.I() * 2, 0.3, order="exact")
    np.testing.assert_allclose(reference.unitary(constant), np.exp(-0.6j) * np.eye(2), atol=1e-13)


def test_evolution_with_trained_coefficients():
    circuit = start(3).evolve(t[0] * qj.Z(0) @ qj.Z(1) + t[1] * qj.X(2) - 0.5 * qj.Y(1), 0.8, steps=2)
    fixed = start(3).evolve(ANGLES[0] * qj.Z(0) @ qj.Z(1) + ANGLES[1] * qj.X(2) - 0.5 * qj.Y(1), 0.8, steps=2)
    np.testing.assert_allclose(qj.statevector(circuit)({"t": ANGLES}), reference.statevector(fixed), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: qj.Circuit(3).mcx([], 1),
            ValueError,
            "`controls` of 'mcx' must name at least one qubit, but is empty",
        ),
        (lambda: qj.Circuit(3).mcp(0.1, [0, 1], 1), ValueError, r"Qubits of 'mcp' must differ, but are \(0, 1, 1\)"),
        (lambda: qj.Circuit(3).mcrx(0.1, [0, 3], 1), ValueError, "Qubit 3 of 'mcrx' is out of range for 3 qubits"),
        (lambda: qj.Circuit(3).mcry(0.1, [0], "a"), TypeError, "Qubits of 'mcry' must be integers, but got 'a'"),
        (lambda: qj.Circuit(3).mcrz("a", [0, 1], 2), TypeError, "must be a real number or an expression"),
        (lambda: qj.Circuit(2).evolve(qj.Z(2), 1.0), ValueError, "acts on qubit 2, but the circuit has 2 qubits"),
        (
            lambda: qj.Circuit(2).evolve(qj.Z(0), 1.0, order=True),
            ValueError,
            r"`order` must be one of \[1, 2, 4, 'exact'\], but is True",
        ),
        (lambda: qj.Circuit(2).evolve("ZZ", 1.0), TypeError, "Argument `observable` must be a PauliSum, but is str"),
        (lambda: qj.Circuit(3).evolve([qj.Z(0), qj.X(2)], 1.0), TypeError, "`observable` must be .*, but is list"),
        (lambda: qj.Circuit(3).evolve(np.eye(8), 1.0), TypeError, "`observable` must be .*; write a matrix as"),
        (lambda: qj.Circuit(2).evolve(1j * qj.Z(0), 1.0), ValueError, "must have real coefficients"),
        (lambda: qj.Circuit(2).evolve(qj.Z(0), 1.0, steps=0), ValueError, "`steps` must be a positive integer"),
        (lambda: qj.Circuit(2).evolve(qj.Z(0), 1.0, order=3), ValueError, "`order` must be one of .* but is 3"),
        (lambda: qj.Circuit(2).evolve(qj.Z(0), "a"), TypeError, "must be a real number or an expression"),
        (
            lambda: qj.Circuit(5).evolve(qj.PauliSum.from_label("ZZZZZ"), 1.0, order="exact"),
            ValueError,
            "must be 1, 2 or 4 for a sum on more than 4 qubits, but is 'exact' for one on 5",
        ),
        (lambda: qj.Circuit(2).evolve(t[0] * qj.Z(0), 1.0, order="exact"), ValueError, "coefficients that are param"),
        (
            lambda: qj.Circuit(5).evolve(qj.Hermitian(np.eye(32) + np.eye(32)[::-1], range(5)), 1.0),
            TypeError,
            "must be made of Pauli sums, but has a DenseOperator on 5 qubits",
        ),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- matrices that are parameters -------------------------------------------------------------------------------------


def parts(matrix):
    return np.stack([matrix.real, matrix.imag])


def generated(angles, n_qubits, xp=np):
    """A unitary matrix by Cayley's transform of a Hermitian one, which JAX differentiates."""
    rng = np.random.default_rng(n_qubits)
    size = 2**n_qubits
    basis = rng.normal(size=(len(angles), size, size)) + 1j * rng.normal(size=(len(angles), size, size))
    basis = basis + basis.conj().swapaxes(1, 2)
    hermitian = xp.tensordot(angles.astype(np.complex128), basis, 1)
    one = np.eye(size, dtype=complex)
    return xp.linalg.solve(one + 0.5j * hermitian, one - 0.5j * hermitian)


@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_matrices_that_are_parameters(n_qubits):
    """Values, batches, inverse, and derivatives along unitary matrices, against the same matrix as a constant."""
    qubits = [3, 0, 2][:n_qubits]
    m = qj.Parameter("m", (2, 2**n_qubits, 2**n_qubits))
    circuit = start(4).unitary(m, qubits).cx(0, 1).ry(t[0], 3).cx(3, 2)
    energy = qj.Z(0) + qj.X(2) @ qj.Y(3)

    def constant(matrix):
        return start(4).unitary(matrix, qubits).cx(0, 1).ry(t[0], 3).cx(3, 2)

    matrices = np.stack([generated(a, n_qubits) for a in (ANGLES, ANGLES[::-1])])
    batch = np.moveaxis(parts(matrices), 0, 1)
    want = [reference.statevector(constant(matrix), {"t": ANGLES}) for matrix in matrices]
    np.testing.assert_allclose(qj.statevector(circuit)({"m": batch, "t": ANGLES}), want, atol=1e-12)
    np.testing.assert_allclose(reference.statevector(circuit, {"m": batch[1], "t": ANGLES}), want[1], atol=1e-12)
    back = qj.statevector(circuit.copy().compose(circuit.inverse()))({"m": batch[0], "t": ANGLES})
    np.testing.assert_allclose(np.abs(back[0]), 1, atol=1e-12)
    run = qj.expectation(circuit, energy)

    def loss(a):
        matrix = generated(a, n_qubits, jax.numpy)
        return run({"m": jax.numpy.stack([matrix.real, matrix.imag]), "t": ANGLES})

    def value(a):
        return reference.expectation(constant(generated(a, n_qubits)), energy, {"t": ANGLES})

    slope = [(value(ANGLES + d) - value(ANGLES - d)) / 2e-5 for d in 1e-5 * np.eye(2)]
    np.testing.assert_allclose(jax.grad(loss)(ANGLES), slope, atol=1e-8)


def test_derivatives_in_the_entries_themselves():
    """<O> is then a polynomial of second degree in the entries, whose Hessian differences give exactly."""
    m = qj.Parameter("m", (2, 2, 2))
    circuit, energy = start(3).unitary(m, 1).cx(1, 2).rx(t[0], 2), qj.Z(2) + qj.X(0) @ qj.Y(1)
    run, at = qj.expectation(circuit, energy), parts(generated(ANGLES, 1)).reshape(-1)
    flat = lambda v: reference.expectation(circuit, energy, {"m": v.reshape(2, 2, 2), "t": ANGLES})  # noqa: E731
    steps = 0.1 * np.eye(8)
    want = [[flat(at + p + q) - flat(at + p - q) - flat(at - p + q) + flat(at - p - q) for q in steps] for p in steps]
    hessian = qj.hessian(lambda v: run({"m": v.reshape(2, 2, 2), "t": ANGLES}), at)
    np.testing.assert_allclose(hessian, np.array(want) / 0.04, atol=1e-10)
    assert str(qj.Circuit(2).unitary(qj.Parameter("g", (2, 4, 4)), [0, 1])).splitlines()[0] == "q0: ─g:0──"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: qj.Circuit(2).unitary(qj.Parameter("m", (2, 2, 2)), [0, 1]),
            r"shape \(2, d, d\) for d = 4 and up to 8",
        ),
        (lambda: qj.Circuit(4).unitary(qj.Parameter("m", (2, 16, 16)), range(4)), r"for d = 16 and up to 8"),
        (lambda: qj.Circuit(1).unitary(qj.Parameter("m", (3, 2, 2, 2))[0], 0), r"but 'm' has shape \(2, 2, 2\)"),
        (
            lambda: qj.expectation(qj.Circuit(1).unitary(qj.Parameter("m", (2, 2, 2)), 0), qj.Z(0), shots=3),
            "matrix that is a parameter has no shift rule",
        ),
        (
            lambda: qj.expectation(
                qj.Circuit(1).unitary(qj.Parameter("m", (2, 2, 2)), 0),
                qj.Z(0),
                options=qj.PlanOptions(gradient="adjoint"),
            )({"m": np.zeros((2, 2, 2))}),
            "`gradient` must not be 'adjoint' for a circuit with projections or free matrices",
        ),
    ],
)
def test_refusals_of_free_matrices(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_constant_gates_with_many_controls_have_second_derivatives():
    circuit = start(6).mcx([0, 1, 2, 3], 5).ry(t[0], 5).mcp(0.8, [5, 4, 1, 0], 2).rx(t[1], 2).mcx([2, 5, 3], 0)
    energy = qj.X(0) @ qj.Z(5) + qj.Y(2)
    value = lambda a: reference.expectation(circuit, energy, {"t": a})  # noqa: E731
    steps = 1e-3 * np.eye(2)
    want = [
        [value(ANGLES + p + q) - value(ANGLES + p - q) - value(ANGLES - p + q) + value(ANGLES - p - q) for q in steps]
        for p in steps
    ]
    got = qj.hessian(qj.expectation(circuit, energy), {"t": ANGLES})
    np.testing.assert_allclose(got, np.array(want) / 4e-6, atol=1e-5)
