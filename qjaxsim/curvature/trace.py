"""The trace of a symmetric matrix from its products with random vectors."""

from typing import NamedTuple

import jax
import numpy as np

from qjaxsim.common.checks import integer_from, require_one_of
from qjaxsim.curvature.balance import Balanced
from qjaxsim.curvature.lanczos import require_basis
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.running.sampling import require_key

METHODS = ("hutchinson", "xtrace")


class TraceEstimate(NamedTuple):
    """An estimate of a trace, its standard error, and the products with vectors that it took.

    >>> from qjaxsim.curvature import matrix_operator
    >>> import jax.numpy as jnp
    >>> found = trace_estimate(matrix_operator(jnp.array([[1.0, 2.0], [2.0, 1.0]])), key=jax.random.key(0))
    >>> abs(found.value - 2) < 4 * found.standard_error
    True
    """

    value: float
    standard_error: float
    probes: int


def trace_estimate(
    operator: LinearOperator,
    *,
    key: jax.Array,
    probes: int = 100,
    method: str = "hutchinson",
) -> TraceEstimate:
    """An unbiased estimate of the trace of a symmetric matrix, with its standard error.

    Args:
        operator: of dimension P.
        key: random key of the probing vectors.
        probes: products with vectors, at least 2, for "xtrace" 4.
        method: "hutchinson", the mean of v^T A v over random signs; or "xtrace", which takes half of the products to
            find the directions in which the matrix is large, and the others for the trace there and what is left. On
            spectra of a few large and many small eigenvalues, which Hessians have, its error is far smaller, and it is
            exact up to rounding for a rank below probes / 2 - 1. On flat spectra both are alike.

    Returns:
        TraceEstimate. Hutchinson's standard error is zero for a diagonal matrix, where every probe gives the trace.

    Raises:
        ValueError: if probes is too small, or for another method.
        MemoryError: if the vectors of "xtrace" do not fit.

    Cost: one product a probe; "xtrace" also probes**2 P multiply-adds and 2 probes vectors. The variance of one of
    Hutchinson's probes is 2 (|A|_F^2 - |diag A|^2). Hutchinson 1990, doi:10.1080/03610919008812866; Epperly, Tropp and
    Webber 2024, doi:10.1137/23M1548323.

    >>> from qjaxsim.curvature import matrix_operator
    >>> import jax.numpy as jnp
    >>> found = trace_estimate(matrix_operator(jnp.diag(jnp.array([1.0, 3.0]))), key=jax.random.key(0))
    >>> round(found.value, 3), round(found.standard_error, 3)
    (4.0, 0.0)
    """
    require_operator(operator)
    require_key(key)
    require_one_of("method", method, METHODS)
    probes = integer_from(2 if method == "hutchinson" else 4, "probes", probes)
    return _hutchinson(operator, key, probes) if method == "hutchinson" else _xtrace(operator, key, probes)


def _hutchinson(operator: LinearOperator, key: jax.Array, probes: int) -> TraceEstimate:
    signs = jax.random.rademacher(key, (operator.size, probes), operator.dtype)
    balance = Balanced(operator)
    values = np.asarray((signs * balance.operator.matmat(signs)).sum(axis=0), np.float64)
    error = values.std(ddof=1) / np.sqrt(probes)
    return TraceEstimate(float(values.mean()) * balance.scale, float(error) * balance.scale, probes)


def _xtrace(operator: LinearOperator, key: jax.Array, probes: int) -> TraceEstimate:
    """Each of k vectors in turn is left out of the range that the others find, and probes what they do not reach."""
    size = operator.size
    count = min(probes // 2, size)
    require_basis(operator, 8 * count)
    balance = Balanced(operator)
    probing = np.asarray(jax.random.normal(key, (size, count), operator.dtype), np.float64)
    probing = probing * (np.sqrt(size) / np.linalg.norm(probing, axis=0))
    images = _images(balance, probing)
    basis, upper = np.linalg.qr(images)
    of_basis = _images(balance, basis)
    within = basis.T @ of_basis  # A in the range of all vectors
    if count == size or not images.any():  # nothing is left to probe
        return TraceEstimate(float(np.trace(within)) * balance.scale, 0.0, 2 * count)
    alone = _left_out(upper)
    along = basis.T @ probing
    missed = (alone * along).sum(axis=0)
    reached = along - alone * missed  # what the range of the others holds of each vector
    rest = (probing * images).sum(axis=0) - 2 * ((of_basis.T @ probing) * reached).sum(axis=0)
    rest += (reached * (within @ reached)).sum(axis=0)
    factors = (size - count + 1) / (np.maximum(size - (along * along).sum(axis=0), 0) + missed**2)
    each = np.trace(within) - (alone * (within @ alone)).sum(axis=0) + factors * rest
    error = np.sqrt(((each - each.mean()) ** 2).sum() / (count * max(count - 1, 1)))
    return TraceEstimate(float(each.mean()) * balance.scale, float(error) * balance.scale, 2 * count)


def _images(balance: Balanced, columns: np.ndarray) -> np.ndarray:
    """Images of columns (P, m), in double precision."""
    operator = balance.operator
    return np.asarray(operator.matmat(np.asarray(columns, operator.dtype)), np.float64)


def _left_out(upper: np.ndarray) -> np.ndarray:
    """For each of k vectors the unit vector, in the basis of all, that the others are orthogonal to, in columns.

    These are the columns of the inverse of R transposed. Where vectors depend on each other any vector orthogonal to
    the others will do, and rounding chooses one.
    """
    import scipy.linalg

    diagonal = np.abs(np.diag(upper))
    least = np.finfo(np.float64).eps * diagonal.max()
    safe = upper + np.diag(np.where(diagonal < least, least, 0))
    found = scipy.linalg.solve_triangular(safe, np.eye(len(upper)), trans="T")
    return np.asarray(found / np.linalg.norm(found, axis=0))
