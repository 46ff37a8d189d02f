"""The option `--sharpness` of studies that train: numbers of a cell, and the figure of a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.common.files import write_text
from qjaxsim.common.progress import Progress
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.shared import sweep

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from qjaxsim.training import TrainConfig, TrainResult

_CAPTION = (
    "See whether the curvature rises to the dashed line and stays there. Largest eigenvalue of the Hessian of the "
    "training loss (up to 1,000 samples) at the start and after every epoch, a line a cell; dashed: 2 / rate of the "
    "next epoch, above which gradient descent on a quadratic function diverges. Adam and minibatches have bounds of "
    "their own."
)
# Lines that a legend can name.
_NAMED = 9


def sharpness_arrays(
    loss: Any, result: "TrainResult", x: Any, y: Any, config: "TrainConfig", folder: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Arrays of a cell, (epochs + 1,) each; the same as sharpness.csv in its folder."""
    from qjaxsim.training.sharpness import sharpness_along

    unfinished = folder / "unfinished_sharpness.npz"
    with progress.bar("sharpness", len(result.trajectory), compiles=True) as advance:
        done = 0

        def moved(now: int, _: int) -> None:
            nonlocal done
            advance(now - done)
            done = now

        found = sharpness_along(loss, result, x, y, config, checkpoint=unfinished, progress=moved)
    lines = ["epoch,sharpness,residual,bound"]
    columns = (np.arange(len(found.values)), *found)
    lines += [",".join(map(str, row)) for row in zip(*(column.tolist() for column in columns), strict=True)]
    write_text(folder / "sharpness.csv", "\n".join(lines) + "\n")
    unfinished.unlink(missing_ok=True)
    return {"sharpness": found.values, "sharpness_residuals": found.residuals, "sharpness_bounds": found.bounds}


def sharpness_figures(rows: Sequence[Row], out: Path) -> list[ReportFigure]:
    """The figure of all cells that have sharpness, written to figures/sharpness.png; none if no cell has."""
    keys = dict.fromkeys(str(row[sweep.CELL_COLUMN]) for row in rows)
    cells = {key: arrays for key in keys if "sharpness" in (arrays := sweep.read_arrays(out, key))}
    if not cells:
        return []
    path = out / "figures" / "sharpness.png"
    return [written(_drawn(cells), path, "Sharpness along the training", _CAPTION)]


def _drawn(cells: Mapping[str, Mapping[str, np.ndarray]]) -> "Figure":
    figure = style.new_figure(8, 4)
    axes = figure.subplots()
    for number, (key, arrays) in enumerate(cells.items()):
        colour = style.COLOURS[number % len(style.COLOURS)]
        axes.plot(arrays["sharpness"], color=colour, linewidth=1.4, label=key if len(cells) <= _NAMED else None)
        axes.plot(arrays["sharpness_bounds"], "--", color=colour, linewidth=0.9)
    axes.set_yscale("symlog", linthresh=1e-3)
    axes.set_xlabel("epochs done")
    axes.set_ylabel("largest eigenvalue")
    if len(cells) <= _NAMED:
        axes.legend(fontsize=style.SMALL, frameon=False)
    style.tidy(axes)
    return figure
