"""Fisher matrices of models and tangent kernels, against closed forms, the Gauss-Newton matrix and sample loops."""

from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import qjaxsim as qj
from qjaxsim import geometry
from qjaxsim.curvature import curvature_operators, split_hessian
from qjaxsim.geometry import classical
from qjaxsim.models.losses import cross_entropy
from tests.cases import layered, network, network_problem


def softmax(params, x):
    return jax.nn.softmax(network(params, x))


@pytest.fixture(params=[0, 2000])
def ways(request, monkeypatch):
    """Derivatives by reverse and by forward mode."""
    monkeypatch.setattr(classical, "FORWARDS", request.param)


@pytest.mark.usefixtures("ways")
@pytest.mark.parametrize("batch_size", [None, 1, 4, 100])
def test_of_a_softmax_it_is_the_gauss_newton_matrix_of_the_cross_entropy(batch_size):
    params, x, y = network_problem()
    split = split_hessian(network, cross_entropy, params, x, y)
    found = geometry.classical_fisher(softmax, params, x, batch_size=batch_size)
    np.testing.assert_allclose(found, split.gauss_newton, atol=1e-12)


def test_probabilities_of_a_circuit_against_a_loop():
    circuit = layered(3, 2)
    names = sorted(circuit.parameters)
    data = "x" if "x" in names else names[-1]
    run = qj.probabilities(circuit)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=circuit.parameters[name]) for name in names if name != data}
    x = rng.normal(size=(5, *circuit.parameters[data]))
    found = geometry.classical_fisher(lambda w, x: run({**w, data: x}), weights, x)
    flat, unravel = jax.flatten_util.ravel_pytree(weights)
    expected = 0
    for sample in x:
        p, slopes = run({**weights, data: sample}), jax.jacfwd(lambda w: run({**unravel(w), data: sample}))(flat)  # noqa: B023
        expected = expected + np.einsum("kp,kq,k->pq", slopes, slopes, 1 / np.asarray(p)) / len(x)
    np.testing.assert_allclose(found, expected, atol=1e-12 * abs(expected).max())
    # No measurement tells more than the state holds.
    held = geometry.quantum_fisher(circuit, list(weights))({**weights, data: x}).mean(axis=0)
    assert np.linalg.eigvalsh(held - found).min() > -1e-10


def test_without_inputs_measurements_of_a_dephased_state_against_the_closed_form():
    """The parity of n qubits of a GHZ state in the basis of X is +-1 with probabilities (1 +- v cos(n a)) / 2."""
    n, a, p = 4, 0.3, 0.05
    state = qj.Circuit(n).h(0).cx(0, 1).cx(1, 2).cx(2, 3)
    state = state.rz(qj.Parameter("a"), range(n)).phase_flip(qj.Parameter("p"), range(n))
    v = (1 - 2 * p) ** n
    slopes = np.array([-n * v * np.sin(n * a), -2 * n * (1 - 2 * p) ** (n - 1) * np.cos(n * a)])  # of v cos(n a)
    expected = np.outer(slopes, slopes) / (1 - (v * np.cos(n * a)) ** 2)
    at = {"a": jnp.array(a), "p": jnp.array(p)}
    of_x = qj.probabilities(state.copy().h(range(n)))
    np.testing.assert_allclose(geometry.classical_fisher(of_x, at), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(lambda at: geometry.classical_fisher(of_x, at))(at), expected, rtol=1e-12)
    np.testing.assert_allclose(geometry.classical_fisher(qj.probabilities(state), at), 0, atol=1e-14)


def test_draws_of_parameters_are_mapped_over():
    params, x, _ = network_problem()
    draws = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    found = jax.vmap(lambda w: geometry.classical_fisher(softmax, w, x))(draws)
    np.testing.assert_allclose(found[0], geometry.classical_fisher(softmax, params, x), atol=1e-12)


def test_outcomes_without_probability_are_left_out():
    certain = lambda w, x: jnp.stack([x * w[0] ** 2, 1 - x * w[0] ** 2], axis=1)  # noqa: E731
    np.testing.assert_allclose(geometry.classical_fisher(certain, jnp.zeros(1), jnp.ones(2)), [[0.0]])


@pytest.mark.parametrize("numbers", [[5.0, -5.0], [-0.25, 1.25], [0.5], [0.5, 0.4]])
def test_what_are_no_probabilities_of_all_outcomes_is_refused(numbers):
    """Logits, one below zero, one alone, some of them: under transformations NaN."""
    given = lambda w, x: x[:, None] * w[0] + jnp.array([numbers])  # noqa: E731
    with pytest.raises(ValueError, match="`probabilities` must return the probabilities of all outcomes"):
        geometry.classical_fisher(given, jnp.zeros(1), jnp.ones(3))
    found = jax.vmap(lambda w: geometry.classical_fisher(given, w, jnp.ones(3)))(jnp.zeros((1, 1)))
    assert np.isnan(found).all()


