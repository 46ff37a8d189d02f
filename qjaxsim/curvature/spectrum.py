"""Spectra of symmetric matrices, dense or known by their products with vectors alone.

The matrix-free functions take a `LinearOperator` (`operators.py`). They choose their steps by looking at numbers, so
they run outside `jax.jit`; the operator's products and the updates between them are compiled, once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import as_number, integer_from, positive_integer, shown
from qjaxsim.common.memory import require_memory
from qjaxsim.curvature.balance import Balanced
from qjaxsim.curvature.lanczos import KrylovSpace, leading_pairs, normal, require_basis, solve_tridiagonal
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.curvature.outliers import check_square
from qjaxsim.running.sampling import require_key

# Points of a default grid.
MOST_POINTS = 100_000


class EigenPairs(NamedTuple):
    """Eigenvalues in descending order with the evidence that they are eigenvalues.

    Attributes:
        values: shape (k,); descending, in magnitude if so asked.
        vectors: orthonormal, shape (k, P), in `ravel_pytree` order.
        residuals: norms of H v - lambda v, shape (k,). Each value lies within its residual of an eigenvalue.
        matvecs: products with the matrix that were spent.
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
    """

    value: float
    vector: jax.Array
    steps: int
    converged: bool


class SpectralDensity(NamedTuple):
    """Smoothed eigenvalue density and the quadrature it was made from.

    Attributes:
        grid: shape (G,).
        density: shape (G,); its integral over the real line is 1.
        nodes: Ritz values of all probes, shape (M,).
        weights: non-negative, sum 1, shape (M,).
        sigma: standard deviation of the Gaussian put on each node.
    """

    grid: np.ndarray
    density: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    sigma: float


class TraceEstimate(NamedTuple):
    """Mean and standard error of the mean over `probes` random vectors."""

    value: float
    standard_error: float
    probes: int


def dense_spectrum(matrix: Any) -> np.ndarray:
    """All eigenvalues of a real symmetric matrix, ascending, in double precision.

    LAPACK through `scipy.linalg.eigvalsh` on CPUs, the device's own solver on an accelerator where JAX's 64-bit mode
    is on; in float64 whatever the dtype of the matrix: a float32 Hessian keeps its own rounding but gains none.
    Backward stable: every eigenvalue, however small, carries an error of about P * 2e-16 * max|lambda| (that much of
    a near-zero bulk is rounding).

    Args:
        matrix: array of shape (P, P), real. Symmetric up to sqrt(eps) of its dtype times its largest entry;
            one triangle is read.

    Returns:
        float64 array of shape (P,), ascending.

    Raises:
        TypeError: if the matrix is not of a real float dtype.
        ValueError: if it is not square, has entries that are not finite, or is not symmetric.
        MemoryError: if two work copies in float64 do not fit.

    Cost: 4/3 P^3 multiply-adds; memory 2 P^2 float64 numbers.
    """
    import scipy.linalg

    given = np.asarray(matrix)
    check_square(given)
    require_memory(
        2 * 8 * given.size,
        f"The spectrum of a {given.shape[0]} x {given.shape[0]} matrix",
        "use Lanczos (`top_eigenpairs`, `spectral_density`)",
    )
    work = np.array(given, dtype=np.float64)
    if not np.isfinite(work).all():
        raise ValueError(
            f"Argument `matrix` must be finite, but {np.count_nonzero(~np.isfinite(work))} of its entries are not."
        )
    skew = np.abs(np.subtract(work, work.T))
    if skew.size and skew.max() > np.sqrt(np.finfo(given.dtype).eps) * np.abs(work).max():
        raise ValueError(
            f"Argument `matrix` must be symmetric, but entries mirrored at the diagonal differ by {skew.max():.3g}; "
            "symmetrise it if that is rounding."
        )
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

    Full re-orthogonalisation. With `steps=None` the Krylov space grows, from 2 k + 20 steps, until every wanted pair
    has a relative residual below sqrt(eps) of the dtype or 1,280 steps are spent. One starting vector sees one copy of
    a repeated eigenvalue, so with `copies` a second space in the complement of what was found then looks for copies,
    and so on until nothing above the k-th value turns up. With `steps` given there is exactly one run of that length,
    which may miss copies. Where the space would be the whole space, the matrix is built from P products and solved
    densely.

    Args:
        operator: symmetric, of dimension P.
        k: number of pairs, 1 to P.
        key: random key of the starting vectors.
        steps: Lanczos steps, at least k; more than P mean P. Default: adaptive, as above.
        which: "largest" (algebraically) or "magnitude".
        copies: whether to look for copies of repeated eigenvalues: at least 2 k + 20 products more.

    Returns:
        EigenPairs in the dtype of the operator. Look at the residuals: a pair that has not converged is
        returned all the same.

    Raises:
        ValueError: if k, steps or which is out of range, or the matvec gives something not finite.
        MemoryError: if the Krylov basis does not fit in free main memory.

    Cost: steps products and 4 steps^2 P multiply-adds; memory 2 steps P numbers; for each round of copies as much
    again. Lanczos 1950; Golub and Van Loan, Matrix Computations, sections 10.1 to 10.3.
    """
    require_operator(operator)
    require_key(key)
    k = integer_from(1, "k", k, operator.size)
    steps = None if steps is None else integer_from(k, "steps", steps)
    if not isinstance(which, str) or which not in ("largest", "magnitude"):
        raise ValueError(f"Argument `which` must be 'largest' or 'magnitude', but it is {shown(which)}.")

    balance = Balanced(operator)
    found, vectors, spent = leading_pairs(balance, k, key, steps, which, copies)
    # By products of their own: no estimate.
    rest = balance.operator.matmat(vectors.T) - vectors.T * jnp.asarray(found, operator.dtype)[None, :]
    residuals = balance.unbalanced(jnp.linalg.norm(rest, axis=0))
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
    result can be off by far more than tol. `top_eigenpairs` gives a residual. (PyHessian adds 1e-6 to |old|, so that
    every matrix far below that is done after two products; and it returns the old quotient when it stops, this function
    the new one.)

    Args:
        operator: symmetric, of dimension P.
        key: random key of the starting vector.
        tol: relative change at which to stop.
        max_steps: largest number of products, at least 1.

    Returns:
        PowerIteration.

    Raises:
        ValueError: if max_steps is not a positive integer.

    Cost: one product a step. Yao et al. 2020, arXiv:1912.07145, for the stop rule.
    """
    require_operator(operator)
    require_key(key)
    max_steps = positive_integer("max_steps", max_steps)
    balance = Balanced(operator)
    vector = normal(key, operator)
    vector = vector / jnp.linalg.norm(vector)
    old, converged = 0.0, False
    for count in range(1, max_steps + 1):
        image = balance.operator.matvec(vector)
        new, length = float(jnp.vdot(vector, image)), float(jnp.linalg.norm(image))
        # Equal quotients have converged, those of a matrix of zeros too.
        converged = count > 1 and (abs(new - old) < tol * abs(old) or new == old)
        if converged or count == max_steps:
            break
        vector, old = image / length if length > 0 else vector, new
    return PowerIteration(new * balance.scale, vector, count, converged)


def spectral_density(
    operator: LinearOperator,
    *,
    key: jax.Array,
    steps: int = 100,
    probes: int = 10,
    grid: Any = None,
    sigma: float | None = None,
) -> SpectralDensity:
    """Eigenvalue density by stochastic Lanczos quadrature with Gaussian smoothing.

    Each random sign vector gives a Gauss quadrature of its spectral measure: nodes are the Ritz values,
    weights the squared first components. The mean over probes estimates the density. It is a density, not a
    count: an eigenvalue's peak weighs 1/P only on average, and no feature is narrower than `sigma`.

    Args:
        operator: symmetric, of dimension P.
        key: random key of the probes.
        steps: Lanczos steps a probe; more than P mean P.
        probes: number of random vectors.
        grid: points at which to evaluate, spaced as you like: values there are right whatever lies between. Default:
            from 6 sigma below the nodes to 6 above, spacing sigma/4, or where those were more than 100,000 points so
            close around the nodes alone: on both the trapezoid rule gives the integral 1.
        sigma: Gaussian width. Default: 1/200 of the nodes' range (1/200 of |node| where all are one up to rounding,
            1/200 where that is zero): it scales with the matrix, unlike PyHessian's sqrt(1e-5 max(1, range)).

    Returns:
        SpectralDensity in float64.

    Raises:
        ValueError: if steps or probes is not a positive integer, sigma is not positive and finite, or so narrow that
            the default grid has too many points, or the matvec gives something not finite.
        MemoryError: if the Krylov basis of one probe does not fit in free main memory.

    Cost: steps * probes products; memory 2 steps P numbers. Golub and Welsch 1969; Ghorbani et al. 2019,
    arXiv:1901.10159.
    """
    require_operator(operator)
    require_key(key)
    steps, probes = min(positive_integer("steps", steps), operator.size), positive_integer("probes", probes)
    if sigma is not None:
        sigma = _positive("sigma", sigma)
    require_basis(operator, steps)
    balance, rules = Balanced(operator), []
    for probe_key in jax.random.split(key, probes):
        space = KrylovSpace(balance.operator, jax.random.rademacher(probe_key, (operator.size,), operator.dtype))
        space.grow(steps)
        values, coefficients, _ = solve_tridiagonal(*space.tridiagonal())
        rules.append((values, coefficients[0] ** 2 / probes))
    nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
    nodes = nodes * balance.scale
    if sigma is None:
        sigma = _width(nodes, float(np.finfo(operator.dtype).eps)) / 200
    grid = np.asarray(_grid(nodes, sigma) if grid is None else grid, np.float64)
    return SpectralDensity(grid, _smoothed(grid, nodes, weights, sigma), nodes, weights, sigma)


def trace_estimate(
    operator: LinearOperator,
    *,
    key: jax.Array,
    probes: int = 100,
) -> TraceEstimate:
    """Hutchinson's estimate of the trace of a symmetric matrix, with its standard error.

    Args:
        operator: of dimension P.
        key: random key of the sign vectors.
        probes: number of random sign vectors, at least 2.

    Returns:
        TraceEstimate. The estimate is unbiased; the standard error is zero for a diagonal matrix, where every
        probe gives the trace.

    Raises:
        ValueError: if probes is below 2.

    Cost: one product a probe. The variance of one probe is 2 (|H|_F^2 - |diag H|^2). Hutchinson 1990,
    doi:10.1080/03610919008812866.
    """
    require_operator(operator)
    require_key(key)
    probes = integer_from(2, "probes", probes)  # of one there is no standard error
    signs = jax.random.rademacher(key, (operator.size, probes), operator.dtype)
    balance = Balanced(operator)
    values = np.asarray((signs * balance.operator.matmat(signs)).sum(axis=0), np.float64) * balance.scale
    return TraceEstimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(probes)), probes)


def _positive(name: str, value: Any) -> float:
    """The positive, finite number that an argument stands for."""
    number = as_number(value, f"Argument `{name}`", "call this function outside")
    if number is None or number.imag or not 0 < number.real < np.inf:
        raise ValueError(f"Argument `{name}` must be positive or None, but it is {shown(value)}.")
    return number.real


def _width(nodes: np.ndarray, eps: float) -> float:
    """The range of the nodes, or where that is rounding their size, or where that is zero 1."""
    spread, size = float(nodes.max() - nodes.min()), float(np.abs(nodes).max())
    return spread if spread > 100 * eps * size else size or 1.0


def _grid(nodes: np.ndarray, sigma: float) -> np.ndarray:
    """Points that show Gaussians at the nodes, a quarter of their width apart.

    Raises:
        ValueError: if these are too many, or too close for double precision.
    """
    low, high = nodes.min() - 6 * sigma, nodes.max() + 6 * sigma
    points = np.ceil(4 * (high - low) / sigma) + 1
    if points <= MOST_POINTS:
        return np.linspace(low, high, int(points))
    # Stretches that reach 12 sigma from their nodes, where a Gaussian is nothing even over a gap of 1e20 sigma.
    ordered = np.sort(nodes)
    cuts = np.flatnonzero(np.diff(ordered) > 24 * sigma)
    starts, stops = ordered[[0, *(cuts + 1)]] - 12 * sigma, ordered[[*cuts, -1]] + 12 * sigma
    counts = np.ceil(4 * (stops - starts) / sigma) + 1
    if counts.sum() > MOST_POINTS or sigma < 100 * np.spacing(np.abs(nodes).max()):
        raise ValueError(
            f"Argument `sigma` must be wide enough for a grid of {MOST_POINTS:,} points that shows Gaussians at "
            f"{nodes.size:,} nodes between {nodes.min():.3g} and {nodes.max():.3g}, but is {sigma:.3g}; give a wider "
            "one, or a `grid`."
        )
    stretches = zip(starts, stops, counts.astype(int), strict=True)
    return np.concatenate([np.linspace(start, stop, count) for start, stop, count in stretches])


def _smoothed(grid: np.ndarray, nodes: np.ndarray, weights: np.ndarray, sigma: float) -> np.ndarray:
    """Sum of Gaussians at the nodes; node by node, so that no (G, M) matrix is held."""
    density = np.zeros_like(grid)
    with np.errstate(over="ignore"):  # far from a narrow Gaussian
        for node, weight in zip(nodes, weights, strict=True):
            density += weight * np.exp(-0.5 * ((grid - node) / sigma) ** 2)
    return density / (sigma * np.sqrt(2 * np.pi))
