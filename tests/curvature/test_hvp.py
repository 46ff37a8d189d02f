"""Hessian-vector products and the dense Hessian against closed forms, finite differences and jax.hessian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature import hessian, hvp
from tests.cases import mostly_slow

TOLERANCE = {jnp.float32: 2e-5, jnp.float64: 1e-12}


def params_of(dtype, seed=0):
    a, b = jax.random.split(jax.random.key(seed))
    return {"w": jax.random.normal(a, (3, 4), dtype), "b": jax.random.normal(b, (5,), dtype)}


def smooth(params):
    """Couples every number with every other one, no structure to be lucky with."""
    flat, _ = ravel_pytree(params)
    return jnp.sum(jnp.sin(flat)) * jnp.sum(flat**2) + jnp.cos(flat[0] * flat[-1])


@functools.cache
def reference(dtype):
    """jax.hessian of `smooth`, compiled once."""
    flat, unravel = ravel_pytree(params_of(dtype))
    return jax.jit(jax.hessian(lambda w: smooth(unravel(w))))(flat)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_quadratic_has_its_matrix_as_hessian(dtype, key):
    root = jax.random.normal(key, (6, 6), dtype)
    matrix = root + root.T
    point, v = jnp.arange(6, dtype=dtype), jnp.ones(6, dtype)

    def quadratic(w):
        return w @ matrix @ w / 2

    np.testing.assert_allclose(hessian(quadratic, point), matrix, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(hvp(quadratic, point, v), matrix @ v, atol=TOLERANCE[dtype])
    assert hessian(quadratic, point).dtype == hvp(quadratic, point, v).dtype == dtype


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("batch_size", mostly_slow([None, 1, 5, 100], keep=[0, 2]))
def test_hessian_agrees_with_jax_hessian(dtype, batch_size):
    expected = reference(dtype)
    found = hessian(smooth, params_of(dtype), batch_size)
    scale = float(jnp.abs(expected).max())
    np.testing.assert_allclose(found, expected, atol=TOLERANCE[dtype] * scale, rtol=0)
    np.testing.assert_array_equal(found, found.T)


def test_hvp_agrees_with_central_differences_of_the_gradient():
    params, v = params_of(jnp.float64), params_of(jnp.float64, seed=1)
    step = 1e-5
    slope = jax.jit(jax.grad(smooth))
    ahead, behind = (slope(jax.tree.map(lambda p, d, h=h: p + h * d, params, v)) for h in (step, -step))
    for name, found in hvp(smooth, params, v).items():
        expected = (ahead[name] - behind[name]) / (2 * step)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_hvp_with_unit_vectors_gives_the_columns_in_ravel_order():
    params = params_of(jnp.float64)
    flat, unravel = ravel_pytree(params)
    columns = [ravel_pytree(hvp(smooth, params, unravel(e)))[0] for e in jnp.eye(flat.size)]
    np.testing.assert_allclose(jnp.stack(columns, axis=1), hessian(smooth, params), atol=1e-12)


def test_more_parameters_than_the_default_chunk():
    point = jnp.linspace(0.1, 1.0, 71)
    found = hessian(lambda w: jnp.sum(w**3) + jnp.sum(w) ** 2, point)
    np.testing.assert_allclose(found, jnp.diag(6 * point) + 2, rtol=1e-13)


def test_under_jit_and_vmap():
    params = params_of(jnp.float64)
    expected = hessian(smooth, params)
    np.testing.assert_allclose(jax.jit(lambda p: hessian(smooth, p, 4))(params), expected, atol=1e-12)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    stacked = jax.vmap(lambda p: hessian(smooth, p, 4))(two)
    np.testing.assert_allclose(stacked[0], expected, atol=1e-12)
    np.testing.assert_allclose(stacked[1], hessian(smooth, jax.tree.map(lambda leaf: 2 * leaf, params)), atol=1e-12)
    v = params_of(jnp.float64, seed=1)
    jitted = jax.jit(lambda p, d: hvp(smooth, p, d))(params, v)
    np.testing.assert_allclose(ravel_pytree(jitted)[0], expected @ ravel_pytree(v)[0], atol=1e-12)


def test_without_x64():
    with jax.enable_x64(False):
        point = np.array([0.5, 1.5])
        found = hessian(lambda w: w[0] ** 2 * w[1], point)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, [[3.0, 1.0], [1.0, 0.0]], atol=1e-6)
        np.testing.assert_allclose(hvp(lambda w: w[0] ** 2 * w[1], point, np.ones(2)), [4.0, 1.0], atol=1e-6)


def test_a_smaller_batch_takes_less_memory():
    mixing = jax.random.normal(jax.random.key(1), (96, 4096))

    def temporary(batch_size):
        compiled = jax.jit(lambda w: hessian(lambda p: jnp.sum(jnp.sin(p @ mixing)), w, batch_size))
        return compiled.lower(jnp.ones(96)).compile().memory_analysis().temp_size_in_bytes

    assert temporary(96) > 96 * 4096 * 8  # at least one tangent of the wide layer a row
    assert 4 * temporary(4) < temporary(96)


def test_refused_before_allocation(monkeypatch):
    monkeypatch.setattr("qjaxsim.common.memory.available_bytes", lambda: 2**20)
    with pytest.raises(MemoryError, match=r"dense Hessian of 1000 parameters needs [0-9.e-]+ GiB.*use Lanczos"):
        hessian(jnp.sum, jnp.ones(1000))
    assert hessian(jnp.sum, jnp.ones(10)).shape == (10, 10)


@pytest.mark.parametrize("function", [hessian, lambda f, p: hvp(f, p, p)], ids=["hessian", "hvp"])
class TestBadParams:
    @pytest.mark.parametrize("leaf", [jnp.ones(2, jnp.complex128), jnp.ones(2, jnp.int32), True])
    def test_not_real_floats(self, function, leaf):
        with pytest.raises(
            TypeError, match=r"Argument `params` must hold real float arrays only, but a leaf has dtype"
        ):
            function(lambda p: jnp.sum(jnp.abs(p["a"])), {"a": leaf, "b": jnp.ones(2)})

    def test_short_floats(self, function):
        with pytest.raises(TypeError, match=r"must hold float32 or float64, but a leaf has dtype bfloat16, .* cast it"):
            function(lambda p: jnp.sum(p**2), jnp.ones(3, jnp.bfloat16))

    def test_empty(self, function):
        with pytest.raises(ValueError, match=r"`params` must hold at least one number, but it is empty"):
            function(lambda p: jnp.float64(0), {})

    def test_not_a_scalar(self, function):
        with pytest.raises(TypeError, match="scalar"):
            function(lambda p: p**2, jnp.ones(3))


def test_bad_v():
    params = {"a": jnp.ones(2), "b": jnp.ones(3)}
    with pytest.raises(ValueError, match=r"Argument `v` must have the structure of `params`"):
        hvp(smooth, params, {"a": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"a leaf of shape \(3,\) meets one of shape \(4,\)"):
        hvp(smooth, params, {"a": jnp.ones(2), "b": jnp.ones(4)})
    with pytest.raises(TypeError, match=r"a leaf of dtype float64 meets one of dtype float32; cast `v`"):
        hvp(smooth, params, {"a": jnp.ones(2), "b": jnp.ones(3, jnp.float32)})


def test_bad_settings():
    with pytest.raises(TypeError, match=r"`params` must have one dtype, but it has float32, float64"):
        hessian(smooth, {"a": jnp.ones(2), "b": jnp.ones(3, jnp.float32)})
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"Argument `batch_size` must be a positive integer, but is"):
            hessian(smooth, jnp.ones(3), bad)
