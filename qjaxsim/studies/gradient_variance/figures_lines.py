"""What the figures of gradient variances share: the rows of a sweep, lines with bands, ticks and legends."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from qjaxsim.common.words import counted
from qjaxsim.report import style
from qjaxsim.report.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Column that a control of what the publication leaves open varies.
ABLATIONS = {"pairing": "pairing", "pre-layer": "pre", "learning-rate": "learning_rate"}


def variant(row: Row) -> str:
    """What a control changes in a row, in words; empty for the baseline.

    >>> variant({"control": "pairing", "pairing": "ring"}), variant({"control": "shots", "shots": 128})
    ('ring', '128 shots')
    """
    control = row["control"]
    if control in ABLATIONS:
        return f"{row[ABLATIONS[control]]}"
    return {
        "updates": "equal updates",
        "scale": "post-layer frozen",
        "shots": counted(row.get("shots") or 0, "shot"),
    }.get(control, "")


def swept_rows(
    rows: Sequence[Row], along: str, centre: Mapping[str, int], control: str = "baseline"
) -> dict[int, list[Row]]:
    """Rows of one sweep by its value: those of a control that agree with the centre in the other two sizes."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        if row.get("control") == control and all(row[name] == value for name, value in centre.items() if name != along):
            found.setdefault(row[along], []).append(row)
    return dict(sorted(found.items()))


def band(
    axes: "Axes",
    rows: Sequence[Row],
    along: str,
    value: str,
    label: str,
    colour: str,
    marker: str,
    linestyle: str = "-",
) -> None:
    """Mean over seeds as a line, one standard deviation as a band, downwards to a tenth of the mean at most."""
    points = sorted({row[along] for row in rows})
    groups = [np.array([row[value] for row in rows if row[along] == x], float) for x in points]
    mean = np.array([group.mean() for group in groups])
    spread = np.array([group.std(ddof=1) if group.size > 1 else 0.0 for group in groups])
    axes.plot(points, mean, linestyle, color=colour, marker=marker, markersize=4.5, linewidth=1.3, label=label)
    # A band that reaches zero has no lower edge on a logarithmic axis.
    axes.fill_between(
        points, np.maximum(mean - spread, mean / 10), mean + spread, color=colour, alpha=0.15, linewidth=0
    )


def legend_below(axes: "Axes", columns: int = 3) -> None:
    """A legend that covers no line."""
    axes.legend(fontsize=style.SMALL, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=columns)
