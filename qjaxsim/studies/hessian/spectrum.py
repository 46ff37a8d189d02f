"""Spectra of a cell: from the dense matrix with its two parts, or by products alone."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim import curvature
from qjaxsim.common.progress import Progress
from qjaxsim.curvature import CurvatureOperators, EigenPairs, LinearOperator
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import Params, PatchesModel
from qjaxsim.models.patches_nulls import block_redundancy, null_parameters, redundant_weights
from qjaxsim.studies.hessian.examples import HessianExamples, loss_of_params
from qjaxsim.studies.hessian.nulls import NEAR_ZERO
from qjaxsim.studies.hessian.planes import SO_FAR
from qjaxsim.studies.hessian.settings import HessianSettings, use_dense

Row = dict[str, Any]
Arrays = dict[str, Any]

# Matrix-free estimates: Lanczos steps and probes of the density, probes of the trace and of the norms.
_DENSITY_STEPS, _DENSITY_PROBES, _TRACE_PROBES, _NORM_PROBES = 80, 4, 24, 8


def measure(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    params: Params,
    progress: Progress,
    folder: Path,
) -> tuple[Row, Arrays]:
    """Columns and arrays of the spectrum at `params`.

    Args:
        settings: resolved, of one cell.
        model: the model.
        examples: its data.
        params: where, in the precision of curvature.
        progress: bars.
        folder: where an unfinished Hessian is kept.

    Returns:
        Columns of `columns.py`, and arrays: `eigenvalues` and `gn_eigenvalues`, or `lanczos_values`,
        `lanczos_residuals`, `density_grid` and `density`; `top_values` (2,) and `top_vectors` (2, P).
    """
    key = jax.random.key(settings.seeds[0])
    compute = _dense if use_dense(settings, model) else _by_products
    row, arrays, operator = compute(settings, model, examples, params, key, progress, folder)
    pairs = _leading(operator, arrays, max(2, examples.n_classes), key, progress)
    arrays |= {"top_values": np.asarray(pairs.values[:2]), "top_vectors": np.asarray(pairs.vectors[:2])}
    row |= _sharpness(settings, model, examples, params, operator, pairs, key, progress)
    values = arrays.get("eigenvalues", arrays.get("lanczos_values"))
    row |= _outlier_columns(values, examples.n_classes) | _null_columns(model, params)
    gradient = arrays.pop("gradient")
    within = pairs.vectors[: examples.n_classes] @ gradient
    row |= {
        "curvature_images": len(examples.chosen(settings.curvature_images)[1]),
        "lambda_max_times_patches": row["lambda_max"] * model.n_patches,
        "rounding": model.n_parameters * float(np.finfo(settings.dtype).eps) * row["lambda_max"],
        "gradient_norm": float(jnp.linalg.norm(gradient)),
        "gradient_in_top_k": float(jnp.sum(within**2) / jnp.sum(gradient**2)),
    }
    return row, arrays


def _data(settings: HessianSettings, examples: HessianExamples, images: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Training images in the precision of curvature, and labels."""
    x, y = examples.chosen(images)
    return x.astype(settings.dtype), y


# --- columns that both ways share ------------------------------------------------------------------------------------


def _leading(operator: LinearOperator, arrays: Arrays, k: int, key: jax.Array, progress: Progress) -> EigenPairs:
    """The k leading pairs; those that the spectrum came from, where it came from pairs."""
    if "lanczos_vectors" in arrays:
        vectors = jnp.asarray(arrays.pop("lanczos_vectors"))
        values, residuals = jnp.asarray(arrays["lanczos_values"]), jnp.asarray(arrays["lanczos_residuals"])
        return EigenPairs(values, vectors, residuals, 0)
    with progress.bar("leading eigenvectors, products", operator.size, compiles=True) as advance:
        return curvature.top_eigenpairs(_counted(operator, advance), k, key=key, copies=False)


def _sharpness(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    params: Params,
    operator: LinearOperator,
    pairs: EigenPairs,
    key: jax.Array,
    progress: Progress,
) -> Row:
    """The largest eigenvalue by the paper's power iteration and by Lanczos, on as many images as asked."""
    data = _data(settings, examples, settings.lambda_images or settings.curvature_images)
    others = len(data[1]) != len(examples.chosen(settings.curvature_images)[1])
    if others:
        operator = curvature.curvature_operators(model.outputs, cross_entropy, params, *data).hessian
    with progress.bar("largest eigenvalue, products", 100, compiles=True) as advance:
        watched = _counted(operator, advance)
        power = curvature.power_iteration(watched, key=key)
        lanczos = curvature.top_eigenpairs(watched, 1, key=key, copies=False) if others else pairs
    return {
        "lambda_images": len(data[1]),
        "lambda_max_power": power.value,
        "power_steps": power.steps,
        "lambda_max_lanczos": float(lanczos.values[0]),
        "lanczos_residual": float(lanczos.residuals[0]),
    }


def _counted(operator: LinearOperator, advance: Any) -> LinearOperator:
    """The operator, which says each product to a bar."""

    def rows(vectors: jax.Array) -> jax.Array:
        images = jax.block_until_ready(operator.rows(vectors))
        advance(len(vectors))
        return images

    return LinearOperator(operator.size, operator.dtype, rows)


def _outlier_columns(values: Any, n_classes: int) -> Row:
    outliers = curvature.count_outliers(values, n_classes)
    ratios = curvature.gap_ratios(values, n_classes)
    return {
        "outliers_gap": outliers.number,
        "gap_ratio": outliers.ratio,
        "ratio_k_minus_1": ratios["k-1"],
        "ratio_k": ratios["k"],
        "ratio_k_squared": ratios["k2"],
    }


