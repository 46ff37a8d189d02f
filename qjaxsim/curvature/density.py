"""The density of a symmetric matrix's eigenvalues from its products with random vectors."""

from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.common.checks import as_number, positive_integer, require_unmasked, shown
from qjaxsim.curvature.balance import Balanced
from qjaxsim.curvature.lanczos import KrylovSpace, require_basis, solve_tridiagonal
from qjaxsim.curvature.operators import LinearOperator, require_operator
from qjaxsim.running.sampling import require_key

# Points of a default grid.
MOST_POINTS = 100_000


class SpectralDensity(NamedTuple):
    """Smoothed eigenvalue density and the quadrature it was made from.

    Attributes:
        grid: shape (G,).
        density: shape (G,); its integral over the real line is 1.
        nodes: Ritz values of all probes, shape (M,).
        weights: non-negative, sum 1, shape (M,).
        sigma: standard deviation of the Gaussian put on each node.
        standard_error: of the density, from the spread of the probes, shape (G,); NaN for one probe.
        residuals: bounds on the nodes, shape (M,): each lies within its residual of an eigenvalue.

    >>> import jax.numpy as jnp
    >>> from qjaxsim.curvature import matrix_operator
    >>> found = spectral_density(matrix_operator(jnp.diag(jnp.array([1.0, 3.0]))), key=jax.random.key(0), probes=1)
    >>> print(found.nodes.round(3), found.weights.round(3))
    [1. 3.] [0.5 0.5]
    """

    grid: np.ndarray
    density: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    sigma: float
    standard_error: np.ndarray
    residuals: np.ndarray


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
            the default grid has too many points, a grid is no vector of finite numbers, or the matvec gives something
            not finite.
        MemoryError: if the Krylov basis of one probe does not fit in free main memory.

    Cost: steps * probes products; memory 2 steps P numbers. Golub and Welsch 1969; Ghorbani et al. 2019,
    arXiv:1901.10159.

    >>> import jax.numpy as jnp
    >>> from qjaxsim.curvature import matrix_operator
    >>> found = spectral_density(matrix_operator(jnp.diag(jnp.array([1.0, 3.0]))), key=jax.random.key(0), probes=2)
    >>> mean = np.trapezoid(found.grid * found.density, found.grid)
    >>> round(float(np.trapezoid(found.density, found.grid)), 3), round(float(mean), 3)
    (1.0, 2.0)
    """
    require_operator(operator)
    require_key(key)
    steps, probes = min(positive_integer("steps", steps), operator.size), positive_integer("probes", probes)
    if sigma is not None:
        sigma = _positive("sigma", sigma)
    if grid is not None:
        require_unmasked("Argument `grid`", grid)
        grid = np.asarray(grid, np.float64)
        if grid.ndim != 1 or not np.isfinite(grid).all():
            raise ValueError(f"Argument `grid` must be a vector of finite numbers or None, but is {shown(grid)}.")
    require_basis(operator, steps)
    balance, rules, bounds = Balanced(operator), [], []
    for probe_key in jax.random.split(key, probes):
        space = KrylovSpace(balance.operator, jax.random.rademacher(probe_key, (operator.size,), operator.dtype))
        space.grow(steps)
        values, coefficients, errors = solve_tridiagonal(*space.tridiagonal())
        rules.append((values * balance.scale, coefficients[0] ** 2))
        bounds.append(errors * balance.scale)
    nodes, weights = (np.concatenate(parts) for parts in zip(*rules, strict=True))
    if sigma is None:
        sigma = _width(nodes, float(np.finfo(operator.dtype).eps)) / 200
    grid = _grid(nodes, sigma) if grid is None else grid
    mean, error = _over_probes(grid, rules, sigma)
    return SpectralDensity(grid, mean, nodes, weights / probes, sigma, error, np.concatenate(bounds))


def _over_probes(
    grid: np.ndarray, rules: list[tuple[np.ndarray, np.ndarray]], sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """The mean of the probes' densities and its standard error, by Welford's recurrence: no probe's density is kept."""
    mean, squares = np.zeros_like(grid), np.zeros_like(grid)
    for count, rule in enumerate(rules, 1):
        one = _smoothed(grid, *rule, sigma)
        change = one - mean
        mean = mean + change / count
        squares = squares + change * (one - mean)
    with np.errstate(invalid="ignore"):
        return mean / sigma, np.sqrt(squares / np.float64(len(rules) - 1) / len(rules)) / sigma


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
    """Sum of Gaussians at the nodes, times sigma, so that its squares stay in range, whatever the scale.

    Node by node, so that no (G, M) matrix is held.
    """
    density = np.zeros_like(grid)
    with np.errstate(over="ignore"):  # far from a narrow Gaussian
        for node, weight in zip(nodes, weights, strict=True):
            density += weight * np.exp(-0.5 * ((grid - node) / sigma) ** 2)
    return density / np.sqrt(2 * np.pi)
