"""Figures of the study `noisy-fisher`: eigenvalues by strength, ranks by threshold, and the Hessian at the minimum."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.noisy_fisher.cell import GLOBAL, LOCAL, MINIMUM, NONE, RANDOM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Arrays of a cell, and what draws one spectrum of a row in a colour.
Arrays = Mapping[str, np.ndarray]
Draw = Callable[["Axes", Row, np.ndarray, str], None]

_EIGENVALUES = (
    "See which eigenvalues noise lifts from zero. Eigenvalues of the quantum Fisher information matrix in descending "
    "order, random angles of the first seed. Circles: local noise; the line without marks: none, where it ends the "
    "others are zero up to rounding; dashed: the control, the noiseless state mixed with the identity until it is as "
    "pure."
)
_THRESHOLDS = (
    "The rank of the same matrices against the threshold above which an eigenvalue counts, over the largest. A flat "
    "stretch is a rank that does not depend on the threshold. Where noise is, the steps are where one chooses."
)
_HESSIAN = (
    "Eigenvalues of the Hessian of the energy, in size and descending order, at the minimum without noise, first seed. "
    "Circles: positive, crosses: negative ones; the line without marks: none. What is negative makes the point no "
    "minimum under the noise."
)
# What is drawn of zeros, over the largest eigenvalue.
_FLOOR = 1e-13


def write_noisy_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        rows: table of the study.
        arrays: of the cell of each row.
        folder: where eigenvalues.png, thresholds.png and hessian.png go.
    """
    spectra = _spectra(rows, arrays)
    made = (
        (
            "eigenvalues",
            _panels(rows, spectra, "fisher", RANDOM, "eigenvalue of the QFIM", _fisher),
            "Eigenvalues under noise",
            _EIGENVALUES,
        ),
        ("thresholds", _panels(rows, spectra, "fisher", RANDOM, "rank", _threshold), "Rank by threshold", _THRESHOLDS),
        (
            "hessian",
            _panels(rows, spectra, "hessian", MINIMUM, "size of the eigenvalue", _hessian),
            "The Hessian under noise",
            _HESSIAN,
        ),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def _spectra(rows: Sequence[Row], arrays: Sequence[Arrays]) -> list[Arrays]:
    """The two spectra of each row: a cell's arrays have an entry for each of its rows, in their order."""
    found: list[Arrays] = []
    places = dict.fromkeys((row["layers"] for row in rows), 0)
    for row, own in zip(rows, arrays, strict=True):
        place = places[row["layers"]]
        found.append({name: own[name][place] for name in ("fisher", "hessian")})
        places[row["layers"]] += 1
    return found


def _panels(rows: Sequence[Row], spectra: Sequence[Arrays], name: str, point: str, label: str, draw: Draw) -> "Figure":
    """A panel for each number of layers, with what is drawn of every noise of the first seed."""
    depths = list(dict.fromkeys(row["layers"] for row in rows))
    strengths = sorted({row["strength"] for row in rows if row["noise"] == LOCAL})
    colours = dict(zip(strengths, style.colours(len(strengths)), strict=True))
    figure = style.new_figure(3.2 * len(depths), 3.4)
    panels = np.atleast_1d(figure.subplots(1, len(depths), sharey=True))
    for depth, axes in zip(depths, panels, strict=True):
        for row, own in zip(rows, spectra, strict=True):
            if (row["layers"], row["point"], row["seed"]) == (depth, point, rows[0]["seed"]):
                draw(axes, row, own[name], colours.get(row["strength"], style.INK))
        axes.set_title(counted(depth, "layer"), fontsize=style.SMALL + 2)
        if axes.get_xscale() == "linear":
            style.whole_ticks(axes.xaxis)
        style.tidy(axes)
    panels[0].set_ylabel(label)
    panels[0].legend(fontsize=style.SMALL, frameon=False)
    return figure


def _label(row: Row) -> str | None:
    if row["noise"] == GLOBAL:
        return None
    return f"local, {row['strength']:g}" if row["noise"] == LOCAL else "none"


def _fisher(axes: "Axes", row: Row, values: np.ndarray, colour: str) -> None:
    x, y = np.arange(1, len(values) + 1), values[::-1]
    seen = y > _FLOOR * y[0]
    line, marker = {NONE: ("-", None), LOCAL: ("-", "o"), GLOBAL: ("--", None)}[row["noise"]]
    axes.plot(
        x[seen],
        y[seen],
        line,
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=2.4 if row["noise"] == NONE else 1.2,
        label=_label(row),
    )
    axes.set_yscale("log")
    axes.set_xlabel("number of the eigenvalue")


def _threshold(axes: "Axes", row: Row, values: np.ndarray, colour: str) -> None:
    if row["noise"] == GLOBAL:
        return
    thresholds = np.geomspace(1e-15, 1, 400)
    counts = (values[:, None] > thresholds * values.max()).sum(axis=0)
    axes.plot(thresholds, counts, color=colour, linewidth=1.4, label=_label(row))
    axes.set_xscale("log")
    axes.set_xlabel("threshold over the largest eigenvalue")


def _hessian(axes: "Axes", row: Row, values: np.ndarray, colour: str) -> None:
    if row["noise"] == GLOBAL:
        return
    ordered = values[np.argsort(-np.abs(values))]
    x, y = np.arange(1, len(values) + 1), np.abs(ordered)
    seen = y > _FLOOR * y[0]
    axes.plot(x[seen], y[seen], color=colour, linewidth=2.4 if row["noise"] == NONE else 1.2, label=_label(row))
    if row["noise"] == LOCAL:
        for sign, marker in ((ordered >= 0, "o"), (ordered < 0, "x")):
            axes.plot(x[seen & sign], y[seen & sign], marker, color=colour, markersize=4.5)
    axes.set_yscale("log")
    axes.set_xlabel("number of the eigenvalue")
