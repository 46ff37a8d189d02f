"""Figures of a Hessian study, from its rows and arrays alone: spectra, landscapes, training, controls.

Rows are dicts as `summary.json` holds them (None where there is no number), arrays are dicts of NumPy arrays, one for
each row. Nothing here knows how they came about.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import plane, style
from qjaxsim.report import spectra as spectra_figure
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.plane import has_landscape
from qjaxsim.report.row import Row
from qjaxsim.report.spectra import has_spectrum
from qjaxsim.studies.hessian.configurations import configurations, is_baseline
from qjaxsim.studies.hessian.figures_classes import class_means, has_classes
from qjaxsim.studies.hessian.figures_controls import controls, has_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["class_means", "controls", "lambda_max", "landscape", "spectra", "training", "write_figures"]

Arrays = Mapping[str, np.ndarray]

spectra = partial(spectra_figure.spectra, grouping=configurations)
landscape = partial(plane.landscape, grouping=configurations)


def write_figures(
    rows: Sequence[Row], arrays: Sequence[Arrays], folder: str | Path, *, published: Sequence[Row] = ()
) -> list[ReportFigure]:
    """The figures for which there are data, written as PNG into `folder`.

    Args:
        rows: table. Rows of controls and of other points than the minimum (columns `control`, `point`) show in
            controls.png and class_means.png only.
        arrays: arrays of each row, as `spectra`, `landscape` and `training` take them.
        folder: where spectra.png, class_means.png, lambda_max.png, landscape.png, landscape_eigen.png, training.png
            and controls.png go.
        published: rows with patches, layers and lambda_max, drawn beside ours.

    Raises:
        ValueError: if rows and arrays differ in number.
        OSError: if the folder cannot be written.
    """
    if len(rows) != len(arrays):
        raise ValueError(f"Arguments `rows` and `arrays` must be equally long, but have {len(rows)} and {len(arrays)}.")
    folder = Path(folder)
    table, of_table = rows, arrays
    chosen = [i for i, row in enumerate(table) if is_baseline(row)]
    rows, arrays = [table[i] for i in chosen], [arrays[i] for i in chosen]
    made: list[tuple[str, Figure, str, str]] = []
    if any(map(has_spectrum, arrays)):
        smoothed = any(has_spectrum(cell) and "eigenvalues" not in cell for cell in arrays)
        caption = _SPECTRA + (_DENSITY if smoothed else "")
        made.append(("spectra", spectra(rows, arrays), "Hessian spectra", caption))
    if any(map(has_classes, rows, arrays)):
        made.append(("class_means", class_means(table, of_table), "Outliers and class means", _CLASSES))
    if any(_positive(row) for row in rows):
        figure = lambda_max(rows, published=published)
        made.append(("lambda_max", figure, "Largest eigenvalue", _LAMBDA_MAX + (_PUBLISHED if published else "")))
    if any(map(has_landscape, arrays)):
        plane = _PCA_PLANE if any("explained_variance" in cell for cell in arrays) else _OTHER_PLANE
        made.append(("landscape", landscape(rows, arrays), "Loss landscape", _LANDSCAPE + plane))
    if any(has_landscape(cell, _EIGEN) for cell in arrays):
        figure = landscape(rows, arrays, _EIGEN)
        made.append(
            ("landscape_eigen", figure, "Loss landscape of the leading eigenvectors", _LANDSCAPE + _EIGEN_PLANE)
        )
    if any(map(_has_history, arrays)):
        made.append(("training", training(rows, arrays), "Training", _TRAINING))
    if has_controls(table):
        made.append(("controls", controls(table), "Controls", _CONTROLS))
    return [written(figure, folder / f"{name}.png", title, caption) for name, figure, title, caption in made]


_SPECTRA = (
    "See how far a few outliers stand from the bulk near zero, and whether there are as many as classes. Eigenvalues "
    "of the Hessian of the training loss at the minimum, one panel a configuration. The axis is signed and "
    "logarithmic, linear only inside the grey bin around zero, so bulk, negative part and outliers show at once. The "
    "black outline is the spectrum of the Gauss-Newton part alone, where it was computed. Below, the leading "
    "eigenvalues by rank; faint lines are further seeds, dashed lines stand where K − 1, K or K² outliers would end."
)
_DENSITY = (
    " Where a density stands instead of bars, Lanczos quadrature estimated it: its plateau around zero is as wide as "
    "the smoothing, not as the bulk."
)
_CLASSES = (
    "See whether the outliers fall when class means are taken out, and more than with the controls. Leading "
    "eigenvalues of the Hessian and what is left of them when directions are projected out: the span of the class "
    "means, by which Papyan explains outliers, and the range of G₂, of differences between cross-class means. Of the "
    "part G₁ of class means alone, diamonds are the eigenvalues. Labels permuted in the averages, and random "
    "classes, are controls. The dashed line ends the outliers of the gap rule, or the K − 1 leading eigenvalues "
    "where it counts none. The last panel has the share of these that falls below the gap; dots are rows, bars their "
    "means."
)
_LAMBDA_MAX = (
    "See whether the largest eigenvalue falls with the patches, and whether a better fit explains it. First panel: "
    "the largest Hessian eigenvalue against the number of patches. Points are seeds, lines join their geometric "
    "means, the dotted line falls like 1/patches. Second panel: the same points against the training loss at the "
    "minimum, since the curvature of cross-entropy falls as the fit saturates."
)
_PUBLISHED = " Open markers on dashed lines are published values; their models and data may be larger than ours."
_LANDSCAPE = (
    "See how steep the valley is in which training ended. Training loss on a plane through parameter space, as "
    "contours and as a surface; loss colours are logarithmic. The path of training is projected onto the plane, so "
    "the loss below it can differ from the loss that training saw. "
)
_PCA_PLANE = (
    "The plane is spanned by the two leading principal components of the weights' path and passes through the path's "
    "mean, so the loss at the marked minimum can exceed the lowest one reached."
)
_OTHER_PLANE = "The plane passes through the minimum; parts of the path beyond its edges are not drawn."
_EIGEN = "eigen_"
_EIGEN_PLANE = (
    "The plane is spanned by the Hessian's two leading eigenvectors, whose eigenvalues λ stand on the axes, and passes "
    "through the minimum; parts of the path beyond its edges are not drawn."
)
_TRAINING = (
    "See whether training had settled where the Hessian was taken. Loss on all training and test images after each "
    "epoch, on a logarithmic axis; epoch 0 is before training. Faint lines are further seeds. The dot marks the "
    "epoch of lowest training loss, where the Hessian was taken."
)

_CONTROLS = (
    "See which control takes the baseline's trend away: the trend comes from what it changes. What each control "
    "changes, beside the baseline: points are seeds, lines join their geometric means. A sum over circuits and a "
    "constant c proportional to patches both take away the mean's weight 1 / patches; a baseline of the same model "
    "starts their lines. At matched loss the checkpoints have one training loss instead of each its lowest. Bars of "
    "seeds are one standard deviation of the logarithm; the larger a marker of class counts, the more rows. Zeros "
    "are sorted into weights outside the light cone of the readout, directions of first blocks beyond the dimension "
    "of the state they move, and others."
)

# --- largest eigenvalue ------------------------------------------------------------------------------------------


def lambda_max(rows: Sequence[Row], *, published: Sequence[Row] = ()) -> "Figure":
    """Largest eigenvalue against patches, and against training loss.

    Args:
        rows: table with patches, lambda_max and train_loss; rows whose lambda_max is not positive are left out.
        published: rows with patches, layers and lambda_max.

    Raises:
        ValueError: if no row has a positive lambda_max.
    """
    rows = [row for row in rows if _positive(row)]
    if not rows:
        raise ValueError("Argument `rows` must have a positive `lambda_max` in some row, but has none.")
    figure = style.new_figure(12.0, 4.6)
    left, right = figure.subplots(1, 2)
    series = configurations(rows, ignore=("patches",))
    all_patches = [row["patches"] for row in rows]
    for number, one in enumerate(series):
        colour = style.COLOURS[number % len(style.COLOURS)]
        patches = np.array([rows[i]["patches"] for i in one.rows], float)
        values = np.array([rows[i]["lambda_max"] for i in one.rows], float)
        left.plot(patches, values, "o", color=colour, markersize=4, alpha=0.45, markeredgewidth=0)
        distinct = np.unique(patches)
        means = [np.exp(np.log(values[patches == p]).mean()) for p in distinct]
        left.plot(distinct, means, "o-", color=colour, linewidth=1.4, markersize=6, label=one.label)
        for i in one.rows:
            if _positive(rows[i], "train_loss"):
                marker = style.MARKERS[style.index_of(all_patches, rows[i]["patches"]) % len(style.MARKERS)]
                right.plot(rows[i]["train_loss"], rows[i]["lambda_max"], marker, color=colour, markersize=5, alpha=0.85)
    _published_lines(left, published)
    _guide(left, rows)
    _finish_lambda_max(left, right, rows, published)
    return figure


def _published_lines(axes: "Axes", published: Sequence[Row]) -> None:
    for number, one in enumerate(configurations(published, ignore=("patches",))):
        points = sorted((published[i]["patches"], published[i]["lambda_max"]) for i in one.rows)
        # Greys, so that no depth of theirs is taken for one of ours.
        colour = f"{0.25 + 0.5 * number / max(1, len(published) // 3):.2f}"
        axes.plot(
            *zip(*points, strict=True),
            marker=style.MARKERS[number % len(style.MARKERS)],
            linestyle="--",
            color=colour,
            markerfacecolor="white",
            markersize=5,
            linewidth=1.0,
            label=f"published, {one.label}",
        )


def _guide(axes: "Axes", rows: Sequence[Row]) -> None:
    """A line of slope -1 through the geometric mean of all points."""
    patches = np.array([row["patches"] for row in rows], float)
    if np.unique(patches).size < 2:
        return
    centre = np.exp(np.log(patches * [row["lambda_max"] for row in rows]).mean())
    ends = np.array([patches.min(), patches.max()])
    axes.plot(ends, centre / ends, ":", color=style.INK, linewidth=1.2, label="∝ 1 / patches", zorder=1)


def _finish_lambda_max(left: "Axes", right: "Axes", rows: Sequence[Row], published: Sequence[Row]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = sorted({row["patches"] for row in [*rows, *published]})
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_yscale("log")
        style.tidy(axes)
        style.plain_ticks(axes.yaxis)
        axes.set_ylabel("largest Hessian eigenvalue", fontsize=style.SMALL + 1)
    style.plain_ticks(right.xaxis)
    left.xaxis.set_major_locator(FixedLocator(ticks))
    left.xaxis.set_minor_locator(NullLocator())
    left.xaxis.set_major_formatter("{x:g}")
    left.set_xlim(ticks[0] / 1.25, ticks[-1] * 1.25)
    left.set_xlabel("patches", fontsize=style.SMALL + 1)
    right.set_xlabel("training loss at the minimum (nats)", fontsize=style.SMALL + 1)
    left.legend(fontsize=style.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    ours = sorted({row["patches"] for row in rows})
    handles = [
        Line2D(
            [],
            [],
            color=style.GREY,
            linestyle="",
            marker=style.MARKERS[i % len(style.MARKERS)],
            markersize=5,
            label=f"{count} patch{'' if count == 1 else 'es'}",
        )
        for i, count in enumerate(ours)
    ]
    right.legend(handles=handles, fontsize=style.SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _positive(row: Row, name: str = "lambda_max") -> bool:
    value: Any = row.get(name)
    return value is not None and value > 0


# --- training ----------------------------------------------------------------------------------------------------


def _has_history(arrays: Arrays) -> bool:
    return "history_train_loss" in arrays


def training(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Loss curves, one panel a configuration.

    Args:
        rows: table.
        arrays: arrays of each row: `history_train_loss` (E + 1,), with or without `history_test_loss` (E + 1,) and
            `minimum` (), the epoch of lowest training loss.

    Raises:
        ValueError: if no row has a history.
    """
    kept = [i for i in range(len(rows)) if _has_history(arrays[i])]
    if not kept:
        raise ValueError("Argument `arrays` must hold `history_train_loss` for a row, but has none.")
    rows, arrays = [rows[i] for i in kept], [arrays[i] for i in kept]
    groups = configurations(rows)
    columns = min(4, len(groups))
    lines = -(-len(groups) // columns)
    figure = style.new_figure(min(12.0, 3.0 * columns + 2.0), 2.4 * lines + 0.8)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    for axes, group in zip(panels.flat, groups, strict=False):
        for place, position in enumerate(group.rows):
            _loss_curves(axes, arrays[position], first=place == 0)
        axes.set_title(group.label, fontsize=style.SMALL + 2, loc="left")
        axes.set_yscale("log")
        style.tidy(axes)
        style.plain_ticks(axes.yaxis)
    for axes in panels.flat[len(groups) :]:
        axes.set_visible(False)
    for position, axes in enumerate(panels.flat[: len(groups)]):
        if position + columns >= len(groups):
            axes.tick_params(labelbottom=True)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_xlabel("epoch", fontsize=style.SMALL + 1)
    for axes in panels[:, 0]:
        axes.set_ylabel("loss (nats)", fontsize=style.SMALL + 1)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=style.SMALL)
    return figure


def _loss_curves(axes: "Axes", cell: Arrays, first: bool) -> None:
    for name, colour, linestyle in (("train", style.BLUE, "-"), ("test", style.VERMILION, "--")):
        losses = cell.get(f"history_{name}_loss")
        if losses is None:
            continue
        axes.plot(
            losses,
            color=colour,
            linestyle=linestyle,
            linewidth=1.3 if first else 0.7,
            alpha=1.0 if first else 0.35,
            label=name if first else None,
        )
    if first and "minimum" in cell:
        epoch = int(cell["minimum"])
        axes.plot(
            epoch,
            cell["history_train_loss"][epoch],
            "o",
            color=style.BLUE,
            markeredgecolor="white",
            markersize=6,
            label="minimum",
        )
