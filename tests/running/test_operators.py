"""Values of operators on many qubits and of sums with trained coefficients, against dense matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.reference import pauli_sum_matrix
from qjaxsim.running.operators import apply_operator

N = 6
QUBITS = (3, 0, 5, 1, 2)
x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (3,))
RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(32, 32)) + 1j * RNG.normal(size=(32, 32))
MATRIX = MATRIX + MATRIX.conj().T
FEW = np.where((np.abs(MATRIX) > 2) & (np.abs(MATRIX.T) > 2), MATRIX, 0)
STATE = MATRIX[0] / np.linalg.norm(MATRIX[0])
VALUES = RNG.normal(size=32)
WIDE = {
    "matrix": (qj.Hermitian(MATRIX, QUBITS), MATRIX),
    "diagonal": (qj.Diagonal(VALUES, QUBITS), np.diag(VALUES)),
    "state": (qj.Projector(STATE, QUBITS), np.outer(STATE, STATE.conj())),
    "bits": (qj.Projector("01101", QUBITS), np.diag(np.eye(32)[0b01101])),
    "sparse": (qj.SparseHermitian(sparse.coo_array(FEW), QUBITS), FEW),
}
DENSE = {name: reference.embed(matrix, QUBITS, N) for name, (_, matrix) in WIDE.items()}


def ansatz():
    circuit = qj.Circuit(N)
    for q in range(N):
        circuit.u(0.3 + 0.4 * q, w[q % 3], 0.9 * q, q).ry(x[q % 2], q).cx(q, (q + 1) % N)
    circuit.rx(x[0] * 2, 4).t(range(N)).h(range(N))
    return circuit


CIRCUIT = ansatz()
PARAMS = {"x": RNG.normal(size=2), "w": RNG.normal(size=3)}


def value(matrix, params):
    psi = reference.statevector(CIRCUIT, params)
    return (psi.conj() @ matrix @ psi).real


def slopes(matrix, params, step=1e-5):
    """The gradient in x by central differences."""
    moved = [({**params, "x": params["x"] + d}, {**params, "x": params["x"] - d}) for d in step * np.eye(2)]
    return [(value(matrix, up) - value(matrix, down)) / (2 * step) for up, down in moved]


@pytest.mark.thorough
def test_wide_operators_have_the_values_and_derivatives_of_their_matrices():
    observables = [observable for observable, _ in WIDE.values()]
    run = qj.expectation(CIRCUIT, observables)
    np.testing.assert_allclose(run(PARAMS), [value(DENSE[name], PARAMS) for name in WIDE], atol=1e-12)
    jacobian = jax.jacrev(lambda x: run({**PARAMS, "x": x}))(PARAMS["x"])
    np.testing.assert_allclose(jacobian, [slopes(DENSE[name], PARAMS) for name in WIDE], atol=1e-7)
    swept = qj.expectation(CIRCUIT, observables, options=qj.PlanOptions(gradient="adjoint"))
    weights = np.array([0.3, -0.5, 2.0, 1.0, 0.7])
    gradient = jax.grad(lambda x: weights @ swept({**PARAMS, "x": x}))(PARAMS["x"])
    np.testing.assert_allclose(gradient, weights @ jacobian, atol=1e-11)
    total = sum(weight * DENSE[name] for weight, name in zip(weights, WIDE, strict=True))
    second = jax.hessian(lambda x: weights @ run({**PARAMS, "x": x}))(PARAMS["x"])
    moved = [PARAMS["x"] + d for d in 1e-4 * np.eye(2)], [PARAMS["x"] - d for d in 1e-4 * np.eye(2)]
    up, down = (np.array([slopes(total, {**PARAMS, "x": x}) for x in side]) for side in moved)
    np.testing.assert_allclose(second, (up - down) / 2e-4, atol=2e-5)


def test_batches_maps_precisions_and_mixed_lists():
    total = 0.5 * WIDE["matrix"][0] + qj.Z(1) - 2 * WIDE["sparse"][0]
    dense = 0.5 * DENSE["matrix"] + pauli_sum_matrix(qj.Z(1), N) - 2 * DENSE["sparse"]
    observables = [qj.X(0), WIDE["diagonal"][0], total, WIDE["state"][0]]
    matrices = [pauli_sum_matrix(qj.X(0), N), DENSE["diagonal"], dense, DENSE["state"]]
    run = qj.expectation(CIRCUIT, observables)
    batch = {**PARAMS, "x": RNG.normal(size=(3, 2))}
    want = [[value(matrix, {**PARAMS, "x": row}) for matrix in matrices] for row in batch["x"]]
    got = run(batch)
    assert got.shape == (3, 4) and got.dtype == np.float64
    np.testing.assert_allclose(got, want, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(lambda x: run({**PARAMS, "x": x}))(batch["x"]), want, atol=1e-12)
    single = run({name: each.astype(np.float32) for name, each in batch.items()})
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, want, atol=3e-4)
    alone = qj.expectation(CIRCUIT, total)(batch)
    np.testing.assert_allclose(alone, np.array(want)[:, 2], atol=1e-12)


@pytest.mark.parametrize("name", WIDE)
def test_operators_act_on_states_as_their_matrices(name):
    psi = RNG.normal(size=(2**N, 2)) + 1j * RNG.normal(size=(2**N, 2))
    ((_, operator),) = WIDE[name][0].parts
    re, im = np.asarray(apply_operator(operator, jnp.stack([psi.real, psi.imag])))
    np.testing.assert_allclose(re + 1j * im, DENSE[name] @ psi, atol=1e-11)


def test_operators_on_all_qubits_of_a_register():
    matrix = np.diag(np.arange(32.0)) + np.diag(np.full(31, 0.5j), 1) - np.diag(np.full(31, 0.5j), -1)
    circuit = qj.Circuit(5).h(range(5)).s(2).ry(0.3, 4)
    psi = reference.statevector(circuit)
    for observable in (qj.SparseHermitian(sparse.csr_array(matrix)), qj.Hermitian(matrix, range(5))):
        np.testing.assert_allclose(qj.expectation(circuit, observable)(), (psi.conj() @ matrix @ psi).real, atol=1e-12)
    state = qj.Projector(psi, range(5))
    np.testing.assert_allclose(qj.expectation(circuit, state)(), 1, atol=1e-12)


def test_variances_are_those_of_the_matrices():
    names = ["matrix", "diagonal", "sparse"]
    total = WIDE["matrix"][0] / 2 - 0.3 * qj.X(1) @ qj.Y(4) + 1.5
    dense = DENSE["matrix"] / 2 - 0.3 * pauli_sum_matrix(qj.X(1) @ qj.Y(4), N) + 1.5 * np.eye(2**N)
    many = sum(RNG.normal() * qj.PauliSum.from_label("".join(RNG.choice(list("IXYZ"), N))) for _ in range(40))
    matrices = [*(DENSE[name] for name in names), dense, pauli_sum_matrix(many, N)]
    run = qj.variance(CIRCUIT, [*(WIDE[name][0] for name in names), total, many])
    batch = {**PARAMS, "x": RNG.normal(size=(2, 2))}
    each = [{**PARAMS, "x": row} for row in batch["x"]]
    want = [[value(m @ m, params) - value(m, params) ** 2 for m in matrices] for params in each]
    np.testing.assert_allclose(run(batch), want, atol=1e-10)
    gradient = jax.grad(lambda x: qj.variance(CIRCUIT, total)({**PARAMS, "x": x}))(PARAMS["x"])
    mean = value(dense, PARAMS)
    by_hand = np.array(slopes(dense @ dense, PARAMS)) - 2 * mean * np.array(slopes(dense, PARAMS))
    np.testing.assert_allclose(gradient, by_hand, atol=1e-5)


def test_a_variance_near_an_eigenstate_loses_nothing_to_cancellation():
    """By hand: O = 1000 + Z in cos(t/2)|0> + sin(t/2)|1> varies by sin(t)**2, ten digits below <O>**2."""
    run = qj.variance(qj.Circuit(1).ry(qj.Parameter("t"), 0), qj.Z(0) + 1000)
    small = np.array([0.0, 1e-5, 1e-3])
    np.testing.assert_allclose(run({"t": small}), np.sin(small) ** 2, rtol=1e-6, atol=1e-24)
    with pytest.raises(ValueError, match=r"numbers as coefficients for a variance, but uses the parameters \['w'\]"):
        qj.variance(CIRCUIT, w[0] * qj.Z(0))


def test_multiples_of_the_identity_change_no_variance():
    """Much larger than the rest, in single precision, and of mixtures, whose variance is a difference."""
    circuit = qj.Circuit(5).ry(qj.Parameter("t"), 0)
    values = 1.0 - 2.0 * (np.arange(32) >= 16)
    large = 2.0**20 + values
    wide = [
        qj.Diagonal(large, range(5)),
        qj.Hermitian(np.diag(large), range(5)),
        qj.SparseHermitian((range(32), range(32), large), range(5)),
    ]
    observables = [qj.Z(0) + 2**20, *wide, wide[0] / 2 + 1e6]
    want = np.sin(0.7) ** 2 * np.array([1, 1, 1, 1, 0.25])
    for each in (circuit, circuit.copy().phase_flip(0.1, 0)):
        np.testing.assert_allclose(qj.variance(each, observables)({"t": np.float32(0.7)}), want, rtol=1e-5)
    alone = qj.variance(circuit, [2.5 * qj.I(), qj.Diagonal(np.full(32, 0.1), range(5))])({"t": 0.7})
    np.testing.assert_allclose(alone, 0, atol=1e-30)


# --- trained coefficients --------------------------------------------------------------------------------------------

a = qj.Parameter("a", (2,))
SUM = a[0] * qj.Z(0) + a[1] ** 2 * qj.X(1) @ qj.X(2) - 0.5 * qj.Y(3) + w[0] * qj.Z(4) @ qj.Z(5)


def dense_sum(params):
    numbers = params["a"][0], params["a"][1] ** 2, -0.5, params["w"][0]
    terms = qj.Z(0), qj.X(1) @ qj.X(2), qj.Y(3), qj.Z(4) @ qj.Z(5)
    return sum(number * pauli_sum_matrix(term, N) for number, term in zip(numbers, terms, strict=True))


def test_coefficients_are_parameters_like_any_other():
    """One of the circuit's own among them; with batch axes of their own, and the whole Hessian with the angles."""
    run = qj.expectation(CIRCUIT, [SUM, qj.Z(0)])
    params = {**PARAMS, "a": np.array([0.7, -1.2])}
    np.testing.assert_allclose(run(params)[0], value(dense_sum(params), params), atol=1e-12)
    batch = {"a": RNG.normal(size=(4, 1, 2)), "x": RNG.normal(size=(3, 2)), "w": PARAMS["w"]}
    got = run(batch)
    assert got.shape == (4, 3, 2)
    for i, j in np.ndindex(4, 3):
        one = {"a": batch["a"][i, 0], "x": batch["x"][j], "w": PARAMS["w"]}
        np.testing.assert_allclose(got[i, j], [value(dense_sum(one), one), run(one)[1]], atol=1e-12)
    mapped = jax.vmap(lambda a: run({**PARAMS, "a": a}))(batch["a"][:, 0])
    np.testing.assert_allclose(mapped, [run({**PARAMS, "a": each})[:] for each in batch["a"][:, 0]], atol=1e-12)
    small = run({name: np.float32(each) for name, each in batch.items()})
    assert small.dtype == np.float32
    np.testing.assert_allclose(small, got, atol=1e-4)


