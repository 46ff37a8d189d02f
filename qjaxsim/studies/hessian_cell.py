"""One cell of the study `hessian`: train, take curvature at the minimum, look at the plane of the path."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim import curvature
from qjaxsim.models.patches import Params, PatchesModel, cross_entropy
from qjaxsim.studies.hessian_settings import HessianSettings, use_dense
from qjaxsim.studies.sweep import CellResult, Progress
from qjaxsim.training import TrainResult, fit

COLUMNS = {
    "cell": "name of the cell and of its folder",
    "patches": "number of patches, one circuit each",
    "layers": "layers in each of the three trainable blocks of a circuit",
    "qubits": "qubits of a circuit",
    "n_classes": "classes K",
    "parameters": "trainable numbers: all circuits' weights and the position bias",
    "seed": "seed of initial weights and minibatches",
    "images": "training images",
    "curvature_images": "training images that Hessian and landscape are taken on",
    "epochs": "passes over the training images",
    "best_epoch": "epochs done at the checkpoint of lowest training loss, where curvature is taken",
    "train_loss": "mean cross-entropy on the training images there, nats, without weight decay",
    "train_accuracy": "fraction of training images classified correctly",
    "test_loss": "mean cross-entropy on the test images, nats",
    "test_accuracy": "fraction of test images classified correctly",
    "final_test_accuracy": "the same after the last epoch",
    "gradient_norm": "Euclidean norm of the loss gradient on the curvature images at the checkpoint",
    "spectrum": "dense: all eigenvalues of the exact matrix; lanczos: leading eigenvalues and estimates by products",
    "lambda_max": "largest eigenvalue of the Hessian, loss per radian squared",
    "lambda_max_times_patches": "lambda_max * patches; constant for a pure 1 / patches law",
    "lambda_min": "smallest eigenvalue of the Hessian",
    "trace": "sum of all eigenvalues (lanczos: Hutchinson's estimate)",
    "trace_error": "standard error of the trace; lanczos only",
    "gn_lambda_max": "largest eigenvalue of the Gauss-Newton part G of H = G + R",
    "residual_norm_ratio": "Frobenius norm of the residual part R over that of H (lanczos: estimate)",
    "negative_eigenvalues": "eigenvalues below -1e-6 lambda_max; dense only",
    "outliers_gap": "outliers by the largest ratio of neighbouring eigenvalues, 0 if it is below 1.5 (count_outliers)",
    "gap_ratio": "that ratio",
    "ratio_k_minus_1": "lambda_m / lambda_(m+1) at m = K - 1, K classes",
    "ratio_k": "the same at m = K",
    "ratio_k_squared": "the same at m = K * K",
    "near_zero_fraction": "fraction of eigenvalues with magnitude up to 1e-6 lambda_max",
    "exact_zeros": "weights on which the loss does not depend at all: rows of H that vanish up to rounding; dense only",
    "rank": "eigenvalues above rounding in magnitude; dense only",
    "seconds_train": "training, with compilation",
    "seconds_hessian": "Hessian or products and spectra, with compilation",
}

NEAR_ZERO = 1e-6


@dataclass(frozen=True, eq=False)
class Examples:
    """Images as angles (N, side, side) and labels (N,) int32: for training, for testing, and for the curvature."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    x_curvature: np.ndarray
    y_curvature: np.ndarray
    n_classes: int
    source: str


