"""The Lanczos machinery under `spectrum`: tridiagonalisation by `matfree`, breakdown, repeated eigenvalues."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.curvature.hvp import check_positive, flatten_real
from qjaxsim.memory import require_memory

Product = Callable[[jax.Array], jax.Array]

PRODUCTS_AT_ONCE = 32


def flat_operator(matvec: Callable[[Any], Any], example: Any) -> tuple[Product, jax.Array]:
    """The matvec on flat vectors, and a flat vector that carries their length and dtype."""
    if isinstance(example, int):
        check_positive("example", example)
        example = jnp.zeros(example)
    flat, unravel = flatten_real(example, "example")

    def product(vector: jax.Array) -> jax.Array:
        # TF32 on recent GPUs would cost the digits that orthogonality and small eigenvalues live on.
        with jax.default_matmul_precision("highest"):
            return ravel_pytree(matvec(unravel(vector)))[0]

    image = jax.eval_shape(product, flat)
    if image.shape != flat.shape or image.dtype != flat.dtype:
        raise ValueError(
            f"Argument `matvec` must map {flat.size} numbers of dtype {flat.dtype} to as many, "
            f"but it returned {image.size} of dtype {image.dtype}."
        )
    return product, flat


def normal(key: jax.Array, like: jax.Array) -> jax.Array:
    """Random normal vector with the shape and dtype of `like`."""
    return jax.random.normal(key, like.shape, like.dtype)


def require_basis(steps: int, like: jax.Array) -> None:
    """Refuse a Krylov basis that does not fit; `matfree` holds it, one update of it, and the eigenvectors."""
    needed = 3 * steps * like.size * like.dtype.itemsize
    require_memory(needed, f"A Krylov basis of {steps} vectors of {like.size} numbers", "ask for fewer steps")


def tridiagonal(product: Product, start: jax.Array, steps: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Orthonormal basis (steps, P), diagonal (steps,), off-diagonal (steps,) with the last residual's norm."""
    from matfree import decomp

    with jax.default_matmul_precision("highest"):
        result = decomp.tridiag_sym(steps, materialize=False, custom_vjp=False)(product, start)
        diagonal, off_diagonal = result.J_small
        last = jnp.linalg.norm(result.residual)
        return result.Q_tall, diagonal, jnp.append(off_diagonal, last)


def solve_tridiagonal(diagonal: Any, off_diagonal: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ritz values (m,), coefficients in the basis (m, m) by column, and residual norms (m,).

    Where the Krylov space is exhausted, the next off-diagonal entry is rounding noise, followed by a restart
    from noise; or it is exactly zero, and NaN follows. Only the part before is used: it is exact.
    """
    import scipy.linalg

    eps = np.finfo(np.asarray(diagonal).dtype).eps
    diagonal, off_diagonal = np.asarray(diagonal, np.float64), np.asarray(off_diagonal, np.float64)
    both = np.concatenate([diagonal, off_diagonal])
    scale = np.abs(both[np.isfinite(both)]).max(initial=0.0)
    exhausted = np.flatnonzero((off_diagonal <= 100 * eps * scale) | np.isnan(off_diagonal))
    length = int(exhausted[0]) + 1 if exhausted.size else diagonal.size
    diagonal, off_diagonal = diagonal[:length], np.where(np.isnan(off_diagonal), 0.0, off_diagonal)[:length]
    if not (np.isfinite(diagonal).all() and np.isfinite(off_diagonal).all()):  # NaN in a matrix shows at once
        raise ValueError("Argument `matvec` must give finite numbers, but it gave NaN or infinity.")
    values, coefficients = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
    return values, coefficients, np.abs(off_diagonal[-1] * coefficients[-1])


def ritz_pairs(
    product: Product, start: jax.Array, steps: int, k: int, which: str
) -> tuple[np.ndarray, jax.Array, float]:
    """At most k leading Ritz values and vectors of one Krylov space, and their largest residual norm."""
    basis, diagonal, off_diagonal = tridiagonal(product, start, steps)
    values, coefficients, errors = solve_tridiagonal(diagonal, off_diagonal)
    leading = _order(values, which)[:k]
    combine = jnp.asarray(coefficients[:, leading].T, basis.dtype)
    vectors = jnp.matmul(combine, basis[: len(values)], precision=jax.lax.Precision.HIGHEST)
    return values[leading], vectors, float(errors[leading].max())


def add_copies(
    product: Product,
    pairs: tuple[np.ndarray, jax.Array],
    k: int,
    *,
    steps: int,
    which: str,
    key: jax.Array,
    tolerance: float,
) -> tuple[np.ndarray, jax.Array, int]:
    """Search the complement of the pairs found for more, until none belongs to the first k.

    Returns at most k values, their vectors, and the products spent.
    """
    values, vectors = pairs
    spent = 0
    for round_key in jax.random.split(key, k):  # an eigenvalue has at most k copies among the first k
        deflated, project = _complement(product, vectors)
        run_length = min(steps, vectors.shape[1] - len(vectors))
        found, more, _ = ritz_pairs(deflated, project(normal(round_key, vectors[0])), run_length, k, which)
        spent += run_length
        if len(values) == k and _size(found, which).max() <= _size(values, which).min() + tolerance:
            break
        more = jax.vmap(project)(more)
        more = more / jnp.linalg.norm(more, axis=1)[:, None]
        values, vectors = np.concatenate([values, found]), jnp.concatenate([vectors, more])
        leading = _order(values, which)[:k]
        values, vectors = values[leading], vectors[leading]
    return values, vectors, spent


def dense_pairs(product: Product, like: jax.Array, k: int, which: str) -> tuple[np.ndarray, jax.Array]:
    """The k leading pairs of the matrix built from its products with the unit vectors."""
    import scipy.linalg

    size = like.size
    require_memory(4 * 8 * size**2, f"All eigenpairs of a matrix of dimension {size}", "ask for fewer steps")
    rows = jax.lax.map(product, jnp.eye(size, dtype=like.dtype), batch_size=min(size, PRODUCTS_AT_ONCE))
    matrix = np.asarray(rows, np.float64)
    if not np.isfinite(matrix).all():
        raise ValueError("Argument `matvec` must give finite numbers, but it gave NaN or infinity.")
    values, vectors = scipy.linalg.eigh((matrix + matrix.T) / 2)
    leading = _order(values, which)[:k]
    return values[leading], jnp.asarray(vectors[:, leading].T, like.dtype)


def residual_norms(product: Product, values: jax.Array, vectors: jax.Array) -> jax.Array:
    """Norms of H v - lambda v, by products of their own: no estimate."""
    images = jax.lax.map(product, vectors, batch_size=min(len(vectors), PRODUCTS_AT_ONCE))
    return jnp.linalg.norm(images - values[:, None] * vectors, axis=1)


def _complement(product: Product, vectors: jax.Array) -> tuple[Product, Product]:
    """The operator restricted to the complement of orthonormal vectors, and the projection onto it."""

    def project(v: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return v - vectors.T @ (vectors @ v)

    return lambda v: project(product(project(v))), project


def _size(values: np.ndarray, which: str) -> np.ndarray:
    return np.abs(values) if which == "magnitude" else values


def _order(values: np.ndarray, which: str) -> np.ndarray:
    return np.argsort(-_size(values, which), kind="stable")
