"""Spectra of symmetric matrices, dense or known by their products with vectors alone.

The matrix-free functions take a `LinearOperator` (`operators.py`). They choose their steps by looking at numbers, so
they run outside `jax.jit`; the operator's products and the updates between them are compiled, once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_from, is_traced, not_negative, positive_integer, shown
from qjaxsim.common.memory import require_memory
from qjaxsim.curvature.balance import Balanced, require_known
from qjaxsim.curvature.hvp import NO_MATRIX
from qjaxsim.curvature.lanczos import leading_pairs, normal
from qjaxsim.curvature.matrix import blocks_of
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.curvature.outliers import check_square, check_symmetric, require_array
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.sampling import require_key

# What there is where a matrix lies in blocks and does not fit one device.
SEVERAL_GPUS = "`jaxmg.syevd` of the package JAXMg, which takes the matrix in its blocks on several GPUs"


class EigenPairs(NamedTuple):
    """Eigenvalues in descending order with the evidence that they are eigenvalues.

    Attributes:
        values: shape (k,); descending, in magnitude if so asked.
        vectors: orthonormal, shape (k, P), in `ravel_pytree` order.
        residuals: norms of H v - lambda v, shape (k,). Each value lies within its residual of an eigenvalue.
        matvecs: products with the matrix that were spent.

    >>> from qjaxsim.curvature import matrix_operator
    >>> pairs = top_eigenpairs(matrix_operator(jnp.diag(jnp.array([1.0, 3.0, 2.0]))), 1, key=jax.random.key(0))
    >>> print(np.abs(np.asarray(pairs.vectors)).round(3), bool(pairs.residuals[0] < 1e-3))
    [[0. 1. 0.]] True
    """

    values: jax.Array
    vectors: jax.Array
    residuals: jax.Array
    matvecs: int


class PowerIteration(NamedTuple):
    """Result of a power iteration.

    Attributes:
        value: the last Rayleigh quotient; its sign is that of the eigenvalue.
        vector: unit vector it belongs to, shape (P,).
        steps: products with the matrix that were spent.
        converged: whether the stop rule was met within max_steps.
        residual: norm of H v - value v. The value lies within it of an eigenvalue. It is large where two eigenvalues
            differ in sign alone: the rule stops between them.

    >>> from qjaxsim.curvature import matrix_operator
    >>> found = power_iteration(matrix_operator(3 * jnp.eye(2)), key=jax.random.key(0))
    >>> found.steps, found.converged  # the first two quotients are equal
    (2, True)
    """

    value: float
    vector: jax.Array
    steps: int
    converged: bool
    residual: float


def dense_spectrum(matrix: Any) -> np.ndarray:
    """All eigenvalues of a real symmetric matrix, ascending, in double precision.

    LAPACK through `scipy.linalg.eigvalsh` on CPUs, the device's own solver on an accelerator where JAX's 64-bit mode
    is on; in float64 whatever the dtype of the matrix: a float32 Hessian keeps its own rounding but gains none.
    Backward stable: every eigenvalue, however small, carries an error of about P * 2e-16 * max|lambda| (that much of
    a near-zero bulk is rounding).

    A matrix in blocks on a mesh is brought together first. Where it does not fit, `top_eigenpairs` and
    `spectral_density` of its `matrix_operator` leave it where it is, and so does, on several GPUs, the function `syevd`
    of the package JAXMg, which takes such blocks.

    Args:
        matrix: array of shape (P, P), real. Symmetric up to sqrt(eps) of its dtype times its largest entry;
            one triangle is read.

    Returns:
        float64 array of shape (P,), ascending.

    Raises:
        TypeError: if the matrix is not of a real float dtype, or traced by JAX.
        ValueError: if it is not square, has entries that are not finite, or is not symmetric.
        MemoryError: if two work copies in float64 do not fit.

    Cost: 4/3 P^3 multiply-adds; memory 2 P^2 float64 numbers.

    >>> print(dense_spectrum([[0.0, 1.0], [1.0, 0.0]]).round(3))
    [-1.  1.]
    """
    import scipy.linalg

    if is_traced(matrix):
        raise TypeError(
            "Argument `matrix` must be known, but it is traced by JAX (in jit, grad or vmap); call this function "
            "outside, or take `jnp.linalg.eigvalsh`, which can be traced."
        )
    require_array(matrix)
    given = matrix if isinstance(matrix, jax.Array) else np.asarray(matrix)  # one in blocks is not brought here yet
    check_square(given)
    require_memory(
        2 * 8 * given.size,
        f"The spectrum of a {given.shape[0]} x {given.shape[0]} matrix",
        f"use {NO_MATRIX}" + (f", or {SEVERAL_GPUS}" if blocks_of(given) is not None else ""),
    )
    work = np.array(given, dtype=np.float64)
    if not np.isfinite(work).all():
        raise ValueError(
            f"Argument `matrix` must be finite, but {np.count_nonzero(~np.isfinite(work))} of its entries are not."
        )
    check_symmetric(given.dtype, np.abs(np.subtract(work, work.T)).max(), np.abs(work).max())
    if jax.default_backend() != "cpu" and jax.config.read("jax_enable_x64"):
        return np.asarray(jnp.linalg.eigvalsh(work))
    # The transpose is a Fortran-ordered view, which LAPACK may overwrite without a copy.
    return np.asarray(scipy.linalg.eigvalsh(work.T, overwrite_a=True, check_finite=False))


def top_eigenpairs(
    operator: LinearOperator,
    k: int,
    *,
    key: jax.Array,
    steps: int | None = None,
    which: str = "largest",
    copies: bool = True,
) -> EigenPairs:
    """The k largest eigenvalues of a symmetric matrix and their vectors, by Lanczos iteration.

    Full re-orthogonalisation. With `steps=None` the Krylov space grows, from 11 steps or for several pairs 2 k + 20,
    until every wanted pair has a relative residual below sqrt(eps) of the dtype or 1,280 steps are spent. One starting
    vector sees one copy of a repeated eigenvalue, so with `copies` a second space in the complement of what was found
    then looks for copies, and so on until nothing above the k-th value turns up. With `steps` given there is exactly
    one run of that length, which may miss copies. Where the space would be the whole space, the matrix is built from P
    products and solved densely.

    Args:
        operator: symmetric, of dimension P.
        k: number of pairs, 1 to P.
        key: random key of the starting vectors.
        steps: Lanczos steps, at least k; more than P mean P. Default: adaptive, as above.
        which: "largest" (algebraically; the smallest are minus those of `-operator`) or "magnitude".
        copies: whether to look for copies of repeated eigenvalues: at least as many products more.

    Returns:
        EigenPairs in the dtype of the operator. Look at the residuals: a pair that has not converged is
        returned all the same.

    Raises:
        ValueError: if k, steps or which is out of range, or the matvec gives something not finite.
        MemoryError: if the Krylov basis does not fit in free main memory.

    Cost: steps products and 4 steps^2 P multiply-adds; memory 2 steps P numbers; for each round of copies as much
    again. Lanczos 1950; Golub and Van Loan, Matrix Computations, sections 10.1 to 10.3.

    >>> from qjaxsim.curvature import matrix_operator
    >>> operator = matrix_operator(jnp.diag(jnp.array([1.0, 3.0, -2.0])))
    >>> print(np.asarray(top_eigenpairs(operator, 2, key=jax.random.key(0)).values).round(3))
    [3. 1.]
    >>> print(np.asarray(top_eigenpairs(operator, 2, key=jax.random.key(0), which="magnitude").values).round(3))
    [ 3. -2.]
    """
    require_operator(operator)
    require_key(key)
    k = integer_from(1, "k", k, operator.size)
    steps = None if steps is None else integer_from(k, "steps", steps)
    if not isinstance(which, str) or which not in ("largest", "magnitude"):
        way_out = "for the smallest take minus the largest of `-operator`"
        raise ValueError(f"Argument `which` must be 'largest' or 'magnitude', but it is {shown(which)}; {way_out}.")

    balance = Balanced(operator)
    found, vectors, spent = leading_pairs(balance, k, key, steps, which, copies)
    # By products of their own: no estimate.
    images = np.asarray(balance.operator.matmat(vectors.T))
    rest = images - np.asarray(vectors).T * np.asarray(found, operator.dtype)
    residuals = balance.unbalanced(np.linalg.norm(rest, axis=0))
    return EigenPairs(balance.unbalanced(found), vectors, residuals, spent + len(vectors) + balance.extra)


def power_iteration(
    operator: LinearOperator,
    *,
    key: jax.Array,
    tol: float = 1e-3,
    max_steps: int = 100,
) -> PowerIteration:
    """The eigenvalue largest in magnitude, by the method behind most published figures.

    The stop rule is PyHessian's, |new - old| < tol |old| between two Rayleigh quotients, at most max_steps products,
    from a random normal vector. It bounds the last step, not the error: with a small gap to the next eigenvalue the
    result can be off by far more than tol; the residual tells. `top_eigenpairs` finds what this does not. (PyHessian
    adds 1e-6 to |old|, so that every matrix far below that is done after two products; and it returns the old quotient
    when it stops, this function the new one.)

    Args:
        operator: symmetric, of dimension P.
        key: random key of the starting vector.
        tol: relative change at which to stop.
        max_steps: largest number of products, at least 1.

    Returns:
        PowerIteration.

    Raises:
        ValueError: if max_steps is not a positive integer, or tol negative or not finite.

    Cost: one product a step. Yao et al. 2020, arXiv:1912.07145, for the stop rule.

    >>> from qjaxsim.curvature import matrix_operator
    >>> operator = matrix_operator(jnp.diag(jnp.array([1.0, -4.0])))
    >>> round(power_iteration(operator, key=jax.random.key(0), tol=1e-6).value, 3)
    -4.0
    """
    require_operator(operator)
    require_key(key)
    max_steps, tol = positive_integer("max_steps", max_steps), not_negative("tol", tol)
    balance = Balanced(operator)
    drawn = normal(key, operator)
    require_known(drawn)
    vector = np.asarray(drawn)
    vector = vector / np.linalg.norm(vector)
    old, converged = 0.0, False
    for count in range(1, max_steps + 1):
        image = np.asarray(balance.operator.matvec(vector))
        new, length = float(np.vdot(vector, image)), float(np.linalg.norm(image))
        # Equal quotients have converged, those of a matrix of zeros too.
        converged = count > 1 and (abs(new - old) < tol * abs(old) or new == old)
        if converged or count == max_steps:
            break
        vector, old = image / length if length > 0 else vector, new
    residual = float(np.linalg.norm(image - new * vector))
    return PowerIteration(new * balance.scale, to_jax(vector), count, converged, residual * balance.scale)
