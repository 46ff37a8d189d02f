"""Natural gradients as a transformation of optax."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checks import not_negative
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.balance import size_of
from qjaxsim.running.array_types import to_jax


def natural_gradient(
    metric: Callable[..., jax.Array], *, damping: float = 0.0, rcond: float | None = None
) -> optax.GradientTransformationExtraArgs:
    """Gradients times the inverse of a metric; chain a rate behind: `optax.chain(natural_gradient(f), optax.sgd(0.1))`.

    Args:
        metric: maps params, the pytree that is trained, to a positive semi-definite matrix (P, P) in `ravel_pytree`
            order, such as what `quantum_fisher(circuit)` returns, or `lambda w: tensor(w).real`, or a
            `classical_fisher`. A batch of them, (..., P, P), counts as its mean. Keyword arguments of `update` (a
            minibatch, say) are passed on to it. An OrderedDict is handed to it as a dict, whose names that order sorts.
        damping: added to the diagonal, as Tikhonov's regularisation.
        rcond: eigenvalues (with the damping) up to rcond times the largest count as zero: their directions are left
            out, the pseudo-inverse. Default P times the rounding unit.

    Returns:
        GradientTransformationExtraArgs of optax; its `update` needs params. Training by it converges at another rate
        than plain gradients do: with the Fubini-Study metric, a fourth of the quantum Fisher matrix, steps are four
        times as long.

    Raises:
        ValueError: for a damping or rcond that is negative; on updating if params are not given or the metric has
            another shape.

    Cost: the metric, and an eigenvalue decomposition of (P, P), for each update. Amari 1998,
    doi:10.1162/089976698300017746; of quantum circuits Stokes et al. 2020, doi:10.22331/q-2020-05-25-269.

    >>> step = natural_gradient(lambda w: jnp.diag(jnp.array([4.0, 0.0])))
    >>> w = jnp.ones(2)
    >>> print(step.update(jnp.array([2.0, 3.0]), step.init(w), w)[0])  # the second is left out
    [0.5 0. ]
    """
    damping, least = not_negative("damping", damping), None if rcond is None else not_negative("rcond", rcond)

    def init(params: Any) -> optax.EmptyState:
        return optax.EmptyState()

    def update(updates: Any, state: optax.EmptyState, params: Any = None, **extra: Any) -> tuple[Any, optax.EmptyState]:
        if params is None:
            raise ValueError("Argument `params` of `update` must be given: the metric is taken there.")
        flat, unravel = ravel_pytree(_plain(updates))
        matrix = metric(_plain(params), **extra)
        if np.shape(matrix)[-2:] != (flat.size, flat.size):
            raise ValueError(
                f"Argument `metric` must return ({flat.size}, {flat.size}) for {flat.size} parameters, but returned "
                f"{np.shape(matrix)}."
            )
        return _arranged(unravel(_solved(to_jax(matrix), flat, damping, least)), updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _plain(tree: Any) -> Any:
    """The pytree with a dict for each OrderedDict, whose names JAX leaves unsorted and a circuit's metric sorts."""
    return jax.tree.map(
        lambda node: {name: _plain(part) for name, part in node.items()} if isinstance(node, OrderedDict) else node,
        tree,
        is_leaf=lambda node: isinstance(node, OrderedDict),
    )


def _arranged(plain: Any, like: Any) -> Any:
    """What `_plain` made of a pytree like this one, in its own structure."""
    structure, places = jax.tree.structure(like), range(len(jax.tree.leaves(like)))
    moved = jax.tree.leaves(_plain(jax.tree.unflatten(structure, places)))
    leaves = dict(zip(moved, jax.tree.leaves(plain), strict=True))
    return jax.tree.unflatten(structure, [leaves[place] for place in places])


@functools.partial(jax.jit, static_argnums=3, inline=True)
def _solved(matrices: jax.Array, vector: jax.Array, damping: float, rcond: float | None) -> jax.Array:
    """The damped pseudo-inverse of the mean of matrices times a vector."""
    matrix = matrices.reshape(-1, vector.size, vector.size).mean(axis=0)
    # Of moderate size, so that sums and squares in the decomposition stay in the dtype's range.
    scale = jax.lax.stop_gradient(size_of(jnp.maximum(jnp.abs(matrix).max(), damping)))
    damped = matrix / scale / 2 + matrix.T / scale / 2 + damping / scale * jnp.eye(len(matrix), dtype=matrix.dtype)
    least = len(matrix) * float(np.finfo(matrix.dtype).eps) if rcond is None else rcond
    return (jnp.matmul(_inverse(least, damped), vector, precision=HIGHEST) / scale).astype(vector.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _inverse(rcond: float, matrix: jax.Array) -> jax.Array:
    """The pseudo-inverse of a symmetric matrix, whose eigenvalues up to rcond times the largest count as zero."""
    values, vectors = jnp.linalg.eigh(matrix)
    least = rcond * jnp.maximum(values[-1], 0)
    inverse = jnp.where(values > least, 1 / jnp.where(values > least, values, 1), 0)
    return jnp.matmul(vectors * inverse[None, :], vectors.T, precision=HIGHEST)


@_inverse.defjvp
def _change(rcond: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Without derivatives of eigenvectors, which are not defined where eigenvalues meet. Golub and Pereyra 1973."""
    (matrix,), (change,) = primals, tangents
    product = functools.partial(jnp.matmul, precision=HIGHEST)
    inverse = _inverse(rcond, matrix)
    left = product(
        product(inverse, inverse), product(change, jnp.eye(len(matrix), dtype=matrix.dtype) - product(matrix, inverse))
    )
    return inverse, left + left.T - product(product(inverse, change), inverse)
