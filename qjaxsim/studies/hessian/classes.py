"""Whether a cell's outliers come from class means, and whether other averages would do as well."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim import curvature
from qjaxsim.common.files import SO_FAR
from qjaxsim.common.progress import Progress
from qjaxsim.curvature.attribution import removed
from qjaxsim.curvature.classes import PARTS
from qjaxsim.curvature.objective import Outputs
from qjaxsim.curvature.spectra.measure import counted

# About so many products a run of Lanczos takes, for the bar.
_PRODUCTS = 80


def class_columns(
    outputs: Outputs,
    params: Any,
    data: tuple[np.ndarray, np.ndarray],
    report: curvature.SpectrumReport,
    seed: int,
    progress: Progress,
    folder: Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Columns and arrays of class means in a spectrum.

    Args:
        outputs: the model's logits.
        params: where the spectrum was taken.
        data: images and labels of the spectrum.
        report: the spectrum.
        seed: of permuted labels, random classes and starting vectors.
        progress: bars.
        folder: where unfinished averages and products are kept.

    Returns:
        Columns of `columns.py`, and arrays: `class_g0` (K,), `class_g1` (K,) and `class_g2` (K (K - 1),), eigenvalues
        of the parts; `class_values` (k,), the leading ones of H, `class_shares` (k,) of G1 in them, and those left
        without class means, `class_left` (k,), without the range of G2 too, `class_left_cross`, and without the
        averages of the controls, `class_left_permuted` and `class_left_random`. Of the dense G `gn_class_shares` and
        `gn_class_left`.
    """
    n_classes, key = report.settings["classes"], jax.random.key(seed)
    averages = _averages(outputs, params, data, n_classes, seed, progress, folder)
    own = averages.pop("own")
    tested = report.outliers or n_classes - 1
    k = max(tested + 1, 2 * n_classes)
    assert report.hessian is not None and report.gauss_newton is not None
    dense, pairs, of_gauss_newton = report.hessian.matrix is not None, report.pairs, None
    with progress.bar("class means, products (about)", _PRODUCTS * (8 if dense else 5)) as advance:
        kept = curvature.kept_products(report.hessian, folder / f"class_products{SO_FAR}.bin", of=(params, data))
        hessian, gauss_newton = counted(kept, advance), counted(report.gauss_newton, advance)
        if len(pairs.values) < k:
            pairs = curvature.top_eigenpairs(hessian, k, key=key, copies=False)
        found = curvature.class_attribution(own, hessian, k, key=key, pairs=pairs)
        left = {name: _left(hessian, control, k, key) for name, control in averages.items()}
        if dense:
            of_gauss_newton = curvature.class_attribution(own, gauss_newton, k, key=key)
    row = {
        "class_tested": tested,
        "class_removed": found.removed(tested),
        "class_removed_cross": found.removed(tested, cross=True),
        **{f"class_removed_{name}": removed(found.values, values, tested) for name, values in left.items()},
        "gn_class_removed": of_gauss_newton and of_gauss_newton.removed(tested),
        **{f"{part}_share": _share(own, part, pairs, tested) for part in PARTS},
        "class_overlap": found.overlap,
        "g1_lambda_max": float(found.class_values[0]),
    }
    arrays = {
        **{f"class_{part}": own.eigenvalues(part) for part in PARTS},
        "class_values": found.values,
        "class_shares": found.shares,
        "class_left": found.knocked_out,
        "class_left_cross": found.knocked_out_cross,
        **{f"class_left_{name}": values for name, values in left.items()},
    }
    if of_gauss_newton is not None:
        arrays |= {"gn_class_shares": of_gauss_newton.shares, "gn_class_left": of_gauss_newton.knocked_out}
    return row, arrays


def _share(own: curvature.ClassDecomposition, part: str, pairs: curvature.EigenPairs, tested: int) -> float:
    """Share of a part in the leading eigenvalues, their mean."""
    return float((own.quotients(part, pairs.vectors[:tested]) / np.asarray(pairs.values)[:tested]).mean())


def _averages(
    outputs: Outputs,
    params: Any,
    data: tuple[np.ndarray, np.ndarray],
    n_classes: int,
    seed: int,
    progress: Progress,
    folder: Path,
) -> dict[str, curvature.ClassDecomposition]:
    """The decomposition by the classes themselves, "own", and by those of the controls."""
    x, y = data
    rng = np.random.default_rng(seed)
    labels = {"own": y, "permuted": rng.permutation(y), "random": rng.permutation(np.arange(len(y)) % n_classes)}
    found = {}
    for name, classes in labels.items():
        with progress.counter(f"class means ({name}), samples", len(y)) as moved:
            path = folder / f"classes_{name}{SO_FAR}.npz"
            found[name] = curvature.class_decomposition(outputs, params, x, classes, progress=moved, checkpoint=path)
    return found


def _left(
    hessian: curvature.LinearOperator, averages: curvature.ClassDecomposition, k: int, key: jax.Array
) -> np.ndarray:
    """The leading eigenvalues of H without the span of a control's means."""
    outside = curvature.knocked_out(hessian, averages.directions("g1"))
    return np.asarray(curvature.top_eigenpairs(outside, k, key=key, copies=False).values, float)
