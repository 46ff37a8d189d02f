"""The study `gradient-variance`: gradient variance and accuracy of a hybrid classifier (Moto and Yoshida).

A sweep about a centre over qubits, entangling layers and batch size, one of them at a time, and over the cells of
controls (`gradient_controls.py`). Each cell trains all seeds in one compiled program (`gradient_training.py`) and
gives a row for every seed and epoch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim import datasets
from qjaxsim.common.memory import require_memory, require_states
from qjaxsim.common.progress import Progress
from qjaxsim.report.verdict import verdict_rows
from qjaxsim.studies.gradient_variance.cell import train_cell
from qjaxsim.studies.gradient_variance.cells import HESSIAN, INITIALISATIONS, Arm, arms, centre, place
from qjaxsim.studies.gradient_variance.claims import verdicts
from qjaxsim.studies.gradient_variance.columns import COLUMNS
from qjaxsim.studies.gradient_variance.curvature import hessian_cell
from qjaxsim.studies.gradient_variance.plateau import DEPTHS, plateau_cell
from qjaxsim.studies.gradient_variance.settings import GradientSettings
from qjaxsim.studies.gradient_variance.tables import SHORT_COLUMNS, SWEPT, published, short_rows, tables
from qjaxsim.studies.gradient_variance.training import EVALUATED_AT_ONCE, Images
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.preprocessing import Preprocessing
from qjaxsim.studies.shared.setting import refuse_idle, require_at_most

STUDY = "gradient-variance"


def run_gradient_study(
    settings: GradientSettings,
    out: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> list[dict[str, Any]]:
    """Run the sweep, write its results folder, figures and report.

    Args:
        settings: what to run.
        out: results folder; see `qjaxsim.studies.shared.sweep` for what is in it. Trained parameters are in each cell's
            arrays.npz (`gradient_cell.seed_parameters` reads one seed's). Figures go to `figures`, the page to
            `report.html`.
        data_dir: where prepared data sets are; None for TFDS's place.
        resume: go on with the study that `out` holds.
        progress: bars; None makes them on standard error.
        command: the command line, for the report.

    Returns:
        One row for every seed and epoch of every cell, columns as in `COLUMNS`; those of random initialisations and of
        spectra have columns of their own.

    Raises:
        ValueError: for settings that do not fit the data or each other, or an unusable folder; before any work.
        qjaxsim.datasets.DatasetNotFoundError: if the data set is not at hand.
    """
    refuse_idle(settings)
    settings = settings.resolved()
    if (settings.hessian or settings.dtype == "float64") and not _double():
        raise ValueError("Spectra, and `dtype` 'float64', need JAX's x64 mode; set JAX_ENABLE_X64=1 or leave them out.")
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

    recorded = {**asdict(settings), "images_source": data.source}
    cells = [arm.cell for arm in runs.values()]
    rows = sweep.run_sweep(STUDY, recorded, cells, run, out, columns=COLUMNS, resume=resume, progress=progress)
    _write_report(settings, rows, out, command)
    return rows


def _double() -> bool:
    return bool(jax.dtypes.canonicalize_dtype(np.float64) == np.float64)


def _check(settings: GradientSettings, all_arms: Iterable[Arm], data: Images) -> None:
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


def _run(settings: GradientSettings, arm: Arm, data: Images, out: Path) -> sweep.CellResult:
    if arm.control == INITIALISATIONS:
        return plateau_cell(settings, arm.run)
    if arm.control == HESSIAN:
        arrays = sweep.read_arrays(out, place(arm.run))
        return hessian_cell(settings, arm.run, data, arrays, arrays["grad_var"][0].size)
    return train_cell(settings, arm.run, data)


def load_images(settings: GradientSettings, data_dir: Path | None) -> Images:
    """Training and test images in [0, 1] with labels; `settings` must be resolved."""
    train = datasets.load(settings.dataset, "train", data_dir=data_dir)
    test = datasets.load(settings.dataset, "test", data_dir=data_dir)
    for name, split in (("images", train), ("test_images", test)):
        require_at_most(name, getattr(settings, name), len(split), f"{split.split} images of {settings.dataset}")
    if settings.images is not None:
        train = datasets.subset(train, settings.images, seed=settings.data_seed)
    if settings.test_images is not None:
        test = datasets.subset(test, settings.test_images, seed=settings.data_seed)
    prepare = _preprocessing(train)
    x_train, x_test = prepare(train.images), prepare(test.images)
    return Images(x_train, train.labels, x_test, test.labels, train.n_classes, train.source, prepare)


def _preprocessing(data: datasets.Dataset) -> Preprocessing:
    _, height, width, channels = data.images.shape
    if channels != 1 or height != width:
        raise ValueError(
            f"Argument `dataset` must name square grey images, but {data.name} has {height} x {width} x {channels}."
        )
    return Preprocessing(height, data.pixel_max)


_INTRODUCTION = """A hybrid classifier: a classical layer takes an image to one angle a qubit, entangling layers of RX,
RY, RZ and CNOTs act on the encoded state, and a linear layer takes <Z> of every qubit to class scores. Qubits,
entangling layers and batch size are varied one at a time. At every update the mean and the variance of the gradient
over all circuit weights are recorded; the published tables hold the mean of that variance over an epoch.

The first table gives the first and the last epoch of every cell, means over seeds. Read the verdicts with their
figures: a gradient variance in training is also that of minibatch noise and of the layer behind the circuit, and says
nothing on barren plateaus by itself."""


def _write_report(settings: GradientSettings, rows: Sequence[dict[str, Any]], out: Path, command: str) -> None:
    from qjaxsim.report.page import write_report
    from qjaxsim.studies.gradient_variance.figures import write_gradient_figures

    spectra = [arm for arm in {row[sweep.CELL_COLUMN]: row for row in rows}.values() if arm["control"] == HESSIAN]
    figures = write_gradient_figures(
        rows,
        out / "figures",
        centre=dict(zip(SWEPT, settings.centre, strict=True)),
        published=published(),
        steps=sweep.read_arrays(out, place(centre(settings))),
        spectra=sweep.read_arrays(out, spectra[0][sweep.CELL_COLUMN]) if spectra else {},
    )
    write_report(
        out / "report.html",
        title=f"Gradient variance of a hybrid classifier on {settings.dataset}",
        introduction=_INTRODUCTION,
        settings=asdict(settings),
        rows=short_rows(rows),
        columns=COLUMNS | SHORT_COLUMNS,
        command=command or f"qjaxsim study {STUDY}",
        versions=sweep.environment(),
        verdicts=verdict_rows(verdicts(rows)),
        tables=tables(settings, rows),
        figures=figures,
        keys=("control", "variant", *SWEPT),
    )
