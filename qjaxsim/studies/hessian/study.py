"""The study `hessian`: exact Hessian spectra of distributed patch circuits trained on images (arXiv:2504.19239).

A sweep over patches x layers x seeds, and over the cells of controls (`cells.py`). Each cell trains the
patches model, takes the checkpoint of lowest training loss (the paper's choice of the minimum) and computes there the
Hessian of the training loss with its Gauss-Newton and residual parts, their spectra, and the loss on planes.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.files import SO_FAR
from qjaxsim.common.memory import require_states
from qjaxsim.common.progress import Progress
from qjaxsim.curvature.hvp import require_dense
from qjaxsim.curvature.spectra.measure import DENSE_COPIES
from qjaxsim.curvature.spectra.planes import require_grid
from qjaxsim.models.patches import PatchesModel
from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.hessian.cell import run_cell
from qjaxsim.studies.hessian.cells import BASELINE, Arm, arms
from qjaxsim.studies.hessian.claims import verdicts
from qjaxsim.studies.hessian.columns import COLUMNS
from qjaxsim.studies.hessian.configurations import MATCHED, MINIMUM, START
from qjaxsim.studies.hessian.examples import HessianExamples, load_examples, model_of
from qjaxsim.studies.hessian.figures import write_figures
from qjaxsim.studies.hessian.published import comparison_rows, published_lambda_max
from qjaxsim.studies.hessian.settings import HessianSettings, use_dense
from qjaxsim.studies.hessian.trained import MODELS
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import refuse_idle, require_at_most
from qjaxsim.studies.shared.study import Prepared, Rows, Study
from qjaxsim.training.loop import require_trajectory


def _prepare(given: HessianSettings, out: Path, progress: Progress, *, data_dir: Path | None = None) -> Prepared:
    """Cells with their models and data.

    Cost: a cell's dense Hessian goes through each patch's circuit stage by stage (`curvature/hessian.md`) and holds
    what `qjaxsim.curvature.plan_split` says, 5 P^2 numbers and more.
    """
    refuse_idle(given)
    settings = given.resolved()
    whole = load_examples(settings, settings.classes, data_dir)
    settings = settings.fitted(len(whole.x_train), given)
    runs = {arm.cell.key: arm for arm in arms(settings)}
    others = {arm.settings.classes for arm in runs.values()} - {settings.classes}
    data = {classes: load_examples(settings, classes, data_dir) for classes in others} | {settings.classes: whole}
    models: dict[PatchesModel, PatchesModel] = {}
    by_key: dict[str, PatchesModel] = {}
    for key, arm in runs.items():
        model = model_of(arm.settings, data[arm.settings.classes])
        # One object for equal models, so that one compiled program serves them.
        by_key[key] = models.setdefault(model, model)
        _check(arm.settings, model, data[arm.settings.classes])
    if given.top != HessianSettings.top and all(use_dense(arm.settings, by_key[key]) for key, arm in runs.items()):
        raise ValueError(
            f"Argument `top` has an effect only on spectra by lanczos, but all here are dense (`spectrum` is "
            f"{settings.spectrum}); leave it out."
        )

    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        _forget_unfinished(out, runs)
        arm = runs[cell.key]
        more: dict[str, Any] = {}
        if arm.point != MINIMUM:
            more = {
                "training": sweep.cell_folder(out, arm.baseline_key) / "training",
                # Every path begins below an infinite loss.
                "loss": _highest_minimum(out, arm, runs.values()) if arm.point == MATCHED else math.inf,
            }
        result = run_cell(arm.settings, by_key[cell.key], data[arm.settings.classes], folder, progress, **more)
        assert isinstance(result.row, dict)
        # A path that begins below the loss in question never comes down to it.
        point = START if more and result.row["best_epoch"] == 0 else arm.point
        return result._replace(row={"control": arm.control, "point": point, **result.row})

    return Prepared(
        settings,
        [arm.cell for arm in runs.values()],
        run,
        {"images_source": whole.source},
        done=lambda: _forget_unfinished(out, runs),
    )


def _forget_unfinished(out: Path, keys: Iterable[str]) -> None:
    """Remove what was kept of unfinished Hessians and planes by cells that are done: the files may be large."""
    for key in keys:
        if sweep.finished(out, key):
            for leftover in sweep.cell_folder(out, key).glob(f"*{SO_FAR}.*"):
                leftover.unlink(missing_ok=True)


def _check(settings: HessianSettings, model: PatchesModel, examples: HessianExamples) -> None:
    """Refuse what training or spectrum of one cell cannot do, before any work."""
    config = settings.train_config()
    if config.batch_size > len(examples.x_train):
        raise ValueError(
            f"Argument `batch_size` must be at most the number of training images, {len(examples.x_train)}, but is "
            f"{config.batch_size}; choose a smaller one."
        )
    require_grid("landscape_points", settings.landscape_points, settings.landscape)
    itemsize = np.dtype(settings.training_dtype).itemsize
    require_states(
        model.n_qubits,
        model.n_patches * min(1000, len(examples.x_train)),
        settings.training_dtype,
        f"{model.n_patches} circuits of {model.n_qubits} qubits on a thousand images",
        "choose smaller `qubits`",
    )
    require_trajectory(config.epochs, model.n_parameters, itemsize)
    if not use_dense(settings, model):
        require_at_most("top", settings.top, model.n_parameters, "parameters of the model")
        # Of so many leading directions a share of the gradient is taken, and of two a plane.
        if settings.top < (least := max(2, model.n_classes)):
            raise ValueError(
                f"Argument `top` must be at least {least}, the number of classes, but is {settings.top}: what the "
                f"gradient has in as many leading directions would be of fewer."
            )
    else:
        require_dense(model.n_parameters, DENSE_COPIES, np.dtype(settings.dtype).itemsize, "The dense Hessian")


def _highest_minimum(out: Path, arm: Arm, all_arms: Iterable[Arm]) -> float:
    """The highest of the baseline's minimal training losses at the arm's depth and seed."""
    alike = [
        other.cell.key
        for other in all_arms
        if other.control == BASELINE and other.settings.layers == arm.settings.layers
        and other.settings.seeds == arm.settings.seeds
    ]  # fmt: skip
    return max(float(sweep.read_row(out, key)["train_loss"]) for key in alike)


_INTRODUCTION = """Each image is cut into patches, and each patch drives a circuit with weights of its own; the
circuits' expectation values are averaged into logits. The table gives, at the checkpoint of lowest training loss, the
Hessian of the training loss in all trainable numbers: its largest and smallest eigenvalues, its trace, and its split
into a Gauss-Newton part and a residual part.

