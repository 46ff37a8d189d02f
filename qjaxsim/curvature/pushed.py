"""Residual part and Jacobian of any model: each direction of its parameters is pushed through all of it."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.hvp import unit_vector
from qjaxsim.curvature.objective import Outputs
from qjaxsim.running.varying import vary_alike


@functools.partial(jax.jit, static_argnums=(0, 5), donate_argnums=4)
def push_all(
    outputs: Outputs, params: Any, x: Any, slope: jax.Array, residual: jax.Array, rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Add the Hessian of sum(slope * z) to the residual, row by row; also the Jacobian (P, B, K) and the gradient."""
    flat, unravel = ravel_pytree(params)

    def linearised(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = outputs(unravel(w), x)
        return jnp.sum(slope * out), out

    def push(index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:  # row of R (P,), column of J (B, K)
        (gradient, _), (row, column) = jax.jvp(jax.grad(linearised, has_aux=True), (flat,), (unit_vector(index, flat),))
        return row, column, gradient

    def fill(chunk: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        matrix, jacobian, _ = carry
        start, index, fresh = window(chunk * rows, rows, flat.size)
        block, columns, gradient = jax.vmap(push, out_axes=(0, 0, None))(index)
        old = jax.lax.dynamic_slice_in_dim(matrix, start, rows, axis=0)
        matrix = jax.lax.dynamic_update_slice_in_dim(matrix, jnp.where(fresh[:, None], old + block, old), start, axis=0)
        return matrix, jax.lax.dynamic_update_slice_in_dim(jacobian, columns, start, axis=0), gradient

    jacobian = jnp.zeros((flat.size, *slope.shape), slope.dtype)
    empty = vary_alike((residual, jacobian, jnp.zeros_like(flat)), slope)
    return jax.lax.fori_loop(0, -(-flat.size // rows), fill, empty)
