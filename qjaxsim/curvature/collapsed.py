"""The split H = G + R of a circuit whose data come first and whose observables see all of it, through one unitary.

Outputs z_k = <chi|U^dagger O_k U|chi> depend on a sample through its encoded state chi alone, and on the weights
through U alone. The sum over samples in the residual part therefore collapses into one operator for each observable,
rho_k = sum_b s_bk |chi_b><chi_b|, whatever the number of samples, and derivatives of U serve all of them. `hessian.md`
derives it.

Complex arrays are stacked real, see `stacked.py`; operators on states are (2, d, d).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.hvp import hessian, unit_vector
from qjaxsim.curvature.stacked import by_rows, inner, outer, pushed, times
from qjaxsim.running.measurement import apply_observables, expectation_values
from qjaxsim.running.simulate import unitary


def weight_unitary(model: CircuitOutputs, params: Any) -> jax.Array:
    """The unitary of all weights, (d, 2, d)."""
    assert model.stages is not None
    matrix = unitary(model.stages[1])(params)
    return by_rows(matrix)


@functools.partial(jax.jit, static_argnums=0)
def tangents(model: CircuitOutputs, params: Any) -> tuple[jax.Array, jax.Array]:
    """The unitary of all weights, (d, 2, d), and its derivatives in every weight, (P, d, 2, d)."""
    flat, unravel = ravel_pytree(params)
    matrix = lambda w: weight_unitary(model, unravel(w))  # noqa: E731
    push = lambda i: jax.jvp(matrix, (flat,), (unit_vector(i, flat),))[1]  # noqa: E731
    start = matrix(flat)
    return start, pushed(push, jnp.arange(flat.size), start.shape, start.dtype)


@functools.partial(jax.jit, static_argnums=0)
def add_samples(
    model: CircuitOutputs, found: tuple[jax.Array, jax.Array], x: Any, slope: jax.Array, operators: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """What one chunk of samples brings.

    Args:
        model: the structure.
        found: what `tangents` returns.
        x: inputs of B samples.
        slope: (B, K), held constant.
        operators: (K, 2, d, d), the operators rho_k of the samples before.

    Returns:
        The operators with these samples, the Jacobian of the outputs (P, B, K), and the gradient (P,) of
        sum(slope * z).
    """
    chi = encoded(model, x, slope)
    final, moved = (times(left, chi) for left in found)
    values = lambda state: expectation_values(model.observables, jnp.swapaxes(state, 0, 1))  # noqa: E731
    column = lambda tangent: jax.jvp(values, (final,), (tangent,))[1]  # noqa: E731
    jacobian = model.scale * jnp.swapaxes(jax.vmap(column)(moved), 1, 2)
    gradient = jnp.einsum("pbk,bk->p", jacobian, slope, precision=HIGHEST)
    return operators + density_operators(model, chi, slope), jacobian, gradient


def encoded(model: CircuitOutputs, x: Any, slope: jax.Array) -> jax.Array:
    """The encoded states of B samples, (2, d, B), in the dtype of the slopes (B, K)."""
    assert model.stages is not None
    states = jnp.broadcast_to(model.encoded(x), (len(slope), 2**model.circuit.n_qubits))
    return jnp.stack([states.real.T, states.imag.T]).astype(slope.dtype)


def density_operators(model: CircuitOutputs, chi: jax.Array, slope: jax.Array) -> jax.Array:
    """The operators rho_k of B samples, (K, 2, d, d), from their encoded states and slopes (B, K)."""
    weighted = lambda weights: jnp.swapaxes(outer(chi * weights[None, None], chi), 0, 1)  # noqa: E731
    return jax.vmap(weighted, 1)(model.scale * slope)


@functools.partial(jax.jit, static_argnums=0)
def residual_part(
    model: CircuitOutputs, found: tuple[jax.Array, jax.Array], params: Any, operators: jax.Array
) -> jax.Array:
    """R, (P, P): second derivatives of sum_k tr(O_k U rho_k U^dagger) in the weights."""
    matrix, each = found
    size = len(each)
    directions = min(at_once().directions, size)

    def image(block: jax.Array) -> jax.Array:  # sum_k O_k block rho_k, (d, 2, d)
        total = jnp.zeros((2, len(matrix), len(matrix)), matrix.dtype)
        for observable, operator in zip(model.observables, operators, strict=True):
            turned = jnp.swapaxes(times(block, operator), 0, 1)
            total = total + apply_observables((observable,), jnp.ones((1, 1), block.dtype), turned)
        return jnp.swapaxes(total, 0, 1)

    images = jax.lax.map(image, each, batch_size=directions)
    fixed = image(matrix)
    linear = lambda p: jnp.sum(fixed * weight_unitary(model, p))  # noqa: E731
    return 2 * (inner(each, images) + hessian(linear, params, batch_size=directions))


def no_operators(model: CircuitOutputs, dtype: Any) -> jax.Array:
    """The operators of no samples, (K, 2, d, d)."""
    size = 2**model.circuit.n_qubits
    return jnp.zeros((len(model.observables), 2, size, size), dtype)
