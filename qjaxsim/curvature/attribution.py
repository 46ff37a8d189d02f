"""Whether eigenvalues come from class means: shares, overlaps, and what is left when their directions are taken out."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_from
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.classes import ClassDecomposition
from qjaxsim.curvature.hvp import as_array
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.curvature.spectrum import EigenPairs, top_eigenpairs


class ClassAttribution(NamedTuple):
    """Leading eigenvalues of A, which is G or H, beside those of class means; `class_attribution` makes one.

    Attributes:
        values: (k,), the leading eigenvalues of A, descending.
        class_values: (K,), those of G1, descending: lambda_k(A) is to be compared with lambda_k(G1).
        shares: (k,), v^T G1 v / lambda for each eigenvector v of A.
        inside: (k,), |P v|^2 for P the projection onto span{delta_c}.
        overlap: of span{delta_c} with the space of the K leading eigenvectors: the mean of cos^2 of their principal
            angles, 1 if one holds the other, about K / P for random ones. NaN where all delta_c vanish.
        knocked_out: (k,), the leading eigenvalues of (I - P) A (I - P).
        knocked_out_cross: (k,), the same where P projects onto the range of G2 too.

    >>> from qjaxsim.curvature import class_decomposition, matrix_operator, split_hessian
    >>> outputs, w, x, y = lambda w, x: x @ w, 4 * jnp.eye(3), jnp.eye(3), jnp.arange(3)  # one sample a class
    >>> loss = lambda z, y: jax.nn.logsumexp(z, 1) - z[jnp.arange(len(y)), y]
    >>> gauss_newton = matrix_operator(split_hessian(outputs, loss, w, x, y).gauss_newton)
    >>> found = class_attribution(class_decomposition(outputs, w, x, y), gauss_newton, 4, key=jax.random.key(0))
    >>> found.shares.round(2), found.removed(3)  # all but the share p of the other classes, which is G0's
    (array([0.96, 0.96, 0.96, 0.  ]), 3)
    """

    values: np.ndarray
    class_values: np.ndarray
    shares: np.ndarray
    inside: np.ndarray
    overlap: float
    knocked_out: np.ndarray
    knocked_out_cross: np.ndarray

    def removed(self, m: int, cross: bool = False) -> int:
        """How many of the m leading eigenvalues the knock-out takes below the gap after them.

        Args:
            m: from 1 to k - 1, the outliers that were counted, say.
            cross: whether the range of G2 is knocked out too.
        """
        m = integer_from(1, "m", m, len(self.values) - 1)
        return removed(self.values, self.knocked_out_cross if cross else self.knocked_out, m)


def removed(values: np.ndarray, left: np.ndarray, m: int) -> int:
    """How many of m eigenvalues are no longer above the gap, the geometric mean of lambda_m and lambda_(m + 1).

    Args:
        values: descending, m + 1 at least, the first m positive.
        left: after a knock-out, descending, m at least.
        m: how many are looked at.
    """
    after = max(values[m], np.finfo(np.float64).eps * values[0])
    threshold = np.sqrt(values[m - 1] * after)
    return m - int(np.count_nonzero(left[:m] > threshold))


def knocked_out(operator: LinearOperator, directions: Any) -> LinearOperator:
    """(I - P) A (I - P) for the projection P onto the span of some vectors.

    Args:
        operator: A, symmetric, of dimension P; `matrix_operator` makes one of a matrix.
        directions: (m, P), vectors as rows, as `ClassDecomposition.directions` gives them; one that depends on
            others up to the rounding of A's dtype adds nothing. m may be 0.

    Returns:
        LinearOperator: `top_eigenpairs` finds its leading eigenvalues, `.dense()` is its matrix.

    Raises:
        TypeError: if operator is no LinearOperator.
        ValueError: if the rows have another length, or numbers that are not finite.

    Cost: a product of A and 4 m P multiply-adds more.

    >>> from qjaxsim.curvature import matrix_operator
    >>> operator = matrix_operator(jnp.diag(jnp.array([5.0, 2.0, 1.0])))
    >>> print(knocked_out(operator, [[3.0, 0.0, 0.0]]) @ jnp.ones(3))
    [0. 2. 1.]
    """
    require_operator(operator)
    rows = np.asarray(as_array(directions, "directions"), np.float64)
    if rows.ndim != 2 or rows.shape[1] != operator.size or not np.isfinite(rows).all():
        raise ValueError(
            f"Argument `directions` must have shape (m, {operator.size}), finite rows of the operator's length, but "
            f"has shape {rows.shape} with {np.count_nonzero(~np.isfinite(rows))} numbers not finite."
        )
    rows = rows[rows.any(axis=1)]
    rows = rows / np.abs(rows).max(axis=1, keepdims=True)  # a span does not depend on lengths
    _, sizes, basis = np.linalg.svd(rows / np.linalg.norm(rows, axis=1, keepdims=True), full_matrices=False)
    floor = max(rows.shape) * float(jnp.finfo(operator.dtype).eps) * sizes.max(initial=0.0)
    orthonormal = jnp.asarray(basis[sizes > floor], operator.dtype)
    return LinearOperator(operator.size, operator.dtype, functools.partial(_outside_images, operator, orthonormal))


def _outside_images(operator: LinearOperator, directions: jax.Array, rows: jax.Array) -> jax.Array:
    return _outside(operator.rows(_outside(rows, directions)), directions)


@jax.jit
def _outside(rows: jax.Array, directions: jax.Array) -> jax.Array:
    along = jnp.matmul(rows, directions.T, precision=HIGHEST)
    return rows - jnp.matmul(along, directions, precision=HIGHEST)


def class_attribution(
    decomposition: ClassDecomposition,
    operator: LinearOperator,
    k: int | None = None,
    *,
    key: jax.Array,
    pairs: EigenPairs | None = None,
) -> ClassAttribution:
    """What class means have to do with the leading eigenvalues of G or of H.

    Args:
        decomposition: of the same model, parameters and samples.
        operator: G or H, of dimension P: `matrix_operator` of a matrix, or of `curvature_operators`.
        k: leading eigenvalues, at least K. Default: 2 K, or P if that is less.
        key: random key of the Lanczos runs' starting vectors.
        pairs: the leading pairs of `operator` where they are known, at least k of them.

    Returns:
        ClassAttribution.

    Raises:
        TypeError: if operator is no LinearOperator.
        ValueError: if it is of another dimension, or k is out of range.

    Cost: three runs of `top_eigenpairs`, two with `pairs`.

    >>> from qjaxsim.curvature import class_decomposition, matrix_operator
    >>> found = class_decomposition(lambda w, x: x @ w, jnp.eye(2), jnp.eye(2), jnp.array([0, 1]))
    >>> operator = matrix_operator(jnp.diag(jnp.array([0.0, 3.0, 0.0, 0.0])))  # half of delta_0 is along that one
    >>> round(float(class_attribution(found, operator, 3, key=jax.random.key(0)).knocked_out[0]), 3)
    1.5
    """
    require_operator(operator)
    size, n_classes = decomposition.means.shape[-1], decomposition.n_classes
    if operator.size != size:
        raise ValueError(
            f"Argument `operator` must be of the {size} parameters of the decomposition, but is of {operator.size}."
        )
    least = min(n_classes, size)
    k = min(2 * n_classes, size) if k is None else integer_from(least, "k", k, size)
    if pairs is None or len(pairs.values) < k:
        pairs = top_eigenpairs(operator, k, key=key, copies=False)
    values, vectors = (np.asarray(found, np.float64)[:k] for found in (pairs.values, pairs.vectors))
    basis = decomposition.directions("g1")
    products = vectors @ basis.T
    least = min(n_classes, len(basis))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = decomposition.quotients("g1", vectors) / values
    return ClassAttribution(
        values,
        decomposition.eigenvalues("g1"),
        shares,
        (products**2).sum(axis=1),
        float((products[:n_classes] ** 2).sum() / least) if least else float("nan"),
        _leading(knocked_out(operator, basis), k, key),
        _leading(knocked_out(operator, decomposition.directions("g1", "g2")), k, key),
    )


def _leading(operator: LinearOperator, k: int, key: jax.Array) -> np.ndarray:
    return np.asarray(top_eigenpairs(operator, k, key=key, copies=False).values, np.float64)
