"""The figure of class means: leading eigenvalues before and after a knock-out, and what is gone in each control."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.row import Row
from qjaxsim.studies.hessian.configurations import MATCHED, START, configurations, is_baseline
from qjaxsim.studies.hessian.knock_out import removed_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]

_PANELS_PER_ROW = 4
# Array, name and look of each line.
_LINES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("class_values", "H", {"color": style.BLUE, "marker": "o"}),
    ("class_left", "without class means", {"color": style.VERMILION, "marker": "s"}),
    ("class_left_cross", "without the range of G₂ too", {"color": style.GREEN, "marker": "^"}),
    ("class_left_permuted", "labels permuted in the averages", {"color": style.GREY, "linestyle": "--"}),
    ("class_left_random", "random classes", {"color": style.GREY, "linestyle": ":"}),
    ("class_g1", "G₁, of class means alone", {"color": style.ORANGE, "marker": "D", "linestyle": ""}),
)


def has_classes(row: Row, arrays: Arrays) -> bool:
    """Whether the cell has what the figure shows."""
    return "class_values" in arrays and removed_share(row) is not None


def class_means(rows: Sequence[Row], arrays: Sequence[Arrays]) -> "Figure":
    """Leading eigenvalues with and without class means, a panel each configuration of the baseline, and shares gone.

    Args:
        rows: table, controls included.
        arrays: arrays of each row, as `classes.class_columns` gives them; of several seeds the first is drawn.

    Raises:
        ValueError: if no row of the baseline has them.
    """
    kept = [i for i in range(len(rows)) if is_baseline(rows[i]) and has_classes(rows[i], arrays[i])]
    if not kept:
        raise ValueError("Argument `arrays` must hold `class_values` for a row of the baseline, but has none.")
    base = [rows[i] for i in kept]
    groups = configurations(base)
    columns = min(_PANELS_PER_ROW, len(groups) + 1)
    lines = -(-(len(groups) + 1) // columns)
    figure = style.new_figure(min(12.0, 3.4 * columns + 1.0), 3.2 * lines + 0.7)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for axes, group in zip(panels, groups, strict=False):
        _leading(axes, base[group.rows[0]], arrays[kept[group.rows[0]]])
        seed = f", seed {base[group.rows[0]].get('seed')}" if len(group.rows) > 1 else ""
        axes.set_title(group.label + seed, fontsize=style.SMALL + 2, loc="left")
    _gone(panels[len(groups)], [row for row in rows if removed_share(row) is not None])
    for axes in panels[len(groups) + 1 :]:
        axes.set_visible(False)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=style.SMALL)
    return figure


def _leading(axes: "Axes", row: Row, cell: Arrays) -> None:
    for name, label, look in _LINES:
        values = np.asarray(cell[name], float)
        shown = np.where(values > 0, values, np.nan)
        axes.plot(np.arange(1, values.size + 1), shown, markersize=3.5, linewidth=1.0, label=label, **look)
    tested = int(row["class_tested"])
    axes.axvline(tested + 0.5, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axes.annotate(
        f"{tested} outlier{'s' * (tested != 1)}" if row.get("outliers_gap") else "K − 1, no outliers",
        (tested + 0.5, 0.98),
        (4, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        fontsize=style.SMALL,
        color=style.GREY,
    )
    axes.set_yscale("log")
    high, low = (float(cell[name][end]) for name, end in (("class_values", 0), ("class_g1", -1)))
    axes.set_ylim(max(low, 1e-3 * high) / 1.5, 2.5 * high)
    style.plain_ticks(axes.yaxis)
    style.whole_ticks(axes.xaxis)
    axes.set_xlabel("rank", fontsize=style.SMALL + 1)
    axes.set_ylabel("eigenvalue", fontsize=style.SMALL + 1)
    style.tidy(axes)


def _gone(axes: "Axes", rows: Sequence[Row]) -> None:
    """Share of the outliers gone, by what was taken out and where; dots are rows, bars their means."""
    base = [row for row in rows if is_baseline(row)]
    arms = [
        ("class means", base, ""),
        ("and range of G₂", base, "_cross"),
        ("labels permuted", base, "_permuted"),
        ("random classes", base, "_random"),
        ("before training", [row for row in rows if row.get("point") == START], ""),
        ("matched loss", [row for row in rows if row.get("point") == MATCHED], ""),
    ]
    other = [row for row in rows if row.get("control") == "classes"]
    for k in sorted({row["n_classes"] for row in other}):
        arms.append((f"{k} classes", [row for row in other if row["n_classes"] == k], ""))
    drawn = [(name, shares) for name, own, which in arms if (shares := [removed_share(row, which) for row in own])]
    for place, (_, shares) in enumerate(drawn):
        values = np.array(shares, float)
        axes.barh(place, np.nanmean(values), height=0.6, color=style.SKY if place < 2 else style.PALE)
        axes.plot(values, np.full(values.size, place), "o", color=style.INK, markersize=3, alpha=0.5)
    axes.set_yticks(range(len(drawn)), [name for name, _ in drawn], fontsize=style.SMALL)
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("share of the outliers gone", fontsize=style.SMALL + 1)
    axes.set_title("What the knock-out takes out", fontsize=style.SMALL + 2, loc="left")
    style.tidy(axes)
