"""Samples and marginals of wide registers in single precision, and the refusal to differentiate samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

import qjaxsim as qj
from qjaxsim.running.measurement import marginal_probabilities
from qjaxsim.running.sampling import draw_outcomes


def test_every_bit_of_a_wide_uniform_distribution_is_drawn_evenly(key):
    n, shots = 25, 4000
    weights = jnp.full(2**n, 2.0**-n, jnp.float32)
    draws = np.asarray(jax.jit(draw_outcomes, static_argnums=2)(key, weights, shots))
    assert draws.shape == (shots, n)
    signs = 1 - 2 * draws
    # Means and correlations of independent signs: 350 normal numbers of width 1 / sqrt(shots).
    means = np.concatenate([signs.mean(0), (signs.T @ signs / shots)[np.triu_indices(n, 1)]])
    assert np.abs(means).max() < 5 / np.sqrt(shots)


def test_drawn_frequencies_follow_the_weights_where_single_precision_is_short(key):
    weights = np.zeros(2**21, np.float32)
    places = np.array([0, 1, 2**20 - 1, 2**20, 2**21 - 2, 2**21 - 1])
    chances = np.array([0.5, 0.02, 0.08, 0.1, 0.05, 0.25])
    weights[places] = chances
    draws = np.asarray(draw_outcomes(key, jnp.asarray(weights), 20000))
    outcomes = draws @ (1 << np.arange(20, -1, -1))
    assert set(outcomes) <= set(places)
    counts = np.array([(outcomes == place).sum() for place in places])
    statistic = ((counts - 20000 * chances) ** 2 / (20000 * chances)).sum()
    assert statistic < chi2.ppf(0.9999, len(places) - 1)


def test_nothing_without_weight_is_drawn_from_the_smallest_numbers(key):
    tiny = jnp.array([0, 1e-45, 0, 0], jnp.float32)
    big = jnp.array([0, 1, 0, 0], jnp.float32)
    for weights in (tiny, big):
        outcomes = draw_outcomes(key, weights, 200)
        assert not outcomes[:, 0].any()
    assert draw_outcomes(key, big, 200)[:, 1].all()


@pytest.mark.parametrize("rare", [0, 1])
def test_rare_outcomes_are_drawn_as_often_as_they_should(rare, monkeypatch):
    """Of all 2**32 random integers a share of 1e-8 draws it, those at one end: with 23 bits none, or one in 2**23."""
    ends = np.r_[:2000, 2**32 - 2000 : 2**32].astype(np.uint32)
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.asarray(ends, dtype)[None])
    weights = np.full(2, 1 - 1e-8, np.float32)
    weights[rare] = 1e-8
    draws = np.asarray(draw_outcomes(jax.random.key(0), jnp.asarray(weights), len(ends)))
    assert abs((draws == rare).sum() - 1e-8 * 2**32) < 1


def test_marginals_of_a_wide_register_add_up_in_single_precision():
    n = 25
    state = jnp.full((2, 2**n, 1), 2 ** (-(n + 1) / 2), jnp.float32)
    for qubits in ((0,), (n - 1,), (3, 20)):
        got = np.asarray(jax.jit(marginal_probabilities, static_argnums=0)(qubits, state))[:, 0]
        np.testing.assert_allclose(got, 2.0 ** -len(qubits), rtol=1e-6)


def test_marginals_in_steps_equal_sums_over_a_wide_table():
    rng = np.random.default_rng(3)
    state = rng.normal(size=(2, 2**13, 2))
    table = (state**2).sum(0).reshape((2,) * 13 + (2,))
    got = marginal_probabilities((12, 4), jnp.asarray(state))
    np.testing.assert_allclose(got, np.einsum("abcdefghijklmz->mez", table).reshape(4, 2), rtol=1e-12)


x = qj.Parameter("x", (2,))
DRAW = qj.sample(qj.Circuit(2).rx(x[0], 0).ry(x[1], 1).cx(0, 1), 8)


@pytest.mark.parametrize(
    "derivative",
    [
        jax.grad,
        jax.value_and_grad,
        lambda f: jax.grad(jax.jit(f)),
        lambda f: lambda v: jax.vmap(jax.grad(f))(v[None]),
        lambda f: lambda v: jax.jvp(f, (v,), (v,)),
        lambda f: lambda v: jax.linearize(f, v),
    ],
)
def test_a_derivative_through_samples_is_refused(derivative, key):
    with pytest.raises(TypeError, match="Drawn outcomes have no derivative in the parameters"):
        derivative(lambda v: DRAW({"x": v}, key).astype(float).mean())(jnp.array([0.3, 0.5]))


def test_samples_of_parameters_held_constant_may_stand_in_a_loss(key):
    point = jnp.array([0.3, 0.5])

    def loss(v):
        drawn = DRAW({"x": jax.lax.stop_gradient(v)}, key).astype(float).mean()
        return drawn * (v**2).sum()

    mean = float(DRAW({"x": point}, key).astype(float).mean())
    np.testing.assert_allclose(jax.grad(loss)(point), 2 * mean * point, rtol=1e-12)


def test_samples_are_the_same_under_jit_and_for_each_row_of_a_vmap(key):
    points = jnp.array([[0.3, 0.5], [1.2, -0.4], [2.0, 0.1]])
    run = lambda v, k: DRAW({"x": v}, k)  # noqa: E731
    np.testing.assert_array_equal(jax.jit(run)(points, key), run(points, key))
    keys = jax.random.split(key, 3)
    rows = jnp.stack([run(point, own) for point, own in zip(points, keys, strict=True)])
    np.testing.assert_array_equal(jax.vmap(run)(points, keys), rows)
