"""Figures of the study `effective-dimension`: the dimension against the size of a data set, and Fisher spectra."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qjaxsim_data import load

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.effective_dimension.settings import EASY, FEATURES, MODELS, NARROW, NETWORK, PI, QNN, UNIT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Arrays of a cell.
Arrays = Mapping[str, np.ndarray]

_NAMES = {
    QNN: "quantum network",
    EASY: "quantum network, easy encoding",
    NETWORK: "classical network",
    NARROW: "classical network of 28 parameters",
    FEATURES: "random features (control)",
}
_INTERVALS = {UNIT: "parameters between 0 and 1, as published", PI: "parameters between -pi and pi"}
_DIMENSION = (
    "See which model uses more of its parameters, and from how many data on. Effective dimension over the number of "
    "parameters against the size n of a data set: means over seeds with their range. Crosses: published, seed 0. "
    "Dashed: Fisher matrices of all draws scaled to the same trace."
)
_SPECTRA = (
    "Eigenvalues of the Fisher matrix, sorted: means over draws and seeds, divided so that they add up to the number "
    "of parameters. Those above the dotted line, 1 / kappa of the smallest n, are what counts there. A flat spectrum "
    "is what makes the effective dimension large."
)


def write_dimension_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        rows: table of the study.
        arrays: of the cell of each row.
        folder: where dimension.png and spectra.png go.
    """
    made = (
        ("dimension", by_samples(rows), "Effective dimension", _DIMENSION),
        ("spectra", spectra(rows, arrays), "Spectra of the Fisher matrix", _SPECTRA),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def by_samples(rows: Sequence[Row]) -> "Figure":
    """A panel an interval, a line a model."""
    figure, panels = _panels(rows)
    published = load("effective_dimension")["normalised"]
    for interval, axes in panels.items():
        for model, colour, marker in _models(rows):
            n, shares, alike = _shares(rows, model, interval)
            name = _NAMES[model]
            axes.plot(n, shares.mean(axis=1), color=colour, marker=marker, markersize=4, label=name)
            axes.plot(n, alike.mean(axis=1), "--", color=colour, linewidth=1)
            axes.fill_between(n, shares.min(axis=1), shares.max(axis=1), color=colour, alpha=0.15, linewidth=0)
            theirs = [(row["samples"], row["share"]) for row in published if row["model"] == model]
            if interval == UNIT and theirs:
                axes.plot(*zip(*theirs, strict=True), "x", color=colour, markersize=6)
        axes.set_xscale("log")
        axes.set_xlabel("size of a data set n")
        axes.set_ylabel("effective dimension / parameters")
    return _with_legend(figure, axes)


def spectra(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """A panel an interval, sorted eigenvalues of each model."""
    figure, panels = _panels(rows)
    n = min(row["samples"] for row in rows)
    for interval, axes in panels.items():
        for model, colour, marker in _models(rows):
            own = {
                row["seed"]: each["eigenvalues"]
                for row, each in zip(rows, arrays, strict=True)
                if row["model"] == model and row["interval"] == interval
            }
            values = np.mean([one.mean(axis=0) / one.mean(axis=0).sum() * one.shape[1] for one in own.values()], axis=0)
            rank = np.arange(1, values.size + 1)
            shown = np.maximum(values[::-1], 1e-9)
            axes.plot(rank, shown, color=colour, marker=marker, markersize=3.5, linewidth=1, label=_NAMES[model])
        axes.axhline(2 * np.pi * np.log(n) / n, color=style.INK, linestyle=":", linewidth=0.9)
        axes.set_yscale("log")
        axes.set_ylim(bottom=1e-7)
        axes.set_xlabel("rank")
        axes.set_ylabel("eigenvalue")
    return _with_legend(figure, axes)


def _panels(rows: Sequence[Row]) -> "tuple[Figure, dict[str, Axes]]":
    """A figure with a panel for each interval that was run."""
    intervals = list(dict.fromkeys(row["interval"] for row in rows))
    figure = style.new_figure(5.5 * len(intervals), 4)
    panels = dict(zip(intervals, figure.subplots(1, len(intervals), sharey=True, squeeze=False)[0], strict=True))
    for interval, axes in panels.items():
        axes.set_title(_INTERVALS[interval], fontsize=style.SMALL + 2)
        style.tidy(axes)
    return figure, panels


def _with_legend(figure: "Figure", axes: "Axes") -> "Figure":
    """The figure, with one legend for all panels below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=style.SMALL, frameon=False)
    return figure


def _models(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    """Models that were run with colour and marker."""
    held = {row["model"] for row in rows}
    return [each for each in zip(MODELS, style.COLOURS, style.MARKERS, strict=False) if each[0] in held]


def _shares(rows: Sequence[Row], model: str, interval: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Sizes of data sets, and shares (sizes, seeds) as defined and with equal traces."""
    own = [row for row in rows if row["model"] == model and row["interval"] == interval]
    n = sorted({row["samples"] for row in own})
    found = [
        np.array([[row[column] for row in own if row["samples"] == each] for each in n])
        for column in ("share", "share_alike")
    ]
    return n, found[0], found[1]
