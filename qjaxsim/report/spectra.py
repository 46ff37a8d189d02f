"""The figure of Hessian spectra: bulk, negative part and outliers of every configuration, and scree curves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.row import Configuration, Grouping, Row, by_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]

# Eigenvalues of magnitude up to this share of the largest count as near zero; the axis is linear there.
NEAR_ZERO = 1e-6
_BINS_PER_DECADE = 6
_NEGATIVE, _ZERO, _POSITIVE = style.ORANGE, "#9A9A9A", style.BLUE
_WIDTH, _PANEL_HEIGHT, _SCREE_HEIGHT, _PANELS_PER_ROW = 12.0, 2.5, 3.8, 3


def has_spectrum(arrays: Arrays) -> bool:
    """Whether the cell has a full spectrum or a Lanczos density."""
    return "eigenvalues" in arrays or {"density_grid", "density", "lanczos_values"} <= set(arrays)


def spectra(rows: Sequence[Row], arrays: Sequence[Arrays], grouping: Grouping = by_label) -> "Figure":
    """Spectrum of each configuration, and below them the leading eigenvalues of all.

    Args:
        rows: table; `outliers_gap` (number of outliers marked) and `n_classes` are used where present.
        arrays: arrays of each row. `eigenvalues` (P,) with or without `gn_eigenvalues` (P,), the spectrum of the
            Gauss-Newton part; or `lanczos_values` (m,), extreme eigenvalues that have converged, `density_grid` (n,)
            and `density` (n,), of integral 1.
            Of several seeds the first one's spectrum is drawn, and all their leading eigenvalues. A density is
            scaled by the column `parameters` to count eigenvalues.
        grouping: from rows to configurations, a panel each.

    Returns:
        Figure. Panels have a signed logarithmic axis, the same for all, linear where |lambda| is below a millionth
        of the largest eigenvalue. A full spectrum is a histogram; a Lanczos density is drawn as such, since counting
        its smoothed bulk in logarithmic bins would show two peaks beside zero that are not there.

    Raises:
        ValueError: if no row has a spectrum.
    """
    kept = [i for i in range(len(rows)) if has_spectrum(arrays[i])]
    if not kept:
        raise ValueError("Argument `arrays` must hold `eigenvalues` or a Lanczos density for a row, but has none.")
    rows, arrays = [rows[i] for i in kept], [arrays[i] for i in kept]
    groups = grouping(rows)
    columns = min(_PANELS_PER_ROW, len(groups))
    lines = -(-len(groups) // columns)
    figure = style.new_figure(_WIDTH, lines * _PANEL_HEIGHT + _SCREE_HEIGHT)
    heights = [lines * _PANEL_HEIGHT, _SCREE_HEIGHT]
    top, bottom = figure.subfigures(2, 1, height_ratios=heights, squeeze=False)[:, 0]
    panels = top.subplots(lines, columns, sharex=True, squeeze=False)
    _histograms(list(panels.flat), groups, rows, arrays)
    _scree(list(bottom.subplots(1, 2, sharey=True)), groups, rows, arrays)
    return figure


# --- histograms --------------------------------------------------------------------------------------------------


def _histograms(
    panels: "list[Axes]", groups: list[Configuration], rows: Sequence[Row], arrays: Sequence[Arrays]
) -> None:
    drawn = [arrays[group.rows[0]] for group in groups]
    # Lanczos values may be the leading ones only; the row or the density knows how far the spectrum reaches below zero.
    lowest = [_lowest(rows[group.rows[0]], cell) for group, cell in zip(groups, drawn, strict=True)]
    values = np.concatenate([*(_support(cell) for cell in drawn), lowest])
    # A spectrum of zeros gets an axis too.
    linear = 10.0 ** np.floor(np.log10(NEAR_ZERO * (np.abs(values).max() or 1.0)))
    edges = bin_edges(values, linear)
    for axes, group, cell in zip(panels, groups, drawn, strict=False):
        row = rows[group.rows[0]]
        if "eigenvalues" in cell:
            _one_histogram(axes, cell, edges, linear)
        else:
            _one_density(axes, cell, row, edges, linear)
        _mark_outliers(axes, cell, row.get("outliers_gap"))
        seed = f", seed {row['seed']}" if len(group.rows) > 1 and "seed" in row else ""
        axes.set_title(group.label + seed, fontsize=style.SMALL + 2, loc="left")
    _histogram_legend(panels[0], linear, any("gn_eigenvalues" in cell for cell in drawn))
    ticks = _ticks(edges, linear)
    for axes in panels:
        axes.set_xscale("symlog", linthresh=linear, linscale=0.5)
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xticks(ticks, [_power(tick) for tick in ticks])
        axes.minorticks_off()
        style.tidy(axes)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    per_row = min(_PANELS_PER_ROW, len(groups))
    _label_counts(panels, drawn, per_row)
    for position, axes in enumerate(panels[: len(groups)]):
        if position + per_row >= len(groups):
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("eigenvalue of the loss Hessian", fontsize=style.SMALL + 1)


def _lowest(row: Row, cell: Arrays) -> float:
    """The least eigenvalue as the row has it, else where the density has come to half an eigenvalue from below."""
    if (known := row.get("lambda_min")) is not None:
        return float(known)
    if "density" not in cell:
        return 0.0
    grid, density = cell["density_grid"], cell["density"]
    below = np.concatenate([[0.0], np.cumsum(np.diff(grid) * (density[1:] + density[:-1]) / 2)])
    if below[-1] <= 0:
        return 0.0
    place = int(np.searchsorted(row["parameters"] * below / below[-1], 0.5))
    return min(0.0, float(grid[min(place, len(grid) - 1)]))


def _support(cell: Arrays) -> np.ndarray:
    return cell["eigenvalues"] if "eigenvalues" in cell else cell["lanczos_values"]


def bin_edges(values: np.ndarray, linear: float) -> np.ndarray:
    """Bin edges: one bin for |lambda| < linear, logarithmic ones beyond on both sides, whole decades."""

    def side(largest: float) -> np.ndarray:
        decades = max(1, int(np.ceil(np.log10(max(largest / linear, 1.0)))))
        return linear * np.logspace(0, decades, decades * _BINS_PER_DECADE + 1)

    return np.concatenate([-side(-values.min())[::-1], side(values.max())])


def _one_histogram(axes: "Axes", cell: Arrays, edges: np.ndarray, linear: float) -> None:
    counts = np.histogram(cell["eigenvalues"], edges)[0].astype(float)
    colours = np.where(edges[1:] <= -linear, _NEGATIVE, np.where(edges[:-1] >= linear, _POSITIVE, _ZERO))
    axes.bar(edges[:-1], counts, np.diff(edges), align="edge", color=colours, edgecolor="white", linewidth=0.3)
    if "gn_eigenvalues" in cell:
        gauss_newton = np.histogram(cell["gn_eigenvalues"], edges)[0].astype(float)
        # Zero has no place on a logarithmic axis; this is below its end.
        axes.stairs(np.maximum(gauss_newton, 1e-3), edges, color=style.INK, linewidth=0.9)
    _corner_text(axes, f"P = {cell['eigenvalues'].size:,}")
    axes.set_yscale("log")


def _one_density(axes: "Axes", cell: Arrays, row: Row, edges: np.ndarray, linear: float) -> None:
    fine = np.concatenate([_subdivided(edges[edges < 0]), _subdivided(edges[edges > 0])])
    grid, density = cell["density_grid"], cell["density"]
    scale = row["parameters"] / np.trapezoid(density, grid)
    heights = scale * np.interp(fine, grid, density, left=0.0, right=0.0)
    parts = (
        (fine <= -linear, _NEGATIVE),
        (np.abs(fine) <= linear * (1 + 1e-9), _ZERO),
        (fine >= linear, _POSITIVE),
    )
    for where, colour in parts:
        axes.fill_between(fine, heights, where=where, color=colour, linewidth=0)
    if "density_error" in cell:
        error = scale * np.interp(fine, grid, cell["density_error"], left=0.0, right=0.0)
        axes.fill_between(
            fine, np.maximum(heights - error, 0), heights + error, color=style.INK, alpha=0.2, linewidth=0
        )
    _corner_text(axes, f"P = {row['parameters']:,}, density smoothed by Lanczos")
    axes.set_yscale("log")


def _subdivided(edges: np.ndarray, points: int = 8) -> np.ndarray:
    """Points between edges of one sign, evenly on a logarithmic axis."""
    positions = np.linspace(0, edges.size - 1, points * (edges.size - 1) + 1)
    logarithms = np.interp(positions, np.arange(edges.size), np.log(np.abs(edges)))
    return np.sign(edges[0]) * np.exp(logarithms)


def _corner_text(axes: "Axes", text: str) -> None:
    axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=style.SMALL)


# Ends of the logarithmic axes, all of them choices of layout: counts begin below one, so that a bin of one eigenvalue
# is seen, and densities six decades below the highest; above the highest bar or curve there is room for corner text.
_LOWEST_COUNT, _LOWEST_DENSITY = 0.6, 1e-6
_ABOVE_COUNTS, _ABOVE_DENSITIES = 5, 30


def _label_counts(panels: "list[Axes]", drawn: Sequence[Arrays], per_row: int) -> None:
    """One vertical scale for all histograms and one for all densities, with room for the text above."""
    exact = ["eigenvalues" in cell for cell in drawn]
    for kind, name in ((True, "eigenvalues per bin"), (False, "eigenvalues per unit of λ")):
        members = [axes for axes, is_exact in zip(panels, exact, strict=False) if is_exact is kind]
        high = max((axes.dataLim.y1 for axes in members), default=1.0)
        for axes in members:
            lowest = _LOWEST_COUNT if kind else _LOWEST_DENSITY * high
            axes.set_ylim(lowest, (_ABOVE_COUNTS if kind else _ABOVE_DENSITIES) * high)
            column = panels.index(axes) % per_row
            if column == 0 or len(set(exact)) > 1:
                axes.set_ylabel(name, fontsize=style.SMALL + 1)
            else:
                axes.tick_params(labelleft=False)


def _mark_outliers(axes: "Axes", cell: Arrays, number: Any) -> None:
    if not number:
        return
    outliers = np.sort(_support(cell))[::-1][: int(number)]
    low_end = axes.get_xaxis_transform()  # heights as fractions of the panel
    axes.vlines(outliers, 0.0, 0.2, color=style.VERMILION, linewidth=1.0, transform=low_end)
    axes.plot(outliers, np.full(outliers.size, 0.21), "v", color=style.VERMILION, markersize=4, transform=low_end)
    axes.text(
        0.98,
        0.97,
        f"{outliers.size} outlier{'' if outliers.size == 1 else 's'} by the gap rule",
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=style.SMALL,
        color=style.VERMILION,
    )


def _histogram_legend(axes: "Axes", linear: float, with_gauss_newton: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Patch(color=_NEGATIVE, label="negative"),
        Patch(color=_ZERO, label=f"|λ| < {_power(linear)}"),
        Patch(color=_POSITIVE, label="positive"),
    ]
    if with_gauss_newton:
        handles.append(Line2D([], [], color=style.INK, linewidth=0.9, label="Gauss–Newton part alone"))
    handles.append(Line2D([], [], color=style.VERMILION, marker="v", markersize=4, linewidth=1, label="outlier"))
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False, fontsize=style.SMALL)


def _ticks(edges: np.ndarray, linear: float) -> np.ndarray:
    """Zero and every second power of ten on both sides."""
    positive = 10.0 ** np.arange(round(np.log10(linear)) + 1, np.log10(edges[-1]) + 0.01, 2)
    negative = 10.0 ** np.arange(round(np.log10(linear)) + 1, np.log10(-edges[0]) + 0.01, 2)
    return np.concatenate([-negative[::-1], [0.0], positive])


def _power(value: float) -> str:
    if value == 0:
        return "0"
    return f"${'-' if value < 0 else ''}10^{{{round(np.log10(abs(value)))}}}$"


# --- scree -------------------------------------------------------------------------------------------------------


def _scree(panels: "list[Axes]", groups: list[Configuration], rows: Sequence[Row], arrays: Sequence[Arrays]) -> None:
    near, far = panels
    classes = sorted({int(row["n_classes"]) for row in rows if row.get("n_classes")})
    longest = max(_support(cell).size for cell in arrays)
    most = max(classes, default=max(2, min(10, longest // 2)))
    patches = [group.settings.get("patches") for group in groups]
    kinds = [tuple(value for name, value in group.settings.items() if name != "patches") for group in groups]
    hues = kinds if len(set(kinds)) > 1 else patches
    for group, patch, hue in zip(groups, patches, hues, strict=True):
        colour = style.COLOURS[style.index_of(hues, hue) % len(style.COLOURS)]
        marker = style.MARKERS[style.index_of(patches, patch) % len(style.MARKERS)]
        for place, position in enumerate(group.rows):
            leading = _leading(arrays[position], most**2 + 5)
            rank = np.arange(1, leading.size + 1)
            first = place == 0
            look: dict[str, Any] = {"color": colour, "alpha": 0.9 if first else 0.3, "linewidth": 0.9 if first else 0.6}
            label = group.label if first else None
            near.plot(rank, leading, marker=marker if first else "", markersize=3.5, label=label, **look)
            far.plot(rank, leading, **look)
    near.set_xlim(0.5, 2 * most + 0.5)
    style.whole_ticks(near.xaxis)
    near.set_title("Leading eigenvalues", fontsize=style.SMALL + 2, loc="left")
    far.set_xscale("log")
    far.set_xlim(0.9, most**2 + 5)
    style.plain_ticks(far.xaxis)
    # Without classes there is no K.
    last = "K² + 5" if classes else most**2 + 5
    far.set_title(f"The same, to rank {last}", fontsize=style.SMALL + 2, loc="left")
    for axes in panels:
        axes.set_yscale("log")
        if not any((_support(cell) > 0).any() for cell in arrays):
            _corner_text(axes, "no positive eigenvalue")
        axes.set_xlabel("rank", fontsize=style.SMALL + 1)
        style.tidy(axes)
    near.set_ylabel("eigenvalue", fontsize=style.SMALL + 1)
    low, high = near.get_ylim()
    # Room for the names of the lines above, and no decades of rounding noise below.
    near.set_ylim(max(low, NEAR_ZERO * high), 2.5 * high)
    if len(classes) == 1:
        _class_lines(near, far, classes[0])
    far.legend(
        *near.get_legend_handles_labels(),
        fontsize=style.SMALL,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
    )


def _leading(cell: Arrays, number: int) -> np.ndarray:
    """Largest eigenvalues, descending, with a gap where they are not positive."""
    leading = np.sort(_support(cell))[::-1][:number].astype(float)
    return np.where(leading > 0, leading, np.nan)


def _class_lines(near: "Axes", far: "Axes", classes: int) -> None:
    """Where a gap would separate K - 1, K or K^2 outliers: between that rank and the next."""
    text: dict[str, Any] = {"fontsize": style.SMALL, "color": style.GREY, "va": "top"}
    line: dict[str, Any] = {"color": style.GREY, "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 1}
    for axes, count, name, align in (
        (near, classes - 1, "K − 1", "right"),
        (near, classes, "K", "left"),
        (far, classes - 1, "K − 1", "right"),
        (far, classes**2, "K²", "right"),
    ):
        axes.axvline(count + 0.5, **line)
        shift = 4 if align == "left" else -4
        axes.annotate(
            f"{name} = {count}",
            (count + 0.5, 0.98),
            (shift, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=align,
            **text,
        )
