"""The figure of loss landscapes: contours and surface of a plane, with the path that training took."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report import style
from qjaxsim.report.artists import numbers
from qjaxsim.report.interactive import also
from qjaxsim.report.row import Grouping, Row, by_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Arrays = Mapping[str, np.ndarray]

_NEEDED = ("landscape_a", "landscape_b", "landscape", "trajectory")
_PANELS_PER_ROW = 3
_LEVELS = 24


def has_landscape(arrays: Arrays, prefix: str = "") -> bool:
    """Whether the cell has all that its part of the figure needs; `prefix` as in `landscape`."""
    return "minimum" in arrays and all(prefix + name in arrays for name in _NEEDED)


def landscape(
    rows: Sequence[Row],
    arrays: Sequence[Arrays],
    prefix: str = "",
    grouping: Grouping = by_label,
    value: str = "training loss",
    unit: str = " (rad)",
) -> "Figure":
    """Loss on a plane through parameter space: contours above, surface below, for the first seed of each configuration.

    Args:
        rows: table.
        arrays: arrays of each row. `landscape_a` (A,), `landscape_b` (B,) coordinates, `landscape` (B, A) losses,
            `trajectory` (E + 1, 2) coordinates of the path, `minimum` () its point of lowest loss, and with or
            without `explained_variance` (2,), fractions of the path's variance along the axes. With the prefix
            "eigen_" the plane may have `eigen_values` (2,), the Hessian's eigenvalues along the axes.
        prefix: "" for the arrays of these names, "eigen_" for those whose names start with it, except `minimum`.
        grouping: from rows to configurations, a part of the figure each.
        value: what the plane shows.
        unit: of the parameters, as principal components tell it.

    Returns:
        Figure. The colour scale is logarithmic where all losses are positive; on the surface, points of the path lie at
        the plane's loss, which differs from the loss in training where the path leaves the plane. What lies beyond the
        grid, and where losses are not finite, is not drawn.

    Raises:
        ValueError: if no row has a landscape.
    """
    kept = [i for i in range(len(rows)) if has_landscape(arrays[i], prefix)]
    if not kept:
        raise ValueError(f"Argument `arrays` must hold a `{prefix}landscape` and its axes for a row, but has none.")
    rows, planes = [rows[i] for i in kept], [_plane(arrays[i], prefix, unit) for i in kept]
    groups = grouping(rows)
    if len(groups) == 1:
        figure = style.new_figure(12.0, 5.0)
        grid = figure.add_gridspec(1, 2, width_ratios=[1.1, 1.0])
        places = [(grid[0, 0], grid[0, 1])]
    else:
        columns = min(_PANELS_PER_ROW, len(groups))
        lines = -(-len(groups) // columns)
        figure = style.new_figure(4.1 * columns, 7.0 * lines + 0.3)
        grid = figure.add_gridspec(2 * lines, columns, height_ratios=[1.0, 1.15] * lines)
        places = [
            (grid[2 * (i // columns), i % columns], grid[2 * (i // columns) + 1, i % columns])
            for i in range(len(groups))
        ]
    flat: Axes | None = None
    for group, (above, below) in zip(groups, places, strict=True):
        position = group.rows[0]
        seed = f", seed {rows[position]['seed']}" if len(group.rows) > 1 and "seed" in rows[position] else ""
        flat = figure.add_subplot(above)
        _contours(flat, planes[position], value)
        flat.set_title(group.label + seed, fontsize=style.SMALL + 2, loc="left")
        _surface(figure.add_subplot(below, projection="3d"), planes[position], value)
    assert flat is not None
    handles, labels = flat.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=style.SMALL)
    return figure


def extent(losses: np.ndarray) -> tuple[float, float]:
    """The least and the largest of the losses that are finite, NaN where none is."""
    known = losses[np.isfinite(losses)]
    return (float(known.min()), float(known.max())) if known.size else (np.nan, np.nan)


def _plane(cell: Arrays, prefix: str, unit: str) -> dict[str, Any]:
    """Arrays of one plane under the names without prefix, losses that are not finite as NaN; the parameters' unit."""
    along = ("explained_variance",) if not prefix else ("eigen_values",)
    losses = cell[f"{prefix}landscape"]
    return {
        **{name: cell[prefix + name] for name in _NEEDED},
        **{name: cell[name] for name in ("minimum", *along) if name in cell},
        "landscape": np.where(np.isfinite(losses), losses, np.nan),
        "unit": unit,
    }


