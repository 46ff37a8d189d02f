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
