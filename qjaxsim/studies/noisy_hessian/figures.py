"""Figures of the noisy-hessian study: eigenvalues against strength, and error bars against shots."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.noisy_hessian.cell import GLOBAL, LOCAL, NONE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Arrays of a cell.
Arrays = Mapping[str, np.ndarray]

_STRENGTH = (
    "See whether noise flattens the landscape more than outputs that merely shrink. Eigenvalues of the Hessian of "
    "the loss against the strength of the noise, means over seeds; in the first panel the leading ones, as many as "
    "there are classes, in the second the most negative one with its range over seeds. Solid: local depolarizing "
    "noise after every gate; dashed: the control, which shrinks outputs as much; dotted: without noise."
)
_SHOTS = (
    "The largest and the most negative eigenvalue of the energy's Hessian by the parameter-shift rule, first seed, "
    "against the shots of each evaluation. Line: exact, band: two standard errors from the known variance of every "
    "evaluation, to first order; marks: one draw. Dashed: how far out errors alone reach, without noise. They push the "
    "outer eigenvalues outwards, so that a draw near the dashed line says nothing, be it ever so far from zero."
)


def write_noisy_figures(
    shots: Sequence[int], classes: int, rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path
) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        shots: of each evaluation, as in the arrays.
        classes: leading eigenvalues to draw.
        rows: table of the study.
        arrays: of the cell of each row.
        folder: where strength.png and shots.png go.
    """
    cells = {row["seed"]: each for row, each in zip(rows, arrays, strict=True)}
    noises = [row for row in rows if row["seed"] == rows[0]["seed"]]
    made = (
        ("strength", by_strength(noises, list(cells.values()), classes), "Eigenvalues and noise", _STRENGTH),
        ("shots", by_shots(noises, cells[rows[0]["seed"]], shots), "Eigenvalues and shots", _SHOTS),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def by_strength(noises: Sequence[Row], cells: Sequence[Arrays], classes: int) -> "Figure":
    """Leading and most negative eigenvalues of the loss, in the order of `noises` in every cell."""
    figure = style.new_figure(11, 3.8)
    left, right = figure.subplots(1, 2)
    values = np.stack([cell["eigenvalues"] for cell in cells])  # (seeds, noises, P)
    for name, line in ((LOCAL, "-"), (GLOBAL, "--")):
        places = [place for place, row in enumerate(noises) if row["noise"] == name]
        places.sort(key=lambda place: noises[place]["strength"])  # else lines go back and forth
        x = [noises[place]["strength"] for place in places]
        for rank in range(1, classes + 1):
            colour = style.COLOURS[rank - 1]
            label = f"{rank}" if name == LOCAL else None
            left.plot(
                x, values[:, places, -rank].mean(axis=0), line, color=colour, marker="o", markersize=3.5, label=label
            )
            if name == LOCAL:
                left.axhline(values[:, 0, -rank].mean(), color=colour, linestyle=":", linewidth=0.9)
        colour = style.BLUE if name == LOCAL else style.GREY
        least = values[:, places, 0]
        right.plot(x, least.mean(axis=0), line, color=colour, marker="o", markersize=3.5, label=name)
        right.fill_between(x, least.min(axis=0), least.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    right.axhline(values[:, 0, 0].mean(), color=style.INK, linestyle=":", linewidth=0.9, label="without noise")
    left.set_ylabel("eigenvalue")
    left.set_ylim(bottom=0)
    right.set_ylabel("most negative eigenvalue")
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": classes}
    left.legend(**place, title="rank", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
    right.legend(fontsize=style.SMALL, frameon=False)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("depolarizing probability after every gate")
        style.tidy(axes)
    return figure


def by_shots(noises: Sequence[Row], cell: Arrays, shots: Sequence[int]) -> "Figure":
    """Error bars of the outer eigenvalues of the energy."""
    figure = style.new_figure(11, 3.8)
    left, right = figure.subplots(1, 2)
    shown = [place for place, row in enumerate(noises) if row["noise"] in (NONE, LOCAL)]
    for axes, place, name in ((left, -1, "largest"), (right, 0, "most negative")):
        for noise, colour in zip(shown, style.colours(len(shown)), strict=True):
            label = f"{noises[noise]['strength']:g}" if noise else "none"
            _bars(axes, cell, noise, place, shots, colour, label)
        axes.axhline(0, color=style.INK, linewidth=0.8)
        x = _reach(shots)
        edge = noises[0]["energy_edge"] / np.sqrt(x) * (1 if place else -1)
        axes.plot(x, edge, "--", color=style.GREY, linewidth=1.2, label="errors alone")
        axes.set_xscale("log")
        axes.set_xlabel("shots of each evaluation")
        axes.set_ylabel(f"{name} eigenvalue of the energy")
        style.tidy(axes)
    left.legend(title="noise", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
    return figure


def _reach(shots: Sequence[int]) -> np.ndarray:
    """From a little less than the fewest to a little more than the most, so that one number has a line, too."""
    return np.geomspace(min(shots) / 1.5, max(shots) * 1.5, 60)


def _bars(axes: "Axes", cell: Arrays, noise: int, place: int, shots: Sequence[int], colour: str, label: str) -> None:
    x = _reach(shots)
    value = cell["energy_eigenvalues"][noise, place]
    half = 2 * cell["energy_stds"][noise, place] / np.sqrt(x)
    axes.plot(x, np.full_like(x, value), color=colour, linewidth=1.2, label=label)
    axes.fill_between(x, value - half, value + half, color=colour, alpha=0.12, linewidth=0)
    axes.plot(shots, cell["drawn"][noise, :, place], "o", color=colour, markersize=4)