def _null_columns(model: PatchesModel, params: Params) -> Row:
    found = [block_redundancy(model, weights) for weights in params["weights"]]
    return {
        "null_weights_predicted": null_parameters(model),
        "redundant_predicted": redundant_weights(model),
        "redundant_found": sum(found),
    }


# --- the dense matrix ------------------------------------------------------------------------------------------------


def _dense(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    params: Params,
    key: jax.Array,
    progress: Progress,
    folder: Path,
) -> tuple[Row, Arrays, LinearOperator]:
    """Columns, arrays and the matrix as an operator."""
    data = _data(settings, examples, settings.curvature_images)
    with progress.counter("Hessian, images", len(data[1])) as moved:
        split = curvature.split_hessian(
            model.outputs, cross_entropy, params, *data, progress=moved, checkpoint=folder / f"hessian{SO_FAR}"
        )
    values = curvature.dense_spectrum(split.hessian)
    gauss_newton = curvature.dense_spectrum(split.gauss_newton)
    rounding = len(values) * float(np.finfo(settings.dtype).eps)
    blocks = [curvature.dense_spectrum(split.gauss_newton[np.ix_(own, own)])[-1] for own in model.outputs.index]
    row = {
        "spectrum": "dense",
        "lambda_max": float(values[-1]),
        "lambda_min": float(values[0]),
        "trace": float(values.sum()),
        "trace_error": None,
        "gn_lambda_max": float(gauss_newton[-1]),
        "gn_block_lambda_max": float(max(blocks)),
        "gn_null": int((np.abs(gauss_newton) <= rounding * gauss_newton[-1]).sum()),
        "residual_norm_ratio": float(jnp.linalg.norm(split.residual) / jnp.linalg.norm(split.hessian)),
        "negative_eigenvalues": int((values < -NEAR_ZERO * values[-1]).sum()),
        "near_zero_fraction": curvature.near_zero_fraction(values, NEAR_ZERO),
        "exact_zeros": curvature.exact_zeros(split.hessian),
        "rank": curvature.numerical_rank(values, rounding),
    }
    arrays = {"eigenvalues": values, "gn_eigenvalues": gauss_newton, "gradient": split.gradient}
    return row, arrays, curvature.matrix_operator(split.hessian)


# --- products alone --------------------------------------------------------------------------------------------------


def _by_products(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    params: Params,
    key: jax.Array,
    progress: Progress,
    folder: Path,
) -> tuple[Row, Arrays, LinearOperator]:
    """Leading eigenvalues by Lanczos, density by SLQ, trace and norms by random probes: no matrix is formed."""
    keys = jax.random.split(key, 5)
    data = _data(settings, examples, settings.curvature_images)
    exact = curvature.curvature_operators(model.outputs, cross_entropy, params, *data)
    steps = min(_DENSITY_STEPS, model.n_parameters)
    least = 3 * settings.top + steps * _DENSITY_PROBES + _TRACE_PROBES + 2 * _NORM_PROBES
    with progress.bar("spectrum, products (about)", least, compiles=True) as advance:
        hessian, gauss_newton, residual = CurvatureOperators(*(_counted(part, advance) for part in exact))
        pairs = curvature.top_eigenpairs(hessian, settings.top, key=keys[0], copies=False)
        lowest = curvature.top_eigenpairs(-hessian, 1, key=keys[1], copies=False)
        leading_gn = curvature.top_eigenpairs(gauss_newton, 1, key=keys[2], copies=False)
        density = curvature.spectral_density(hessian, key=keys[3], steps=steps, probes=_DENSITY_PROBES)
        trace = curvature.trace_estimate(hessian, key=keys[4], probes=_TRACE_PROBES)
        ratio = _norm_ratio(residual, hessian, keys[4])
    values = np.asarray(pairs.values, float)
    near_zero = np.abs(density.nodes) <= NEAR_ZERO * values[0]
    row = {
        "spectrum": "lanczos",
        "lambda_max": float(values[0]),
        "lambda_min": -float(lowest.values[0]),
        "trace": trace.value,
        "trace_error": trace.standard_error,
        "gn_lambda_max": float(leading_gn.values[0]),
        "residual_norm_ratio": ratio,
        "near_zero_fraction": float(np.where(near_zero, density.weights, 0.0).sum() / density.weights.sum()),
        **dict.fromkeys(("gn_block_lambda_max", "gn_null", "negative_eigenvalues", "exact_zeros", "rank")),
    }
    arrays = {
        "lanczos_values": values,
        "lanczos_residuals": np.asarray(pairs.residuals),
        "lanczos_vectors": np.asarray(pairs.vectors),
        "density_grid": np.asarray(density.grid),
        "density": np.asarray(density.density),
        "gradient": _gradient(settings, model, examples, params),
    }
    return row, arrays, exact.hessian


def _gradient(settings: HessianSettings, model: PatchesModel, examples: HessianExamples, params: Params) -> jax.Array:
    loss = loss_of_params(model, examples, settings.curvature_images, settings.dtype)
    return ravel_pytree(jax.jit(jax.grad(loss))(params))[0]


def _norm_ratio(residual: LinearOperator, hessian: LinearOperator, key: jax.Array) -> float:
    """Estimate of ||R|| / ||H|| in the Frobenius norm, since E ||M v||^2 = ||M||_F^2 for normal v."""
    probes = jax.random.normal(key, (hessian.size, _NORM_PROBES), hessian.dtype)
    return float(jnp.linalg.norm(residual @ probes) / jnp.linalg.norm(hessian @ probes))
