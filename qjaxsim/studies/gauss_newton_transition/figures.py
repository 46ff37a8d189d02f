"""Figures of the study `gauss-newton-transition`: errors by steps, both parts of the Hessian by targets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import Row
from qjaxsim.studies.gauss_newton_transition.decay import FLOOR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Arrays of a cell.
Arrays = Mapping[str, np.ndarray]

_ERRORS = (
    "How far <O> is from what can be reached, the larger of O0 and O_min, against steps of gradient descent; first "
    "seed. Solid: targets above O_min, dashed: below. A straight line in the first panel is an exponential, in the "
    "second a power; dotted: 1/t. Numbers are O0 - O_min."
)
_CURVATURE = (
    "See where one part of the Hessian takes over from the other. First panel: the largest eigenvalue of both parts "
    "of the Hessian at the end, against the target; marks are seeds. Second panel: the leading eigenvalues of H at "
    "each target, first seed: one above the transition, 2 (2^n - 1) below it. At the transition both parts go on "
    "falling with the steps."
)
# Eigenvalues that are drawn.
_LEADING = 12


def write_transition_figures(rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path) -> list[ReportFigure]:
    """The figures, written as PNG into `folder`.

    Args:
        rows: of the study's own number of angles and rate.
        arrays: of the cell of each row.
        folder: where errors.png and curvature.png go.
    """
    first = [row for row in rows if row["seed"] == rows[0]["seed"]]
    made = (
        ("errors", errors(first, arrays[0]["errors"]), "How errors fall", _ERRORS),
        ("curvature", curvature(rows, first, arrays[0]["hessian"]), "Which part is left", _CURVATURE),
    )
    return [written(figure, Path(folder) / f"{name}.png", title, caption) for name, figure, title, caption in made]


def errors(first: Sequence[Row], values: np.ndarray) -> "Figure":
    """Errors (T, steps + 1) of one seed, on both scales."""
    figure = style.new_figure(11, 3.8)
    left, right = figure.subplots(1, 2)
    steps = np.arange(values.shape[1])
    # Where all exponentials are over.
    over = [np.flatnonzero(one < FLOOR)[:1] for one, row in zip(values, first, strict=True) if row["target"] != 0]
    shown = max([int(2 * one[0]) for one in over if one.size], default=steps[-1])
    for row, own in zip(first, values, strict=True):
        kept = np.where(own > FLOOR / 1000, own, np.nan)
        colour, line, _ = _look(row["target"], first)
        for axes in (left, right):
            axes.plot(steps[1:], kept[1:], line, color=colour, linewidth=1.3, label=f"{row['target']:g}")
        if row["target"] == 0:
            right.plot(steps[1:], own[-1] * steps[-1] / steps[1:], ":", color=style.INK, linewidth=1)
    left.set_xlim(0, min(shown, steps[-1]))
    right.set_xscale("log")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_ylim(FLOOR / 100, None)
        axes.set_xlabel("steps of gradient descent")
        axes.set_ylabel("error of <O>")
        style.tidy(axes)
    right.legend(title="target", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
    return figure


def curvature(rows: Sequence[Row], first: Sequence[Row], spectra: np.ndarray) -> "Figure":
    """Both parts against targets over all seeds, and spectra (T, P) of one."""
    figure = style.new_figure(11, 3.8)
    left, right = figure.subplots(1, 2)
    targets = np.array(sorted({row["target"] for row in rows}))
    for name, colour, marker, label in (
        ("gauss_newton_max", style.BLUE, "o", "Gauss-Newton part G"),
        ("residual_max", style.VERMILION, "s", "residual part R"),
    ):
        means = [np.mean([row[name] for row in rows if row["target"] == target]) for target in targets]
        left.plot(targets, means, color=colour, linewidth=1.2, label=label)
        left.plot([row["target"] for row in rows], [row[name] for row in rows], marker, color=colour, markersize=4)
    left.axvline(0, color=style.INK, linestyle=":", linewidth=0.9)
    left.set_xlabel("target O0 - O_min")
    left.set_ylabel("largest eigenvalue")
    left.legend(fontsize=style.SMALL, frameon=False)
    for row, own in zip(first, spectra, strict=True):
        leading = np.maximum(own[::-1][:_LEADING], 1e-12)
        colour, line, marker = _look(row["target"], first)
        ranks = np.arange(1, leading.size + 1)
        right.plot(ranks, leading, line, color=colour, marker=marker, markersize=4, label=f"{row['target']:g}")
    right.set_yscale("log")
    right.set_ylim(1e-7, None)
    right.set_xlabel("rank")
    right.set_ylabel("eigenvalue of H")
    right.legend(title="target", fontsize=style.SMALL, title_fontsize=style.SMALL, frameon=False)
    for axes in (left, right):
        style.tidy(axes)
    return figure


def _look(target: float, rows: Sequence[Row]) -> tuple[str, str, str]:
    """Colour, line and marker: one colour for both sides of the transition at the same distance."""
    if target == 0:
        return style.INK, "-", "^"
    distances = sorted({abs(row["target"]) for row in rows} - {0})
    colour = style.COLOURS[distances.index(abs(target)) % (len(style.COLOURS) - 1)]  # the last is that of 0
    return (colour, "-", "o") if target > 0 else (colour, "--", "s")
