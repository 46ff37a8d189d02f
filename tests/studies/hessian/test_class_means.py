"""Class means in the study `hessian`: the verdict by its rule, and the figure."""

import numpy as np
import pytest

from qjaxsim.report.verdict import HOLDS, NOT_SEEN, NOT_TESTED, RESERVATION
from qjaxsim.studies.hessian import figures
from qjaxsim.studies.hessian.claims_classes import outliers_along_class_means, outliers_are_class_means
from qjaxsim.studies.hessian.claims_spectrum import outliers_are_classes
from tests.studies.hessian.test_verdicts import judge, row


def asked(removed, control="baseline", tested=9, permuted=0, random=0, outliers=9, **columns):
    """A row in which the knock-out of class means takes out so many of the eigenvalues in question."""
    found = {"class_tested": tested, "class_removed": removed, "class_removed_cross": tested}
    found |= {"class_removed_permuted": permuted, "class_removed_random": random, "outliers_gap": outliers}
    return row(control, **found, **({"n_classes": 10, "g0_share": 0.1, "g1_share": 0.6, "g2_share": 0.2} | columns))


def twice(*rows):
    """The rows with two seeds."""
    return [{**one, "seed": seed} for one in rows for seed in (0, 1)]


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        ([asked(9), asked(8, seed=1)], HOLDS, ["0.9444 (0.8889–1) without class means", "2 seeds"]),
        ([asked(9)], RESERVATION, ["1 without class means", "a single seed"]),
        (twice(asked(9, permuted=1)), HOLDS, ["0.1111 (0.1111–0.1111) without class means of permuted labels"]),
        ([asked(6)], RESERVATION, ["below 75%"]),
        # Limits that are just met are met, whatever rounding makes of the mean.
        (twice(asked(6, tested=8, permuted=2)), HOLDS, ["0.75 (0.75–0.75) without class means"]),
        ([asked(taken, tested=10, seed=taken) for taken in (7, 6, 2)], RESERVATION, ["below 75%"]),
        ([asked(9, random=4)], RESERVATION, ["averages over other classes take out 44%"]),
        ([asked(9), asked(9, outliers=0)], RESERVATION, ["no outliers by the gap rule in 1 of 2 rows"]),
        (
            [asked(8), asked(8, "initialisation", point="start")],
            RESERVATION,
            ["before training 0.8889", "as much before"],
        ),
        (twice(asked(8), asked(2, "initialisation", point="start")), HOLDS, ["before training 0.2222"]),
        (
            twice(asked(8), asked(7, "loss", point="matched loss"), asked(1, "classes", tested=1, n_classes=2)),
            HOLDS,
            ["at matched loss 0.7778", "K = 2 1"],
        ),
        (
            twice(asked(8, class_overlap=0.8), asked(8, "initialisation", point="start", tested=10, class_overlap=0.3)),
            HOLDS,
            ["of 10; overlap", "at the minimum 0.8 (0.8–0.8), before training 0.3"],
        ),
        ([asked(4)], NOT_SEEN, ["0.4444 without class means"]),
        ([asked(7, permuted=7)], NOT_SEEN, []),
        ([asked(7, random=8)], NOT_SEEN, []),
        ([row(outliers_gap=9)], NOT_TESTED, ["--spectrum dense or lanczos"]),
        ([asked(9, "initialisation", point="start")], NOT_TESTED, []),
    ],
)
def test_outliers_lie_along_class_means(rows, verdict, words):
    judge(outliers_along_class_means, rows, verdict, *words)


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        ([asked(9), asked(9, seed=1)], HOLDS, ["G1 is 0.6 (0.6–0.6) of these", "G0 0.1 (", "G2 0.2 (", "2 seeds"]),
        (twice(asked(9, g1_share=0.5)), HOLDS, []),
        ([asked(9), asked(9, g1_share=0.45)], RESERVATION, ["less than half in some row"]),
        ([asked(9, outliers=0)], RESERVATION, ["no outliers by the gap rule in 1 of 1 rows"]),
        ([asked(9, g1_share=0.03)], NOT_SEEN, ["G1 is 0.03"]),
        ([asked(9)], RESERVATION, ["a single seed"]),
        (twice(asked(9), asked(1, "initialisation", point="start", g1_share=0.01)), HOLDS, ["before training G1 0.01"]),
        ([row(outliers_gap=9)], NOT_TESTED, ["--spectrum dense or lanczos"]),
    ],
)
def test_outliers_are_of_the_size_of_class_means(rows, verdict, words):
    judge(outliers_are_class_means, rows, verdict, *words)


@pytest.mark.parametrize(("removed", "verdict"), [(9, HOLDS), (4, RESERVATION)])
def test_as_many_outliers_as_classes_are_to_come_from_them(removed, verdict):
    rows = twice(asked(removed), asked(4 * (removed == 9), tested=4, outliers=4, n_classes=5, control="classes"))
    judge(outliers_are_classes, rows, verdict, *(["class means take out 22% of them only"] if removed == 4 else []))


def arrays_of(k, seed=0):
    values = 10.0 / np.arange(1, 2 * k + 1)
    halves = {f"class_left{name}": values / 2 for name in ("", "_cross", "_permuted", "_random")}
    return {"class_values": values, "class_g1": values[:k], **halves}


def test_figure_shows_configurations_and_what_is_gone():
    rows = [asked(9, patches=p, seed=s) for p in (1, 4) for s in (0, 1)]
    rows += [asked(2, "initialisation", point="start"), asked(1, "classes", tested=1, n_classes=2)]
    figure = figures.class_means(rows, [arrays_of(10)] * len(rows))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles == ["1 patch, 2 layers, seed 0", "4 patches, 2 layers, seed 0", "What the knock-out takes out"]
    first, *_, gone = [axes for axes in figure.axes if axes.get_visible()]
    lines = {line.get_label(): line.get_ydata() for line in first.lines}
    np.testing.assert_allclose(lines["without class means"], lines["H"] / 2)
    assert len(lines["G₁, of class means alone"]) == 10 and first.texts[0].get_text() == "9 outliers"
    names = [label.get_text() for label in gone.get_yticklabels()]
    widths = dict(zip(names, (bar.get_width() for bar in gone.patches), strict=True))
    assert widths == pytest.approx(
        {"class means": 1, "and range of G₂": 1, "labels permuted": 0, "random classes": 0, "before training": 2 / 9,
         "2 classes": 1}
    )  # fmt: skip


def test_figure_without_outliers_says_so_and_needs_rows(tmp_path):
    figure = figures.class_means([asked(9, outliers=0)], [arrays_of(10)])
    assert figure.axes[0].texts[0].get_text() == "K − 1, no outliers"
    made = figures.write_figures([asked(9)], [arrays_of(10)], tmp_path)
    assert [one.path.name for one in made] == ["class_means.png"]
    with pytest.raises(ValueError, match="must hold `class_values` for a row of the baseline"):
        figures.class_means([asked(9, "loss")], [arrays_of(10)])
