"""Figures of a study: they show what is in the data, for one cell and for many, and load nothing."""

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from qjaxsim.report import page, style, tables
from qjaxsim.report.spectra import bin_edges
from qjaxsim.studies.gradient_variance.figures import accuracy
from qjaxsim.studies.hessian import figures
from qjaxsim.studies.hessian.configurations import configurations
from tests.cases import mostly_slow
from tests.report_rows import PUBLISHED, cell, grid

ALL_FIGURES = ["spectra", "lambda_max", "landscape", "training"]


def texts(figure):
    """Every text that the figure shows."""
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.fixture
def undrawn(monkeypatch):
    """Files of figures stay empty: drawing takes the time, where only their names and captions are read."""
    monkeypatch.setattr(style, "png_bytes", lambda figure: b"")


@pytest.mark.parametrize(
    ("patches", "layers", "seeds"),
    mostly_slow([((1, 4), (2,), (0, 1)), ((4,), (2,), (0,)), ((1, 4, 9, 16), (1, 2, 4), (0,))]),
    ids=["two configurations, two seeds", "one cell", "twelve configurations"],
)
def test_all_figures_are_written(tmp_path, patches, layers, seeds):
    rows, arrays = grid(patches, layers, seeds)
    made = figures.write_figures(rows, arrays, tmp_path, published=PUBLISHED)
    assert [figure.path.name for figure in made] == [f"{name}.png" for name in ALL_FIGURES]
    assert "Lanczos" not in made[0].caption
    for figure in made:
        picture = imread(figure.path)[..., :3]
        assert picture.shape[0] > 300
        assert picture.shape[1] > 600
        assert 0.02 < np.mean(np.any(picture < 0.99, axis=-1)) < 0.9, "nearly blank, or no white left"
        assert len(figure.caption) > 80


def test_use_and_links_are_sections_of_their_own(tmp_path):
    rows = [{"patches": 4, "seed": 0, "lambda_max": 2.5}]
    given = {"title": "T", "introduction": "", "settings": {}, "rows": rows, "columns": {}, "command": "c"}
    bare = page.write_report(tmp_path / "bare.html", versions={}, **given).read_text()
    assert "Use it in Python" not in bare and "Other runs" not in bare
    more = {
        "usage": 'print("<1>")',
        "links": [page.Link("../a b/report.html", "a <b>", "x & y"), page.Link("./c:d/report.html", "c")],
        "links_note": "Written by then.",
        "appendix": [tables.ReportTable("Long", [{"seed": 1}], "a note")],
    }
    shown = page.write_report(tmp_path / "page.html", versions={}, **given, **more).read_text()
    assert ">Use it in Python</h2>\n<pre>print(&quot;&lt;1&gt;&quot;)</pre>" in shown and "<p>a note</p>" in shown
    assert '<a href="../a%20b/report.html">a &lt;b&gt;</a>: x &amp; y</li>' in shown
    assert '<a href="./c%3Ad/report.html">c</a></li>' in shown and "<p>Written by then.</p>" in shown


def test_figures_without_data_are_left_out(tmp_path):
    rows, arrays = grid((1, 4), (2,), (0,))
    bare = [{"history_train_loss": a["history_train_loss"]} for a in arrays]
    made = figures.write_figures([row | {"lambda_max": None} for row in rows], bare, tmp_path)
    assert [figure.path.name for figure in made] == ["training.png"]
    assert figures.write_figures([], [], tmp_path / "empty") == []


def test_rows_without_their_arrays_do_not_hide_others():
    rows, arrays = grid((1, 4), (2,), (0,))
    arrays[0] = {}
    for draw in (figures.spectra, figures.landscape, figures.training):
        shown = " ".join(texts(draw(rows, arrays)))
        assert "4 patches, 2 layers" in shown
        assert "1 patch, 2 layers" not in shown


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (figures.spectra, "`eigenvalues` or a Lanczos density"),
        (figures.landscape, "`landscape` and its axes"),
        (figures.training, "`history_train_loss`"),
    ],
)
def test_a_figure_of_nothing_is_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw([{"patches": 4}], [{}])


