"""The study `gradient-variance`: gradient variance and accuracy of a hybrid classifier (Moto and Yoshida).

A sweep about a centre over qubits, entangling layers and batch size, one of them at a time, and over the cells of
controls (`cells.py`). Each cell trains all seeds in one compiled program (`training.py`) and
gives a row for every seed and epoch.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from qjaxsim.common.memory import require_memory, require_states
from qjaxsim.common.progress import Progress
from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.gradient_variance.cell import train_cell
from qjaxsim.studies.gradient_variance.cells import HESSIAN, INITIALISATIONS, Arm, arms, centre, place
from qjaxsim.studies.gradient_variance.claims import verdicts
from qjaxsim.studies.gradient_variance.columns import COLUMNS
from qjaxsim.studies.gradient_variance.curvature import hessian_cell
from qjaxsim.studies.gradient_variance.examples import load_images
from qjaxsim.studies.gradient_variance.figures import write_gradient_figures
from qjaxsim.studies.gradient_variance.plateau import DEPTHS, plateau_cell
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.gradient_variance.tables import SHORT_COLUMNS, SWEPT, published, short_rows, tables
from qjaxsim.studies.gradient_variance.trained import MODELS
from qjaxsim.studies.gradient_variance.training import EVALUATED_AT_ONCE
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.examples import Examples
from qjaxsim.studies.shared.setting import refuse_idle, require_at_most
from qjaxsim.studies.shared.study import Prepared, Rows, Study


def _prepare(given: GradientSettings, out: Path, progress: Progress, *, data_dir: Path | None = None) -> Prepared:
    """Cells of the sweep, with trained parameters in their arrays (`cell.seed_parameters` reads one seed's)."""
    refuse_idle(given)
    settings = given.resolved()
    data = load_images(settings, data_dir)
    if settings.hessian:
        require_at_most("hessian_images", settings.hessian_images, len(data.x_train), "training images")
    runs = {arm.cell.key: arm for arm in arms(settings, len(data.x_train))}
    _check(settings, runs.values(), data)

    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        arm = runs[cell.key]
        result = _run(settings, arm, data, out)
        rows = [result.row] if isinstance(result.row, dict) else result.row
        return result._replace(row=[{"control": arm.control, **row} for row in rows])

    return Prepared(settings, [arm.cell for arm in runs.values()], run, {"images_source": data.source})


def _check(settings: GradientSettings, all_arms: Iterable[Arm], data: Examples) -> None:
    """Refuse what one of the cells could not do, before any work."""
    seeds, size, itemsize = len(settings.seeds), len(data.x_train), np.dtype(settings.dtype).itemsize
    shuffles = 4 * seeds * settings.epochs * size
    require_memory(shuffles, f"The order of images in {settings.epochs:,} epochs", "choose fewer `epochs`")
    for arm in all_arms:
        if arm.control == INITIALISATIONS:
            numbers = 2 * settings.draws * (arm.run.qubits + 1) * 3 * arm.run.qubits * max(DEPTHS)
            require_memory(numbers * itemsize, f"The gradients of {settings.draws:,} draws", "choose fewer `draws`")
        else:
            require_states(
                arm.run.qubits,
                seeds * min(EVALUATED_AT_ONCE, size),
                settings.dtype,
                f"Training {arm.run.qubits} qubits with {seeds} seeds side by side",
                "choose fewer `qubits` or `seeds`",
            )
        arm.run.model(data.side, data.n_classes)
        if arm.run.batch > len(data.x_train):
            raise ValueError(
                f"Argument `batches` must hold at most the number of training images, {len(data.x_train)}, but holds "
                f"{arm.run.batch}; choose a smaller batch."
            )


def _run(settings: GradientSettings, arm: Arm, data: Examples, out: Path) -> sweep.CellResult:
    if arm.control == INITIALISATIONS:
        return plateau_cell(settings, arm.run)
    if arm.control == HESSIAN:
        arrays = sweep.read_arrays(out, place(arm.run))
        return hessian_cell(settings, arm.run, data, arrays, arrays["grad_var"][0].size)
    return train_cell(settings, arm.run, data)


_INTRODUCTION = """A hybrid classifier: a classical layer takes an image to one angle a qubit, entangling layers of RX,
RY, RZ and CNOTs act on the encoded state, and a linear layer takes <Z> of every qubit to class scores. Qubits,
entangling layers and batch size are varied one at a time. At every update the mean and the variance of the gradient
over all circuit weights are recorded; the published tables hold the mean of that variance over an epoch.

The first table gives the first and the last epoch of every cell, means over seeds. Read the verdicts with their
figures: a gradient variance in training is also that of minibatch noise and of the layer behind the circuit, and says
nothing on barren plateaus by itself."""


def _figures(settings: GradientSettings, rows: Rows, out: Path) -> list[ReportFigure]:
    spectra = [row for row in rows if row["control"] == HESSIAN]
    return write_gradient_figures(
        rows,
        out / "figures",
        centre=dict(zip(SWEPT, settings.centre, strict=True)),
        published=published(settings),
        steps=sweep.read_arrays(out, place(centre(settings))),
        spectra=sweep.read_arrays(out, spectra[0][sweep.CELL_COLUMN]) if spectra else {},
    )


_KEYS = ("control", "variant", *SWEPT)
_TABLE = (
    "qubits", "layers", "batch", "updates", "grad_var_first", "grad_var_last", "std_last", "loss",
    "accuracy_train", "accuracy_test", "std_test",
)  # fmt: skip


def _tables(settings: GradientSettings, rows: Rows) -> list[ReportTable]:
    short = short_rows(rows)
    baseline = [row for row in short if row["control"] == "baseline"]
    others = [row for row in short if row["control"] != "baseline"]
    title = f"Gradient variance on {settings.dataset}, means over seeds"
    found = [ReportTable(title, baseline, columns=_TABLE, keys=_KEYS)]
    if others:
        found.append(ReportTable("Controls", others, columns=("control", "variant", *_TABLE), keys=_KEYS))
    return found + [table._replace(keys=list(table.rows[0])[:1]) for table in tables(settings, rows)]


def _page(settings: GradientSettings, rows: Rows) -> list[ReportTable]:
    return [ReportTable("Results", short_rows(rows), keys=_KEYS), *tables(settings, rows)]


STUDY = Study(
    name="gradient-variance",
    settings=GradientSettings,
    title=lambda settings: f"Gradient variance of a hybrid classifier on {settings.dataset}",
    introduction=_INTRODUCTION,
    source="Moto and Yoshida",
    columns=COLUMNS | SHORT_COLUMNS,
    keys=_KEYS,
    headline=("accuracy_test",),
    models=MODELS,
    prepare=_prepare,
    claims=lambda settings, rows: verdicts(rows),
    comparison=lambda settings, rows: [],  # the published tables stand beside ours in tables of their own
    figures=_figures,
    tables=_tables,
    page=_page,
    double=lambda settings: settings.hessian or settings.dtype == "float64",
)
