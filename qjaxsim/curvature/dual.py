"""The Gauss-Newton matrix's nonzero eigenvalues from a matrix of samples and outputs in place of one of parameters."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.loops import each
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import at_once
from qjaxsim.curvature.gauss_newton import flat_unsharded
from qjaxsim.curvature.hvp import symmetrised
from qjaxsim.curvature.objective import Loss, Outputs, check_model
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.spreading import Share, spread_of
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.varying import vary


def gauss_newton_dual(outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any) -> jax.Array:
    """Matrix S S^T with S = N^(-1/2) A^(1/2) J, whose nonzero eigenvalues are those of G.

    Small where N K < P, and an independent check of G: the Jacobian comes from reverse mode here.

    Args:
        outputs: as in `split_hessian`; sample b's outputs must depend on sample b alone.
        loss: as in `split_hessian`, convex in z: negative eigenvalues of its Hessian A are clipped at 0.
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree with N samples along axis 0.
        y: targets, pytree with N samples along axis 0.

    Returns:
        Array of shape (N K, N K), sample-major; positive semi-definite. Of samples that lie spread over a mesh each
        device keeps its rows.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.
        ValueError: if x and y differ in their number of samples, or outputs or loss return another shape.
        MemoryError: if S and S S^T do not fit in free main memory.

    Cost: N K gradients and (N K)^2 P multiply-adds; memory 2 N K P + (N K)^2 numbers. Outside `jax.jit` compiled once,
    as `hessian`.

    >>> outputs, loss = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> dual = gauss_newton_dual(outputs, loss, jnp.ones(2), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 1)))
    >>> round(float(dual[0, 0]), 3)  # the one nonzero eigenvalue of G = x x^T
    25.0
    """
    flat, unravel = flat_unsharded(params, x, y)
    shapes = check_model(outputs, loss, params, x, y)
    flat, params = vary((flat, params), shapes.axes)
    count, side = shapes.n_samples, shapes.n_samples * shapes.n_outputs
    spread = spread_of(x, y)
    needed = (2 * side * flat.size + side**2) * flat.dtype.itemsize // (1 if spread is None else spread.devices)
    require_memory(needed, f"The Gauss-Newton dual of {side} outputs", "use fewer samples or `split_hessian`")

    def factor(flat: jax.Array, sample: tuple[Any, Any]) -> jax.Array:  # (K, P)
        xs, ys = jax.tree.map(lambda leaf: leaf[None], sample)
        jacobian = jax.jacrev(lambda w: outputs(unravel(w), xs)[0])(flat)
        curvature = jax.hessian(lambda z: loss(z[None], ys)[0])(outputs(unravel(flat), xs)[0])
        return jnp.matmul(_root(curvature).astype(flat.dtype), jacobian.astype(flat.dtype), precision=HIGHEST)

    def factors(flat: jax.Array, samples: tuple[Any, Any]) -> jax.Array:  # (B K, P)
        own = len(jax.tree.leaves(samples)[0])
        found = each(functools.partial(factor, flat), samples, batch_size=min(own, at_once().samples))
        return found.reshape(-1, flat.size)

    def dual(flat: jax.Array, samples: tuple[Any, Any]) -> jax.Array:
        stacked = factors(flat, samples)
        return symmetrised(jnp.matmul(stacked, stacked.T, precision=HIGHEST) / count)

    if spread is None:
        return compiled_once(dual, flat, jax.tree.map(to_jax, (x, y)))
    rows = Share(spread._replace(axes=(), columns=spread.axes), side)

    def share(flat: jax.Array, samples: tuple[Any, Any]) -> jax.Array:
        own = factors(flat, samples)
        return rows.block(spread.with_all(own, own) / count)

    return compiled_once(spread.over_samples(share), flat, spread.samples((x, y)))


@jax.custom_jvp
def _root(matrix: jax.Array) -> jax.Array:
    """The square root of a positive semi-definite matrix."""
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.matmul(vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :], vectors.T, precision=HIGHEST)


@_root.defjvp
def _change(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """X with root X + X root = change: eigenvectors have no derivative where eigenvalues meet, softmax's has a zero."""
    (matrix,), (change,) = primals, tangents
    product = functools.partial(jnp.matmul, precision=HIGHEST)
    root = _root(matrix)

    def solve(_: Any, change: jax.Array) -> jax.Array:
        values, vectors = jnp.linalg.eigh(root)
        sums = values[:, None] + values[None, :]
        usable = sums > len(values) * jnp.finfo(values.dtype).eps * values[-1]
        inverse = jnp.where(usable, 1 / jnp.where(usable, sums, 1), 0)
        return _conjugated(vectors, _conjugated(vectors.T, change) * inverse)

    both = lambda x: product(root, x) + product(x, root)  # noqa: E731
    return root, jax.lax.custom_linear_solve(both, change, solve, symmetric=True)


def _conjugated(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    """V M V^T."""
    return jnp.matmul(jnp.matmul(vectors, matrix, precision=HIGHEST), vectors.T, precision=HIGHEST)
