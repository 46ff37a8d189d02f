"""The figure of the controls of the study of gradient variances, one panel a control."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.row import Row, describe
from qjaxsim.studies.gradient_variance.figures_lines import (
    ABLATIONS,
    band,
    legend_below,
    swept_rows,
    variant,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Centre = Mapping[str, int]
_PANELS_PER_ROW = 3
_VARIANCE = "mean gradient variance"
_INITIAL = "[-1, 1)"


def has_controls(rows: Sequence[Row]) -> bool:
    """Whether some control has a panel."""
    return any(_there(rows, name) for name, *_ in _PANELS)


def controls(rows: Sequence[Row], centre: Centre) -> "Figure":
    """One panel for each control with rows; random initialisations have two.

    Args:
        rows: table of the study, baseline included.
        centre: qubits, layers and batch that the sweeps share.
    """
    drawn = [(title, draw, columns) for name, title, draw, columns in _PANELS if _there(rows, name)]
    columns = min(_PANELS_PER_ROW, len(drawn))
    lines = -(-len(drawn) // columns)
    figure = style.new_figure(4.4 * columns + 0.6, 4.3 * lines)
    panels = figure.subplots(lines, columns, squeeze=False)
    for axes, (title, draw, legend_columns) in zip(panels.flat, drawn, strict=False):
        draw(axes, rows, centre)
        axes.set_title(title, fontsize=style.SMALL + 2, loc="left")
        style.tidy(axes)
        legend_below(axes, legend_columns)
    for axes in list(panels.flat)[len(drawn) :]:
        axes.set_visible(False)
    return figure


def _there(rows: Sequence[Row], name: str) -> bool:
    names = tuple(ABLATIONS) if name == "ablation" else (name,)
    return any(row.get("control") in names for row in rows)


def _of(rows: Sequence[Row], control: str) -> list[Row]:
    return [row for row in rows if row.get("control") == control]


def _labels(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=style.SMALL + 1)
    axes.set_ylabel(y, fontsize=style.SMALL + 1)


def _updates(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    for place, (batch, own) in enumerate(swept_rows(rows, "batch", centre, "updates").items()):
        look = (style.COLOURS[place % len(style.COLOURS)], style.MARKERS[place % len(style.MARKERS)])
        band(axes, own, "updates", "grad_var", describe("batch", batch), *look)
    axes.set_yscale("log")
    _labels(axes, "updates", _VARIANCE)


def _scale(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    """Growth at the centre as it is, with scales divided out, and with the post-layer frozen."""
    base = swept_rows(rows, "batch", centre)[centre["batch"]]
    frozen = swept_rows(rows, "batch", centre, "scale").get(centre["batch"], [])
    arms = [
        ("as trained", base, "grad_var"),
        ("/ post-layer²", base, "grad_var_per_post"),
        ("/ (derivative in <Z>)²", base, "grad_var_per_signal"),
        ("post-layer frozen", frozen, "grad_var"),
    ]
    for place, (label, own, value) in enumerate(arms):
        if own:
            start = {row["seed"]: row[value] for row in own if row["epoch"] == 1}
            relative = [{**row, "relative": row[value] / start[row["seed"]]} for row in own]
            band(axes, relative, "epoch", "relative", label, style.COLOURS[place], style.MARKERS[place])
    axes.axhline(1, color=style.GREY, linewidth=0.8)
    axes.set_yscale("log")
    style.plain_ticks(axes.yaxis)
    style.whole_ticks(axes.xaxis)
    _labels(axes, "epoch", "variance over that of epoch 1")


def _initial_lines(axes: "Axes", rows: Sequence[Row], along: str, by: str, values: Sequence[int]) -> None:
    own = [row for row in _of(rows, "initialisations") if row["initial"] == _INITIAL]
    for kind, linestyle in (("local", "-"), ("global", "--")):
        for place, value in enumerate(values):
            points = sorted(
                (row[along], row["init_var_seen"], row["init_var_seen_error"])
                for row in own
                if row["observable"] == kind and row[by] == value
            )
            x, y, error = (np.array(column, float) for column in zip(*points, strict=True))
            axes.errorbar(
                x, y, yerr=error, linestyle=linestyle, color=style.COLOURS[place], marker=style.MARKERS[place],
                markersize=4.5, linewidth=1.2, capsize=2, label=f"{kind}, {describe(by, value)}",
            )  # fmt: skip
    axes.set_yscale("log")
    _labels(axes, along, "variance over initialisations")


def _by_qubits(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    depths = sorted({row["layers"] for row in _of(rows, "initialisations")})
    near = min(depths, key=lambda depth: abs(depth - centre["layers"]))
    _initial_lines(axes, rows, "qubits", "layers", sorted({near, depths[-1]}))
    style.whole_ticks(axes.xaxis)


def _by_depth(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    widths = sorted({row["qubits"] for row in _of(rows, "initialisations")})
    _initial_lines(axes, rows, "layers", "qubits", sorted({widths[0], widths[-1]}))


def _shots(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    arms: dict[str, list[Row]] = {"exact": swept_rows(rows, "batch", centre)[centre["batch"]]}
    for row in sorted(_of(rows, "shots"), key=lambda row: row["shots"]):
        arms.setdefault(counted(row["shots"], "shot"), []).append(row)
    for place, (label, colour) in enumerate(zip(arms, style.colours(len(arms)), strict=True)):
        band(axes, arms[label], "epoch", "grad_var", label, colour, style.MARKERS[place % len(style.MARKERS)])
    axes.set_yscale("log")
    style.whole_ticks(axes.xaxis)
    _labels(axes, "epoch", _VARIANCE)


def _ablation(axes: "Axes", rows: Sequence[Row], centre: Centre) -> None:
    """What most over fewest of each sweep does to the variance of the last epoch, a line for every variant."""
    variants: dict[str, list[Row]] = {"baseline": _of(rows, "baseline")}
    for row in rows:
        if row.get("control") in ABLATIONS:
            variants.setdefault(f"{row['control']} {variant(row)}", []).append(row)
    for position, own in enumerate(variants.values()):
        last = [row for row in own if row["epoch"] == max(r["epoch"] for r in own)]
        for place, along in enumerate(("batch", "qubits", "layers")):
            ratio = _ratio(last, along, centre)
            if ratio is not None:
                label = f"most over fewest {along}" if position == 0 else None
                axes.plot(ratio, position, style.MARKERS[place], color=style.COLOURS[place], markersize=6, label=label)
    axes.axvline(1, color=style.GREY, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(variants)), list(variants))
    axes.invert_yaxis()
    _labels(axes, "ratio of variances in the last epoch", "")


def _ratio(rows: Sequence[Row], along: str, centre: Centre) -> float | None:
    swept: dict[int, list[float]] = {}
    for row in rows:
        if all(row[name] == value for name, value in centre.items() if name != along):
            swept.setdefault(row[along], []).append(row["grad_var"])
    return float(np.mean(swept[max(swept)]) / np.mean(swept[min(swept)])) if len(swept) > 1 else None


# Control, title, what draws it, columns of its legend.
_PANELS: tuple[tuple[str, str, Callable[[Any, Sequence[Row], Centre], None], int], ...] = (
    ("updates", "Equal numbers of updates", _updates, 3),
    ("scale", "Scales divided out", _scale, 2),
    ("shots", "Sampled gradients", _shots, 3),
    ("initialisations", "Random initialisations, by qubits", _by_qubits, 2),
    ("initialisations", "Random initialisations, by depth", _by_depth, 2),
    ("ablation", "What the publication leaves open", _ablation, 1),
)