@pytest.mark.parametrize("batch_size", [None, 5])
def test_empirical_fisher_against_gradients_of_samples(batch_size):
    params, x, y = network_problem()
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    one = lambda i: jax.tree.map(lambda leaf: leaf[i : i + 1], (x, y))  # noqa: E731
    loss = lambda w, xs, ys: cross_entropy(network(unravel(w), xs), ys)[0]  # noqa: E731
    each = [jax.grad(loss)(flat, *one(i)) for i in range(len(y))]
    expected = sum(np.outer(g, g) for g in each) / len(y)
    found = geometry.empirical_fisher(network, cross_entropy, params, x, y, batch_size=batch_size)
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.usefixtures("ways")
def test_tangent_kernel_against_jacobians():
    params, x, _ = network_problem()
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    full = jax.jacfwd(lambda w: network(unravel(w), x))(flat)
    expected = np.einsum("nkp,mlp->nmkl", full, full)
    np.testing.assert_allclose(geometry.neural_tangent_kernel(network, params, x), expected, atol=1e-12)
    parts = [jax.tree.map(lambda leaf: leaf[chosen], x) for chosen in (slice(4), slice(4, None))]  # noqa: B023
    found = geometry.neural_tangent_kernel(network, params, *parts)
    np.testing.assert_allclose(found, expected[:4, 4:], atol=1e-12)


def test_tangent_kernel_and_gauss_newton_matrix_have_the_same_nonzero_eigenvalues():
    params, x, y = network_problem(n_samples=3)
    half_square = lambda z, y: (z**2).sum(axis=1) / 2  # noqa: E731
    g = curvature_operators(network, half_square, params, x, y).gauss_newton.dense()
    kernel = geometry.neural_tangent_kernel(network, params, x)
    matrix = np.asarray(kernel).transpose(0, 2, 1, 3).reshape(9, 9) / 3
    np.testing.assert_allclose(np.linalg.eigvalsh(g)[-9:], np.linalg.eigvalsh(matrix), atol=1e-12)


def test_refusals():
    params, x, y = network_problem()
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer, but is 0"):
        geometry.classical_fisher(softmax, params, x, batch_size=0)
    with pytest.raises(ValueError, match="`outputs` must return real numbers of shape"):
        geometry.empirical_fisher(lambda w, x: x["image"][0], cross_entropy, params, x, y)
    with pytest.raises(TypeError, match="real float"):
        geometry.classical_fisher(softmax, {"w": np.arange(3)}, x)
    with pytest.raises(ValueError, match=r"`probabilities` must return real numbers of shape \(13, K\), one row"):
        geometry.classical_fisher(lambda w, x: softmax(w, x)[0], params, x)
    with pytest.raises(ValueError, match="Argument `x` must have one and the same number .* but its leaves begin"):
        geometry.classical_fisher(softmax, params, {"image": x["image"], "other": np.ones(2)})
    with pytest.raises(ValueError, match="Argument `x2` must have one and the same number of samples, at least 1"):
        geometry.neural_tangent_kernel(network, params, x, {"image": x["image"][:0]})
    with pytest.raises(ValueError, match=r"`probabilities` must return .* \(K,\) where `x` is not given.*\(13, 3\);"):
        geometry.classical_fisher(lambda w: softmax(w, x), params)


def test_memory_is_looked_at_first(monkeypatch):
    params, x, y = network_problem()
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 64)
    with pytest.raises(MemoryError, match="A Fisher matrix of"):
        geometry.classical_fisher(softmax, params, x)
    with pytest.raises(MemoryError, match="A neural tangent kernel of 13 x 13 samples"):
        geometry.neural_tangent_kernel(network, params, x)


# --- natural gradients -----------------------------------------------------------------------------------------------


def test_one_step_of_a_fitted_quadratic_ends_at_its_minimum():
    matrix = jnp.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 5.0]])
    start = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    loss = lambda w: (v := jnp.append(w["a"], w["b"])) @ matrix @ v / 2  # noqa: E731
    rule = optax.chain(geometry.natural_gradient(lambda w: matrix), optax.sgd(1.0))
    updates, _ = rule.update(jax.grad(loss)(start), rule.init(start), start)
    end = optax.apply_updates(start, updates)
    np.testing.assert_allclose(np.append(end["a"], end["b"]), 0, atol=1e-14)


def test_damping_pseudo_inverse_and_means():
    metric = jnp.stack([jnp.diag(jnp.array([3.0, 0.0])), jnp.diag(jnp.array([5.0, 0.0]))])
    slope = jnp.array([2.0, 3.0])
    step = lambda **given: geometry.natural_gradient(lambda w: metric, **given).update(slope, None, slope)[0]  # noqa: E731
    np.testing.assert_allclose(step(), [0.5, 0.0])
    np.testing.assert_allclose(step(damping=1.0), [0.4, 3.0])
    np.testing.assert_allclose(step(damping=1.0, rcond=0.5), [0.4, 0.0])


