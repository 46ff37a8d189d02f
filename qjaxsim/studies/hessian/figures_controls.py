"""The figure of a study's controls: what each changes beside the baseline, one panel a control."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.row import Row, describe
from qjaxsim.studies.hessian.configurations import MATCHED, anchors, configurations, is_baseline
from qjaxsim.studies.hessian.nulls import null_counts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS_PER_ROW = 3
_LAMBDA = "largest Hessian eigenvalue"
_BASE, _CONTROL = style.BLUE, style.VERMILION


def has_controls(rows: Sequence[Row]) -> bool:
    """Whether some control has a panel."""
    return any(_rows_of(rows, control) for control in _PANELS)


def controls(rows: Sequence[Row]) -> "Figure":
    """Baseline and control side by side, one panel for each value of the column `control` that has a rule to draw it.

    Args:
        rows: table with `control`; drawn are "aggregation", "scale", "parameters", "learning-rate", "loss", "classes",
            "seeds" and "nulls". Rows without the panel's columns are left out.

    Raises:
        ValueError: if no row belongs to a control that can be drawn.
    """
    drawn = {control: own for control in _PANELS if (own := _rows_of(rows, control))}
    if not drawn:
        raise ValueError(
            f"Argument `rows` must have a `control` among {list(_PANELS)} with its numbers in some row, but has none."
        )
    columns = min(_PANELS_PER_ROW, len(drawn))
    lines = -(-len(drawn) // columns)
    figure = style.new_figure(12.0 if columns == _PANELS_PER_ROW else 4.6 * columns + 0.8, 4.3 * lines)
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes, (control, own) in zip(panels.flat, drawn.items(), strict=False):
        title, draw = _PANELS[control]
        draw(axes, own, [row for row in rows if is_baseline(row) and _usable(row, control)])
        axes.set_title(title, fontsize=style.SMALL + 2, loc="left")
        style.tidy(axes)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            *(handles, labels),
            fontsize=style.SMALL,
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
            ncols=2,
        )
    for axes in list(panels.flat)[len(drawn) :]:
        axes.set_visible(False)
    return figure


def _rows_of(rows: Sequence[Row], control: str) -> list[Row]:
    return [row for row in rows if row.get("control") == control and _usable(row, control)]


def _usable(row: Row, control: str) -> bool:
    """Whether the row has the numbers that the control's panel shows."""
    if control == "nulls":
        return null_counts(row) is not None
    if control == "classes":
        return row.get("n_classes") is not None and row.get("outliers_gap") is not None
    if control == "loss" and not is_baseline(row) and row.get("point") != MATCHED:
        return False
    along = "layers" if control == "learning-rate" else "patches"
    return row.get(along) is not None and (row.get("lambda_max") or 0) > 0


# --- lines -----------------------------------------------------------------------------------------------------------


def _lines(
    axes: "Axes", label: str, rows: Sequence[Row], along: str, split: str, colour: str, splits: list[Any]
) -> None:
    """One line through geometric means for each value of the column `split`, seeds as faint dots.

    `splits` are the values in all arms of the panel, so that one value has one marker.
    """
    for value in dict.fromkeys(row.get(split) for row in rows):
        members = [row for row in rows if row.get(split) == value]
        x, y = (np.array([row[name] for row in members], float) for name in (along, "lambda_max"))
        distinct = np.unique(x)
        means = [np.exp(np.log(y[x == at]).mean()) for at in distinct]
        place = style.index_of(splits, value)
        look: dict[str, Any] = {"color": colour, "marker": style.MARKERS[place % len(style.MARKERS)]}
        name = f"{label}, {describe(split, value)}" if len(set(splits)) > 1 and value is not None else label
        axes.plot(x, y, linestyle="", markersize=3.5, alpha=0.3, markeredgewidth=0, **look)
        axes.plot(distinct, means, ("-", "--", ":")[place % 3], markersize=5, linewidth=1.3, label=name, **look)


def _arms(axes: "Axes", arms: Sequence[tuple[str, Sequence[Row], str]], along: str, split: str) -> None:
    _logarithmic(axes, along, [row for _, rows, _ in arms for row in rows])
    splits = [row.get(split) for _, rows, _ in arms for row in rows]
    for label, rows, colour in arms:
        _lines(axes, label, rows, along, split, colour, splits)


