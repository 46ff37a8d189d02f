"""Figures that a page draws itself, so that they can be zoomed, turned and asked: read off those of matplotlib."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from qjaxsim.report.artists import Trace, UnreadError, solid_traces_of, traces_of
from qjaxsim.report.axis import Axis
from qjaxsim.report.look import DASHES, GLYPHS, colour, html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Pixels of a page for an inch of paper, and the least and the most that a panel is high.
_PER_INCH, _LOWEST, _HIGHEST = 92, 260, 1100
_OF_PLANES = 380
_ALSO: "WeakKeyDictionary[Axes, list[Trace]]" = WeakKeyDictionary()

Entry = dict[str, str]


class Interactive(NamedTuple):
    """A figure as a page draws it; all of it JSON.

    Attributes:
        panels: each with title, notes, data and layout of plotly, height in pixels, and a legend of its own or none.
        legend: entries for all panels, each with name, colour, dash and marker, or a heading alone.
        columns: how many panels stand side by side where there is room.
    """

    panels: list[dict[str, Any]]
    legend: list[Entry]
    columns: int


def also(axes: "Axes", trace: Trace) -> None:
    """Show a trace of plotly where axes have something that cannot be read off them, as contours and surfaces.

    Args:
        axes: matplotlib's, on which it is drawn in matplotlib's own way, too.
        trace: plotly's description of it, without names of axes.
    """
    _ALSO.setdefault(axes, []).append(trace)


def read_figure(figure: "Figure") -> Interactive | None:
    """What a page needs to draw a figure; None for one with photographs or of an unknown kind.

    >>> from matplotlib.figure import Figure
    >>> figure = Figure()
    >>> _ = figure.subplots().plot([1, 2], [3, 4], "o")
    >>> (panel,) = read_figure(figure).panels
    >>> panel["data"][0]["y"], panel["data"][0]["mode"]
    ([3.0, 4.0], 'markers')
    """
    axes = [one for one in figure.axes if one.get_visible() and one.get_label() != "<colorbar>"]
    try:
        panels = [_panel(one) for one in axes]
    except UnreadError:
        return None
    legend, own = _legends(figure, axes)
    for panel, entries in zip(panels, own, strict=True):
        panel["legend"] = entries
    # A landscape's surface stands beside its contours.
    even = len(panels) == 4 or any(panel["solid"] for panel in panels)
    return Interactive(panels, legend, 2 if even else min(3, len(panels))) if panels else None


def _panel(axes: Any) -> dict[str, Any]:
    titles = (axes.get_title(side) for side in ("left", "center", "right"))
    solid = axes.name == "3d"
    flat = not solid and not _ALSO.get(axes)
    inches = axes.get_window_extent().height / axes.get_figure(root=True).dpi
    found = {
        "title": next((html(title) for title in titles if title), ""),
        "notes": [] if solid else _notes(axes),
        "height": round(min(max(_PER_INCH * inches, _LOWEST), _HIGHEST)) if flat else _OF_PLANES,
        "solid": solid,
    }
    if solid:
        return found | {"data": [*_ALSO.get(axes, []), *solid_traces_of(axes)], "layout": {"scene": _scene(axes)}}
    x, y = Axis(axes, "x"), Axis(axes, "y")
    data = [*_ALSO.get(axes, []), *traces_of(axes, x, y)]
    layout = {"xaxis": x.layout(), "yaxis": y.layout(), "annotations": list(_annotations(axes, x, y))}
    for letter in "xy":
        if any(trace.get(f"{letter}axis") == f"{letter}2" for trace in data):
            layout[f"{letter}axis2"] = {"overlaying": letter, "range": [0, 1], "visible": False, "fixedrange": True}
    if any(trace["type"] == "bar" for trace in data):
        layout["barmode"] = "overlay"
    return found | {"data": data, "layout": layout}


def _notes(axes: "Axes") -> list[str]:
    """Text at a place of the panel, not of its data: a line below the heading on a page."""
    return [html(text.get_text()) for text in axes.texts if text.get_transform() == axes.transAxes]


def _annotations(axes: "Axes", x: Axis, y: Axis) -> Iterator[dict[str, Any]]:
    """Text beside data."""
    from matplotlib.text import Annotation

    text: Any
    for text in axes.texts:
        if text.get_transform() == axes.transAxes:
            continue
        noted = isinstance(text, Annotation)
        (left, up), shift = (text.xy, text.get_position()) if noted else (text.get_position(), (0, 0))
        above = noted and isinstance(text.xycoords, tuple) and text.xycoords[1] == "axes fraction"
        yield {
            "text": html(text.get_text()),
            "x": _at(x, left),
            "y": up if above else _at(y, up),
            "yref": "y domain" if above else "y",
            "showarrow": False,
            "xanchor": text.get_ha(),
            "yanchor": {"top": "top", "bottom": "bottom", "baseline": "bottom"}.get(text.get_va(), "middle"),
            "xshift": shift[0],
            "yshift": shift[1],
            "font": {"size": 11, "color": colour(text.get_color())},
        }


def _at(axis: Axis, value: Any) -> float:
    """A place of an annotation, which plotly takes in powers of ten on a logarithmic axis."""
    import numpy as np

    place = float(axis.to(value))
    return float(np.log10(place)) if axis.kind == "log" else place


def _scene(axes: Any) -> dict[str, Any]:
    words = {name: {"text": html(getattr(axes, f"get_{name}label")()), "font": {"size": 11}} for name in "xyz"}
    named: dict[str, Any] = {f"{name}axis": {"title": title} for name, title in words.items()}
    for name in "xy":
        named[f"{name}axis"] |= {"range": list(map(float, getattr(axes, f"get_{name}lim")()))}
    camera = {"eye": {"x": 0.85, "y": -1.6, "z": 1.1}, "center": {"x": 0, "y": 0, "z": -0.15}}
    return {**named, "aspectmode": "manual", "aspectratio": {"x": 1, "y": 1, "z": 0.62}, "camera": camera}


def _legends(figure: Any, axes: Sequence[Any]) -> tuple[list[Entry], list[list[Entry]]]:
    """Entries for the whole figure, and for each panel those of its own where panels differ."""
    shared = [entry for part in (figure, *figure.subfigs) for one in part.legends for entry in _entries(one)]
    own = [_entries(legend) if (legend := one.get_legend()) is not None else [] for one in axes]
    if len({str(one) for one in own if one}) > 1:
        return shared, own
    shared += next((one for one in own if one), [])
    return list({(*entry, entry.get("name")): entry for entry in shared}.values()), [[] for _ in axes]


def _entries(legend: Any) -> list[Entry]:
    from matplotlib.container import ErrorbarContainer

    # Of error bars a legend's handle is a bar alone; their marker is that of the points.
    bars = (one for one in getattr(legend.axes, "containers", ()) if isinstance(one, ErrorbarContainer))
    points = {one.get_label(): one.lines[0] for one in bars if one.lines[0] is not None}
    pairs = zip(legend.legend_handles, (text.get_text() for text in legend.get_texts()), strict=True)
    title = html(legend.get_title().get_text())
    headings = [{"heading": title}] if title else []
    return headings + [{"name": html(text), **_swatch(points.get(text, handle))} for handle, text in pairs]


def _swatch(handle: Any) -> Entry:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if isinstance(handle, Line2D):
        style = handle.get_linestyle()
        ring = colour(handle.get_markerfacecolor()) == "rgba(0,0,0,0)" and handle.get_marker() == "o"
        marker = "○" if ring else GLYPHS.get(str(handle.get_marker()), "")
        shown = handle.get_markeredgecolor() if ring else handle.get_color()
        return {"colour": colour(shown), "dash": DASHES.get(str(style), ""), "marker": marker}
    if isinstance(handle, Patch):
        return {"colour": colour(handle.get_facecolor()), "dash": "", "marker": "■"}
    return {"colour": colour(handle.get_color()[0]), "dash": "solid", "marker": ""}
