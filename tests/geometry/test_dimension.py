"""Effective dimensions, against published numbers, closed forms and Qiskit Machine Learning."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.geometry import classical_fisher, effective_dimension, local_effective_dimension

COUNTS = np.array([1e3, 1e4, 1e5, 1e6])


def encoding(circuit, x, entangled):
    """The ZZ feature map with two repetitions of Abbas et al., or their Z feature map with one."""
    n = circuit.n_qubits
    for _ in range(2 if entangled else 1):
        circuit.h(list(range(n)))
        for q in range(n):
            circuit.p(2 * x[q], q)
        for a in range(n) if entangled else ():
            for b in range(a + 1, n):
                circuit.cx(a, b).p(2 * (np.pi - x[a]) * (np.pi - x[b]), b).cx(a, b)
    return circuit


def published_model(entangled):
    x, w = qj.Parameter("x", (4,)), qj.Parameter("w", (10, 4))
    circuit = encoding(qj.Circuit(4), x, entangled)
    for layer in range(10):
        for q in range(4):
            circuit.ry(w[layer, q], q)
        for a in range(4) if layer < 9 else ():
            for b in range(a + 1, 4):
                circuit.cx(a, b)
    parity = qj.expectation(circuit, qj.Z(0) @ qj.Z(1) @ qj.Z(2) @ qj.Z(3))

    def probabilities(w, x):
        value = parity({"w": w, "x": x})
        return jnp.stack([(1 + value) / 2, (1 - value) / 2], axis=-1)

    return probabilities


@pytest.mark.parametrize(
    ("entangled", "published"),
    [(True, [0.8211, 0.8624, 0.8984, 0.9211]), (False, [0.6744, 0.7182, 0.7715, 0.8146])],
)
def test_published_rows_of_abbas(entangled, published):
    rng = np.random.RandomState(0)
    weights, x = rng.uniform(0, 1, (100, 40)), rng.normal(0, 1, (100, 4))
    fisher = functools.partial(classical_fisher, published_model(entangled))
    fishers = jax.jit(lambda all_w: jax.lax.map(lambda w: fisher(w.reshape(10, 4), x), all_w))(weights)
    np.testing.assert_array_equal((effective_dimension(fishers, COUNTS) / 40).round(4), published)


def test_qiskit_machine_learning_finds_the_same_on_equal_draws():
    from qiskit_machine_learning.neural_networks import EffectiveDimension

    rng = np.random.default_rng(0)
    roots = rng.normal(size=(7, 5, 5))
    fishers = roots @ roots.transpose(0, 2, 1)
    theirs = object.__new__(EffectiveDimension)
    theirs._model = type("Model", (), {"num_weights": 5})()
    theirs._num_weight_samples, theirs._num_input_samples = 7, 1
    normalised, _ = EffectiveDimension.get_normalized_fisher(theirs, fishers)
    expected = EffectiveDimension._get_effective_dimension(theirs, normalised, COUNTS)
    np.testing.assert_allclose(effective_dimension(fishers, COUNTS), expected, rtol=1e-10)


def test_closed_form_of_a_flat_model():
    kappa = 0.5 * COUNTS / (2 * np.pi * np.log(COUNTS))
    # One direction of four carries all: eigenvalue 4 after normalisation.
    one = np.diag([0.3, 0, 0, 0])
    expected = np.log1p(4 * kappa) / np.log(kappa)
    np.testing.assert_allclose(local_effective_dimension(one, COUNTS, gamma=0.5), expected, rtol=1e-12)
    np.testing.assert_allclose(effective_dimension(np.stack([one, one]), COUNTS, gamma=0.5), expected, rtol=1e-12)


def test_determinants_that_overflow():
    found = effective_dimension(np.stack([np.eye(200), 3 * np.eye(200)]), 1e12)  # exp(2,300)
    assert 1 < found / 200 < 1.2


def test_refusals():
    good = np.eye(3)[None]
    with pytest.raises(ValueError, match=r"`fishers` must hold real, finite matrices of shape \(T, P, P\)"):
        effective_dimension(np.eye(3), 1000)
    with pytest.raises(ValueError, match=r"`fisher` must hold real, finite matrices of shape \(P, P\)"):
        local_effective_dimension(np.ones(3), 1000)
    with pytest.raises(TypeError, match="`fisher` must be known, but is traced by JAX"):
        jax.jit(lambda fisher: local_effective_dimension(fisher, 1000))(np.eye(3))
    with pytest.raises(ValueError, match="not zero, but all are"):
        effective_dimension(0 * good, 1000)
    with pytest.raises(ValueError, match="positive semi-definite"):
        effective_dimension(np.diag([2.0, 1.0, -1.0])[None], 1000)
    with pytest.raises(
        ValueError, match="`fisher` must hold positive semi-definite matrices, but has an eigenvalue of -1"
    ):
        local_effective_dimension(-np.eye(3), 1000)  # a Hessian of a log-likelihood
    with pytest.raises(ValueError, match="`fisher` must hold symmetric matrices, .* differ by 5; symmetrise them"):
        local_effective_dimension(np.array([[1.0, 5.0], [0.0, 1.0]]), 1000)
    with pytest.raises(TypeError, match="`fishers` must be whole, but is a masked array; fill it"):
        effective_dimension(np.ma.array(good, mask=good > 0), 1000)
    with pytest.raises(ValueError, match="from 19 on for gamma = 1"):
        effective_dimension(good, 18)
    effective_dimension(good, 19)
    with pytest.raises(ValueError, match="`n_samples` must be numbers, but is 'many'"):
        effective_dimension(good, "many")
    with pytest.raises(ValueError, match="`n_samples` must be numbers, but is 1000"):
        effective_dimension(good, 10**400)
    with pytest.raises(ValueError, match="`gamma` must be above 0 and at most 1, but is 2"):
        effective_dimension(good, 1000, gamma=2)
