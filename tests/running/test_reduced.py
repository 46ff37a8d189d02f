"""Density matrices of some qubits, the others traced out: against traces in NumPy, closed forms."""

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from tests.cases import mostly_slow
from tests.noisy_circuits import random_noisy, random_values
from tests.random_circuits import random_circuit


def traced(rho, qubits):
    """By the definition: entries of equal bits of the other qubits added up."""
    n_qubits = len(rho).bit_length() - 1
    others = [q for q in range(n_qubits) if q not in qubits]
    found = np.zeros((2 ** len(qubits),) * 2, complex)
    bits = [[index >> (n_qubits - 1 - q) & 1 for q in range(n_qubits)] for index in range(len(rho))]
    place = [int("".join(str(each[q]) for q in qubits), 2) for each in bits]
    for i, j in np.ndindex(rho.shape):
        if all(bits[i][q] == bits[j][q] for q in others):
            found[place[i], place[j]] += rho[i, j]
    return found


def check(circuit, params, qubits):
    expected = traced(reference.density_matrix(circuit, params), qubits)
    np.testing.assert_allclose(qj.density_matrix(circuit, qubits)(params), expected, atol=1e-12)


@pytest.mark.parametrize("seed", mostly_slow(range(6), keep=2))
def test_of_pure_and_noisy_circuits(seed):
    rng = np.random.default_rng(seed)
    pure, _ = random_circuit(seed)
    check(pure, random_values(rng, pure), rng.permutation(pure.n_qubits)[:2].tolist())
    noisy, rng = random_noisy(seed, 3)
    for qubits in ([2, 0], [1], [2, 1, 0]):
        check(noisy, random_values(rng, noisy), qubits)


def test_after_measurements_on_the_way():
    w = qj.Parameter("w", (3,))
    circuit = qj.Circuit(3).ry(w[0], 0).cx(0, 1).ry(w[1], 1).measure(1, 0)
    circuit.if_bits(0, 1, qj.Circuit(3).crx(w[2], 1, 2)).h(1).reset(0).cx(1, 0)
    for qubits in ([2, 1], [0]):
        check(circuit, {"w": np.array([0.4, 1.1, 2.3])}, qubits)


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


def test_memory_is_that_of_what_is_kept():
    wide = qj.Circuit(18).h(0)
    for q in range(17):
        wide.cx(q, q + 1)
    np.testing.assert_allclose(qj.density_matrix(wide, [17, 5])(), np.diag([0.5, 0, 0, 0.5]), atol=1e-6)
    with pytest.raises(MemoryError, match=r"of shape \(262144, 262144\) needs 1024.0 GiB.*; name fewer `qubits`, or"):
        qj.density_matrix(wide)()


def test_qubits_that_are_none():
    circuit = qj.Circuit(3)
    for qubits, message in ((3, "Qubit 3 of .density_matrix. is out"), ([], "`qubits` must name at least one")):
        with pytest.raises(ValueError, match=message):
            qj.density_matrix(circuit, qubits)
