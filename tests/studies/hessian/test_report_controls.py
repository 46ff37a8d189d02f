"""The figure of the controls: each beside the baseline, with whatever rows there are."""

import itertools

import numpy as np
import pytest

from qjaxsim.report import style
from qjaxsim.studies.hessian import figures
from qjaxsim.studies.hessian.configurations import anchors, circuit_weight, is_baseline

USUAL = {
    "point": "minimum",
    "aggregation": "mean",
    "scale": 100.0,
    "learning_rate": 0.01,
    "n_classes": 4,
    "outliers_gap": 3,
    "parameters": 60,
}


def controlled():
    """Rows of a baseline and of every control."""
    rows = []

    def more(control, patches=(4, 9), layers=(2,), seeds=(0, 1), **columns):
        for p, n, seed in itertools.product(patches, layers, seeds):
            settings = {"control": control, "patches": p, "layers": n, "seed": seed}
            rows.append(settings | USUAL | {"lambda_max": 40.0 / p} | columns)

    more("baseline", (1, 4, 9), (2, 4))
    more("aggregation", aggregation="sum", lambda_max=70.0)
    for patches in (4, 9):
        more("scale", (patches,), scale=100.0 * patches, lambda_max=60.0)
    more("parameters", (1,), (30,))
    more("parameters", (9,), (3,))
    more("learning-rate", (4,), (4, 8), learning_rate=0.005)
    more("loss", (1, 4), point="matched loss")
    more("classes", (4,), n_classes=2, outliers_gap=1)
    more("seeds", (4,), seeds=(7, 8, 9))
    more("nulls", layers=(20,), null_weights_predicted=6, redundant_predicted=12, near_zero_fraction=0.5)
    return rows


TITLES = {
    "aggregation": "Sum instead of mean",
    "scale": "Constant c before the softmax",
    "loss": "Matched training loss",
    "parameters": "Equal total parameters",
    "learning-rate": "Learning rate",
    "seeds": "Seeds",
    "classes": "Number of classes",
    "nulls": "Zeros and what explains them",
}


def panel(figure, control):
    (axes,) = [axes for axes in figure.axes if axes.get_title(loc="left") == TITLES[control]]
    return axes


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_controls_stand_beside_the_baseline():
    figure = figures.controls(controlled())
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == list(TITLES.values())
    # The baseline's sum over one circuit starts the line, and depths without control are not drawn.
    lines = lines_of(panel(figure, "aggregation"))
    assert list(lines) == ["mean (baseline)", "sum"]
    np.testing.assert_allclose(lines["sum"].get_xydata(), [[1, 40], [4, 70], [9, 70]])
    lines = lines_of(panel(figure, "scale"))
    assert list(lines) == ["c = 100 (baseline)", "c = 100 × patches"]
    np.testing.assert_allclose(lines["c = 100 × patches"].get_ydata(), [40, 60, 60], rtol=1e-12)
    assert list(lines_of(panel(figure, "loss"))) == ["minimum", "matched loss"]
    lines = lines_of(panel(figure, "learning-rate"))
    np.testing.assert_array_equal(lines["rate 0.01 (baseline)"].get_xdata(), [2, 4])
    np.testing.assert_array_equal(lines["rate 0.005"].get_xdata(), [4, 8])
    assert {"30 layers", "3 layers"} <= {text.get_text() for text in panel(figure, "parameters").texts}
    (lower, upper) = (lines_of(panel(figure, "classes"))[name].get_xydata() for name in ("K − 1", "K"))
    np.testing.assert_array_equal(lower, [[2, 1], [4, 3]])
    np.testing.assert_array_equal(upper, [[2, 2], [4, 4]])
    widths = [bar.get_width() for bar in panel(figure, "nulls").patches]
    # Two configurations of 60 weights: 6 unused, 12 redundant, 12 other zeros.
    np.testing.assert_allclose(widths, [0.1, 0.2, 0.2, 0.5] * 2)


def test_seeds_show_mean_and_deviation_by_patches():
    figure = figures.controls(controlled())
    axes = panel(figure, "seeds")
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata().size for line in dots] == [2, 5, 2]
    assert len(axes.containers) == 3


def test_rates_of_one_depth_each_are_one_rule():
    rows = [row for row in controlled() if row["control"] in ("baseline", "learning-rate")]
    for row in rows:
        if row["control"] == "learning-rate":
            row["learning_rate"] = 0.02 / row["layers"]
    assert list(lines_of(panel(figures.controls(rows), "learning-rate"))) == [
        "rate 0.01 (baseline)",
        "rate 0.005 to 0.0025 by depth",
    ]


@pytest.mark.parametrize("control", TITLES)
def test_a_control_alone_and_with_missing_columns(control):
    rows = [row for row in controlled() if row["control"] == control]
    assert [axes.get_title(loc="left") for axes in figures.controls(rows).axes] == [TITLES[control]]
    bare = [{k: v for k, v in row.items() if k not in ("layers", "scale", "aggregation", "seed")} for row in rows]
    if control != "learning-rate":
        assert len(style.png_bytes(figures.controls(bare))) > 5_000
    unusable = [row | {"lambda_max": None, "outliers_gap": None, "near_zero_fraction": None} for row in rows]
    with pytest.raises(ValueError, match="`control` among"):
        figures.controls(unusable)


def test_what_the_baseline_is():
    assert all(map(is_baseline, ({}, {"control": None}, {"control": "seeds", "point": "minimum"})))
    assert not any(map(is_baseline, ({"control": "scale"}, {"control": "baseline", "point": "matched loss"})))


def test_anchors_are_the_same_model():
    base = [{"patches": p, "layers": n, "aggregation": "mean", "scale": 100.0} for p in (1, 3) for n in (2, 4)]
    own = [{"patches": 3, "layers": 2, "aggregation": "sum", "scale": 100.0}]
    assert anchors(own, base) == base[:1]
    third = [{"patches": 1, "layers": 2, "aggregation": "mean", "scale": 100.0 / 3}]
    assert anchors(third, base) == base[2:3]
    assert anchors([*own, *third], base) == []
    assert circuit_weight({"patches": 3}) is None
    assert anchors([{"patches": 3, "layers": 2}], base) == []
