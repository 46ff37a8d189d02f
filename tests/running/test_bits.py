"""Classical bits that need no wire: those that nothing reads, and those that qubits hold to the end."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning.deferring import lowered
from qjaxsim.planning.readout import readout_errors, with_readout
from tests.running.test_on_the_way import random_measured

C = qj.Circuit
W = qj.Parameter("w", (3,))


def random_ended(seed, n_qubits, noisy):
    """A random circuit whose qubits are measured at the end, some twice, some wrongly, into bits of before or not."""
    circuit, rng = random_measured(seed, n_qubits, noisy)
    for _ in range(n_qubits):
        if rng.random() < 0.3:
            circuit.ry(W[0], int(rng.integers(n_qubits)))
        circuit.measure(int(rng.integers(n_qubits)), int(rng.integers(5)))
    if rng.random() < 0.5:
        circuit = qj.NoiseModel().readout_error(0.1, 0.3, 0).readout_error(0.05, 0.2, 1).apply(circuit)
    return circuit, rng


def check(seed):
    circuit, rng = random_ended(seed, 2 + seed % 2, noisy=seed % 3 == 0)
    params = {name: rng.normal(size=shape) for name, shape in circuit.parameters.items()}
    branches = reference.outcomes(circuit, params)
    for count in (1, min(3, circuit.n_bits)):
        asked = [int(bit) for bit in rng.permutation(circuit.n_bits)[:count]]
        exact = np.zeros((2,) * count)
        for bits, part in branches.items():
            exact[tuple(bits[bit] for bit in asked)] += np.trace(part).real
        found = qj.probabilities(circuit, bits=asked)(params)
        np.testing.assert_allclose(found, exact.ravel(), atol=1e-12)
    rho = sum(branches.values())
    errors = readout_errors(circuit)
    letters = [qj.Z, qj.X, qj.Y] if seed % 4 == 0 else [qj.Z]
    observable = letters[seed % len(letters)](0) @ qj.Z(1) + 0.3 * qj.Z(0)
    exact = lambda one: reference.pauli_sum_matrix(with_readout(one, errors), circuit.n_qubits)  # noqa: E731
    value = np.trace(exact(observable) @ rho).real
    assert qj.expectation(circuit, observable)(params) == pytest.approx(value, abs=1e-12)
    one = (1 - np.trace(exact(qj.Z(1)) @ rho).real) / 2
    assert qj.probabilities(circuit, [1])(params)[1] == pytest.approx(one, abs=1e-12)
    np.testing.assert_allclose(qj.density_matrix(circuit)(params), rho, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_bits_of_random_circuits(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 204))
def test_bits_of_many_random_circuits(seed):
    check(seed)


def wires(circuit, asked=()):
    form = lowered(circuit, asked)
    return form.circuit.n_qubits, form.is_density


def test_widths():
    ghz = C(6).h(0).cx(0, [1, 2, 3, 4, 5])
    noisy = ghz.copy().depolarizing(0.1, range(6)).measure(range(6), range(6))
    assert wires(noisy) == (12, True) and wires(noisy, range(6)) == (12, True)
    assert wires(ghz.copy().measure(range(6), range(6)), range(6)) == (6, False)
    misread = qj.NoiseModel().readout_error(0.1, 0.2).apply(ghz.copy().measure(range(6), range(6)))
    assert wires(misread, range(6)) == (6, False) and wires(misread) == (12, False)
    # A bit that is asked at the end, though a gate follows on its qubit; one that a condition reads; one of both.
    later = noisy.copy().x(2)
    assert wires(later, [1, 2]) == (13, True) and wires(later, [1]) == (12, True)
    fed = noisy.copy().if_bits(3, 1, C(6).x(0))
    assert wires(fed) == (13, True) and wires(fed, [3]) == (13, True) and wires(fed, [0]) == (14, True)
    # Measured over and over into one bit, as nobody asks, and as somebody asks for the last.
    many = C(2)
    for _ in range(5):
        many.h(0).measure(0, 0).reset(0)
    assert wires(many) == (4, True) and wires(many, [0]) == (5, True)
    assert wires(many.h(1).measure(1, 0), [0]) == (4, True)
    assert wires(C(2).h(0).measure(0, 3), [1]) == (4, False)  # one for the measurement, one that is 0


def test_a_state_of_sixteen_qubits_measured_at_the_end():
    """With wires for its bits each of these would take 64 GiB."""
    n = 16
    circuit = C(n).h(0)
    for q in range(n - 1):
        circuit.cx(q, q + 1)
    circuit.measure(range(n), range(n))
    found = qj.probabilities(circuit, bits=range(n))()
    np.testing.assert_allclose(found, np.eye(2**n, 1).ravel() / 2 + np.eye(2**n, 1)[::-1].ravel() / 2, atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(circuit, bits=[7, 3])(), [0.5, 0, 0, 0.5], atol=1e-12)
    np.testing.assert_allclose(qj.probabilities(circuit)(), found, atol=1e-12)
    observables = [qj.Z(0) @ qj.Z(9), qj.Diagonal(np.arange(4.0), [2, 5]), qj.Z(3) @ qj.X(4)]
    np.testing.assert_allclose(qj.expectation(circuit, observables[:2])(), [1, 1.5], atol=1e-12)
    np.testing.assert_allclose(qj.variance(circuit, observables[:2])(), [0, 2.25], atol=1e-12)
    turned = circuit.copy().h(4)  # by which X reads what was measured
    np.testing.assert_allclose(qj.expectation(turned, observables[2])(), 1, atol=1e-12)
    drawn = np.asarray(qj.sample(circuit, 50, bits=range(n))({}, jax.random.key(1)))
    assert (drawn == drawn[:, :1]).all() and 0 < drawn[:, 0].sum() < 50


def test_bits_read_wrongly_at_the_end_in_batches_with_derivatives():
    """P(1) = a + (1 - a - b) sin(w/2)**2, of qubits whose bits are in another order."""
    model = qj.NoiseModel().readout_error(0.1, 0.3, 0).readout_error(0.0, 0.2, 2)
    circuit = model.apply(C(3).ry(W[0], 0).ry(W[1], 1).ry(W[2], 2).measure([0, 1, 2], [2, 0, 1]))
    at = np.random.default_rng(0).normal(size=(5, 3))
    ones = np.sin(at / 2) ** 2
    chances = np.stack([0.1 + 0.6 * ones[:, 0], ones[:, 1], 0.8 * ones[:, 2]], axis=1)[:, [1, 2, 0]]  # by bit
    either = np.stack([1 - chances, chances], axis=2)
    exact = np.einsum("za,zb,zc->zabc", *either.transpose(1, 0, 2)).reshape(5, 8)
    read = qj.probabilities(circuit, bits=range(3))
    np.testing.assert_allclose(read({"w": at}), exact, atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.vmap(lambda w: read({"w": w})))(at), exact, atol=1e-12)
    slopes = jax.vmap(jax.grad(lambda w: qj.probabilities(circuit, bits=[2])({"w": w})[1]))(jnp.asarray(at))
    np.testing.assert_allclose(slopes, np.stack([0.3 * np.sin(at[:, 0]), *np.zeros((2, 5))], axis=1), atol=1e-12)


def test_bits_after_a_given_state():
    """Of a state drawn at random, with the qubits' own outcomes."""
    rng = np.random.default_rng(2)
    psi = rng.normal(size=8) + 1j * rng.normal(size=8)
    psi /= np.linalg.norm(psi)
    for circuit in (C(3).measure([2, 0, 1], [0, 1, 2]), C(3).bit_flip(0.0, 1).measure([2, 0, 1], [0, 1, 2])):
        found = qj.probabilities(circuit, bits=[1, 2, 0])({}, initial=psi)
        np.testing.assert_allclose(found, np.abs(psi) ** 2, atol=1e-12)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_projections_beside_measured_qubits(order):
    """Normalised by what was projected, whichever qubit holds which bit."""
    circuit = C(4).h([0, 1]).cx(0, 2).cry(0.8, 1, 3).depolarizing(0.1, 0).project(3, 1)
    circuit.measure(range(3), order)
    rho = np.asarray(qj.density_matrix(circuit)())
    exact = np.einsum("abcdabcd->abc", rho.reshape((2,) * 8)).transpose(np.argsort(order)).ravel()
    found = qj.probabilities(circuit, bits=range(3))()
    np.testing.assert_allclose(found, exact, atol=1e-12)
    assert found.sum() == pytest.approx(1)
