"""Density matrices of some qubits against partial traces in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import qjaxsim as qj
from qjaxsim.circuits import reference
from tests.cases import layered, mostly_slow
from tests.noisy_circuits import random_noisy, random_values


def traced_out(rho, kept):
    """sum_b <a b| rho |c b> for the bits a and c of the qubits that are kept."""
    n = len(rho).bit_length() - 1
    rows, columns = list(range(n)), list(range(n))
    for q in kept:
        columns[q] = n + q
    tensor = np.asarray(rho).reshape((2,) * (2 * n))
    return np.einsum(tensor, rows + columns, [*kept, *(n + q for q in kept)]).reshape(2 ** len(kept), -1)


def on_the_way():
    sent = qj.Circuit(3).ry(0.7, 0).h(1).cx(1, 2).cx(0, 1).h(0).measure([0, 1], [0, 1])
    return sent.if_bits(1, 1, qj.Circuit(3).x(2)).rx(0.4, 0).reset(1).cry(1.1, 0, 1)


CASES = {
    "pure": lambda: qj.Circuit(3).ry(0.4, 0).cx(0, 1).t(1).cx(1, 2).rx(0.9, 2),
    "measured": on_the_way,
    "measured and noisy": lambda: on_the_way().depolarizing(0.1, [0, 2]).cx(0, 1),
    "measured last": lambda: qj.Circuit(3).ry(0.4, 0).cx(0, 1).h(0).crx(0.8, 0, 2).measure([0, 1], [1, 0]),
    "noisy": lambda: qj.Circuit(3).ry(0.4, 0).cx(0, 1).amplitude_damping(0.3, 1).cx(1, 2).depolarizing(0.1, [0, 2]),
    "projected": lambda: qj.Circuit(3).ry(0.4, 0).cx(0, 1).bit_flip(0.1, 0).cx(1, 2).h(1).project(1, 0),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kept", mostly_slow([([2, 0],), ([0],), ([1, 2],), ([1, 0, 2],), (2,)]))
def test_the_other_qubits_are_traced_out(name, kept):
    circuit = CASES[name]()
    expected = traced_out(reference.density_matrix(circuit), kept if isinstance(kept, list) else [kept])
    np.testing.assert_allclose(qj.density_matrix(circuit, kept)(), expected, atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(circuit, kept)(), expected.diagonal().real, atol=1e-12)


@pytest.mark.parametrize("seed", mostly_slow(range(20)))
def test_of_random_noisy_circuits_in_batches(seed):
    circuit, rng = random_noisy(seed, 4)
    params = random_values(rng, circuit, (3,))
    found = qj.density_matrix(circuit, [3, 1])(params)
    whole = np.asarray(qj.density_matrix(circuit)(params)).reshape(-1, 16, 16)
    expected = [traced_out(rho, (3, 1)) for rho in whole]
    np.testing.assert_allclose(np.asarray(found).reshape(-1, 4, 4), expected, atol=1e-12)


def test_from_states_that_are_given():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(2, 8)) + 1j * rng.normal(size=(2, 8))
    states /= np.linalg.norm(states, axis=1)[:, None]
    circuit = qj.Circuit(3).cx(0, 2).ry(0.4, 1).cx(1, 2)
    found = qj.density_matrix(circuit, [2, 1])(initial=states)
    ends = states @ reference.unitary(circuit).T
    np.testing.assert_allclose(found, [traced_out(np.outer(psi, psi.conj()), (2, 1)) for psi in ends], atol=1e-12)


def test_second_derivatives_of_a_purity():
    circuit = layered(3, 2)
    start = random_values(np.random.default_rng(0), circuit)
    reduced = qj.density_matrix(circuit, [2, 0])
    purity = lambda params: (jnp.abs(reduced(params)) ** 2).sum()  # noqa: E731

    def by_hand(flat):
        rho = traced_out(reference.density_matrix(circuit, back(flat)), (2, 0))
        return np.vdot(rho, rho).real

    flat, back = jax.flatten_util.ravel_pytree(start)
    found, step = qj.hessian(purity, start), 1e-3
    for i, j in ((0, 0), (0, 4), (2, 5)):
        one, other = step * np.eye(len(flat))[[i, j]]
        ends = [sign * by_hand(flat + one + sign * other) for sign in (1, -1)]
        ends += [-sign * by_hand(flat - one + sign * other) for sign in (1, -1)]
        np.testing.assert_allclose(found[i, j], sum(ends) / (4 * step**2), atol=1e-5)


def test_half_of_two_copies_in_single_precision_is_thermal():
    """One half of sum_k exp(-b e_k / 2) |k k> is exp(-b H), divided by its trace."""
    energies, basis = np.linalg.eigh(np.random.default_rng(0).normal(size=(3, 8, 8)).sum(axis=0))
    weights = np.exp(-0.3 * energies) / np.exp(-0.3 * energies).sum()
    double = (basis * weights**0.5) @ basis.T
    thermal = qj.Circuit(6).initialize(qj.Parameter("x", (64,)))
    expected = scipy.linalg.expm(-0.3 * (basis * energies) @ basis.T) / np.exp(-0.3 * energies).sum()
    found = qj.density_matrix(thermal, [0, 1, 2])({"x": double.reshape(-1).astype(np.float32)})
    assert found.dtype == jnp.complex64
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_qubits_that_are_none():
    circuit = qj.Circuit(3)
    with pytest.raises(ValueError, match="Qubit 3 of 'density_matrix' is out of range for 3 qubits"):
        qj.density_matrix(circuit, [0, 3])
    with pytest.raises(ValueError, match="Qubits of 'density_matrix' must differ"):
        qj.density_matrix(circuit, [0, 0])
    with pytest.raises(ValueError, match="`qubits` must name at least one qubit, but is empty"):
        qj.density_matrix(circuit, [])


def test_matrices_that_do_not_fit_are_refused_before_memory_is_taken():
    wide = qj.Circuit(18).h(0)
    for q in range(17):
        wide.cx(q, q + 1)
    np.testing.assert_allclose(qj.density_matrix(wide, [17, 5])(), np.diag([0.5, 0, 0, 0.5]), atol=1e-6)
    with pytest.raises(MemoryError, match=r"of shape \(262144, 262144\) needs 1024.0 GiB.*; name fewer `qubits`, or"):
        qj.density_matrix(wide)()


def test_the_purity_of_one_of_two_entangled_qubits_and_its_derivatives():
    # cos(t / 2) |000> + sin(t / 2) |111>: each qubit has the purity 1 - sin(t)^2 / 2.
    ghz = qj.Circuit(3).ry(qj.Parameter("t"), 0).cx(0, 1).cx(1, 2)
    for circuit in (ghz, ghz.copy().depolarizing(0.0, 2)):
        state = qj.density_matrix(circuit, 1)

        def purity(t, state=state):
            return (abs(state({"t": t})) ** 2).sum(axis=(-2, -1))

        t = np.linspace(0.1, 3.0, 5)
        np.testing.assert_allclose(purity(t), 1 - np.sin(t) ** 2 / 2, atol=1e-12)
        np.testing.assert_allclose(jax.vmap(jax.grad(purity))(t), -np.sin(2 * t) / 2, atol=1e-12)
        np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(purity)))(t), -np.cos(2 * t), atol=1e-12)