@pytest.mark.parametrize("damping", [0.0, 0.1])
def test_steps_are_differentiated_where_eigenvalues_meet(damping):
    """At t = 0 two eigenvalues are 2 and one is zero, in a plane that turns with t; against NumPy's pseudo-inverse."""
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0][:, :2]
    turn = np.array([[0, -1, 2], [1, 0, 3], [-2, -3, 0.0]])
    slope = np.array([1.0, 2.0, -1.0])

    def metric(t):
        columns = basis + t * turn @ basis
        return columns @ (2 * xp.eye(2) + t * xp.ones((2, 2))) @ columns.T

    def step(t):
        rule = geometry.natural_gradient(lambda w: metric(t), damping=damping)
        return rule.update(jnp.asarray(slope), None, jnp.zeros(3))[0]

    xp = np
    ends = [np.linalg.pinv(metric(t) + damping * np.eye(3), rcond=1e-12) @ slope for t in (1e-5, -1e-5)]
    xp = jnp
    for derivative in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(derivative(step)(0.0), (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-37, 3e37])
def test_metrics_of_any_size_in_single_precision(scale):
    metric, slope = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
    rule = geometry.natural_gradient(lambda w: jnp.asarray(metric * scale, jnp.float32))
    step = np.asarray(rule.update(jnp.asarray(slope * scale, jnp.float32), None, jnp.zeros(2))[0])
    np.testing.assert_allclose(step, np.linalg.solve(metric, slope), rtol=1e-5)
    damped = geometry.natural_gradient(lambda w: jnp.asarray(metric * 1e-30, jnp.float32), damping=1e10)
    step = np.asarray(damped.update(jnp.asarray(slope, jnp.float32), None, jnp.zeros(2))[0])
    np.testing.assert_allclose(step, slope / 1e10, rtol=1e-5)


def test_ground_state_in_fewer_steps_than_the_gradient():
    a, n = qj.Parameter("a", (2, 3)), 3
    circuit = qj.Circuit(n)
    for layer in range(2):
        for q in range(n):
            circuit.ry(a[layer, q], q)
        circuit.cx(0, 1).cx(1, 2)
    energy = qj.expectation(circuit, sum(qj.Z(q) @ qj.Z(q + 1) for q in range(2)) + sum(qj.X(q) for q in range(n)))
    value = lambda w: energy(w)  # noqa: E731
    fisher = geometry.quantum_fisher(circuit)

    def after(rule, steps=40):
        w = {"a": jnp.full((2, 3), 0.3)}
        state = rule.init(w)
        for _ in range(steps):
            updates, state = rule.update(jax.grad(value)(w), state, w)
            w = optax.apply_updates(w, updates)
        return float(value(w))

    natural = after(optax.chain(geometry.natural_gradient(lambda w: fisher(w) / 4, damping=1e-3), optax.sgd(0.05)))
    assert natural < after(optax.sgd(0.05)) - 0.05


def test_keywords_of_an_update_reach_the_metric():
    rule = geometry.natural_gradient(lambda w, scale: scale * jnp.eye(2))
    out, _ = rule.update(jnp.ones(2), rule.init(None), jnp.ones(2), scale=4.0)
    np.testing.assert_allclose(out, 0.25)


@pytest.mark.parametrize("nested", [lambda part: part, lambda part: (part, jnp.ones(2))], ids=["alone", "in a tuple"])
def test_an_ordered_dict_meets_a_metric_of_sorted_names(nested):
    """As circuits' are, in whatever order the parameters stand; so that each is divided by its own."""
    slopes = nested(OrderedDict(z=jnp.array([4.0, 8.0]), a=jnp.array([[6.0]])))
    own = np.array([2.0, 4.0, 4.0, 1.0, 1.0])  # a, z, and what is beside them
    size = sum(leaf.size for leaf in jax.tree.leaves(slopes))
    out, _ = geometry.natural_gradient(lambda w: jnp.diag(own[:size])).update(slopes, None, slopes)
    expected = nested(OrderedDict(z=jnp.array([1.0, 2.0]), a=jnp.array([[3.0]])))
    assert jax.tree.structure(out) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_allclose, out, expected)


def test_refusals_of_natural_gradients():
    with pytest.raises(ValueError, match="`damping` must be a finite number from 0 on, but is -1"):
        geometry.natural_gradient(lambda w: w, damping=-1)
    with pytest.raises(ValueError, match="`rcond` must be"):
        geometry.natural_gradient(lambda w: w, rcond=float("nan"))
    rule = geometry.natural_gradient(lambda w: jnp.eye(3))
    with pytest.raises(ValueError, match="`params` of `update` must be given"):
        rule.update(jnp.ones(2), None)
    with pytest.raises(ValueError, match=r"`metric` must return \(2, 2\) for 2 parameters, but returned \(3, 3\)"):
        rule.update(jnp.ones(2), None, jnp.ones(2))
    with pytest.raises(ValueError, match=r"`metric` must return \(2, 2\) for 2 parameters, but returned \(\)"):
        geometry.natural_gradient(lambda w: 3.0).update(jnp.ones(2), None, jnp.ones(2))