@pytest.mark.thorough
def test_second_derivatives_mix_coefficients_and_angles():
    """The sweep of `qj.hessian`, which sees the circuit inside, JAX's own Hessian, and finite differences."""
    energy = qj.expectation(CIRCUIT, SUM)
    params = {"x": PARAMS["x"], "w": PARAMS["w"], "a": np.array([0.7, -1.2])}

    def loss(params):
        return energy(params) ** 2 / 3

    def flat_loss(flat):
        one = {"a": flat[:2], "w": flat[2:5], "x": flat[5:]}
        return value(dense_sum(one), one) ** 2 / 3

    flat = np.concatenate([params["a"], params["w"], params["x"]])
    step = 1e-3
    steps = step * np.eye(7)
    want = np.array(
        [
            [
                flat_loss(flat + p + q) - flat_loss(flat + p - q) - flat_loss(flat - p + q) + flat_loss(flat - p - q)
                for q in steps
            ]
            for p in steps
        ]
    )
    np.testing.assert_allclose(qj.hessian(loss, params), want / (4 * step**2), atol=1e-4)


def test_traced_hermitian_matrices_are_trained_through_their_coefficients():
    qubits, run = (4, 1), qj.expectation(CIRCUIT, qj.pauli_expansion(qj.Parameter("h", (16,)), (4, 1)))
    matrix = MATRIX[:4, :4]
    got = run({**PARAMS, "h": qj.pauli_coefficients(matrix)})
    np.testing.assert_allclose(got, value(reference.embed(matrix, qubits, N), PARAMS), atol=1e-12)
    slope = jax.grad(lambda m: run({**PARAMS, "h": qj.pauli_coefficients(m + m.T)}))(matrix.real)
    psi = reference.statevector(CIRCUIT, PARAMS)
    units = np.eye(16).reshape(4, 4, 4, 4)
    each = [[(psi.conj() @ reference.embed(u + u.T, qubits, N) @ psi).real for u in row] for row in units]
    np.testing.assert_allclose(slope, each, atol=1e-12)