def _norm(values: np.ndarray) -> Any:
    """Logarithmic colours where all losses are positive, as those of cross-entropy are."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = np.nan_to_num(extent(values))
    return LogNorm(low, high) if 0 < low < high else Normalize(low, high)


def _levels(values: np.ndarray) -> np.ndarray:
    """Where contours run, closer where losses are low if all are positive."""
    low, high = np.nan_to_num(extent(values))
    levels = np.geomspace(low, high, _LEVELS) if low > 0 else np.linspace(low, high, _LEVELS)
    # A plane that is flat up to rounding has one level, which contours do not accept.
    return levels if (np.diff(levels) > 0).all() else low + max(1.0, abs(low)) * np.linspace(0, 1, _LEVELS)


def _contours(axes: "Axes", cell: dict[str, Any], value: str) -> None:
    from matplotlib.ticker import LogLocator

    losses = np.ma.masked_invalid(cell["landscape"])
    norm, levels = _norm(cell["landscape"]), _levels(cell["landscape"])
    filled = axes.contourf(cell["landscape_a"], cell["landscape_b"], losses, levels, norm=norm, cmap="viridis")
    axes.contour(
        cell["landscape_a"],
        cell["landscape_b"],
        losses,
        levels[::3],
        norm=norm,
        colors="white",
        linewidths=0.4,
        alpha=0.6,
    )
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(filled, ax=axes, pad=0.02)
    bar.set_label(value, fontsize=style.SMALL)
    bar.ax.tick_params(labelsize=style.SMALL)
    if norm.vmin > 0:
        bar.ax.yaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter("{x:g}")
    also(axes, _coloured(cell, value) | {"type": "contour", "ncontours": _LEVELS, "line": {"width": 0.4}})
    path = cell["trajectory"]
    axes.plot(path[:, 0], path[:, 1], "-", color="white", linewidth=2.6, alpha=0.8)
    axes.plot(
        path[:, 0],
        path[:, 1],
        ".-",
        color=style.INK,
        linewidth=0.9,
        markersize=3,
        label="path, one dot an epoch" if len(path) > 1 else None,
    )
    _ends(axes, path, int(cell["minimum"]))
    for number, name in enumerate("xy"):
        getattr(axes, f"set_{name}label")(_axis_name(cell, number), fontsize=style.SMALL + 1)
    # A path that comes from far away, as on a plane of eigenvectors, must not shrink the plane to a dot.
    axes.set_xlim(cell["landscape_a"][0], cell["landscape_a"][-1])
    axes.set_ylim(cell["landscape_b"][0], cell["landscape_b"][-1])
    axes.tick_params(labelsize=style.SMALL)


def _shades(losses: np.ndarray) -> np.ndarray:
    """What plotly colours by: logarithms where all losses are positive."""
    return np.log10(losses) if extent(losses)[0] > 0 else losses


def _coloured(cell: dict[str, Any], value: str) -> dict[str, Any]:
    """A plane for plotly, coloured as here; its numbers are told as they are."""
    losses = cell["landscape"]
    shades = _shades(losses)
    scale: dict[str, Any] = {"thickness": 12, "outlinewidth": 0, "title": {"text": value, "side": "right"}}
    if extent(losses)[0] > 0:
        marks = np.geomspace(*extent(losses), 5)
        scale |= {"tickvals": numbers(np.log10(marks)), "ticktext": [f"{mark:.2g}" for mark in marks]}
    return {
        "x": numbers(cell["landscape_a"]),
        "y": numbers(cell["landscape_b"]),
        "z": list(map(numbers, shades)),
        "customdata": list(map(numbers, losses)),
        "colorscale": "Viridis",
        "colorbar": scale,
        "hovertemplate": f"%{{x:.3g}}, %{{y:.3g}}<br>{value}: %{{customdata:.5~g}}<extra></extra>",
    }


def _ends(axes: Any, path: np.ndarray, minimum: int, heights: np.ndarray | None = None) -> None:
    """Start, last epoch and minimum; the last epoch is a ring, because it often surrounds the minimum."""
    if len(path) == 1:
        height = [] if heights is None else [heights]
        look = {"color": style.VERMILION, "markeredgecolor": "white", "markersize": 12, "label": "point", "zorder": 10}
        axes.plot(path[:, 0], path[:, 1], *height, "*", **look)
        return
    for place, marker, fill, edge, size, name in (
        (0, "s", style.SKY, "white", 7, "initial weights"),
        (minimum, "*", style.VERMILION, "white", 12, "minimum (lowest training loss)"),
        (len(path) - 1, "o", "none", style.ORANGE, 11, "last epoch"),
    ):
        point = [[path[place, 0]], [path[place, 1]]] + ([] if heights is None else [[heights[place]]])
        look = {"color": fill, "markeredgecolor": edge, "markersize": size, "label": name, "zorder": 10}
        axes.plot(*point, marker, markeredgewidth=2.0 if fill == "none" else 0.8, **look)


def _axis_name(cell: dict[str, Any], number: int) -> str:
    if "explained_variance" in cell:
        return f"PC {number + 1}{cell['unit']}, {100 * float(cell['explained_variance'][number]):.1f} % of variance"
    if "eigen_values" in cell:
        return f"eigenvector {number + 1}, λ = {float(cell['eigen_values'][number]):.3g}"
    return f"direction {number + 1}"


def _surface(axes: Any, cell: dict[str, Any], value: str) -> None:
    losses = cell["landscape"]
    a, b = np.meshgrid(cell["landscape_a"], cell["landscape_b"])
    # Otherwise matplotlib sorts whole objects by depth, and the surface may hide the path on it.
    axes.computed_zorder = False
    axes.plot_surface(
        a,
        b,
        losses,
        norm=_norm(losses),
        cmap="viridis",
        rcount=60,
        ccount=60,
        linewidth=0.1,
        edgecolor=(1, 1, 1, 0.25),
        alpha=0.95,
        zorder=1,
    )
    solid = {"type": "surface", "z": list(map(numbers, losses)), "surfacecolor": list(map(numbers, _shades(losses)))}
    also(axes, _coloured(cell, value) | solid | {"showscale": False})
    path = cell["trajectory"]
    heights = _interpolated(cell, path)
    axes.plot(path[:, 0], path[:, 1], heights, "-", color=style.INK, linewidth=1.2, zorder=5)
    _ends(axes, path, int(cell["minimum"]), heights)
    axes.set_xlabel(_axis_name(cell, 0).split(",")[0], fontsize=style.SMALL, labelpad=-4)
    axes.set_ylabel(_axis_name(cell, 1).split(",")[0], fontsize=style.SMALL, labelpad=-4)
    axes.set_xlim(cell["landscape_a"][0], cell["landscape_a"][-1])
    axes.set_ylim(cell["landscape_b"][0], cell["landscape_b"][-1])
    axes.set_zlabel(value, fontsize=style.SMALL, labelpad=-4)
    axes.tick_params(labelsize=style.SMALL - 1, pad=-2)
    axes.view_init(elev=38, azim=-62)
    axes.set_box_aspect((1, 1, 0.62), zoom=0.95)


def _interpolated(cell: dict[str, Any], path: np.ndarray) -> np.ndarray:
    """The plane's loss below the points of the path, linear between grid points; NaN, hence not drawn, outside."""
    from scipy.interpolate import RegularGridInterpolator

    axes = (cell["landscape_b"], cell["landscape_a"])
    values: np.ndarray = RegularGridInterpolator(axes, cell["landscape"], bounds_error=False)(path[:, ::-1])
    return values
