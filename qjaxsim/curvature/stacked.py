"""Complex arithmetic on stacked real arrays, real part first, as derivatives of circuits need it.

States are (2, d, B). What is multiplied from the right is (..., rows, 2, columns), so that real and imaginary part of a
row stand side by side and one real product does.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import at_once


def by_rows(matrix: jax.Array) -> jax.Array:
    """A complex (a, b) matrix as (a, 2, b) real."""
    return jnp.stack([matrix.real, matrix.imag], axis=1)


def times(left: jax.Array, right: jax.Array) -> jax.Array:
    """Complex products of (..., a, 2, b) with (2, b, c), as one real product: (..., a, 2, c)."""
    re, im = right
    real = jnp.concatenate([jnp.concatenate([re, im], 1), jnp.concatenate([-im, re], 1)])
    rows = left.reshape(math.prod(left.shape[:-2]), 2 * left.shape[-1])
    return jnp.matmul(rows, real, precision=HIGHEST).reshape(*left.shape[:-1], right.shape[2])


def adjoint_times(left: jax.Array, right: jax.Array) -> jax.Array:
    """Products of the adjoints of (n, d, 2, c) with (2, d, B): (n, 2, c, B)."""
    real = jnp.einsum("nrxc,xrb->ncb", left, right, precision=HIGHEST)
    turned = jnp.stack([right[1], -right[0]])
    return jnp.stack([real, jnp.einsum("nrxc,xrb->ncb", left, turned, precision=HIGHEST)], axis=1)


def outer(left: jax.Array, right: jax.Array) -> jax.Array:
    """sum_b |left_b><right_b|, (d, 2, c): its inner product with a matrix is sum_b Re <left, matrix right>."""
    (a, b), (c, d) = left, right
    real = jnp.matmul(a, c.T, precision=HIGHEST) + jnp.matmul(b, d.T, precision=HIGHEST)
    imag = jnp.matmul(b, c.T, precision=HIGHEST) - jnp.matmul(a, d.T, precision=HIGHEST)
    return jnp.stack([real, imag], axis=1)


def inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Real inner products of the members of two stacks, (n, ...) and (m, ...): (n, m)."""
    size = math.prod(a.shape[1:])
    return jnp.matmul(a.reshape(len(a), size), b.reshape(len(b), size).T, precision=HIGHEST)


def pushed(push: Callable[[jax.Array], Any], places: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """`push` of every place, stacked, a few at once; none for no places."""
    if not len(places):
        return jnp.zeros((0, *shape), dtype)
    return jax.lax.map(push, places, batch_size=min(at_once().directions, len(places)))
