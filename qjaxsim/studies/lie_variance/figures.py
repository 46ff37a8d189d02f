"""Figures of the study `lie-variance`: variances against qubits, depth and draws."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.lie_variance.claims import pooled
from qjaxsim.studies.lie_variance.settings import CHAIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Arrays of a cell.
Arrays = Mapping[str, np.ndarray]

_VARIANCE = (
    "See whether the draws lie on the predicted lines. First panel: the variance of <X_0> over draws of all angles "
    "at the largest depth, with two standard errors, against the number of qubits; lines are P_g(rho) P_g(O) / dim "
    "g. Second panel: the same against depth, over what is predicted; bands are two standard errors."
)
_DRAWS = (
    "The variance over the first draws of the first seed at the largest depth, over what is predicted, with two "
    "standard errors: how many draws it takes to tell."
)
# Draws from which on a variance is shown.
_LEAST = 50


def write_variance_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        rows: table of the study.
        arrays: of the cell of each row.
        folder: where variance.png and draws.png go.
    """
    made = (
        ("variance", by_qubits_and_depth(rows), "Variance by qubits and depth", _VARIANCE),
        ("draws", by_draws(rows, arrays), "Variance by draws", _DRAWS),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def by_qubits_and_depth(rows: Sequence[Row]) -> "Figure":
    """Variances at the largest depth, and at all depths."""
    names = _names(rows)
    figure = style.new_figure(5.5 + 4.5 * len(names), 4)
    left, *others = figure.subplots(1, 1 + len(names))
    for place, name in enumerate(names):
        numbers = _numbers(rows, name)
        last = [pooled(rows, name, n)[-1] for n in numbers]
        colour, marker = style.COLOURS[place], style.MARKERS[place]
        left.plot(numbers, [one.predicted for one in last], color=colour, linewidth=1.2)
        bars = {"yerr": [2 * one.error for one in last], "fmt": marker, "markersize": 5, "capsize": 3}
        left.errorbar(numbers, [one.variance for one in last], color=colour, label=name, **bars)
        _by_depth(others[place], rows, name)
    left.set_yscale("log")
    style.plain_ticks(left.yaxis)
    left.set_xticks(sorted({row["qubits"] for row in rows}))
    left.set_xlabel("qubits")
    left.set_ylabel("variance of <X_0>")
    left.legend(fontsize=style.SMALL, frameon=False)
    style.tidy(left)
    return figure


def _by_depth(axes: "Axes", rows: Sequence[Row], name: str) -> None:
    for place, n in enumerate(_numbers(rows, name)):
        found = pooled(rows, name, n)
        ratios = np.array([[one.variance / one.predicted, 2 * one.error / one.predicted] for one in found])
        depths = [one.depth for one in found]
        colour = style.COLOURS[place % len(style.COLOURS)]
        axes.plot(depths, ratios[:, 0], color=colour, marker=style.MARKERS[place % len(style.MARKERS)], markersize=4,
                  label=counted(n, "qubit"))  # fmt: skip
        axes.fill_between(depths, *(ratios[:, 0] + sign * ratios[:, 1] for sign in (-1, 1)), color=colour, alpha=0.15,
                          linewidth=0)  # fmt: skip
    axes.axhline(1, color=style.INK, linestyle=":", linewidth=0.9)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yscale("log")
    style.plain_ticks(axes.yaxis)
    axes.set_xlabel("layers")
    axes.set_ylabel("variance / predicted")
    axes.set_title(name, fontsize=style.SMALL + 2)
    axes.legend(fontsize=style.SMALL, frameon=False)
    style.tidy(axes)


def by_draws(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Running variances of the first seed at the largest depth."""
    names = _names(rows)
    figure = style.new_figure(5.5 * len(names), 3.6)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    deepest = max(row["depth"] for row in rows)
    depths = list(dict.fromkeys(row["depth"] for row in rows))
    for axes, name in zip(panels, names, strict=True):
        shown = [
            (row, each["values"][depths.index(deepest)])
            for row, each in zip(rows, arrays, strict=True)
            if (row["circuit"], row["seed"], row["depth"]) == (name, rows[0]["seed"], deepest)
        ]
        for place, (row, values) in enumerate(shown):
            _running(axes, values / np.sqrt(row["predicted"]), style.COLOURS[place % len(style.COLOURS)], row["qubits"])
        axes.axhline(1, color=style.INK, linestyle=":", linewidth=0.9)
        axes.set_xscale("log")
        axes.set_xlabel("draws")
        axes.set_ylabel("variance / predicted")
        axes.set_title(name, fontsize=style.SMALL + 2)
        axes.legend(fontsize=style.SMALL, frameon=False)
        style.tidy(axes)
    return figure


def _running(axes: "Axes", values: np.ndarray, colour: str, qubits: int) -> None:
    """Variances of the first draws, with two standard errors."""
    counts = np.unique(np.geomspace(min(_LEAST, values.size), values.size, 40).astype(int))
    sums = np.cumsum([values**power for power in (1, 2, 3, 4)], axis=1)[:, counts - 1] / counts
    mean, square, cube, fourth = sums
    variance = square - mean**2
    centred = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
    error = 2 * np.sqrt(np.maximum(centred - variance**2, 0) / counts)
    axes.plot(counts, variance, color=colour, linewidth=1.2, label=counted(qubits, "qubit"))
    axes.fill_between(counts, variance - error, variance + error, color=colour, alpha=0.12, linewidth=0)


def _names(rows: Sequence[Row]) -> list[str]:
    return sorted({row["circuit"] for row in rows}, key=lambda name: name != CHAIN)


def _numbers(rows: Sequence[Row], name: str) -> list[int]:
    return sorted({row["qubits"] for row in rows if row["circuit"] == name})
