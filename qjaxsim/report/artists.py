"""What is drawn on one pair of axes, as traces of plotly: lines, error bars, bars, bands, steps, maps.

matplotlib's figures are the one description of what reports show; the interactive figure is read off them.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.report.axis import Axis
from qjaxsim.report.look import DASHES, SYMBOLS, colour, html

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Trace = dict[str, Any]

# A curve of more points is drawn by the least and the largest value of so many stretches, which look the same.
_STRETCHES = 1000
_PIXELS_PER_POINT = 96 / 72
_NO_MARKER = ("", "None", None, " ")
# Marks on a surface are flat and would sink by half into it: they are this small, and lifted by so much of its height.
_LARGEST, _LIFT = 7, 0.03
_SOLID_SYMBOLS = ("circle", "cross", "diamond", "square", "x")


class UnreadError(Exception):
    """Something is drawn that has no trace, so that its figure stays a picture."""


def traces_of(axes: "Axes", x: Axis, y: Axis) -> list[Trace]:
    """Traces of everything with data on flat axes, in the order of drawing.

    Args:
        axes: matplotlib's.
        x: its horizontal axis.
        y: its vertical axis.

    Raises:
        UnreadError: if something on them is of no known kind.
    """
    from matplotlib import collections, container

    bars = [one for one in axes.containers if isinstance(one, container.BarContainer)]
    errors = {id(one.lines[0]): one for one in axes.containers if isinstance(one, container.ErrorbarContainer)}
    # What belongs to error bars or bars is read with them.
    taken = {id(part) for one in errors.values() for group in one.lines[1:] for part in group or ()}
    taken |= {id(patch) for one in bars for patch in one.patches}
    found = [(one.patches[0].get_zorder(), _bar(one, x, y)) for one in bars if one.patches]
    for artist in (*axes.collections, *axes.lines, *axes.patches, *axes.images):
        if id(artist) in taken or not artist.get_visible():
            continue
        if isinstance(artist, collections.LineCollection):
            found.append((artist.get_zorder(), _segments(artist, x, y)))
        elif isinstance(artist, collections.PolyCollection):
            found.append((artist.get_zorder(), _band(artist, x, y)))
        else:
            found += [(artist.get_zorder(), one) for one in _other(artist, errors.get(id(artist)), x, y)]
    return _grouped([trace for _, trace in sorted(found, key=lambda one: one[0]) if trace])


def solid_traces_of(axes: Any) -> list[Trace]:
    """Traces of the curves on axes of three dimensions; surfaces come with `qjaxsim.report.interactive.also`."""
    found = []
    low, high = axes.get_zlim()
    for line in axes.lines:
        x, y, z = (np.asarray(values, float) for values in line.get_data_3d())
        marked = line.get_marker() not in _NO_MARKER
        trace = _curve(line, x, y, z + _LIFT * (high - low) if marked else z)
        if marked:
            symbol, size = trace["marker"]["symbol"], min(trace["marker"]["size"], _LARGEST)
            trace["marker"] |= {"symbol": symbol if symbol in _SOLID_SYMBOLS else "diamond", "size": size}
        found.append(trace | {"type": "scatter3d", "hoverinfo": "skip"})
    return found


def _other(artist: Any, error: Any, x: Axis, y: Axis) -> Iterator[Trace]:
    from matplotlib import contour, image, lines, patches

    if isinstance(artist, lines.Line2D):
        yield _line(artist, error, x, y)
    elif isinstance(artist, patches.StepPatch):
        yield _steps(artist, x, y)
    elif isinstance(artist, image.AxesImage):
        yield _map(artist, x, y)
    elif not isinstance(artist, contour.ContourSet):  # their surface comes with `also`
        raise UnreadError(type(artist).__name__)


# --- kinds -----------------------------------------------------------------------------------------------------------


def _line(line: Any, error: Any, x: Axis, y: Axis) -> Trace:
    given = np.asarray(line.get_xdata(orig=False), float), np.asarray(line.get_ydata(orig=False), float)
    if not given[0].size:
        return {}
    placed = _placed(line, x, y)
    inside = placed["xaxis"] == "x" and placed["yaxis"] == "y"
    if error is None and given[0].size > 2 * _STRETCHES:
        given = _thinned(*given)
    across = x.to(given[0]) if placed["xaxis"] == "x" else given[0]
    up = y.to(given[1]) if placed["yaxis"] == "y" else given[1]
    trace = _curve(line, across, up) | {"type": "scatter"} | placed
    if step := {"steps-post": "hv", "steps": "vh", "steps-pre": "vh", "steps-mid": "hvh"}.get(line.get_drawstyle()):
        trace["line"]["shape"] = step
    label = line.get_label()
    if error is not None:
        trace |= _errors(error, across.size, x, y)
        label = error.get_label()
    if isinstance(label, str) and label and not label.startswith("_"):
        trace["name"] = html(label)
    return trace | (_hover(x, y, *given, error is not None and error.has_yerr) if inside else {"hoverinfo": "skip"})


def _curve(line: Any, *coordinates: np.ndarray) -> Trace:
    """Coordinates and look of a line."""
    marker, style = line.get_marker(), line.get_linestyle()
    with_marker, with_line = marker not in _NO_MARKER, style not in ("None", "", " ", None)
    mode = "+".join(name for name, there in (("lines", with_line), ("markers", with_marker)) if there) or "none"
    trace: Trace = dict(zip("xyz", map(numbers, coordinates), strict=False)) | {"mode": mode}
    if with_line:
        width = round(max(1.0, line.get_linewidth() * _PIXELS_PER_POINT), 1)
        trace["line"] = {"color": colour(line.get_color()), "width": width, "dash": DASHES.get(style, "dash")}
    if with_marker:
        trace["marker"] = {
            "color": colour(line.get_markerfacecolor()),
            # matplotlib's point is half as wide as its circle.
            "size": round(max(3.0, line.get_markersize() * _PIXELS_PER_POINT / (2 if marker == "." else 1)), 1),
            "symbol": SYMBOLS.get(marker, "circle"),
            "line": {"color": colour(line.get_markeredgecolor()), "width": round(line.get_markeredgewidth(), 1)},
        }
    if line.get_alpha() is not None:
        trace["opacity"] = round(line.get_alpha(), 3)
    return trace


def _errors(error: Any, size: int, x: Axis, y: Axis) -> Trace:
    """Error bars of every point, as distances from it; the point itself is known by both ends' data."""
    found: Trace = {}
    names = [name for name, there in (("x", error.has_xerr), ("y", error.has_yerr)) if there]
    centre = [np.asarray(values, float) for values in error.lines[0].get_data(orig=False)]
    for name, bars in zip(names, error.lines[2], strict=True):
        axis, along = (x, 0) if name == "x" else (y, 1)
        ends = np.array([segment[[0, -1], along] for segment in bars.get_segments() if len(segment)]).T
        if ends.shape != (2, size):
            raise UnreadError("error bars of some points")
        middle = axis.to(centre[along])
        found[f"error_{name}"] = {
            "type": "data",
            "symmetric": False,
            "array": numbers(axis.to(ends[1]) - middle),
            "arrayminus": numbers(middle - axis.to(ends[0])),
            "thickness": 1.2,
            "width": 3,
            "color": colour(bars.get_color()[0]),
        }
    return found


