"""Trajectories: their means and the means of their derivatives against density matrices."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits.channels import CHANNELS
from tests.cases import mostly_slow
from tests.noisy_circuits import random_kraus, random_noisy, random_values, strengths

# A right mean lies outside five standard errors once in two million draws; the keys are fixed.
SIGMAS = 5


def scores(values, exact):
    """How many standard errors the mean over the first axis lies from its expected value."""
    values = np.asarray(values)
    error = values.std(axis=0) / np.sqrt(len(values))
    return np.abs(values.mean(axis=0) - exact) / np.maximum(error, 1e-12)


W, P = qj.Parameter("w", (2,)), qj.Parameter("p", (2,))


def small():
    circuit = qj.Circuit(3).ry(W[0], 0).amplitude_damping(P[0], 0).cx(0, 1).depolarizing2(P[1], 0, 1).rx(W[1], 1)
    return circuit.cx(1, 2).thermal_relaxation(50.0, 70.0, 5.0, 0.1, 2)


AT = {"w": np.array([0.7, 0.4]), "p": np.array([0.2, 0.1])}
OBSERVABLES = [qj.Z(1), qj.X(0) @ qj.Y(2), qj.Z(0) @ qj.Z(2)]


def test_means_and_their_derivatives_in_angles_and_strengths():
    exact = qj.expectation(small(), OBSERVABLES)
    values = qj.trajectories(small(), OBSERVABLES, 4000)
    key = jax.random.key(1)
    assert scores(values(AT, key), exact(AT)).max() < SIGMAS
    expected, drawn = jax.jit(jax.jacfwd(exact))(AT), jax.jit(jax.jacfwd(lambda p: values(p, key)))(AT)
    for name in AT:
        assert scores(drawn[name], expected[name]).max() < SIGMAS


def test_second_derivatives_without_bias():
    circuit = qj.Circuit(3).ry(W[0], 0).amplitude_damping(P[0], 0).cx(0, 1).depolarizing(P[1], 1).rx(W[1], 1)
    values = qj.trajectories(circuit, qj.Z(1), 2000)
    exact = jax.jit(jax.hessian(qj.expectation(circuit, qj.Z(1))))(AT)
    drawn = jax.jit(jax.jacfwd(jax.jacfwd(lambda p: values(p, jax.random.key(2)))))(AT)
    for first in AT:
        for second in AT:
            assert scores(drawn[first][second], exact[first][second]).max() < SIGMAS


def test_derivatives_where_a_strength_is_at_its_bounds():
    """Outcomes without weight there, whose weight changes."""
    circuit = qj.Circuit(3).ry(W[0], 0).depolarizing(P[0], 0).bit_flip(P[1], 1).cx(0, 2).ry(W[1], 1)
    circuit.amplitude_damping(P[0], 1).phase_damping(P[0], 0).reset_error(P[0], P[0], 2).rx(0.4, [0, 1, 2])
    at = {"w": np.array([0.7, 0.4]), "p": np.array([0.0, 1.0])}
    values = qj.trajectories(circuit, OBSERVABLES, 4000)
    slopes = jax.jit(jax.jacfwd(lambda p: values({**at, "p": p}, jax.random.key(5))))(at["p"])
    exact = qj.expectation(circuit, OBSERVABLES)
    assert scores(slopes, jax.jit(jax.jacfwd(lambda p: exact({**at, "p": p})))(at["p"])).max() < SIGMAS
    assert scores(values(at, jax.random.key(5)), exact(at)).max() < SIGMAS


def test_qubits_that_are_raised_for_certain():
    circuit = qj.Circuit(4).reset_error(0.0, 1.0, 0).generalized_amplitude_damping(1, 1, 1)
    circuit.phase_amplitude_damping(1, 0, 1, 2).thermal_relaxation(50, 50, 2000, 1, 3)
    values = qj.trajectories(circuit, [qj.Z(q) for q in range(4)], 1000)({}, jax.random.key(0))
    assert scores(values, -1).max() < SIGMAS


@pytest.mark.parametrize("name", mostly_slow(CHANNELS, keep=[5, 6, 10]))
def test_every_channel(name):
    rng = np.random.default_rng(0)
    spec = CHANNELS[name]
    circuit = qj.Circuit(3).ry(0.7, 0).cx(0, 1).ry(0.4, 1).append(name, range(spec.n_qubits), strengths(rng, name))
    values = qj.trajectories(circuit, OBSERVABLES[:1], 3000)({}, jax.random.key(3))
    assert scores(values, qj.expectation(circuit, OBSERVABLES[:1])()).max() < SIGMAS


def test_kraus_matrices_batches_and_single_precision():
    rng = np.random.default_rng(0)
    w = qj.Parameter("w")
    circuit = qj.Circuit(3).ry(w, 0).cx(0, 1).kraus(random_kraus(rng, 2), (1, 0))
    at = {"w": jnp.array([0.3, 1.1], jnp.float32)}
    values = qj.trajectories(circuit, qj.Z(0), 3000)(at, jax.random.key(4))
    assert values.shape == (3000, 2)
    assert values.dtype == jnp.float32
    assert scores(values, np.asarray(qj.expectation(circuit, qj.Z(0))(at))).max() < SIGMAS


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_many_noisy_circuits(seed):
    circuit, rng = random_noisy(seed, 3)
    params = random_values(rng, circuit)
    values = qj.trajectories(circuit, OBSERVABLES, 4000)(params, jax.random.key(seed))
    assert scores(values, qj.expectation(circuit, OBSERVABLES)(params)).max() < SIGMAS


def test_without_channels_all_are_the_same():
    circuit = qj.Circuit(2).ry(0.4, 0).cx(0, 1)
    values = qj.trajectories(circuit, qj.Z(1), 3)({}, jax.random.key(0))
    np.testing.assert_allclose(values, np.full(3, np.cos(0.4)), atol=1e-6)


def test_readout_errors_and_trained_coefficients():
    c = qj.Parameter("c")
    circuit = qj.Circuit(2).x(0).bit_flip(0.25, 1).readout_error(0, 0.5, 0)
    values = qj.trajectories(circuit, c * qj.Z(1) + qj.Z(0), 3000)({"c": 2.0}, jax.random.key(0))
    assert scores(values, 2 * 0.5 + 0.0).max() < SIGMAS


def test_batches_of_trained_coefficients():
    c = np.array([[1.0, -2.0]])
    circuit = qj.Circuit(2).x(0).bit_flip(P[0], 0)
    at = {"p": np.array([[[0.1, 0.0]], [[0.4, 0.0]], [[1.0, 0.0]]]), "c": c}
    values = qj.trajectories(circuit, qj.Parameter("c") * qj.Z(0), 3000)(at, jax.random.key(0))
    assert scores(values, c * (2 * at["p"][..., 0] - 1)).max() < SIGMAS


WRONG = {
    "measured": (lambda: qj.trajectories(qj.Circuit(1).measure(0, 0), qj.Z(0), 5), "measurements or resets has no"),
    "wide": (
        lambda: qj.trajectories(qj.Circuit(4).kraus([np.eye(16)], range(4)), qj.Z(0), 5),
        "take channels of up to 3 qubits, but one acts on (0, 1, 2, 3)",
    ),
    "count": (lambda: qj.trajectories(small(), qj.Z(0), 0), "Argument `count` must be a positive integer, but is 0"),
    "params": (lambda: qj.trajectories(small(), qj.Z(0), 5)({"w": AT["w"]}, jax.random.key(0)), "lacks ['p']"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said(case):
    function, message = WRONG[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        function()


def test_a_key_is_needed():
    with pytest.raises(TypeError, match="Argument `key` must be a random key"):
        qj.trajectories(small(), qj.Z(0), 5)(AT, 3)
