"""Programs outside `jax.jit`: compiled once for one computation, never another's, and nothing of the user's kept."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.curvature import (
    gauss_newton_dual,
    gauss_newton_product,
    hessian,
    hessian_product,
    hvp,
    programs,
    residual_product,
)

WEIGHTS = jnp.array([0.3, -0.7, 1.1])


def looped(w):
    """A loss with a loop of its own, whose body is a closure."""
    return jax.lax.fori_loop(0, 3, lambda i, total: total + jnp.sin(w).sum() * jnp.prod(w) + jax.nn.relu(w[0]), 0.0)


def line(params, x):
    """Two outputs a sample."""
    return jnp.stack([jnp.sin(x @ params), jnp.cos(x @ params) * params[0]], axis=1)


def squared(z, y):
    """A loss a sample."""
    return ((z - y) ** 2).sum(axis=1)


X = jnp.linspace(-1.0, 1.0, 21).reshape(7, 3)
Y = jnp.ones((7, 2))

CALLS = {
    "hessian": lambda: hessian(looped, WEIGHTS),
    "hvp": lambda: hvp(looped, WEIGHTS, WEIGHTS),
    "hessian_product": lambda: hessian_product(line, squared, WEIGHTS, X, Y, WEIGHTS, batch_size=3),
    "gauss_newton_product": lambda: gauss_newton_product(line, squared, WEIGHTS, X, Y, WEIGHTS, batch_size=3),
    "residual_product": lambda: residual_product(line, squared, WEIGHTS, X, Y, WEIGHTS, batch_size=3),
    "gauss_newton_dual": lambda: gauss_newton_dual(line, squared, WEIGHTS, X, Y),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_repeated_call_compiles_nothing(name, compiled):
    assert compiled(CALLS[name]) > 0
    assert compiled(CALLS[name]) == 0


def test_a_circuit_compiles_once_for_lambdas_made_anew_and_each_gets_its_own_data(compiled):
    x, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    circuit = qj.Circuit(3).ry(x, 0).cx(0, 1)
    for q in range(3):
        circuit.rx(w[q], q).cx(q, (q + 1) % 3)
    f = qj.expectation(circuit, qj.Z(2))

    def found(data):
        return hessian(lambda w: (f({"x": data, "w": w}) ** 2).mean(), WEIGHTS)

    batches = [jax.random.normal(jax.random.key(seed), (5,)) for seed in range(3)]
    first = found(batches[0])
    for data in batches:
        assert compiled(lambda data=data: found(data)) == 0
        expected = jax.jit(jax.hessian(lambda w, data=data: (f({"x": data, "w": w}) ** 2).mean()))(WEIGHTS)
        np.testing.assert_allclose(found(data), expected, atol=1e-12)
    assert float(jnp.abs(found(batches[1]) - first).max()) > 1e-3


def test_what_a_function_reads_may_change_between_calls():
    held = {"scale": 2.0, "data": np.array([1.0, 2.0, 3.0]), "power": 2}

    def loss(w):
        return held["scale"] * jnp.sum(held["data"] * w ** held["power"])

    def expected():
        power = held["power"]
        return np.diag(held["scale"] * held["data"] * power * (power - 1) * np.asarray(WEIGHTS) ** (power - 2))

    np.testing.assert_allclose(hessian(loss, WEIGHTS), expected(), atol=1e-12)
    for name, value in (("scale", -1.0), ("power", 3), ("data", np.array([5.0, 0.0, 1.0]))):
        held[name] = value
        np.testing.assert_allclose(hessian(loss, WEIGHTS), expected(), atol=1e-12, err_msg=name)
    held["data"][0] = 7.0  # in place
    np.testing.assert_allclose(hessian(loss, WEIGHTS), expected(), atol=1e-12)
    np.testing.assert_allclose(hvp(loss, WEIGHTS, WEIGHTS), expected() @ WEIGHTS, atol=1e-12)


def test_computations_that_differ_in_one_number_operation_or_shape_are_told_apart():
    losses = [
        (lambda w: jnp.sum(w**4) + jnp.sum(w) ** 2),
        (lambda w: jnp.sum(w**4) - jnp.sum(w) ** 2),
        (lambda w: jnp.sum(w**4) + jnp.sum(w) ** 3),
        (lambda w: jnp.sum(w**4) + 2.0 * jnp.sum(w) ** 2),
        (lambda w: jnp.sum(w[::-1] ** 4 * jnp.arange(len(w), dtype=w.dtype)) + jnp.sum(w) ** 2),
        (lambda w: jnp.sum(w**4) + jnp.where(w[0] > 0, 1.0, -1.0) * jnp.sum(w) ** 2),
        (lambda w: jax.lax.cond(w[1] > 0, jnp.sum, lambda w: jnp.sum(w**3), w)),
        (lambda w: jax.lax.cond(w[1] > 0, jnp.sum, lambda w: jnp.sum(w**5), w)),
    ]
    for loss in losses:
        for point in (WEIGHTS, jnp.concatenate([WEIGHTS, WEIGHTS])[:4].astype(jnp.float32)):
            found = hessian(loss, point)
            assert found.dtype == point.dtype
            np.testing.assert_allclose(found, jax.jit(jax.hessian(loss))(point), rtol=1e-5, atol=1e-5)


def test_nothing_that_a_function_closes_over_is_kept_and_the_programs_are_few():
    class Data:
        array = jnp.arange(3.0)

    data = Data()

    def loss(w, data=data):
        return jnp.sum(data.array * jax.nn.softplus(w) ** 2)

    array, kept = data.array, weakref.ref(data)
    hessian(loss, WEIGHTS), hvp(loss, WEIGHTS, WEIGHTS)
    alive = weakref.ref(loss)
    del loss, data
    gc.collect()
    assert alive() is None and kept() is None
    assert not any(value is array for jaxpr, *_ in programs.known_programs for value in jaxpr.constvars)
    for k in range(40):
        hvp(lambda w, k=k: k * jnp.sum(w**2), WEIGHTS[:1], WEIGHTS[:1])
    assert len(programs.known_programs) == programs.MOST_PROGRAMS


def test_inside_transformations_the_function_joins_the_trace():
    def outer(data):
        return hessian(lambda w: jnp.sum(data * w**3), WEIGHTS).sum()

    data = jnp.array([1.0, 2.0, 3.0])
    expected = 6 * WEIGHTS
    np.testing.assert_allclose(jax.grad(outer)(data), expected, atol=1e-12)
    np.testing.assert_allclose(jax.jit(jax.grad(outer))(data), expected, atol=1e-12)
    third = jax.jacfwd(lambda w: hessian(lambda u: jnp.sum(u**3), w))(WEIGHTS)
    np.testing.assert_allclose(third, 6 * np.eye(3)[:, :, None] * np.eye(3)[:, None], atol=1e-12)
    many = jax.vmap(lambda w: hvp(looped, w, WEIGHTS))(jnp.stack([WEIGHTS, 2 * WEIGHTS]))
    np.testing.assert_allclose(many[1], hvp(looped, 2 * WEIGHTS, WEIGHTS), atol=1e-12)