def test_sums_with_trained_and_wide_parts_and_many_terms():
    labels = ["".join(word) for word in RNG.choice(list("IXYZ"), (60, N))]
    many = qj.Parameter("many", (60,))
    total = sum(many[i] * qj.PauliSum.from_label(label) for i, label in enumerate(labels)) + a[0] * WIDE["matrix"][0]
    numbers = RNG.normal(size=60)
    dense = sum(
        n * pauli_sum_matrix(qj.PauliSum.from_label(label), N) for n, label in zip(numbers, labels, strict=True)
    )
    run = qj.expectation(CIRCUIT, total)
    params = {**PARAMS, "many": numbers, "a": np.array([0.5, 0.0])}
    np.testing.assert_allclose(run(params), value(dense + 0.5 * DENSE["matrix"], PARAMS), atol=1e-11)


def test_wrong_coefficients():
    run = qj.expectation(CIRCUIT, SUM)
    with pytest.raises(ValueError, match=r"Argument `params` lacks \['a'\]"):
        run(PARAMS)
    with pytest.raises(ValueError, match=r"Parameter 'a' must have shape \(..., 2\), but has shape \(3,\)"):
        run({**PARAMS, "a": np.ones(3)})
    with pytest.raises(
        ValueError, match=r"'w' is used with shape \(2,\) in a coefficient, but the circuit has it with"
    ):
        qj.expectation(CIRCUIT, qj.Parameter("w", (2,))[0] * qj.Z(0))
    with pytest.raises(TypeError, match="given as one dictionary"):
        run(a=1.0)
