"""How the split H = G + R of one kind of model is found on one device; `hessian.md` derives each way."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from qjaxsim.common.loops import fori_loop
from qjaxsim.curvature import collapsed, cone_sweep
from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.circuit_outputs import CircuitOutputs
from qjaxsim.curvature.hvp import symmetrised, unit_vector
from qjaxsim.curvature.objective import Loss, Outputs, gauss_newton_block, loss_derivatives
from qjaxsim.curvature.parts import PartSum, StagedParts, linearised_parts
from qjaxsim.curvature.split_plan import staged
from qjaxsim.running.varying import vary_alike

Split = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


class Way(NamedTuple):
    """How the split of one kind of model is found, chunk of samples by chunk of samples.

    Attributes:
        start: what is carried from chunk to chunk, for no samples.
        chunk: from what is carried, inputs, targets and weights of the losses (B,) to what is carried on.
        finish: from what is carried in the end to H, G, R, each (P, P) and symmetric, and the gradient (P,).
        ready: makes what all samples share, where that waits for the first of them.
    """

    start: Any
    chunk: Callable[[Any, Any, Any, jax.Array], Any]
    finish: Callable[[Any], Split]
    ready: Callable[[], Any] = lambda: None


def _by_cones(outputs: CircuitOutputs, loss: Loss, params: Any, flat: jax.Array, rows: int) -> Way:
    """Through what each observable sees, slopes and all in one program."""
    assert outputs.cones is not None
    tables = outputs.tables
    found, start = cone_sweep.begin(tables, flat)

    def chunk(carried: cone_sweep.Sums, x: Any, y: Any, weights: jax.Array) -> cone_sweep.Sums:
        return cone_sweep.add_samples(outputs, loss, tables, found.linear, carried, x, y, weights)

    return Way(start, chunk, lambda carried: cone_sweep.finish(tables, found, carried))


def _by_unitary(outputs: CircuitOutputs, loss: Loss, params: Any, flat: jax.Array, rows: int) -> Way:
    """Through the unitary of all weights."""
    found = collapsed.tangents(outputs, params)
    return _by_slopes(
        functools.partial(outputs_at, outputs, params),
        loss,
        flat,
        collapsed.no_operators(outputs, flat.dtype),
        lambda carried, x, slope: collapsed.add_samples(outputs, found, x, slope, carried),
        lambda carried: collapsed.residual_part(outputs, found, params, carried),
    )


def _by_stages(outputs: PartSum, loss: Loss, params: Any, flat: jax.Array, rows: int) -> Way:
    """Stage by stage of the circuit that all parts share."""
    part = staged(outputs)
    assert part is not None
    parts = StagedParts(outputs, part, params)
    way = _by_slopes(parts.outputs, loss, flat, parts.start(), parts.chunk, parts.residual)
    return way._replace(ready=lambda: parts.found)


def _by_parts(outputs: PartSum, loss: Loss, params: Any, flat: jax.Array, rows: int) -> Way:
    """Each direction through all parts at once."""

    def push(carried: jax.Array, x: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return linearised_parts(outputs, params, x, slope, carried, rows)

    values = functools.partial(outputs_at, outputs, params)
    return _by_slopes(values, loss, flat, _no_samples(flat), push, lambda carried: carried)


def _by_directions(outputs: Outputs, loss: Loss, params: Any, flat: jax.Array, rows: int) -> Way:
    """Each direction through the whole model."""

    def push(carried: jax.Array, x: Any, slope: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return _push_all(outputs, params, x, slope, carried, rows)

    values = functools.partial(outputs_at, outputs, params)
    return _by_slopes(values, loss, flat, _no_samples(flat), push, lambda carried: carried)


WAYS: dict[str, Callable[..., Way]] = {
    "cones": _by_cones,
    "collapsed": _by_unitary,
    "stages": _by_stages,
    "parts": _by_parts,
    "pushed": _by_directions,
}
"""By `SplitPlan.structure`, from outputs, loss, parameters, the same flat, and directions pushed at once to the way."""


def _no_samples(flat: jax.Array) -> jax.Array:
    return jnp.zeros((flat.size, flat.size), flat.dtype)


def _by_slopes(
    outputs: Callable[[Any], jax.Array],
    loss: Loss,
    flat: jax.Array,
    start: Any,
    push: Callable[[Any, Any, jax.Array], tuple[Any, jax.Array, jax.Array]],
    residual: Callable[[Any], jax.Array],
) -> Way:
    """Through the linearised loss.

    Args:
        outputs: from inputs to outputs (B, K).
        loss: the loss.
        flat: the parameters (P,).
        start: what `push` carries from chunk to chunk, for no samples.
        push: from what is carried, inputs and slopes (B, K) to what is carried on, the Jacobian (P, B, K), and the
            gradient of sum(slope * z) (P,).
        residual: from what is carried in the end to R (P, P), symmetric up to rounding.
    """

    def chunk(carried: tuple, x: Any, y: Any, weights: jax.Array) -> tuple:
        inner, total, gradient = carried
        slope, curvature = slopes_at(loss, outputs(x), y, weights)
        inner, jacobian, slopes = push(inner, x, slope)
        return inner, _add_gauss_newton(total, jacobian, curvature), gradient + slopes

    def finish(carried: tuple) -> Split:
        inner, total, gradient = carried
        hessian, gauss_newton, own = _with_sum(total, residual(inner))
        return hessian, gauss_newton, own, gradient

    return Way((start, _no_samples(flat), jnp.zeros_like(flat)), chunk, finish)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def _with_sum(gauss_newton: jax.Array, residual: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """H = G + R and both, made symmetric."""
    gauss_newton, residual = symmetrised(gauss_newton), symmetrised(residual)
    return gauss_newton + residual, gauss_newton, residual


@functools.partial(jax.jit, static_argnums=0)
def outputs_at(outputs: Outputs, params: Any, x: Any) -> jax.Array:
    """The outputs (B, K)."""
    return outputs(params, x)


@functools.partial(jax.jit, static_argnums=0)
def slopes_at(loss: Loss, z: jax.Array, y: Any, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """First and second derivatives of the weighted losses in the outputs, (B, K) and (B, K, K)."""
    return loss_derivatives(loss, z, y, weights)


@functools.partial(jax.jit, static_argnums=(0, 1))
def evidence(outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, weights: jax.Array) -> jax.Array:
    """Numbers that stand for a model and its loss, (n,): of some samples both derivatives of the loss and its gradient.

    Slopes alone would not tell a frozen layer from one that is trained, nor two losses with the same slopes.
    """
    z, pull = jax.vjp(lambda params: outputs(params, x), params)
    slopes, curvature = loss_derivatives(loss, z, y, weights)
    found = (slopes, curvature, *jax.tree.leaves(pull(slopes.astype(z.dtype))))
    return jnp.concatenate([jnp.ravel(each).astype(z.dtype) for each in found])


@functools.partial(jax.jit, donate_argnums=0)
def _add_gauss_newton(total: jax.Array, jacobian: jax.Array, curvature: jax.Array) -> jax.Array:
    """Add sum_b J_b^T A_b J_b for a Jacobian (P, B, K) and A (B, K, K)."""
    return total + gauss_newton_block(jnp.moveaxis(jacobian, 0, 2), curvature).astype(total.dtype)


@functools.partial(jax.jit, static_argnums=(0, 5), donate_argnums=4)
def _push_all(
    outputs: Outputs, params: Any, x: Any, slope: jax.Array, residual: jax.Array, rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return push_directions(outputs, params, x, slope, residual, rows, 0)


def push_directions(
    outputs: Outputs, params: Any, x: Any, slope: jax.Array, residual: jax.Array, rows: int, first: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Derivatives of sum(slope * z) in some directions, from number `first` on; those beyond the last are zero.

    Returns:
        The residual (n, P) with the n rows of the Hessian added, their columns of the Jacobian (n, B, K), and the
        gradient (P,).
    """
    flat, unravel = ravel_pytree(params)
    count = len(residual)

    def linearised(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = outputs(unravel(w), x)
        return jnp.sum(slope * out), out

    def push(index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:  # row of R (P,), column of J (B, K)
        (gradient, _), (row, column) = jax.jvp(jax.grad(linearised, has_aux=True), (flat,), (unit_vector(index, flat),))
        return row, column, gradient

    def fill(chunk: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        matrix, jacobian, _ = carry
        start, index, fresh = window(chunk * rows, rows, count)
        block, columns, gradient = jax.vmap(push, out_axes=(0, 0, None))(first + index)
        old = jax.lax.dynamic_slice_in_dim(matrix, start, rows, axis=0)
        matrix = jax.lax.dynamic_update_slice_in_dim(matrix, jnp.where(fresh[:, None], old + block, old), start, axis=0)
        return matrix, jax.lax.dynamic_update_slice_in_dim(jacobian, columns, start, axis=0), gradient

    jacobian = jnp.zeros((count, *slope.shape), slope.dtype)
    empty = vary_alike((residual, jacobian, jnp.zeros_like(flat)), slope)
    return fori_loop(0, -(-count // rows), fill, empty)