Read the largest eigenvalue beside the training loss: the curvature of a cross-entropy falls as the fit saturates, so
part of any fall with the number of patches is the better fit."""


def _figures(settings: HessianSettings, rows: Rows, out: Path) -> list[ReportFigure]:
    published = published_lambda_max() if settings.dataset == "mnist" else []
    return write_figures(rows, sweep.rows_arrays(out, rows), out / "figures", published=published)


_KEYS = ("control", "patches", "layers", "seed")
_TABLE = (
    "patches", "layers", "qubits", "parameters", "seed", "images", "epochs", "best_epoch", "train_loss",
    "train_accuracy", "test_loss", "test_accuracy", "lambda_max", "lambda_max_power", "lambda_min", "trace",
    "gn_lambda_max", "residual_norm_ratio", "outliers_gap", "near_zero_fraction", "exact_zeros", "gradient_in_top_k",
    "seconds_train", "seconds_hessian",
)  # fmt: skip
_CONTROL_TABLE = (
    "control", "patches", "layers", "seed", "n_classes", "aggregation", "scale", "learning_rate", "parameters",
    "train_loss", "lambda_max", "gn_lambda_max", "outliers_gap", "near_zero_fraction", "gn_null",
)  # fmt: skip

_CLASS_TABLE = (
    "control", "point", "patches", "layers", "seed", "n_classes", "outliers_gap", "class_tested", "class_removed",
    "class_removed_cross", "class_removed_permuted", "class_removed_random", "gn_class_removed", "g0_share", "g1_share",
    "g2_share", "class_overlap", "g1_lambda_max", "lambda_max",
)  # fmt: skip


def _tables(settings: HessianSettings, rows: Rows) -> list[ReportTable]:
    alike = [row for row in rows if row["control"] in ("baseline", "seeds")]
    others = [row for row in rows if row["control"] != "baseline"]
    tables = [ReportTable(f"Hessian spectra on {settings.dataset}", alike, columns=_TABLE)]
    if others:
        tables.append(ReportTable("Controls", others, columns=_CONTROL_TABLE, keys=_KEYS))
    of_classes = [row for row in rows if row.get("class_tested") is not None]
    if of_classes:
        tables.append(ReportTable("Outliers and class means", of_classes, columns=_CLASS_TABLE, keys=_KEYS))
    return tables


STUDY = Study(
    name="hessian",
    settings=HessianSettings,
    title=lambda settings: f"Hessian spectra of patch circuits on {settings.dataset}",
    introduction=_INTRODUCTION,
    source="arXiv:2504.19239",
    columns=COLUMNS,
    keys=(*_KEYS, "n_classes", "aggregation", "scale", "learning_rate", "point"),
    headline=("lambda_max",),
    models=MODELS,
    prepare=_prepare,
    claims=lambda settings, rows: verdicts(rows),
    comparison=comparison_rows,
    figures=_figures,
    tables=_tables,
    page=lambda settings, rows: [ReportTable("Results", rows, keys=_KEYS)],
    double=lambda settings: "float64" in (settings.dtype, settings.training_dtype),
    by_samples=True,
)
