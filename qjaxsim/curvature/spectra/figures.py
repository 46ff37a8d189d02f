"""Figures of one report: its spectrum, its blocks, its planes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.common.checks import require_one_of
from qjaxsim.report import style
from qjaxsim.report.plane import landscape
from qjaxsim.report.spectra import spectra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from qjaxsim.curvature.spectra.record import SpectrumReport

PREFIXES = {"pca": "", "eigen": "eigen_", "random": "random_"}
# Leading vectors that the figure of blocks shows.
_MOST_VECTORS = 10


def figure_of(report: "SpectrumReport", what: str) -> "Figure":
    """A figure by name; see `SpectrumReport.plot`."""
    require_one_of("what", what, figure_names(report))
    if what == "blocks":
        return blocks(report)
    classes = {} if report.numbers["samples"] is None else {"n_classes": report.settings["classes"]}
    row = {**report.numbers, **classes}
    if what == "spectrum":
        return spectra([row], [report.arrays])
    return landscape([row], [report.arrays], PREFIXES[what], value="function", unit="")


def figure_names(report: "SpectrumReport") -> list[str]:
    """What there is to draw."""
    return ["spectrum", *(["blocks"] if len(report.blocks) > 1 else []), *report.planes]


def blocks(report: "SpectrumReport") -> "Figure":
    """Largest eigenvalues and traces of the blocks, and where the leading eigenvectors live."""
    names = [style.words(str(row["group"])) for row in report.blocks]
    figure = style.new_figure(12.0, min(14.0, 1.6 + 0.28 * len(names)))
    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1.0, 1.0, 1.2])
    _bars(left, report, {"block_lambda_max": "Hessian", "gn_block_lambda_max": "Gauss–Newton"}, "largest eigenvalue")
    _bars(middle, report, {"block_trace": "Hessian"}, "trace")
    _shares(right, report)
    left.set_yticks(range(len(names)), names)
    return figure


def _bars(axes: "Axes", report: "SpectrumReport", columns: dict[str, str], title: str) -> None:
    shown = {name: label for name, label in columns.items() if name in report.blocks[0]}
    height = 0.8 / len(shown)
    for place, (name, label) in enumerate(shown.items()):
        values = [row[name] for row in report.blocks]
        errors = [row.get(f"{name}_error") or 0.0 for row in report.blocks]
        middle = np.arange(len(values)) + (place - (len(shown) - 1) / 2) * height
        look: dict[str, Any] = {"color": (style.BLUE, style.SKY)[place], "label": label}
        axes.barh(middle, values, height, xerr=errors if any(errors) else None, ecolor=style.INK, **look)
    axes.axvline(0, color=style.INK, linewidth=0.8)
    axes.set_xlabel(title, fontsize=style.SMALL + 1)
    if len(shown) > 1:
        axes.legend(fontsize=style.SMALL, frameon=False)
    style.tidy(axes)


def _shares(axes: "Axes", report: "SpectrumReport") -> None:
    """Squares of the leading eigenvectors, summed over groups: one column a vector."""
    shares = report.shares[:, :_MOST_VECTORS]
    drawn = axes.imshow(shares, aspect="auto", cmap="Blues", vmin=0, vmax=1)
    values = report.arrays["top_values"]
    axes.set_xticks(range(shares.shape[1]), [f"{value:.3g}" for value in values[: shares.shape[1]]], rotation=45)
    axes.set_xlabel("leading eigenvectors, by eigenvalue", fontsize=style.SMALL + 1)
    axes.tick_params(labelsize=style.SMALL)
    figure = axes.get_figure()
    assert figure is not None
    figure.colorbar(drawn, ax=axes).set_label("share of the vector in the group", fontsize=style.SMALL)