def _logarithmic(axes: "Axes", along: str, rows: Sequence[Row]) -> None:
    """Axes with room for the rows to come. Limits are set by hand: matplotlib warns where all values are one."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = sorted({row[along] for row in rows})
    low, high = (limit(row["lambda_max"] for row in rows) for limit in (min, max))
    room = 1.1 * (high / low) ** 0.1
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(ticks[0] / 1.3, ticks[-1] * 1.3)
    axes.set_ylim(low / room, high * room)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    style.plain_ticks(axes.yaxis)
    axes.set_xlabel(along, fontsize=style.SMALL + 1)
    axes.set_ylabel(_LAMBDA, fontsize=style.SMALL + 1)


def _alike(base: Sequence[Row], own: Sequence[Row], column: str) -> list[Row]:
    """Baseline rows whose value in a column occurs in the control."""
    return [row for row in base if row.get(column) in {other.get(column) for other in own}]


def _scale_in_words(rows: Sequence[Row]) -> str:
    """The constant c as a rule: fixed, proportional to patches, or a range."""
    scales = sorted({row["scale"] for row in rows if row.get("scale") is not None})
    ratios = {float(f"{row['scale'] / row['patches']:.6g}") for row in rows if row.get("scale") is not None}
    if not scales:
        return "c not recorded"
    if len(scales) == 1:
        return f"c = {scales[0]:g}"
    return f"c = {ratios.pop():g} × patches" if len(ratios) == 1 else f"c from {scales[0]:g} to {scales[-1]:g}"


def _aggregation(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    arms = [("mean (baseline)", _alike(base, own, "layers"), _BASE)]
    for place, kind in enumerate(dict.fromkeys(row.get("aggregation") for row in own)):
        colour = style.COLOURS[1 + place % (len(style.COLOURS) - 1)]
        rows = [row for row in own if row.get("aggregation") == kind]
        arms.append((str(kind), rows + anchors(rows, base), colour))
    _arms(axes, arms, "patches", "layers")


def _scale(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    base = _alike(base, own, "layers")
    arms = [
        (f"{_scale_in_words(base)} (baseline)", base, _BASE),
        (_scale_in_words(own), [*own, *anchors(own, base)], _CONTROL),
    ]
    _arms(axes, arms, "patches", "layers")


def _loss(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    arms = [("minimum", _alike(base, own, "layers"), _BASE), ("matched loss", own, _CONTROL)]
    _arms(axes, arms, "patches", "layers")


def _learning_rate(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    base = _alike(base, own, "patches")
    by_rate = {rate: _at_rate(own, base, rate) for rate in dict.fromkeys(row.get("learning_rate") for row in own)}
    arms = [(f"{_rates_in_words(base)} (baseline)", base, _BASE)]
    # Rates that each have one depth are no lines of their own but another rule for the depth.
    if all(len({row["layers"] for row in rows}) == 1 for rows in by_rate.values()):
        by_rate = {None: list(own)}
    for place, rows in enumerate(by_rate.values()):
        arms.append((_rates_in_words(rows), rows, style.COLOURS[1 + place % (len(style.COLOURS) - 1)]))
    _arms(axes, arms, "layers", "patches")


def _at_rate(own: Sequence[Row], base: Sequence[Row], rate: Any) -> list[Row]:
    """Rows of one rate, the baseline's included where the control has no row of that size."""
    rows = [row for row in own if row.get("learning_rate") == rate]
    there = {(row.get("patches"), row.get("layers")) for row in rows}
    same = (row for row in base if row.get("learning_rate") == rate)
    return rows + [row for row in same if (row.get("patches"), row.get("layers")) not in there]


def _rates_in_words(rows: Sequence[Row]) -> str:
    rates = sorted({row["learning_rate"] for row in rows if row.get("learning_rate") is not None})
    if not rates:
        return "rate not recorded"
    return f"rate {rates[0]:g}" if len(rates) == 1 else f"rate {rates[-1]:g} to {rates[0]:g} by depth"


