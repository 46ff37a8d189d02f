"""What verdicts are made of: slopes, spreads and counts, by hand."""

import itertools
import math

import pytest

from qjaxsim.studies.hessian.nulls import null_counts
from qjaxsim.studies.shared.trends import fitted_slope, kept, quote, series, trend


def sweep(law, patches=(1, 4, 9), layers=(2,), seeds=(0, 1), noise=0.02):
    """Rows with lambda_max = law(patches), times exp(noise) more from seed to seed."""
    return [
        {"patches": p, "layers": n, "seed": s, "lambda_max": law(p) * math.exp(noise * s)}
        for p, n, s in itertools.product(patches, layers, seeds)
    ]


def inverse(p):
    return 80.0 / p


def test_slope_and_its_error_by_hand():
    rows = [
        {"patches": p, "layers": 2, "lambda_max": math.exp(y)} for p, y in ((1, 1.0), (math.e, 0.2), (math.e**2, -1.0))
    ]
    (one,) = series(rows, "patches")
    slope = fitted_slope(one)
    # y = 1 + 1/15 - x at x = 0, 1, 2 leaves residuals -1/15, 2/15, -1/15; s^2 = (6/225) / 1, Sxx = 2.
    assert slope.value == pytest.approx(-1.0)
    assert slope.error == pytest.approx(math.sqrt(6 / 225 / 2))
    assert slope.local == pytest.approx([-0.8, -1.2])
    assert fitted_slope(series(rows[:2], "patches")[0]).error is None


def test_spread_is_that_of_the_difference():
    rows = sweep(inverse, patches=(1, 4), seeds=(0, 1), noise=0.5)
    (one,) = series(rows, "patches")
    ((start, end, change, over_seeds),) = one.steps
    assert (start, end) == (1, 4)
    assert change == pytest.approx(-math.log(4))
    assert over_seeds == pytest.approx(0.5)  # two variances of 0.5^2 / 2
    assert trend([one], -1) == (True, [])
    assert trend([one], 1).strict is False


def test_kept_compares_common_patches_and_depths_only():
    control = sweep(lambda p: 80.0, patches=(1, 4), layers=(2, 8))
    (found,) = kept(control, sweep(lambda p: {1: 80.0, 4: 10.0, 9: 9.5}[p]))
    assert found.baseline == pytest.approx(math.log(10 / 80) / math.log(4))
    assert found.slope == pytest.approx(0.0, abs=1e-12)
    assert found.share == pytest.approx(0.0, abs=1e-12)


def test_quote_without_seeds():
    assert quote(series(sweep(inverse, seeds=(0,)), "patches")) == (
        "lambda_max by patches at 2 layers: 1: 80, 4: 20, 9: 8.889; 1 seed"
    )


def test_quote_says_which_means():
    rows = [{"patches": p, "lambda_max": value} for p in (1, 2) for value in (1.0, 4.0)]
    text = "lambda_max by patches: 1: {0} (1–4), 2: {0} (1–4); {1} over 2 seeds".format
    assert quote(series(rows, "patches", apart=())) == text("2", "geometric means")
    assert quote(series(rows, "patches", apart=(), logs=False)) == text("2.5", "means")


def test_null_counts_add_up():
    row = {"parameters": 1000, "null_weights_predicted": 20, "redundant_predicted": 30, "near_zero_fraction": 0.5}
    assert null_counts(row | {"gn_null": 600}) == (20, 30, 550, 400)
    assert null_counts(row | {"near_zero_fraction": 0.01}) == (20, 30, 0, 950)
    assert null_counts(row | {"redundant_found": 40}).explained == pytest.approx(0.12)
    assert null_counts(row | {"redundant_predicted": None}) is None
