"""Figures of pages: read off matplotlib's, they hold the same arrays, and plotly accepts them."""

import base64
import gzip
import html
import io
import json

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from qjaxsim.curvature import spectrum_report
from qjaxsim.report import page, scripts, style
from qjaxsim.report.figure import ReportFigure
from qjaxsim.report.interactive import Interactive, read_figure
from qjaxsim.studies.hessian import figures
from tests.report.test_report import PUBLISHED, grid, with_eigen_plane


def axes_of(figure=None):
    return (figure or style.new_figure(4, 3)).subplots()


def panel(axes):
    (found,) = read_figure(axes.get_figure()).panels
    return found


def unpacked(text, name):
    """What a page has packed under a name."""
    encoded = text.split(f'id="{name}">', 1)[1].split("<", 1)[0]
    return gzip.decompress(base64.b64decode(encoded)).decode()


def resolved(value):
    """With some colour for those that the page's style names."""
    if isinstance(value, dict):
        return {key: resolved(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(one) for one in value]
    return "#123456" if isinstance(value, str) and value.startswith("var(--") else value


def test_a_curve_keeps_its_numbers_name_and_look():
    axes = axes_of()
    axes.plot([1, 2, 4], [0.5, np.nan, 3], "s--", color=style.BLUE, label="a < b")
    axes.plot([1, 2], [1, 1], color=style.BLUE)
    axes.set_xlabel("x of $10^{-3}$")
    first, second = panel(axes)["data"]
    assert (first["x"], first["y"]) == ([1, 2, 4], [0.5, None, 3])
    assert (first["mode"], first["line"]["dash"], first["marker"]["symbol"]) == ("lines+markers", "dash", "square")
    assert first["name"] == "a &lt; b" and first["hovertemplate"].startswith("x of 10<sup>−3</sup>: %{x:.5~g}")
    # The curve without a name is hidden with the one of its colour.
    assert first["legendgroup"] == second["legendgroup"] and "name" not in second


def test_error_bars_are_distances_and_their_caps_are_no_curves():
    axes = axes_of()
    axes.errorbar([1, 2], [10.0, 20.0], yerr=[[1, 2], [3, 4]], xerr=0.5, fmt="o", capsize=3, label="mean")
    (trace,) = panel(axes)["data"]
    np.testing.assert_allclose(trace["error_y"]["arrayminus"], [1, 2])
    np.testing.assert_allclose(trace["error_y"]["array"], [3, 4])
    np.testing.assert_allclose(trace["error_x"]["array"], [0.5, 0.5])
    assert trace["name"] == "mean" and "%{error_y.array" in trace["hovertemplate"]


def test_a_signed_logarithmic_axis_is_placed_by_matplotlib_and_says_its_own_numbers():
    axes = axes_of()
    values = np.array([-1.0, -1e-3, 0, 1e-3, 1.0])
    axes.plot(values, values)
    axes.set_xscale("symlog", linthresh=1e-3)
    found = panel(axes)
    (trace,) = found["data"]
    place = np.array(trace["x"])
    np.testing.assert_allclose(place, -place[::-1], atol=1e-12)
    # One step of the linear part, then a decade each.
    np.testing.assert_allclose(np.diff(np.log10(values[3:])), 3)
    assert [point[0] for point in trace["customdata"]] == list(values) and "customdata[0]" in trace["hovertemplate"]
    ticks = dict(zip(found["layout"]["xaxis"]["ticktext"], found["layout"]["xaxis"]["tickvals"], strict=True))
    assert ticks["0"] == 0 and ticks["10<sup>0</sup>"] == pytest.approx(place[-1], rel=1e-4)


@pytest.mark.parametrize("upright", [True, False])
def test_bars_stand_where_they_stood(upright):
    axes = axes_of()
    draw = axes.bar if upright else axes.barh
    draw([0, 1], [2.0, 3.0], 0.5, color=[style.BLUE, style.ORANGE])
    draw([0, 1], [1.0, 1.0], 0.5, **{"bottom" if upright else "left": [2.0, 3.0]}, hatch="///", label="more")
    (axes.set_xticks if upright else axes.set_yticks)([0, 1], ["first", "second"])
    low, high = panel(axes)["data"]
    along, up = ("x", "y") if upright else ("y", "x")
    assert low[along] == [0, 1] and low[up] == [2, 3] and low["width"] == [0.5, 0.5]
    assert low["customdata"] == [["first", 2], ["second", 3]] and len(set(low["marker"]["color"])) == 2
    assert high["base"] == [2, 3] and high[up] == [1, 1] and high["marker"]["pattern"]["shape"] == "/"
    assert low["orientation"] == ("v" if upright else "h")


def test_lines_across_a_panel_and_notes_are_no_data():
    axes = axes_of()
    axes.plot([1, 10], [1, 2])
    axes.axvline(3, color=style.GREY)
    axes.text(0.02, 0.97, "P = 60", transform=axes.transAxes)
    axes.annotate("here", (10, 2), (4, 0), textcoords="offset points")
    axes.set_xscale("log")
    found = panel(axes)
    across = found["data"][1]
    assert (across["x"], across["yaxis"], across["line"]["color"]) == ([3, 3], "y2", "var(--soft)")
    assert found["layout"]["yaxis2"]["range"] == [0, 1] and found["notes"] == ["P = 60"]
    (note,) = found["layout"]["annotations"]
    assert (note["text"], note["x"], note["y"]) == ("here", 1.0, 2.0)


def test_long_curves_keep_their_highest_and_lowest_points():
    axes = axes_of()
    values = np.random.default_rng(0).normal(size=20_000)
    axes.plot(np.arange(20_000), values)
    (trace,) = panel(axes)["data"]
    assert len(trace["y"]) <= 2_000
    assert max(trace["y"]) == pytest.approx(values.max(), rel=1e-4)
    assert min(trace["y"]) == pytest.approx(values.min(), rel=1e-4)


def test_bands_steps_and_rules_keep_their_outlines():
    axes = axes_of()
    axes.fill_between([1, 2, 3], [0, 0, 0], [1, 2, 1], color=style.INK, alpha=0.2)
    axes.stairs([3.0, 4.0], [0.0, 1.0, 2.0])
    axes.hlines([1.0, 2.0], [0, 0], [3, 4], color=style.PALE)
    band, rules, steps = sorted(panel(axes)["data"], key=lambda one: len(one["x"]), reverse=True)
    assert band["fill"] == "toself" and band["opacity"] == 0.2 and max(value or 0 for value in band["y"]) == 2
    assert steps["line"]["shape"] == "hv" and (steps["x"], steps["y"]) == ([0, 1, 2], [3, 4, 4])
    assert rules["x"] == [0, 3, None, 0, 4, None] and rules["y"] == [1, 1, None, 2, 2, None]


def test_photographs_and_unknown_kinds_stay_pictures_and_maps_do_not():
    axes = axes_of()
    axes.imshow(np.eye(3), cmap="gray")
    assert panel(axes)["data"][0]["type"] == "heatmap"
    np.testing.assert_array_equal(panel(axes)["data"][0]["z"], np.eye(3))
    axes.set(xticks=[], yticks=[])
    assert read_figure(axes.get_figure()) is None
    other = axes_of()
    other.scatter([1], [1])
    assert read_figure(other.get_figure()) is None


def test_error_bars_have_their_marker_in_the_legend():
    axes = axes_of()
    axes.errorbar([1, 2], [3, 4], yerr=1, fmt="s", color=style.BLUE, label="mean")
    axes.errorbar([1, 2], [3, 4], yerr=1, fmt="--", color=style.GREEN, label="line")
    axes.legend()
    mean, line = read_figure(axes.get_figure()).legend
    assert (mean["name"], mean["marker"], mean["dash"]) == ("mean", "■", "")
    assert (line["name"], line["marker"], line["dash"]) == ("line", "", "dash")
    assert mean["colour"] != line["colour"]


def test_legends_keep_their_headings():
    left, right = style.new_figure(6, 3).subplots(1, 2)
    left.plot([1, 2], [1, 2], label="3")
    left.legend(title="a < b")
    heading, entry = read_figure(left.get_figure()).legend
    assert heading == {"heading": "a &lt; b"} and entry["name"] == "3"
    right.plot([1, 2], [1, 2], label="a < b")
    right.legend(title="c")
    found = read_figure(left.get_figure())
    named = [[one.get("heading") or one["name"] for one in panel["legend"]] for panel in found.panels]
    assert found.legend == [] and named == [["a &lt; b", "3"], ["c", "a &lt; b"]]


@pytest.mark.parametrize(
    ("limits", "ticks"), [((1.0, 1e6), 7), ((1.0, 10.0), 3), ((0.0013, 0.0017), 5), ((2.0, 9.0), 5)]
)
def test_logarithmic_axes_within_a_decade_have_more_than_one_tick(limits, ticks):
    # Plotly counts them in equal steps there, half as many again as it is told, and may show one of three.
    axes = axes_of()
    axes.plot([1], [1])
    axes.set_yscale("log")
    axes.set_ylim(*limits)
    assert panel(axes)["layout"]["yaxis"]["nticks"] == ticks


def test_names_of_blocks_are_shown_letter_by_letter(tmp_path):
    # Matplotlib reads a formula between two dollars, and raises where it is none.
    shown = {
        r"cost$\foo$": r"cost$\foo$",
        "$x_0$ and $y^2$": "$x_0$ and $y^2$",
        r"one\$ $": r"one\$ $",
        "tab\there \udcff": r"tab\there \udcff",
        "blocks/" * 30 + "bias": "blocks/blocks/blocks/blo…ocks/blocks/blocks/bias",
    }
    params = {name: jnp.ones(1 + i) for i, name in enumerate(shown)}
    report = spectrum_report(lambda p: sum((leaf**4).sum() for leaf in p.values()), params, planes=(), progress=False)
    names = [shown[row["group"]] for row in report.blocks]
    assert sorted(names) == sorted(shown.values())
    drawn, without_formulas = report.plot("blocks"), report.plot("blocks")
    assert read_figure(drawn).panels[0]["layout"]["yaxis"]["ticktext"] == [html.escape(one) for one in names]
    without_formulas.axes[0].set_yticks(range(len(names)), names, parse_math=False)
    assert style.png_bytes(report.plot("blocks")) == style.png_bytes(without_formulas)
    assert report.to_html(tmp_path / "page.html").is_file()


def test_plotly_accepts_every_figure_of_a_study(tmp_path):
    from plotly import graph_objects

    rows, arrays = grid((1,), (2,), (0, 1))
    arrays[0] = with_eigen_plane(arrays[0])
    drawn = [
        figures.spectra(rows, arrays), figures.lambda_max(rows, published=PUBLISHED), figures.landscape(rows, arrays),
        figures.training(rows, arrays),
    ]  # fmt: skip
    for figure in drawn:
        found = read_figure(figure)
        shown = [axes for axes in figure.findobj(Axes) if axes.get_visible() and axes.get_label() != "<colorbar>"]
        assert len(found.panels) == len(shown)
        assert found.legend or all(one["legend"] for one in found.panels)
        for one in found.panels:
            graph_objects.Figure(resolved(one["data"]), resolved(one["layout"]))
    flat, solid = read_figure(drawn[2]).panels
    contour, surface = flat["data"][0], solid["data"][0]
    np.testing.assert_allclose(contour["z"], np.log10(arrays[0]["landscape"]), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(surface["z"], arrays[0]["landscape"], rtol=1e-4)
    assert contour["customdata"] == surface["z"] and (contour["type"], surface["type"]) == ("contour", "surface")


# --- the page --------------------------------------------------------------------------------------------------------


def write(folder, made, **changes):
    given = {"title": "T", "introduction": "", "settings": {}, "rows": [{"a": 1}], "columns": {}, "versions": {}}
    return page.write_report(folder / "page.html", figures=made, **(given | changes)).read_text()


def made_figure(folder, interactive):
    (folder / "x.png").write_bytes(b"png")
    return ReportFigure(folder / "x.png", "A figure", "what to see", interactive)


def one_panel(numbers=(1.0,)):
    data = [{"type": "scatter", "x": [0], "y": list(numbers)}]
    about = {"title": "", "notes": [], "height": 260, "solid": False, "legend": []}
    return Interactive([{**about, "data": data, "layout": {}}], [], 1)


def test_a_page_holds_plotly_and_its_figures_once_below_five_megabytes(tmp_path):
    from plotly.offline import get_plotlyjs

    made = made_figure(tmp_path, one_panel())
    text = write(tmp_path, [made, made_figure(tmp_path, None), made])
    assert len(text) < 2_500_000 and text == write(tmp_path, [made, made_figure(tmp_path, None), made])
    assert unpacked(text, "plotly") == get_plotlyjs()
    assert json.loads(unpacked(text, "figures")) == [one_panel()._asdict()] * 2
    assert text.count('class="panels"') == 2 and text.count("data:image/png") == 3
    policy = text.split('Content-Security-Policy" content="', 1)[1].split('"', 1)[0]
    assert policy.count("'sha256-") == 3 and "connect-src" not in policy and "default-src 'none'" in policy
    assert policy.split("script-src")[1].count("unsafe") == 0
    assert '<a href="x.png">PNG</a>' in text


def test_figures_beyond_the_budget_stay_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(scripts, "_MOST", 2_000)
    large = one_panel(np.random.default_rng(0).random(2_000).round(5))
    text = write(tmp_path, [made_figure(tmp_path, one) for one in (large, one_panel(), None)])
    assert json.loads(unpacked(text, "figures")) == [one_panel()._asdict()]
    assert text.index('class="panels" data-figure="0"') > text.index("data:image/png")
    assert text.count("data-figure") == 1
    # What sorts tables is left.
    assert write(tmp_path, [made_figure(tmp_path, large)]).count("<script") == 1


def test_large_pictures_are_held_smaller(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (500, 500, 3), dtype=np.uint8)
    made = made_figure(tmp_path, None)
    Image.fromarray(noise).save(made.path)
    assert made.path.stat().st_size > 700_000
    text = write(tmp_path, [made])
    picture = base64.b64decode(text.split("data:image/webp;base64,", 1)[1].split('"', 1)[0])
    assert len(picture) < made.path.stat().st_size / 2
    shown = np.asarray(Image.open(io.BytesIO(picture)), float)
    assert shown.shape == noise.shape and abs(shown.mean() - noise.mean()) < 5


def test_sections_are_listed_and_files_linked(tmp_path):
    files = [page.Link("cells/a b/arrays.npz", "arrays of <a>", "numbers")]
    text = write(tmp_path, [], downloads=files, tables=[page.ReportTable("More & more", [{"a": 1}])])
    for name, place in (("Results", 1), ("More &amp; more", 2)):
        assert f'<a href="#section-{place}">{name}</a>' in text and f'<h2 id="section-{place}">{name}</h2>' in text
    assert '<a href="cells/a%20b/arrays.npz">arrays of &lt;a&gt;</a>: numbers' in text
    assert text.split("script-src", 1)[1].split('"', 1)[0].count("'sha256-") == 1
