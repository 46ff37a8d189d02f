"""Columns and arrays of a cell's spectrum: those of a report on its model, and what this study adds."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim import curvature
from qjaxsim.common.files import SO_FAR
from qjaxsim.common.progress import Progress
from qjaxsim.curvature.spectra.measure import counted
from qjaxsim.curvature.spreading import over_team
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import Params, PatchesModel
from qjaxsim.models.patches_nulls import block_redundancy, null_parameters, redundant_weights
from qjaxsim.studies.hessian.classes import class_columns
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.settings import HessianSettings, use_dense

Row = dict[str, Any]
Arrays = dict[str, Any]

# Of a report's arrays, those that a cell keeps; the vectors serve its planes.
_KEPT = (
    "eigenvalues",
    "gn_eigenvalues",
    "lanczos_values",
    "lanczos_residuals",
    "density_grid",
    "density",
    "density_error",
)


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
        folder: where an unfinished Hessian and products are kept.

    Returns:
        Columns of `columns.py`, and arrays: `eigenvalues` and `gn_eigenvalues`, or `lanczos_values`,
        `lanczos_residuals`, `density_grid` and `density`; `top_values` (2,) and `top_vectors` (2, P); those of
        `class_columns`.
    """
    dense = use_dense(settings, model)
    data = _data(settings, examples, settings.curvature_images)
    report = curvature.spectrum_report(
        model.outputs,
        params,
        data,
        loss=cross_entropy,
        classes=examples.n_classes,
        method="dense" if dense else "lanczos",
        top=settings.top,
        groups={f"circuit {i}": own for i, own in enumerate(model.outputs.index)} if dense else None,
        planes=(),
        seed=settings.seeds[0],
        check_deterministic=False,  # ours
        checkpoint=folder,
        progress=progress,
    )
    arrays = {name: report.arrays[name] for name in _KEPT if name in report.arrays}
    arrays |= {name: report.arrays[name][:2] for name in ("top_values", "top_vectors")}
    row = dict(report.numbers)
    row |= _sharpness(settings, model, examples, params, report, progress, folder) | _null_columns(model, params)
    of_classes, class_arrays = class_columns(model.outputs, params, data, report, settings.seeds[0], progress, folder)
    row |= of_classes
    row |= {
        "gn_block_lambda_max": max((block["gn_block_lambda_max"] for block in report.blocks), default=None),
        "curvature_images": row["samples"],
        "lambda_max_times_patches": row["lambda_max"] * model.n_patches,
    }
    return row, arrays | class_arrays


def _data(settings: HessianSettings, examples: HessianExamples, images: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Training images in the precision of curvature, and labels."""
    x, y = examples.chosen(images)
    return x.astype(settings.dtype), y


def _sharpness(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    params: Params,
    report: curvature.SpectrumReport,
    progress: Progress,
    folder: Path,
) -> Row:
    """The largest eigenvalue by the paper's power iteration and by Lanczos, on as many images as asked."""
    key = jax.random.key(settings.seeds[0])
    data = _data(settings, examples, settings.lambda_images or settings.curvature_images)
    operator, others = report.hessian, len(data[1]) != report.numbers["samples"]
    if others:
        operator = curvature.curvature_operators(model.outputs, cross_entropy, params, *over_team(data)).hessian
    assert operator is not None
    with progress.bar("largest eigenvalue, products", 100, compiles=True) as advance:
        kept = curvature.kept_products(operator, folder / f"largest{SO_FAR}.bin", of=(params, data))
        watched = counted(kept, advance)
        power = curvature.power_iteration(watched, key=key)
        lanczos = curvature.top_eigenpairs(watched, 1, key=key, copies=False) if others else report.pairs
    return {
        "lambda_images": len(data[1]),
        "lambda_max_power": power.value,
        "power_steps": power.steps,
        "lambda_max_lanczos": float(lanczos.values[0]),
        "lanczos_residual": float(lanczos.residuals[0]),
    }


def _null_columns(model: PatchesModel, params: Params) -> Row:
    found = [block_redundancy(model, weights) for weights in params["weights"]]
    return {
        "null_weights_predicted": null_parameters(model),
        "redundant_predicted": redundant_weights(model),
        "redundant_found": sum(found),
    }