def run_cell(
    settings: HessianSettings,
    model: PatchesModel,
    examples: Examples,
    seed: int,
    folder: Path,
    progress: Progress,
) -> CellResult:
    """Train, or take up the training that `folder` holds, then compute spectrum and landscape."""
    result = train(settings, model, examples, seed, folder / "training", progress)
    minimum = result.history[result.best_epoch]
    began = time.perf_counter()
    measured, arrays = _spectrum(settings, model, examples, result.params_best, seed, progress)
    seconds_hessian = time.perf_counter() - began
    row = {
        "patches": model.n_patches,
        "layers": model.n_layers,
        "qubits": model.n_qubits,
        "n_classes": model.n_classes,
        "parameters": model.n_parameters,
        "seed": seed,
        "images": len(examples.x_train),
        "curvature_images": len(examples.x_curvature),
        "epochs": settings.epochs,
        "best_epoch": result.best_epoch,
        **{name: minimum[name] for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy")},
        "final_test_accuracy": result.history[-1]["test_accuracy"],
        **measured,
        "seconds_train": sum(float(entry["seconds"] or 0.0) for entry in result.history),
        "seconds_hessian": seconds_hessian,
    }
    arrays |= {
        "history_train_loss": np.array([entry["train_loss"] for entry in result.history]),
        "history_test_loss": np.array([entry["test_loss"] for entry in result.history]),
        "minimum": np.array(result.best_epoch),
    }
    vectors = arrays.pop("top_vectors", None)
    if settings.landscape != "none":
        arrays |= _landscape(settings, model, examples, result, vectors, progress)
    return CellResult(row, arrays)


def train(
    settings: HessianSettings,
    model: PatchesModel,
    examples: Examples,
    seed: int,
    folder: Path,
    progress: Progress,
) -> TrainResult:
    """The model trained with the study's settings, checkpointed in `folder` and resumed from there."""

    def loss(params: Params, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(model.outputs(params, x), y).mean()

    def metrics(params: Params, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        logits = model.outputs(params, x)
        hits = (logits.argmax(axis=1).astype(y.dtype) == y).astype(logits.dtype)
        return {"loss": cross_entropy(logits, y).mean(), "accuracy": hits.mean()}

    return fit(
        loss,
        model.init(jax.random.key(seed), np.dtype(settings.dtype)),
        examples.x_train,
        examples.y_train,
        settings.train_config(model.n_layers, seed),
        metrics=metrics,
        test=(examples.x_test, examples.y_test),
        folder=folder,
        resume=True,  # a folder with checkpoints is always an earlier attempt at this very cell
        progress=progress,
    )


# --- curvature -------------------------------------------------------------------------------------------------------


def _spectrum(
    settings: HessianSettings, model: PatchesModel, examples: Examples, params: Params, seed: int, progress: Progress
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Columns and arrays of the spectrum at `params`, dense or by products."""
    x, y = jnp.asarray(examples.x_curvature), jnp.asarray(examples.y_curvature)
    compute = _dense if use_dense(settings, model) else _by_products
    row, arrays = compute(settings, model, x, y, params, seed, progress)
    leading = arrays.get("eigenvalues", arrays.get("lanczos_values"))
    outliers = curvature.count_outliers(leading, examples.n_classes)
    ratios = curvature.gap_ratios(leading, examples.n_classes)
    row |= {
        "lambda_max_times_patches": row["lambda_max"] * model.n_patches,
        "outliers_gap": outliers.number,
        "gap_ratio": outliers.ratio,
        "ratio_k_minus_1": ratios["k-1"],
        "ratio_k": ratios["k"],
        "ratio_k_squared": ratios["k2"],
    }
    return {name: row[name] for name in COLUMNS if name in row}, arrays


def _dense(
    settings: HessianSettings,
    model: PatchesModel,
    x: jax.Array,
    y: jax.Array,
    params: Params,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with progress.bar("Hessian, images", len(x)) as advance:
        done = 0

        def moved(now: int, total: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        split = curvature.split_hessian(model.outputs, cross_entropy, params, x, y, progress=moved)
    values = curvature.dense_spectrum(split.hessian)
    gauss_newton = curvature.dense_spectrum(split.gauss_newton)
    rounding = len(values) * float(np.finfo(settings.dtype).eps)
    row = {
        "gradient_norm": float(jnp.linalg.norm(split.gradient)),
        "spectrum": "dense",
        "lambda_max": float(values[-1]),
        "lambda_min": float(values[0]),
        "trace": float(values.sum()),
        "trace_error": None,
        "gn_lambda_max": float(gauss_newton[-1]),
        "residual_norm_ratio": float(jnp.linalg.norm(split.residual) / jnp.linalg.norm(split.hessian)),
        "negative_eigenvalues": int((values < -NEAR_ZERO * values[-1]).sum()),
        "near_zero_fraction": curvature.near_zero_fraction(values, NEAR_ZERO),
        "exact_zeros": curvature.exact_zeros(split.hessian),
        "rank": curvature.numerical_rank(values, rounding),
    }
    arrays = {"eigenvalues": values, "gn_eigenvalues": gauss_newton}
    if settings.landscape == "eigen":
        pairs = curvature.top_eigenpairs(lambda v: split.hessian @ v, len(values), 2, key=jax.random.key(seed))
        arrays["top_vectors"] = np.asarray(pairs.vectors)
    return row, arrays


def _by_products(
    settings: HessianSettings,
    model: PatchesModel,
    x: jax.Array,
    y: jax.Array,
    params: Params,
    seed: int,
    progress: Progress,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Leading eigenvalues by Lanczos, density by SLQ, trace and norms by random probes: no matrix is formed."""
    keys = jax.random.split(jax.random.key(seed), 5)
    arguments = (model.outputs, cross_entropy, params, x, y)

    @jax.jit
    def gauss_newton(v: Any) -> Any:
        return curvature.gauss_newton_product(*arguments, v, batch_size=1000)

    @jax.jit
    def residual(v: Any) -> Any:
        return curvature.residual_product(*arguments, v, batch_size=1000)

    @jax.jit
    def hessian(v: Any) -> Any:
        return curvature.hessian_product(*arguments, v, batch_size=1000)

    with progress.bar("Lanczos", 5) as advance:
        pairs = curvature.top_eigenpairs(hessian, params, settings.top, key=keys[0])
        advance(1)
        lowest = curvature.top_eigenpairs(lambda v: jax.tree.map(jnp.negative, hessian(v)), params, 1, key=keys[1])
        advance(1)
        leading_gn = curvature.top_eigenpairs(gauss_newton, params, 1, key=keys[2])
        advance(1)
        density = curvature.spectral_density(hessian, params, key=keys[3], steps=min(80, model.n_parameters), probes=4)
        advance(1)
        trace = curvature.trace_estimate(hessian, params, key=keys[4], probes=20)
        advance(1)
    gradient = jax.jit(jax.grad(lambda p: cross_entropy(model.outputs(p, x), y).mean()))(params)
    values = np.asarray(pairs.values, float)
    near_zero = np.abs(density.nodes) <= NEAR_ZERO * values[0]
    row = {
        "gradient_norm": float(jnp.linalg.norm(ravel_pytree(gradient)[0])),
        "spectrum": "lanczos",
        "lambda_max": float(values[0]),
        "lambda_min": -float(lowest.values[0]),
        "trace": float(trace.value),
        "trace_error": float(trace.standard_error),
        "gn_lambda_max": float(leading_gn.values[0]),
        "residual_norm_ratio": _norm_ratio(residual, hessian, params, keys[4]),
        "negative_eigenvalues": None,
        "near_zero_fraction": float(np.where(near_zero, density.weights, 0.0).sum() / density.weights.sum()),
        "exact_zeros": None,
        "rank": None,
    }
    arrays = {
        "lanczos_values": values,
        "lanczos_residuals": np.asarray(pairs.residuals),
        "density_grid": np.asarray(density.grid),
        "density": np.asarray(density.density),
    }
    if settings.landscape == "eigen":
        arrays["top_vectors"] = np.asarray(pairs.vectors[:2])
    return row, arrays


def _norm_ratio(residual: Any, hessian: Any, params: Params, key: jax.Array, probes: int = 8) -> float:
    """Estimate of ||R|| / ||H|| in the Frobenius norm, since E ||M v||^2 = ||M||_F^2 for normal v."""
    flat, unravel = ravel_pytree(params)
    squares = np.zeros(2)
    for probe in jax.random.normal(key, (probes, flat.size), flat.dtype):
        v = unravel(probe)
        squares += [float(jnp.sum(ravel_pytree(product(v))[0] ** 2)) for product in (residual, hessian)]
    return float(np.sqrt(squares[0] / squares[1]))


# --- landscape -------------------------------------------------------------------------------------------------------


def _landscape(
    settings: HessianSettings,
    model: PatchesModel,
    examples: Examples,
    result: TrainResult,
    vectors: np.ndarray | None,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """The loss on a plane, with the training path in its coordinates."""
    x, y = jnp.asarray(examples.x_curvature), jnp.asarray(examples.y_curvature)
    minimum, unravel = ravel_pytree(result.params_best)
    arrays: dict[str, np.ndarray] = {}
    if settings.landscape == "pca":
        # As in the paper the position bias stays at its value in the minimum.
        frozen = np.arange(minimum.size) < model.image_size**2
        found = curvature.pca_plane(result.trajectory, unravel, frozen=frozen, anchor=np.asarray(minimum))
        plane, path = found.plane, found.projection
        arrays["explained_variance"] = found.explained
        a, b = curvature.grid_around(path, points=settings.landscape_points)
    else:
        if settings.landscape == "random":
            plane = curvature.random_plane(result.params_best, jax.random.key(settings.data_seed))
        else:
            plane = curvature.eigen_plane(result.params_best, vectors)
        path = np.asarray(result.trajectory - np.asarray(minimum)) @ np.linalg.pinv(np.asarray(plane.directions))
        a = b = np.linspace(-1.0, 1.0, settings.landscape_points)
    with progress.bar("landscape", 1) as advance:
        losses = curvature.evaluate_plane(lambda p: cross_entropy(model.outputs(p, x), y).mean(), plane, a, b)
        advance(1)
    return {**arrays, "landscape_a": a, "landscape_b": b, "landscape": np.asarray(losses), "trajectory": path}
