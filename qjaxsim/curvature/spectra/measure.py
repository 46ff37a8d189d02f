"""Numbers and arrays of a spectrum: from the dense matrix and its two parts, or by products alone."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, digest
from qjaxsim.common.files import SO_FAR
from qjaxsim.common.memory import available_bytes
from qjaxsim.curvature.balance import magnitude
from qjaxsim.curvature.density import SpectralDensity, spectral_density
from qjaxsim.curvature.gauss_newton import split_hessian
from qjaxsim.curvature.hvp import ROWS_AT_ONCE, require_dense, symmetrised
from qjaxsim.curvature.kept_products import ProductLog
from qjaxsim.curvature.lanczos import normal
from qjaxsim.curvature.matrix import matrix_operator
from qjaxsim.curvature.operators import CurvatureOperators, LinearOperator
from qjaxsim.curvature.outliers import (
    count_outliers,
    exact_zeros,
    gap_ratios,
    near_zero_fraction,
    numerical_rank,
)
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.ranges import by_ranges, split_by_ranges
from qjaxsim.curvature.spectra.problem import Problem
from qjaxsim.curvature.spectrum import EigenPairs, dense_spectrum, top_eigenpairs
from qjaxsim.curvature.trace import trace_estimate
from qjaxsim.report.spectra import NEAR_ZERO
from qjaxsim.running.array_types import to_jax

if TYPE_CHECKING:
    from qjaxsim.common.progress import Progress

Numbers = dict[str, Any]
Arrays = dict[str, np.ndarray]

# Up to this many parameters "auto" means the dense spectrum: at 9,924 it takes a quarter of the time of the 400
# products that a matrix-free one needs.
DENSE_UP_TO = 12_000
# Matrices of P x P numbers that the dense way holds at its peak: two sums, one part, their total, workspace.
DENSE_COPIES = 5
# Matrix-free estimates: Lanczos steps and probes of the density, probes of the trace and of the norms.
DENSITY_STEPS, DENSITY_PROBES, TRACE_PROBES, NORM_PROBES = 80, 4, 24, 8
# A share of a density is given where the sides of fewer eigenvalues than this are unknown.
UNSURE = 0.01


@dataclass(frozen=True, eq=False)
class Measured:
    """What one of the two ways finds.

    Attributes:
        numbers: of `columns.NUMBERS`.
        arrays: `eigenvalues` and, of a model, `gn_eigenvalues`; or `lanczos_values`, `lanczos_residuals`,
            `density_grid`, `density`.
        gradient: (P,).
        hessian, gauss_newton: as operators; the latter of a model only.
        pairs: leading pairs where the way met them, else None.
        above: eigenvalues above the floor of outliers, an estimate; None where all eigenvalues are known.
    """

    numbers: Numbers
    arrays: Arrays
    gradient: jax.Array
    hessian: LinearOperator
    gauss_newton: LinearOperator | None = None
    pairs: EigenPairs | None = None
    above: int | None = None


def is_dense(method: str, size: int, itemsize: int) -> bool:
    """Whether the spectrum comes from the dense matrix: if so asked, or up to 12,000 parameters that fit in memory."""
    fits = DENSE_COPIES * size**2 * itemsize <= available_bytes()
    return method == "dense" or (method == "auto" and size <= DENSE_UP_TO and fits)


def with_kept_products(problem: Problem, folder: Path | None) -> Problem:
    """The problem, with operators whose products a file in the folder keeps."""
    if folder is None:
        return problem
    made_of = {"params": problem.flat}
    if problem.model is not None:
        made_of |= {"x": problem.model.x, "y": problem.model.y}
    log = ProductLog(folder / f"products{SO_FAR}.bin", {name: digest(tree) for name, tree in made_of.items()})
    operators = zip(problem.operators, CurvatureOperators._fields, strict=False)  # of a plain function H alone
    return replace(problem, operators=[log.of(operator, name) for operator, name in operators])


def counted(operator: LinearOperator, advance: Callable[[int], None]) -> LinearOperator:
    """The operator, which says each product to a bar."""

    def rows(vectors: jax.Array) -> jax.Array:
        images = jax.block_until_ready(operator.rows(vectors))
        advance(len(vectors))
        return images

    return LinearOperator(operator.size, operator.dtype, rows)


def leading(found: Measured, k: int, key: jax.Array, progress: "Progress") -> EigenPairs:
    """The k leading pairs; those that the spectrum came from, where it came from pairs."""
    if found.pairs is not None:
        return found.pairs
    with progress.bar("leading eigenvectors, products", found.hessian.size, compiles=True) as advance:
        return top_eigenpairs(counted(found.hessian, advance), k, key=key, copies=False)


def outlier_numbers(values: Any, classes: int, *, known: bool, above: int | None, largest: float) -> Numbers:
    """Outliers of a spectrum by the rule of the largest gap, and ratios at the ranks that known classes suggest.

    The floor is that of the `largest` magnitude, which may be of an eigenvalue that is not among the leading ones.
    """
    noise = min(NEAR_ZERO * largest / (np.abs(values).max() or 1), np.nextafter(1, 0)) or NEAR_ZERO
    outliers = count_outliers(values, classes, noise=noise, above=above)
    ratios = gap_ratios(values, classes, noise=noise) if known else {}
    return {
        "outliers_gap": outliers.number,
        "gap_ratio": outliers.ratio,
        "ratio_k_minus_1": ratios.get("k-1"),
        "ratio_k": ratios.get("k"),
        "ratio_k_squared": ratios.get("k2"),
    }


# --- the dense matrix ------------------------------------------------------------------------------------------------


def by_matrix(problem: Problem, batch_size: int | None, progress: "Progress", folder: Path | None) -> Measured:
    """All eigenvalues of H and, of a model, of G."""
    require_dense(problem.flat.size, DENSE_COPIES, problem.flat.dtype.itemsize, "The dense Hessian")
    if problem.model is None:
        hessian = _matrix(problem, progress, folder)
        gradient = compiled_once(jax.grad(lambda w: problem.function(problem.unravel(w))), problem.flat)
        _require_finite(hessian)
        values = dense_spectrum(hessian)
        return Measured(_of_values(values, hessian), {"eigenvalues": values}, gradient, matrix_operator(hessian))
    model = problem.model
    saved = None if folder is None else folder / f"hessian{SO_FAR}.npz"
    split_of = split_by_ranges if by_ranges(saved) else split_hessian
    with progress.counter("Hessian, samples", model.n_samples) as moved:
        split = split_of(
            model.outputs,
            model.loss,
            problem.params,
            model.x,
            model.y,
            batch_size=batch_size,
            progress=moved,
            checkpoint=saved,
        )
    _require_finite(split.hessian, split.gauss_newton)
    values, gauss_newton = dense_spectrum(split.hessian), dense_spectrum(split.gauss_newton)
    numbers = _of_values(values, split.hessian) | {
        "gn_lambda_max": float(gauss_newton[-1]),
        "gn_null": int((np.abs(gauss_newton) <= _rounding(split.hessian) * np.abs(gauss_newton).max()).sum()),
        "residual_norm_ratio": _ratio(split.residual, split.hessian),
        "residual_norm_error": None,
    }
    arrays = {"eigenvalues": values, "gn_eigenvalues": gauss_newton}
    return Measured(
        numbers, arrays, split.gradient, matrix_operator(split.hessian), matrix_operator(split.gauss_newton)
    )


def _require_finite(*images: jax.Array) -> None:
    """Refuse second derivatives, or products with them, that are NaN or infinite."""
    if all(bool(jnp.isfinite(each).all()) for each in images):
        return
    raise ValueError(
        "Argument `function` must have finite second derivatives at the point, but some are NaN or infinite there; "
        "where a root or a power meets zero choose another point, where numbers leave the range of "
        f"{images[0].dtype} scale the function down."
    )


def _of_values(values: np.ndarray, hessian: jax.Array) -> Numbers:
    return {
        "spectrum": "dense",
        "lambda_max": float(values[-1]),
        "lambda_min": float(values[0]),
        "trace": float(values.sum()),
        "trace_error": None,
        "negative_eigenvalues": int((values < -NEAR_ZERO * np.abs(values).max()).sum()),
        "near_zero_fraction": near_zero_fraction(values, NEAR_ZERO),
        "exact_zeros": exact_zeros(hessian),
        "rank": numerical_rank(values, _rounding(hessian)),
    }


def _rounding(matrix: jax.Array) -> float:
    """The relative rounding of eigenvalues."""
    return len(matrix) * float(np.finfo(matrix.dtype).eps)


def _matrix(problem: Problem, progress: "Progress", folder: Path | None) -> jax.Array:
    """The Hessian of a plain function, some rows at once, kept as they come."""
    size, dtype = problem.flat.size, problem.flat.dtype
    width = min(ROWS_AT_ONCE, size)
    saved, rows = None, np.empty((0, size), dtype)
    if folder is not None:
        # One product stands for the function, which has no digest.
        probe = problem.operators[0].matvec(jax.random.normal(jax.random.key(0), (size,), dtype))
        mark = Fingerprint("product", "function", probe)
        saved = Checkpoint(folder / f"hessian{SO_FAR}.npz", {"params": digest(problem.flat)}, fingerprint=mark)
        state = saved.restore({"rows": rows}, growing=("rows",))
        rows = state["rows"] if state else rows
    with progress.counter("Hessian, rows", size) as moved:
        while len(rows) < size:
            # The last rows slide back, so that one program serves all.
            start = min(len(rows), size - width)
            block = problem.operators[0].rows(to_jax(np.eye(width, size, start, dtype)))
            rows = np.concatenate([rows[:start], np.asarray(block)])
            if saved is not None:
                saved.save({"rows": rows}, last=len(rows) == size)
            moved(len(rows), size)
    return symmetrised(to_jax(rows))


# --- products alone --------------------------------------------------------------------------------------------------


def by_products(problem: Problem, top: int, key: jax.Array, progress: "Progress") -> Measured:
    """Leading eigenvalues by Lanczos, density by SLQ, trace and norms by random probes: no matrix is formed."""
    keys = jax.random.split(key, 5)
    size = problem.flat.size
    steps = min(DENSITY_STEPS, size)
    least = 4 * top + steps * DENSITY_PROBES + TRACE_PROBES + 2 * NORM_PROBES
    with progress.bar("spectrum, products (about)", least, compiles=True) as advance:
        hessian, *parts = (counted(part, advance) for part in problem.operators)
        _require_finite(_small_image(hessian, keys[0]))
        pairs = top_eigenpairs(hessian, min(top, size), key=keys[0], copies=False)
        lowest = top_eigenpairs(-hessian, 1, key=keys[1], copies=False)
        of_parts = _of_parts(pairs, hessian, *parts, keys=keys) if parts else {}
        density = spectral_density(hessian, key=keys[3], steps=steps, probes=DENSITY_PROBES)
        trace = trace_estimate(hessian, key=keys[4], probes=TRACE_PROBES, method="xtrace")
    values = np.asarray(pairs.values, float)
    lambda_min = -float(lowest.values[0])
    shares = density.weights / density.weights.sum()
    floor = NEAR_ZERO * max(abs(values[0]), abs(lambda_min))
    numbers = {
        "spectrum": "lanczos",
        "lambda_max": float(values[0]),
        "lambda_min": lambda_min,
        "trace": trace.value,
        "trace_error": trace.standard_error,
        **of_parts,
        "near_zero_fraction": _share_near_zero(density, floor),
    }
    arrays = {
        "lanczos_values": values,
        "lanczos_residuals": np.asarray(pairs.residuals),
        "density_grid": np.asarray(density.grid),
        "density": np.asarray(density.density),
        "density_error": np.asarray(density.standard_error),
    }
    gradient = compiled_once(jax.grad(lambda w: problem.function(problem.unravel(w))), problem.flat)
    gauss_newton = problem.operators[1] if parts else None
    expected = round(size * float(shares[density.nodes > floor].sum()))
    return Measured(numbers, arrays, gradient, problem.operators[0], gauss_newton, pairs, expected)


def _share_near_zero(density: SpectralDensity, floor: float) -> float | None:
    """The share of eigenvalues of magnitude up to `floor`; None where the quadrature cannot tell.

    A node stands for eigenvalues around it: of its Ritz vector's square at most that of residual over distance belongs
    to those on the other side of the limit. Zeros in a dense bulk have no node of their own before the bulk is
    resolved, and a count of nodes would call them none.
    """
    shares, sizes = density.weights / density.weights.sum(), np.abs(density.nodes)
    near = sizes <= floor
    distance = np.where(near, floor, sizes - floor)
    with np.errstate(divide="ignore", invalid="ignore"):
        astray = np.nan_to_num(density.residuals / distance, nan=0.0, posinf=1.0)
    if float(shares @ np.minimum(astray, 1) ** 2) > UNSURE:
        return None
    return float(shares[near].sum())


def _small_image(operator: LinearOperator, key: jax.Array) -> jax.Array:
    """The image of a random vector so small that only what is no number, or infinite itself, makes it so."""
    return operator.matvec(normal(key, operator) * 2.0 ** -(3 * jnp.finfo(operator.dtype).maxexp // 4))


def _of_parts(
    pairs: EigenPairs,
    hessian: LinearOperator,
    gauss_newton: LinearOperator,
    residual: LinearOperator,
    *,
    keys: jax.Array,
) -> Numbers:
    leading_gn = top_eigenpairs(gauss_newton, 1, key=keys[2], copies=False)
    ratio, error = _norm_ratio(pairs, residual, hessian, keys[4])
    return {
        "gn_lambda_max": float(leading_gn.values[0]),
        "residual_norm_ratio": ratio,
        "residual_norm_error": error,
    }


def _norm_ratio(
    pairs: EigenPairs, residual: LinearOperator, hessian: LinearOperator, key: jax.Array
) -> tuple[float, float]:
    """||R|| / ||H|| in the Frobenius norm, and its standard error.

    On the leading eigenvectors of H, which have most of its norm, by products with these; on the rest by the mean of
    ||M z||^2 over z normal there.
    """
    vectors = np.asarray(pairs.vectors, float)
    probes = np.asarray(jax.random.normal(key, (hessian.size, NORM_PROBES), hessian.dtype), float)
    probes = probes - vectors.T @ (vectors @ probes)
    squares = [_squares(operator @ to_jax(probes.astype(hessian.dtype))) for operator in (residual, hessian)]
    known = (_squares(residual @ pairs.vectors.T).sum(), (np.asarray(pairs.values, float) ** 2).sum())
    one, other = (exact + each.mean() for exact, each in zip(known, squares, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.sqrt(one / other))
        spread = np.std(squares[0] - ratio**2 * squares[1], ddof=1) / np.sqrt(NORM_PROBES)
        return ratio, float(spread / (2 * ratio * other)) if spread else 0.0


def _squares(columns: jax.Array) -> np.ndarray:
    """The squared norm of each column."""
    return (np.asarray(columns, float) ** 2).sum(axis=0)


def _ratio(one: jax.Array, other: jax.Array) -> float:
    """Of two matrices' norms; NaN or infinite where the second is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(magnitude(one) / magnitude(other))
