"""The figure of runs side by side: the headline number of every configuration, a mark for each run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.figure import ReportFigure, written
from qjaxsim.report.row import describe

if TYPE_CHECKING:
    from qjaxsim.studies.shared.side_by_side import SideBySide

# Runs that colours and marks tell apart, and configurations that can be read in one figure.
MOST, _LINES = len(style.COLOURS), 40


def write_figure(found: "SideBySide", path: Path) -> list[ReportFigure]:
    """The figure, written; none where no run has headline numbers."""
    rows = found.short
    if found.headline is None or not rows:
        return []
    caption = (
        f"Column {found.headline} of every configuration, a mark for each run; a line joins what belongs together."
    )
    if len(rows) > _LINES:
        rows = _largest_changes(rows, list(found.runs))
        caption += f" Of {len(found.short)} configurations the {_LINES} whose runs differ most."
    figure = style.new_figure(9, 1.4 + 0.28 * len(rows))
    axes = figure.subplots()
    values = np.array([[_value(row[letter]) for letter in found.runs] for row in rows])  # (rows, runs), NaN missing
    places = np.arange(len(rows))
    with np.errstate(invalid="ignore"):
        spans = [(np.nanmin(line), np.nanmax(line)) for line in values]
    axes.hlines(places, *zip(*spans, strict=True), color=style.PALE, linewidth=2, zorder=1)
    for number, letter in enumerate(found.runs):
        axes.plot(
            values[:, number], places, linestyle="none", marker=style.MARKERS[number], color=style.COLOURS[number],
            markersize=6, alpha=0.85, label=f"run {letter}", zorder=2,
        )  # fmt: skip
    _scale(axes, values)
    axes.set_yticks(places, [_label(row, found.keys) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel(found.headline.replace("_", " "))
    style.tidy(axes)
    figure.legend(loc="outside upper right", ncols=len(found.runs), frameon=False)
    return [written(figure, path, found.headline.replace("_", " "), caption)]


def _value(value: Any) -> float:
    return np.nan if value is None else float(value)


def _scale(axes: Any, values: np.ndarray) -> None:
    """A logarithmic axis where values span a decade or more."""
    known = values[np.isfinite(values)]
    if known.min() > 0 and known.max() >= 10 * known.min():
        axes.set_xscale("log")
        style.plain_ticks(axes.xaxis)


def _label(row: dict[str, Any], keys: tuple[str, ...]) -> str:
    words = [describe(name, row[name]) for name in keys if row[name] is not None]
    return ", ".join(words) or "all"


def _largest_changes(rows: list[dict[str, Any]], letters: list[str]) -> list[dict[str, Any]]:
    """As many rows as can be read, in their order: those whose values lie farthest apart, relative to their size."""

    def change(row: dict[str, Any]) -> float:
        known = [abs(row[letter]) for letter in letters if row[letter] is not None]
        values = [row[letter] for letter in letters if row[letter] is not None]
        return (max(values) - min(values)) / (max(known) or 1.0)

    chosen = sorted(range(len(rows)), key=lambda place: -change(rows[place]))[:_LINES]
    return [rows[place] for place in sorted(chosen)]
