"""The study `spectrum`: the Hessian spectrum of a problem that the user brings, at one point for each seed."""

import shutil
from pathlib import Path

import jax
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.curvature import SpectrumReport
from qjaxsim.curvature.spectra.columns import BLOCKS
from qjaxsim.curvature.spectra.measure import is_dense
from qjaxsim.curvature.spectra.page import write_figures
from qjaxsim.curvature.spectra.planes import require_grid
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.spectra import spectra
from qjaxsim.report.tables import ReportTable
from qjaxsim.studies.shared import sweep
from qjaxsim.studies.shared.setting import refuse_idle, require_at_most
from qjaxsim.studies.shared.study import Prepared, Rows, Study
from qjaxsim.studies.spectrum.cell import REPORT, UNFINISHED, run_cell
from qjaxsim.studies.spectrum.columns import COLUMNS
from qjaxsim.studies.spectrum.settings import SpectrumSettings
from qjaxsim.studies.spectrum.target import Target

# Cells whose own figures the page shows.
_SHOWN = 3
_KEYS = ("seed",)


def _prepare(given: SpectrumSettings, out: Path, progress: Progress, *, target: Target) -> Prepared:
    refuse_idle(given)
    if not target.random and len(given.seeds) > 1:
        way_out = "give the problem `init`, a function from a random key to params" if given.params is None else ""
        raise ValueError(
            f"Argument `seeds` must be one, since {target.name} starts from the same parameters for every seed, but is "
            f"{list(given.seeds)}; {way_out or 'leave out `params`'}."
        )
    if target.data is None and given.batch_size != SpectrumSettings.batch_size:
        raise ValueError(
            f"Argument `batch_size` has an effect only with samples, but {target.name} has none; leave it out."
        )
    require_grid("landscape_points", given.landscape_points, given.landscape)
    _check_counts(given, target)
    cells = {f"seed{seed}": seed for seed in given.seeds}

    def forget() -> None:
        """Remove what was kept of unfinished work by cells that are done: the files may be large."""
        for key in cells:
            if sweep.finished(out, key):
                shutil.rmtree(sweep.cell_folder(out, key) / UNFINISHED, ignore_errors=True)

    def run(cell: sweep.Cell, folder: Path) -> sweep.CellResult:
        forget()
        return run_cell(given, target, cells[cell.key], folder, progress)

    grid = [sweep.Cell(key, {"seed": seed}) for key, seed in cells.items()]
    return Prepared(given, grid, run, target.identity, done=forget)


def _check_counts(given: SpectrumSettings, target: Target) -> None:
    """Refuse numbers beyond the defaults that the problem has no room for, instead of taking fewer."""
    if target.data is not None and given.batch_size != SpectrumSettings.batch_size:
        require_at_most("batch_size", given.batch_size, len(jax.tree.leaves(target.data[1])[0]), "samples")
    if given.top == SpectrumSettings.top:
        return
    parameters = target.n_parameters
    if is_dense(given.spectrum, parameters, np.dtype(given.dtype).itemsize):
        raise ValueError(
            f"Argument `top` has an effect only on spectra by lanczos, but that of {parameters:,} parameters is dense "
            f"(`spectrum` is {given.spectrum}); leave it out."
        )
    require_at_most("top", given.top, parameters, f"parameters of {target.name}")


_INTRODUCTION = """Exact second derivatives of a problem of one's own: the table has a line for each seed, with the
value of the function at the point, its largest and smallest eigenvalues, its trace, and where the function is a mean
loss over samples the split into a Gauss-Newton part and a residual part.

Read the largest eigenvalue beside the value: at a minimum all eigenvalues are positive or zero up to rounding; negative
ones say how far the point is from one."""


def _figures(settings: SpectrumSettings, rows: Rows, out: Path) -> list[ReportFigure]:
    folder, figures = out / "figures", []
    if len(rows) > 1:
        figure = spectra(rows, sweep.rows_arrays(out, rows))
        caption = (
            "Spectra of all seeds on one signed logarithmic axis, and below them their leading eigenvalues by rank."
        )
        figures.append(written(figure, folder / "spectra.png", "All seeds", caption))
    for row in rows[:_SHOWN]:
        named = len(rows) > 1
        made = write_figures(_report(out, row), folder, prefix=f"{row['cell']}_" if named else "")
        figures += [one._replace(title=f"{one.title}, {row['label']}") if named else one for one in made]
    return figures


def _report(out: Path, row: dict[str, object]) -> SpectrumReport:
    return SpectrumReport.load(sweep.cell_folder(out, str(row["cell"])) / REPORT)


_TABLE = (
    "seed", "point", "parameters", "samples", "start_loss", "loss", "gradient_norm", "spectrum", "lambda_max",
    "lambda_min", "trace", "trace_error", "gn_lambda_max", "residual_norm_ratio", "residual_norm_error",
    "negative_eigenvalues", "outliers_gap", "near_zero_fraction", "exact_zeros", "rank", "gradient_in_top_k",
    "seconds_train", "seconds_hessian",
)  # fmt: skip


def _tables(settings: SpectrumSettings, rows: Rows) -> list[ReportTable]:
    return [ReportTable("Hessian spectra", rows, columns=_TABLE, keys=_KEYS)]


def _unlabelled(row: dict[str, object]) -> dict[str, object]:
    """Without what seed and point say already."""
    return {name: value for name, value in row.items() if name != "label"}


STUDY = Study(
    name="spectrum",
    settings=SpectrumSettings,
    title=lambda settings: "Hessian spectra of a problem of one's own",
    introduction=_INTRODUCTION,
    source="",
    columns=COLUMNS | BLOCKS,
    keys=_KEYS,
    headline=("lambda_max",),
    models=None,  # the problem is the user's own; a folder holds its reports and parameters
    prepare=_prepare,
    claims=lambda settings, rows: [],
    comparison=lambda settings, rows: [],
    figures=_figures,
    tables=_tables,
    page=lambda settings, rows: [ReportTable("Results", [_unlabelled(row) for row in rows], keys=_KEYS)],
    double=lambda settings: settings.dtype == "float64",
    by_samples=True,
)