def _segments(lines: Any, x: Axis, y: Axis) -> Trace:
    placed = _placed(lines, x, y)
    points = np.concatenate([*(np.vstack([one, [[np.nan, np.nan]]]) for one in lines.get_segments()), np.empty((0, 2))])
    across = x.to(points[:, 0]) if placed["xaxis"] == "x" else points[:, 0]
    up = y.to(points[:, 1]) if placed["yaxis"] == "y" else points[:, 1]
    width = round(float(lines.get_linewidth()[0]) * _PIXELS_PER_POINT, 1)
    return placed | {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(across),
        "y": numbers(up),
        "line": {"color": colour(lines.get_color()[0]), "width": width},
        "hoverinfo": "skip",
    }


def _band(area: Any, x: Axis, y: Axis) -> Trace:
    gap = np.full((1, 2), np.nan)
    points = np.concatenate([*(np.vstack([path.vertices, gap]) for path in area.get_paths()), np.empty((0, 2))])
    face = area.get_facecolor()
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x.to(points[:, 0], clip=True)),
        "y": numbers(y.to(points[:, 1], clip=True)),
        "line": {"width": 0, "color": colour(face[0][:3])},
        "fill": "toself",
        "fillcolor": colour(face[0][:3]),
        "opacity": round(float(face[0][3]), 3),
        "hoverinfo": "skip",
        **_placed(area, x, y),
    }


def _bar(bars: Any, x: Axis, y: Axis) -> Trace:
    """One container of bars; on a scale that plotly does not have, edges are placed first."""
    across, up = (x, y) if bars.orientation == "vertical" else (y, x)
    boxes = np.array([patch.get_bbox().extents for patch in bars.patches])  # (bars, 4): x0, y0, x1, y1
    if bars.orientation != "vertical":
        boxes = boxes[:, [1, 0, 3, 2]]
    low, high = across.to(boxes[:, 0]), across.to(boxes[:, 2])
    start, end = (up.to(boxes[:, i], clip=True) for i in (1, 3))
    said = [across.between(*ends) for ends in boxes[:, [0, 2]]]
    heights = boxes[:, 3] - boxes[:, 1]
    trace: Trace = {
        "type": "bar",
        "orientation": "v" if bars.orientation == "vertical" else "h",
        "width": numbers(high - low),
        "marker": _bar_look(bars.patches),
        "customdata": [[place, float(f"{height:.5g}")] for place, height in zip(said, heights, strict=True)],
        "hovertemplate": f"%{{customdata[0]}}<br>{up.name or 'value'}: %{{customdata[1]}}",
    }
    trace |= {across.letter: numbers((low + high) / 2)}
    if up.kind == "log" or not np.any(start):
        trace[up.letter] = numbers(end)
    else:
        trace |= {up.letter: numbers(end - start), "base": numbers(start)}
    label = bars.get_label()
    if label and not str(label).startswith("_"):
        trace["name"] = html(str(label))
    trace["hovertemplate"] += f"<extra>{trace.get('name', '')}</extra>"
    return trace