def _parameters(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    _logarithmic(axes, "patches", [*base, *own])
    axes.set_xlim(right=axes.get_xlim()[1] * 1.25)  # for the depths' names
    splits = [row.get("layers") for row in base]
    _lines(axes, "baseline", base, "patches", "layers", _BASE, splits)
    # Depth differs from point to point here, so it cannot split the line: one line, depths written beside it.
    _lines(axes, "equal parameters", own, "patches", "control", _CONTROL, ["parameters"])
    for place in {(row["patches"], row.get("layers")) for row in own}:
        values = [row["lambda_max"] for row in own if (row["patches"], row.get("layers")) == place]
        mean = float(np.exp(np.log(values).mean()))
        text = "" if place[1] is None else describe("layers", place[1])
        axes.annotate(text, (place[0], mean), (6, 5), textcoords="offset points", fontsize=style.SMALL, color=_CONTROL)


# --- counts ----------------------------------------------------------------------------------------------------------


def _classes(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    for rows, marker, colour, label in ((base, "s", _BASE, "baseline"), (own, "o", _CONTROL, "other classes")):
        look: dict[str, Any] = {"marker": marker, "color": colour, "alpha": 0.7, "linestyle": ""}
        points = [(row["n_classes"], row["outliers_gap"]) for row in rows]
        for point in dict.fromkeys(points):
            share = points.count(point) / sum(k == point[0] for k, _ in points)
            axes.plot(*point, markersize=4 + 7 * share, **look)
        axes.plot([], [], markersize=6, label=label, **look)
    ends = np.array([min(row["n_classes"] for row in (*own, *base)), max(row["n_classes"] for row in (*own, *base))])
    axes.plot(ends, ends - 1, "-", color=style.GREY, linewidth=1, label="K − 1", zorder=1)
    axes.plot(ends, ends, "--", color=style.GREY, linewidth=1, label="K", zorder=1)
    axes.set_xlabel("classes K", fontsize=style.SMALL + 1)
    axes.set_ylabel("outliers by the gap rule", fontsize=style.SMALL + 1)


def _seeds(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    """All seeds as dots, with mean and standard deviation of the logarithm; `base` holds the control's rows, too."""
    base = _alike(base, own, "layers")
    _logarithmic(axes, "patches", base)
    depths = sorted({row.get("layers") for row in base}, key=str)
    for place, depth in enumerate(depths):
        colour = style.COLOURS[place % len(style.COLOURS)]
        shift = 1.06 ** (2 * place - len(depths) + 1)
        for number, patches in enumerate(sorted({row["patches"] for row in base if row.get("layers") == depth})):
            here = [row for row in base if row.get("layers") == depth and row["patches"] == patches]
            logs = np.log([row["lambda_max"] for row in here])
            axes.plot(np.full(logs.size, patches * shift), np.exp(logs), "o", color=colour, alpha=0.35, markersize=4)
            deviation = logs.std(ddof=1) if logs.size > 1 else 0.0
            ends = np.exp(logs.mean() + np.array([-deviation, 0.0, deviation]))
            axes.errorbar(
                patches * shift * 1.05,
                ends[1],
                yerr=[[ends[1] - ends[0]], [ends[2] - ends[1]]],
                fmt="_",
                color=colour,
                capsize=3,
                label=describe("layers", depth) if number == 0 and depth is not None else None,
            )


def _nulls(axes: "Axes", own: Sequence[Row], base: Sequence[Row]) -> None:
    """Shares of weight space, mean over the seeds of each configuration."""
    groups = configurations(own)
    for place, group in enumerate(groups):
        counts = np.array([null_counts(own[i]) for i in group.rows], float).mean(axis=0)
        left = 0.0
        for count, colour, hatch, label in zip(counts, *_NULL_LOOKS, strict=True):
            share = count / counts.sum()
            axes.barh(
                place, share, left=left, height=0.6, color=colour, edgecolor="white", hatch=hatch,
                label=label if place == 0 else None,
            )  # fmt: skip
            left += share
    axes.set_yticks(range(len(groups)), [group.label for group in groups])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of weight space", fontsize=style.SMALL + 1)


_NULL_LOOKS: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = (
    (style.INK, style.GREY, style.ORANGE, style.PALE),
    ("", "///", "...", ""),
    ("unused weights", "redundant", "other near zero", "rest"),
)
_PANELS: dict[str, tuple[str, Callable[[Any, Sequence[Row], Sequence[Row]], None]]] = {
    "aggregation": ("Sum instead of mean", _aggregation),
    "scale": ("Constant c before the softmax", _scale),
    "loss": ("Matched training loss", _loss),
    "parameters": ("Equal total parameters", _parameters),
    "learning-rate": ("Learning rate", _learning_rate),
    "seeds": ("Seeds", _seeds),
    "classes": ("Number of classes", _classes),
    "nulls": ("Zeros and what explains them", _nulls),
}
