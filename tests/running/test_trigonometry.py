"""Cosine and sine of many angles, against extended precision and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import jet

from qjaxsim.running.trigonometry import LEAST, cos_sin


def angles(scale, dtype, seed=0):
    return (np.random.default_rng(seed).uniform(-scale, scale, LEAST)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-9, 0.7, 10, 1e3, 1e5])
def test_within_a_rounding_of_extended_precision(dtype, scale):
    x = angles(scale, dtype)
    exact = x.astype(np.longdouble)
    for got, wanted in zip(jax.jit(cos_sin)(x), (np.cos(exact), np.sin(exact)), strict=True):
        assert got.dtype == dtype
        assert np.abs(np.asarray(got) - wanted).max() < np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_multiples_of_an_eighth_turn(dtype):
    turns = np.arange(LEAST) - LEAST // 2
    c, s = cos_sin(jnp.asarray(turns * np.pi / 4, dtype))
    root = np.sqrt(0.5)
    wanted = np.array([1, root, 0, -root, -1, -root, 0, root])
    error = 2 * np.spacing(dtype(LEAST))  # of the angle itself
    np.testing.assert_allclose(c, wanted[turns % 8], atol=error)
    np.testing.assert_allclose(s, wanted[(turns - 2) % 8], atol=error)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_angles_are_on_the_unit_circle_and_near_the_right_one(dtype):
    for scale in (1e6, 1e9, 1e14, 1e30):
        x = angles(scale, dtype)
        c, s = (np.asarray(part, float) for part in cos_sin(jnp.asarray(x)))
        np.testing.assert_allclose(c**2 + s**2, 1, atol=1e-5 if dtype == np.float32 else 1e-14)
        exact = x.astype(np.longdouble)
        assert np.abs(c - np.cos(exact)).max() < 2 * np.spacing(dtype(scale)) + 2 * np.finfo(dtype).eps


def test_not_a_number_stays_one():
    x = jnp.full(LEAST, jnp.nan).at[1].set(jnp.inf)
    assert all(bool(jnp.isnan(part).all()) for part in cos_sin(x))


def test_derivatives_of_every_mode_and_order():
    x = jnp.asarray(angles(9, np.float64))
    ones = jnp.ones_like(x)
    cosine = lambda x: cos_sin(x)[0]  # noqa: E731
    np.testing.assert_allclose(jax.grad(lambda x: cosine(x).sum())(x), -np.sin(x), atol=1e-15)
    second = jax.jvp(lambda x: jax.jvp(cosine, (x,), (ones,))[1], (x,), (ones,))[1]
    np.testing.assert_allclose(second, -np.cos(x), atol=1e-15)
    value, terms = jet.jet(cosine, (x,), ([ones, 0 * x, 0 * x, 0 * x],))
    for got, wanted in zip((value, *terms), (np.cos(x), -np.sin(x), -np.cos(x), np.sin(x), np.cos(x)), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-14)


def test_mapped_and_of_any_shape():
    x = jnp.asarray(angles(9, np.float64)).reshape(8, -1, 2)
    c, s = jax.vmap(cos_sin, in_axes=1, out_axes=1)(x)
    np.testing.assert_allclose(c, np.cos(x), atol=1e-15)
    np.testing.assert_allclose(s, np.sin(x), atol=1e-15)
    big = jnp.stack([x, 2 * x])
    np.testing.assert_allclose(jax.vmap(lambda y: cos_sin(y)[1])(big), np.sin(big), atol=1e-15)