def _bar_look(patches: Sequence[Any]) -> Trace:
    colours = [colour(patch.get_facecolor()) for patch in patches]
    hatch = patches[0].get_hatch()
    look: Trace = {
        "color": colours[0] if len(set(colours)) == 1 else colours,
        "line": {"color": colour(patches[0].get_edgecolor()), "width": round(patches[0].get_linewidth(), 2)},
    }
    return look | ({"pattern": {"shape": hatch[0], "size": 6}} if hatch else {})


def _steps(steps: Any, x: Axis, y: Axis) -> Trace:
    values, edges, _ = steps.get_data()
    values = np.append(values, values[-1:])
    return {
        "type": "scatter",
        "mode": "lines",
        "x": numbers(x.to(edges)),
        "y": numbers(y.to(values, clip=True)),
        "line": {"color": colour(steps.get_edgecolor()), "width": 1.3, "shape": "hv"},
        "hoverinfo": "skip",
    }


def _map(picture: Any, x: Axis, y: Axis) -> Trace:
    """A matrix as coloured squares; photographs, whose axes have no ticks, stay pictures."""
    values = np.asarray(picture.get_array(), float)
    if values.ndim != 2 or not len(x.ticks) or not len(y.ticks):
        raise UnreadError("a picture")
    low, high = picture.get_clim()
    left, right, bottom, top = picture.get_extent()
    if picture.origin == "upper":
        bottom, top = top, bottom
    return {
        "type": "heatmap",
        "z": [numbers(line) for line in values],
        "x0": left + (right - left) / (2 * values.shape[1]),
        "dx": (right - left) / values.shape[1],
        "y0": bottom + (top - bottom) / (2 * values.shape[0]),
        "dy": (top - bottom) / values.shape[0],
        "zmin": float(low),
        "zmax": float(high),
        "colorscale": picture.get_cmap().name,
        "colorbar": {"thickness": 12, "outlinewidth": 0},
        "hovertemplate": "%{z:.4g}<extra></extra>",
    }


# --- parts -----------------------------------------------------------------------------------------------------------


def numbers(values: np.ndarray) -> list[float | None]:
    """Five digits, which no screen tells from more; null where nothing is drawn."""
    return [float(f"{value:.5g}") if np.isfinite(value) else None for value in np.ravel(values)]


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest point of each stretch of a long curve."""
    kept: list[int] = []
    for part in np.array_split(np.arange(y.size), _STRETCHES):
        values = np.nan_to_num(y[part], nan=-np.inf)
        kept += sorted({int(part[values.argmin()]), int(part[values.argmax()])})
    return x[kept], y[kept]


def _placed(artist: Any, x: Axis, y: Axis) -> Trace:
    """On which axes an artist lies; "x2" and "y2" run from 0 to 1 over the panel."""
    across, up = artist.get_transform().contains_branch_seperately(x.axes.transData)
    return {"xaxis": "x" if across else "x2", "yaxis": "y" if up else "y2"}


def _hover(x: Axis, y: Axis, given_x: np.ndarray, given_y: np.ndarray, with_error: bool) -> Trace:
    """What a point says: its own numbers, also where the axis is one that plotly does not have."""
    said, more = [], {}
    if "linear" in (x.placing, y.placing) and (x.transformed or y.transformed):
        more["customdata"] = list(zip(numbers(given_x), numbers(given_y), strict=True))
    for place, axis in enumerate((x, y)):
        value = f"%{{customdata[{place}]}}" if more else f"%{{{axis.letter}:.5~g}}"
        error = " +%{error_y.array:.2~g} −%{error_y.arrayminus:.2~g}" if place and with_error and not more else ""
        said.append(f"{axis.name or axis.letter}: {value}{error}")
    return {"hovertemplate": "<br>".join(said), **more}


def _grouped(traces: list[Trace]) -> list[Trace]:
    """Curves without a name join the one of their colour, so that the legend hides them together."""
    owners: dict[str, list[str]] = {}
    for trace in traces:
        if "name" in trace:
            owners.setdefault(_main_colour(trace), []).append(trace["name"])
    for trace in traces:
        named = owners.get(_main_colour(trace), [])
        group = trace.get("name") or (named[0] if len(set(named)) == 1 else None)
        if group:
            trace["legendgroup"] = group
    return traces


def _main_colour(trace: Trace) -> str:
    return str(trace.get("line", {}).get("color") or trace.get("marker", {}).get("color"))
