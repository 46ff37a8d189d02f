"""A neuron of the recurrent network: its closed form against explicit circuits, ours and Qiskit's."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.models.qrnn_neuron import amplified_neuron_circuit, neuron_circuit
from qjaxsim.models.qrnn_topology import QrnnTopology
from tests.cases import mostly_slow


def branch_weights(n_sources, key):
    """A random real state of sources and target, (2**n, 2)."""
    state = jax.random.normal(key, (2**n_sources, 2), jnp.float64)
    return state / jnp.linalg.norm(state)


def closed_form(state, numbers, topology):
    eta = topology.bias + topology.monomials @ np.asarray(numbers)
    c, s = np.cos(eta / 2) ** (2**topology.order), np.sin(eta / 2) ** (2**topology.order)
    a0, a1 = np.asarray(state).T
    return np.stack([c * a0 - s * a1, s * a0 + c * a1], axis=1)


def run_circuit(circuit, state, numbers, ancillas):
    """The circuit on a given state of sources and target; amplitudes (2**n, 2, 2**ancillas)."""
    n = int(math.log2(state.size))
    matrix = np.zeros((state.size,) * 2)
    matrix[:, 0] = np.ravel(state)
    basis = np.linalg.qr(np.column_stack([np.ravel(state), np.eye(state.size)[:, : state.size - 1]]))[0]
    basis = basis * np.sign(basis[:, 0] @ np.ravel(state))
    whole = qj.Circuit(n + ancillas).unitary(basis, range(n)).compose(circuit)
    return np.asarray(qj.statevector(whole)({"numbers": numbers})).reshape(-1, 2, 2**ancillas)


@pytest.mark.parametrize("order", mostly_slow([1, 2, 3], keep=[1]))
def test_closed_form_equals_the_explicit_circuit(order, key):
    topology = QrnnTopology(width=1, workspace=3, stages=1, degree=3, order=order, bias=0.8)
    numbers = jax.random.normal(key, (topology.n_numbers,), jnp.float64)
    state = branch_weights(3, jax.random.key(order))
    want = closed_form(state, numbers, topology)
    circuit = neuron_circuit(topology.n_sources, topology.degree, order, topology.bias)
    amplitudes = run_circuit(circuit, state, numbers, order)
    np.testing.assert_allclose(amplitudes[..., 0], want / np.linalg.norm(want), atol=1e-12)
    np.testing.assert_allclose(amplitudes[..., 1:], 0, atol=1e-12)


def test_an_exported_neuron_is_the_closed_form_in_qiskit():
    """Order 1 without its projection, on every basis state of three sources; the ancilla is then read as 0."""
    quantum_info = pytest.importorskip("qiskit.quantum_info")
    from qjaxsim_qiskit import to_qiskit

    topology = QrnnTopology(1, 3, 1, 2, order=1)
    numbers = np.random.default_rng(4).normal(size=topology.n_numbers)
    circuit = to_qiskit(neuron_circuit(3, 2, 1, topology.bias, project=False)).assign_parameters(numbers)
    angles = topology.bias + topology.monomials @ numbers
    for x, bits in enumerate(itertools.product((0, 1), repeat=3)):
        start = sum(bit << lane for lane, bit in enumerate(bits))  # Qiskit's first qubit is the least significant
        found = quantum_info.Statevector.from_int(start, 32).evolve(circuit).data
        c, s = math.cos(angles[x] / 2) ** 2, math.sin(angles[x] / 2) ** 2
        np.testing.assert_allclose(found[[start, start + 8]], [c, s], atol=1e-12)


def test_amplification_cubes_the_failure_and_keeps_branch_weights(key):
    """Order 1: failure eps -> eps^3, and each branch keeps its weight where postselection re-weights it."""
    topology = QrnnTopology(width=1, workspace=2, stages=1, degree=2, order=1)
    numbers = jax.random.normal(key, (topology.n_numbers,), jnp.float64)
    state = branch_weights(2, jax.random.key(4))
    weights = np.asarray(state**2).sum(axis=1)
    kept = closed_form(state, numbers, topology)
    failure = 1 - (kept**2).sum(axis=1) / weights  # of each branch
    for levels in range(3):
        amplitudes = run_circuit(amplified_neuron_circuit(2, 2, 1, topology.bias, levels), state, numbers, 1)
        left = (np.abs(amplitudes[..., 1]) ** 2).sum(axis=1) / weights
        np.testing.assert_allclose(left, failure ** (3**levels), atol=1e-12)
    # The last one is deep: a rotation by arctan(s / c) up to a phase of the branch, weights untouched.
    turned = kept / np.linalg.norm(kept, axis=1, keepdims=True) * np.sqrt(weights)[:, None]
    overlap = (amplitudes[..., 0].conj() * turned).sum(axis=1)
    np.testing.assert_allclose(np.abs(overlap), weights * np.sqrt(1 - failure**9), atol=1e-12)
    reweighted = (kept**2).sum(axis=1) / (kept**2).sum()
    assert np.abs(reweighted - weights).max() > 0.05


def test_amplified_second_order_neuron_tends_to_the_same_rotation(key):
    topology = QrnnTopology(width=1, workspace=1, stages=1, degree=1, order=2)
    numbers = 0.3 * jax.random.normal(key, (topology.n_numbers,), jnp.float64)
    state = branch_weights(1, jax.random.key(4))
    kept = closed_form(state, numbers, topology)
    weights = np.asarray(state**2).sum(axis=1)
    turned = kept / np.linalg.norm(kept, axis=1, keepdims=True) * np.sqrt(weights)[:, None]
    amplitudes = run_circuit(amplified_neuron_circuit(1, 1, 2, topology.bias, 2), state, numbers, 2)
    overlap = np.abs((amplitudes[..., 0].conj() * turned).sum(axis=1)) / weights
    np.testing.assert_allclose(overlap, 1, atol=2e-2)
