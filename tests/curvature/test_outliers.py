"""What is counted among eigenvalues: outliers by every rule, zeros and rank, where their number is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.curvature import (
    count_outliers,
    dense_spectrum,
    exact_zeros,
    gap_ratios,
    near_zero_fraction,
    numerical_rank,
)
from tests.curvature.test_spectrum import prescribed


class TestOutliers:
    bulk = np.linspace(1.0, 0.9, 30)

    @pytest.mark.parametrize(("rule", "m"), [("k-1", 2), ("k", 3), ("k2", 9)])
    def test_a_gap_is_found_where_it_was_put(self, rule, m):
        values = np.concatenate([np.linspace(12.0, 10.0, m), self.bulk, [-3.0]])
        for tested in ("gap", rule):
            found = count_outliers(values[::-1], 3, tested)
            assert (found.rule, found.number, found.separates) == (tested, m, True)
            np.testing.assert_allclose(found.ratio, 10)
        for other in {"k-1", "k", "k2"} - {rule}:
            assert count_outliers(values, 3, other).number == 0
        assert gap_ratios(values, 3)[rule] == pytest.approx(10)

    def test_two_gaps(self):
        """K = 3 large, then 6 of a mini-bulk, then the bulk: K^2 separates, K does not since a larger gap is below."""
        values = np.concatenate([[40.0] * 3, [20.0] * 6, self.bulk])
        assert count_outliers(values, 3, "gap").number == 9
        assert count_outliers(values, 3, "k2").separates
        assert count_outliers(values, 3, "k") == ("k", 0, 2.0, False)
        bigger_first = np.concatenate([[400.0] * 3, [3.0] * 6, self.bulk])
        assert count_outliers(bigger_first, 3, "gap").number == 3
        assert count_outliers(bigger_first, 3, "k").number == 3
        assert count_outliers(bigger_first, 3, "k2").number == 9

    def test_no_gap(self):
        assert count_outliers(np.linspace(1, 2, 40), 3) == ("gap", 0, pytest.approx(65 / 64), False)

    def test_outliers_are_at_most_half_of_the_spectrum(self):
        # The largest ratio, 100, stands near the lower end: a ragged edge, not a gap below outliers.
        values = np.array([1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3, 0.013])
        assert count_outliers(values, 3).number == 0
        assert count_outliers(np.concatenate([values, np.full(8, 0.012)]), 3).number == 7

    def test_leading_eigenvalues_count_as_all_of_them_do(self):
        every = np.concatenate([np.linspace(12.0, 10.0, 9), self.bulk, [0.0, -3.0]])
        leading = np.sort(every)[::-1][:15]
        for rule in ("gap", "k2"):
            assert count_outliers(leading, 3, rule, above=39) == count_outliers(every, 3, rule)
            for told in (every, every[:-1]):  # some below the floor, or one: they tell it themselves
                assert count_outliers(told, 3, rule, above=2) == count_outliers(told, 3, rule)
        assert count_outliers(leading, 3, above=17).number == 0  # nine would be more than half of them

    def test_a_ratio_is_told_beyond_half_of_the_spectrum_too(self):
        values = np.array([12.0, 6.0, 1.0, -1.0])
        assert gap_ratios(values, 3) == {
            "k-1": 6.0,
            "k": pytest.approx(np.nan, nan_ok=True),
            "k2": pytest.approx(np.nan, nan_ok=True),
        }
        assert count_outliers(values, 3, "k-1") == ("k-1", 0, 6.0, False)
        assert count_outliers(values, 3, "k2")[:2] == ("k2", 0)

    def test_a_drop_below_the_noise_floor_is_no_ratio(self):
        values = np.array([3.0, 2.0, 1e-9, 0.9e-9, 0.8e-9, 0.0, -1.0])
        assert count_outliers(values, 2).number == 1
        assert np.isnan(gap_ratios(values, 2)["k"])
        assert count_outliers(values, 2, noise=1e-12).number == 2
        negative = count_outliers(np.array([-1.0, -2.0]), 2)
        assert (negative.number, negative.separates) == (0, False)
        assert np.isnan(negative.ratio)

    def test_the_floor_is_that_of_the_largest_magnitude(self):
        """Rounding beside a large negative eigenvalue is no outlier, however it is spread."""
        rounding = [3e-8, 1e-9, 5e-10, 4e-10, 3e-10, 2e-10]
        found = count_outliers(np.array([-1.0, -0.5, *rounding]), 2)
        assert (found.number, found.separates) == (0, False)
        assert np.isnan(list(gap_ratios(np.array([-1.0, *rounding]), 2).values())).all()
        assert count_outliers(np.array([*rounding, 0.0]), 2).number == 1  # nothing larger: these are the numbers

    def test_gap_beyond_the_candidates_is_not_taken(self):
        values = np.concatenate([[30.0, 10.0], np.linspace(9.0, 8.0, 20), self.bulk])
        assert count_outliers(values, 2).number == 1  # candidates end at K^2 + 5 = 9

    def test_edge(self):
        values = np.concatenate([[50.0, 20.0, 12.0], np.linspace(-1.0, 1.0, 97)])
        quantile = np.quantile(np.abs(values), 0.9)
        for scale in (0.01, 1.0, 100.0):
            assert count_outliers(scale * values, 3, "edge").number == 3
        assert count_outliers(values, 3, "edge", edge_factor=15 / quantile).number == 2
        assert count_outliers(values, 3, "edge", edge_factor=100.0) == (
            "edge",
            0,
            pytest.approx(np.nan, nan_ok=True),
            False,
        )

    def test_errors(self):
        with pytest.raises(ValueError, match="`rule` must be one of gap, k-1, k, k2, edge, but it is 'knee'"):
            count_outliers(self.bulk, 3, "knee")
        with pytest.raises(ValueError, match="`n_classes` must be an integer of at least 2, but is 1"):
            count_outliers(self.bulk, 1)
        with pytest.raises(ValueError, match="`noise` must be between 0 and 1, but it is 0"):
            count_outliers(self.bulk, 3, noise=0)
        with pytest.raises(ValueError, match=r"at least one finite number, but it has shape \(2,\) with 1 not finite"):
            count_outliers([1.0, np.nan], 3)
        with pytest.raises(ValueError, match=r"at least one finite number, but it has shape \(0,\)"):
            near_zero_fraction([])
        with pytest.raises(TypeError, match="`eigenvalues` must be whole, but is a masked array; fill it"):
            numerical_rank(np.ma.array([2.0, 1.0], mask=[True, False]))
        with pytest.raises(TypeError, match=r"`eigenvalues` must hold real numbers, .*eigvalsh.*, but is array\("):
            numerical_rank(np.array([1 + 2j, 1e-30j]))
        with pytest.raises(TypeError, match="`matrix` must be whole, but is a masked array; fill it"):
            exact_zeros(np.ma.array(np.eye(2), mask=np.eye(2)))


class TestZeros:
    def test_near_zero_fraction(self):
        assert near_zero_fraction([-4.0, 1e-3, 1e-5, 0.0], rtol=1e-4) == 0.5
        assert near_zero_fraction([-4.0, 1e-3, 1e-5, 0.0], rtol=1e-3) == 0.75
        assert near_zero_fraction([0, 0]) == 1.0

    def test_exact_zeros_are_null_parameters_not_null_combinations(self):
        matrix = np.zeros((5, 5))
        matrix[:2, :2] = 1.0  # rank 1: one null combination of two parameters that matter
        assert exact_zeros(matrix) == 3
        assert numerical_rank(dense_spectrum(matrix)) == 1
        matrix[2, 2] = 1e-17
        matrix[3, 3] = 1e-12
        assert exact_zeros(matrix) == 2
        assert exact_zeros(matrix, rtol=0.0) == 1
        assert exact_zeros(matrix, rtol=1e-10) == 3
        assert exact_zeros(np.zeros((4, 4))) == 4

    def test_numerical_rank(self):
        assert numerical_rank(dense_spectrum(prescribed([5.0, -1.0, 1e-3] + [0.0] * 20))) == 3
        single = dense_spectrum(prescribed([5.0, -1.0] + [0.0] * 21, jnp.float32))
        assert numerical_rank(single, rtol=23 * 1.2e-7) == 2
        assert numerical_rank(np.array([1.0, 1e-6], np.float32)) == 2
        assert numerical_rank(np.array([1.0, 1e-7], np.float32)) == 1
        assert numerical_rank(np.zeros(3)) == 0

    def test_errors(self):
        with pytest.raises(ValueError, match=r"`matrix` must have shape \(P, P\), but it has shape \(3,\)"):
            exact_zeros(np.zeros(3))
        with pytest.raises(TypeError, match="`matrix` must be of a real float dtype, but it is int64"):
            exact_zeros(np.zeros((3, 3), np.int64))