def test_other_refusals(tmp_path):
    with pytest.raises(ValueError, match="positive `lambda_max`"):
        figures.lambda_max([{"patches": 4, "lambda_max": None}, {"patches": 4, "lambda_max": -1.0}])
    with pytest.raises(ValueError, match="equally long, but have 1 and 0"):
        figures.write_figures([{}], [], tmp_path)


def test_equal_data_give_equal_bytes():
    rows, arrays = grid((4,), (2,), (0, 1))
    assert style.png_bytes(figures.spectra(rows, arrays)) == style.png_bytes(figures.spectra(rows, arrays))


def test_spectra_mark_each_outlier_and_name_the_class_lines():
    rows, arrays = grid((4,), (2,), (0,))
    figure = figures.spectra(rows, arrays)
    shown = texts(figure)
    assert {"4 patches, 2 layers", "P = 60", "3 outliers by the gap rule", "K − 1 = 3", "K = 4", "K² = 16"} <= set(
        shown
    )
    histogram, near, far = figure.findobj(Axes)
    (marks,) = [line for line in histogram.lines if line.get_marker() == "v"]
    np.testing.assert_allclose(marks.get_xdata(), np.sort(arrays[0]["eigenvalues"])[:-4:-1])
    # Every eigenvalue is in some bin, those of magnitude below the linear part in the grey one.
    bars = [patch for patch in histogram.patches if isinstance(patch, Rectangle)]
    assert sum(bar.get_height() for bar in bars) == 60
    grey = [bar for bar in bars if bar.get_x() < 0 < bar.get_x() + bar.get_width()]
    assert len(grey) == 1
    assert grey[0].get_height() == np.count_nonzero(np.abs(arrays[0]["eigenvalues"]) < grey[0].get_width() / 2)
    (curve,) = [line for line in near.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(curve.get_ydata()[:3], np.geomspace(40, 6, 3) / 4)
    assert far.get_xscale() == "log"


def test_bins_hold_every_eigenvalue():
    values = np.array([-0.3, -1e-9, 0.0, 2e-4, 5.0, 99.9])
    edges = bin_edges(values, 1e-4)
    assert np.all(np.diff(edges) > 0)
    assert edges[0] <= values.min()
    assert values.max() <= edges[-1]
    assert np.histogram(values, edges)[0].sum() == values.size
    assert np.count_nonzero((edges[:-1] < 0) & (edges[1:] > 0)) == 1


def test_density_is_scaled_to_count_eigenvalues():
    rows, arrays = grid((4,), (2,), (0,), dense=False)
    points = np.linspace(-1, 12, 2001)
    # Given as half of a density of integral 1, it is scaled all the same.
    arrays[0] |= {"density_grid": points, "density": np.full(2001, 0.5 / 13)}
    panel = figures.spectra(rows, arrays).findobj(Axes)[0]
    heights = np.concatenate([area.get_paths()[0].vertices[:, 1] for area in panel.collections[:3]])
    assert np.max(heights) == pytest.approx(60 / 13)
    assert panel.get_ylabel() == "eigenvalues per unit of λ"


def test_histograms_and_densities_side_by_side(tmp_path, undrawn):
    (exact, exact_arrays), (smooth, smooth_arrays) = cell(patches=4), cell(patches=9, dense=False)
    figure = figures.spectra([exact, smooth], [exact_arrays, smooth_arrays])
    left, right = figure.findobj(Axes)[:2]
    assert (left.get_ylabel(), right.get_ylabel()) == ("eigenvalues per bin", "eigenvalues per unit of λ")
    assert left.get_xlim() == right.get_xlim()
    made = figures.write_figures([exact, smooth], [exact_arrays, smooth_arrays], tmp_path)
    assert "Lanczos" in made[0].caption


def test_spectra_of_lanczos_and_of_a_zero_matrix():
    rows, arrays = grid((4,), (2,), (0,), dense=False, lambda_min=-0.5)
    assert figures.spectra(rows, arrays).findobj(Axes)[0].get_xlim()[0] < -0.5
    assert "P = 60, density smoothed by Lanczos" in texts(figures.spectra(rows, arrays))
    # Without the row's least eigenvalue the density tells: here six eigenvalues of 60 are spread over [-1, 0].
    del rows[0]["lambda_min"]
    grid_points = np.linspace(-1, 9, 2001)
    arrays[0] |= {"density_grid": grid_points, "density": np.full(2001, 0.1)}
    low = figures.spectra(rows, arrays).findobj(Axes)[0].get_xlim()[0]
    assert low <= -0.9
    zero = {"eigenvalues": np.zeros(5)}
    assert "P = 5" in texts(figures.spectra([{"patches": 1, "layers": 1}], [zero]))


def test_leading_eigenvalues_without_classes_and_without_positive_ones():
    shown = texts(figures.spectra([{"patches": 1, "layers": 1}], [{"eigenvalues": -np.arange(1.0, 9.0)}]))
    assert shown.count("no positive eigenvalue") == 2
    figure = figures.spectra([{"patches": 1, "layers": 1}], [{"eigenvalues": np.arange(-2.0, 6.0)}])
    shown = texts(figure)
    # Half of eight eigenvalues are as many as four classes would be asked for.
    assert "The same, to rank 21" in shown and "no positive eigenvalue" not in shown
    far = figure.findobj(Axes)[-1]
    low, high = far.get_xlim()
    named = [tick.get_text() for tick in far.get_xticklabels() if low <= tick.get_position()[0] <= high]
    assert named == ["1", "2", "5", "10", "20"]
    assert not any(tick.get_text() for tick in far.get_xticklabels(minor=True))
    rows, arrays = grid((4,), (2,), (0,))
    assert "The same, to rank K² + 5" in texts(figures.spectra(rows, arrays))


def test_lambda_max_draws_means_points_guide_and_published():
    rows, _ = grid((4, 9, 16), (2,), (0, 1))
    for row in rows:
        row["lambda_max"] *= 1 + row["seed"]
    figure = figures.lambda_max(rows, published=PUBLISHED)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    first = [row["lambda_max"] for row in rows if row["seed"] == 0]
    np.testing.assert_allclose(lines["2 layers"].get_ydata(), np.sqrt(2) * np.array(first))
    guide = lines["∝ 1 / patches"]
    np.testing.assert_allclose(np.diff(np.log(guide.get_ydata())) / np.diff(np.log(guide.get_xdata())), -1)
    np.testing.assert_allclose(lines["published, 50 layers"].get_ydata(), [16, 60 / 9 + 1, 4.75])
    assert len(figure.axes[1].lines) == len(rows)
    assert "∝ 1 / patches" not in texts(figures.lambda_max(rows[:2]))


def test_landscape_marks_the_path_and_names_the_variance():
    rows, arrays = grid((4,), (2,), (0,))
    figure = figures.landscape(rows, arrays)
    shown = texts(figure)
    assert "PC 1 (rad), 87.5 % of variance" in shown
    assert "PC 2 (rad), 8.5 % of variance" in shown
    path = arrays[0]["trajectory"]
    marks = {line.get_label(): np.ravel(line.get_xydata()) for line in figure.axes[0].lines}
    np.testing.assert_array_equal(marks["initial weights"], path[0])
    np.testing.assert_array_equal(marks["minimum (lowest training loss)"], path[7])
    np.testing.assert_array_equal(marks["last epoch"], path[8])
    surface = next(axes for axes in figure.axes if axes.name == "3d")
    on_surface = {line.get_label(): np.ravel(line.get_data_3d()) for line in surface.lines}
    # At a grid point the interpolated height is the landscape itself.
    assert on_surface["last epoch"][2] == pytest.approx(0.1)
    # Between grid points it is linear: a^2 at -2.5 is taken for (9 + 4) / 2.
    np.testing.assert_allclose(on_surface["initial weights"], [-2.5, 1, 0.1 + 6.5 + 1])
    del arrays[0]["explained_variance"]
    assert "direction 1" in texts(figures.landscape(rows, arrays))


def test_a_path_from_far_away_does_not_shrink_the_plane(tmp_path, undrawn):
    rows, arrays = grid((4,), (2,), (0,))
    arrays[0]["trajectory"] = arrays[0]["trajectory"] * 40
    del arrays[0]["explained_variance"]
    figure = figures.landscape(rows, arrays)
    figure.canvas.draw()
    assert figure.axes[0].get_xlim() == (-3, 3)
    assert figure.axes[0].get_ylim() == (-2, 3)
    surface = next(axes for axes in figure.axes if axes.name == "3d")
    assert surface.get_xlim()[0] > -5
    (made,) = figures.write_figures([{"patches": 4}], [arrays[0] | {"history_train_loss": np.ones(9)}], tmp_path)[-2:-1]
    assert "beyond its edges" in made.caption


@pytest.mark.parametrize("plane", [np.full((6, 7), 0.5), np.linspace(-1, 1, 42).reshape(6, 7)], ids=["flat", "signed"])
def test_landscapes_that_have_no_logarithm(plane):
    rows, arrays = grid((4,), (2,), (0,))
    arrays[0]["landscape"] = plane
    assert len(style.png_bytes(figures.landscape(rows, arrays))) > 10_000


def test_training_marks_the_minimum():
    rows, arrays = grid((4,), (2,), (0, 1))
    (axes,) = figures.training(rows, arrays).axes
    assert len(axes.lines) == 5
    (mark,) = [line for line in axes.lines if line.get_label() == "minimum"]
    np.testing.assert_array_equal(np.ravel(mark.get_xydata()), [7, arrays[0]["history_train_loss"][7]])


def test_epochs_are_whole_on_the_axis_of_a_short_run():
    rows, arrays = grid((4,), (2,), (0,))
    short = {"history_train_loss": np.array([6.0, 0.7, 0.5, 0.4]), "minimum": np.array(3)}
    (axes,) = figures.training(rows, [short]).axes
    ticks = axes.get_xticks()
    assert len(ticks) >= 3 and np.array_equal(ticks, np.round(ticks))


def with_eigen_plane(arrays):
    axis = np.linspace(-0.5, 0.5, 5)
    return arrays | {
        "eigen_landscape_a": axis,
        "eigen_landscape_b": axis[:-1],
        "eigen_landscape": 0.2 + axis[:-1, None] ** 2 + 9 * axis**2,
        "eigen_trajectory": arrays["trajectory"] / 10,
        "eigen_values": np.array([20.41, 7.0]),
    }


def test_plane_of_the_leading_eigenvectors(tmp_path, undrawn):
    rows, arrays = grid((4, 9), (2,), (0,))
    arrays[0] = with_eigen_plane(arrays[0])
    made = {figure.path.stem: figure for figure in figures.write_figures(rows, arrays, tmp_path)}
    assert list(made) == ["spectra", "lambda_max", "landscape", "landscape_eigen", "training"]
    assert "eigenvectors" in made["landscape_eigen"].caption
    assert "principal components" in made["landscape"].caption
    figure = figures.landscape(rows, arrays, "eigen_")
    shown = texts(figure)
    assert {"eigenvector 1, λ = 20.4", "eigenvector 2, λ = 7", "4 patches, 2 layers"} <= set(shown)
    assert "9 patches, 2 layers" not in shown
    assert not any("variance" in text for text in shown)
    assert figure.axes[0].get_xlim() == (-0.5, 0.5)
    (star,) = [line for line in figure.axes[0].lines if "minimum" in line.get_label()]
    np.testing.assert_allclose(np.ravel(star.get_xydata()), arrays[0]["trajectory"][7] / 10)
    # The other plane keeps its own axes and explained variance.
    assert "PC 1 (rad), 87.5 % of variance" in texts(figures.landscape(rows, arrays))
    del arrays[0]["eigen_values"]
    assert "direction 1" in texts(figures.landscape(rows, arrays, "eigen_"))
    with pytest.raises(ValueError, match="`eigen_landscape` and its axes"):
        figures.landscape(rows[1:], arrays[1:], "eigen_")


@pytest.mark.slow
def test_only_the_baseline_is_in_the_other_figures(tmp_path):
    rows, arrays = grid((1, 4), (2,), (0,), control="baseline", point="minimum")
    more = [cell(4, 2, 8, control="seeds", point="minimum")]
    others = [
        cell(9, 2, 0, control="aggregation", point="minimum", aggregation="sum"),
        cell(4, 2, 0, control="loss", point="matched loss"),
        cell(4, 8, 0, control="classes", point="minimum", n_classes=3),
    ]
    base = [(rows + [row for row, _ in more]), (arrays + [cells for _, cells in more])]
    mixed = [[row for row, _ in others] + base[0], [cells for _, cells in others] + base[1]]
    alone = {figure.path.stem: figure for figure in figures.write_figures(*base, tmp_path / "alone")}
    made = {figure.path.stem: figure for figure in figures.write_figures(*mixed, tmp_path / "mixed")}
    assert list(made) == list(alone) == [*ALL_FIGURES, "controls"]
    for name in ALL_FIGURES:
        assert made[name].path.read_bytes() == alone[name].path.read_bytes(), name
    assert made["controls"].path.read_bytes() != alone["controls"].path.read_bytes()


def test_rates_that_go_with_the_depth_and_points_of_one_kind_are_not_named():
    rows = [{"patches": 4, "layers": n, "learning_rate": 1 / n, "point": "minimum"} for n in (2, 4)]
    assert [c.label for c in configurations(rows)] == ["4 patches, 2 layers", "4 patches, 4 layers"]
    rows.append(rows[0] | {"point": "matched loss"})
    assert configurations(rows)[2].label == "4 patches, 2 layers, matched loss"
    rows.append(rows[0] | {"learning_rate": 0.1})
    assert configurations(rows)[3].label == "4 patches, 2 layers, learning rate 0.1, minimum"


def test_configurations_name_what_varies():
    rows = [
        {"patches": 4, "layers": 2, "aggregation": a, "qubits": 4, "seed": s} for a in ("mean", "sum") for s in (0, 1)
    ]
    assert [(c.label, c.rows) for c in configurations(rows)] == [
        ("4 patches, 2 layers, aggregation mean", (0, 1)),
        ("4 patches, 2 layers, aggregation sum", (2, 3)),
    ]


def test_neither_pyplot_nor_the_engine_is_imported(tmp_path):
    rows, arrays = grid((4,), (2,), (0,))
    np.savez(tmp_path / "arrays.npz", **arrays[0])
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    program = """
import json, sys
import numpy as np
import qjaxsim
before = set(sys.modules)
from qjaxsim.report import page, tables
from qjaxsim.studies.hessian import figures
assert not any(name.startswith("matplotlib") for name in sys.modules), "matplotlib at import"
figures.write_figures(json.load(open("rows.json")), [dict(np.load("arrays.npz"))], ".")
new = {name for name in set(sys.modules) - before if name.startswith("qjaxsim")}
light = tuple(f"qjaxsim.common.{name}" for name in ("checks", "files", "interrupts", "paths", "suggestions", "words"))
drawn = ("qjaxsim.report", "qjaxsim.common", "qjaxsim.studies")
assert all(name in drawn or name in light or name.startswith("qjaxsim.report.") for name in new if not (
    name.startswith("qjaxsim.studies.hessian"))), new
assert "jax" not in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_figures_of_a_single_value_have_whole_ticks():
    """Of one number of qubits or layers the axis is short, and ticks between whole numbers would stand on it."""
    centre = {"qubits": 4, "layers": 2, "batch": 16}
    rows = [{**centre, "control": "baseline", "epoch": 1, "accuracy_test": 0.9}]
    panels = accuracy(rows, centre, {"accuracy_by_qubits": [], "accuracy_by_layers": []}).axes
    for axes, value in zip(panels, (4, 2), strict=True):
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [value]
