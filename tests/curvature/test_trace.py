"""Estimates of traces and densities with their errors, blocks of operators: against dense matrices and statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.curvature import matrix_operator, spectral_density, trace_estimate


def symmetric(values, seed=0, dtype=np.float64):
    """A matrix with such eigenvalues."""
    values = np.asarray(values)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))
    return matrix_operator(jnp.asarray((basis * values) @ basis.T, dtype))


def scores(operator, expected, probes, method, runs=60):
    """Errors of many estimates, and the same in standard errors."""
    found = [trace_estimate(operator, key=jax.random.key(i), probes=probes, method=method) for i in range(runs)]
    errors = np.array([one.value - expected for one in found])
    return errors, errors / np.array([one.standard_error for one in found])


FEW_LARGE = 20 / (1 + np.arange(120)) ** 1.5


def test_xtrace_is_unbiased_and_far_better_on_a_few_large_eigenvalues():
    operator = symmetric(FEW_LARGE)
    errors, _ = scores(operator, FEW_LARGE.sum(), 24, "xtrace")
    plain, _ = scores(operator, FEW_LARGE.sum(), 24, "hutchinson")
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(len(errors))
    assert errors.std() < plain.std() / 4


@pytest.mark.parametrize("method", ["hutchinson", "xtrace"])
def test_standard_errors_are_those_of_the_estimates(method):
    values = np.linspace(-1, 2, 80)
    errors, in_errors = scores(symmetric(values), values.sum(), 20, method)
    assert abs(errors.mean()) < 4 * errors.std() / np.sqrt(len(errors))
    assert 0.7 < np.sqrt(np.mean(in_errors**2)) < 1.5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_xtrace_is_exact_for_low_ranks(dtype):
    values = np.zeros(60)
    values[:5] = [5, -3, 2, 1, 0.5]
    found = trace_estimate(symmetric(values, dtype=dtype), key=jax.random.key(1), probes=20, method="xtrace")
    np.testing.assert_allclose(found.value, 5.5, rtol=2e-4 if dtype == np.float32 else 1e-11)
    assert found.probes == 20


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_small_and_zero_matrices(scale):
    values = scale * np.array([3.0, -1.0, 0.25])
    exact = trace_estimate(symmetric(values, dtype=np.float32), key=jax.random.key(0), probes=50, method="xtrace")
    np.testing.assert_allclose(exact.value, values.sum(), rtol=1e-5)
    assert (exact.standard_error, exact.probes) == (0.0, 6)
    zero = trace_estimate(matrix_operator(jnp.zeros((9, 9))), key=jax.random.key(0), probes=6, method="xtrace")
    assert zero == (0.0, 0.0, 6)


def test_density_errors_come_from_the_probes():
    values = np.concatenate([np.full(30, -1.0), np.full(50, 2.0)])
    operator = symmetric(values)
    grid = np.array([-1.0, 2.0])
    found = [
        spectral_density(operator, key=jax.random.key(i), steps=6, probes=8, grid=grid, sigma=0.1) for i in range(40)
    ]
    exact = np.array([30, 50]) / 80 / (0.1 * np.sqrt(2 * np.pi))
    in_errors = np.array([(one.density - exact) / one.standard_error for one in found])
    # Student's t of seven degrees of freedom has a standard deviation of 1.18.
    assert np.all((in_errors.std(axis=0) > 0.8) & (in_errors.std(axis=0) < 1.8))
    single = spectral_density(operator, key=jax.random.key(0), steps=6, probes=1, grid=grid, sigma=0.1)
    assert np.isnan(single.standard_error).all()


@pytest.mark.parametrize("scale", [1e-290, 1e290])
def test_errors_scale_as_the_matrix_does(scale):
    values, grid, key = np.linspace(-1, 2, 30), np.array([0.0, 1.5]), jax.random.key(0)
    plain, scaled = symmetric(values), symmetric(scale * values)
    for method in ("hutchinson", "xtrace"):
        one, other = (trace_estimate(each, key=key, probes=12, method=method) for each in (plain, scaled))
        np.testing.assert_allclose(np.array(other[:2]) / scale, one[:2], rtol=1e-9)
    one = spectral_density(plain, key=key, steps=6, probes=3, grid=grid, sigma=0.1)
    other = spectral_density(scaled, key=key, steps=6, probes=3, grid=scale * grid, sigma=0.1 * scale)
    np.testing.assert_allclose(other.density * scale, one.density, rtol=1e-9)
    np.testing.assert_allclose(other.standard_error * scale, one.standard_error, rtol=1e-9)


def test_nodes_lie_within_their_residuals_of_eigenvalues():
    values = np.linspace(-1, 1, 90) ** 3
    found = spectral_density(symmetric(values), key=jax.random.key(2), steps=12, probes=3)
    distances = np.abs(found.nodes[:, None] - values[None, :]).min(axis=1)
    assert found.residuals.shape == found.nodes.shape
    assert np.all(distances <= found.residuals + 1e-12)
    assert found.residuals.max() > 1e-3


def test_blocks_of_operators():
    operator = symmetric(np.arange(6.0) - 2)
    products = matrix_operator(operator.matrix)
    products = type(products)(products.size, products.dtype, products.rows)
    places = [4, 1, 2]
    expected = np.asarray(operator.matrix)[np.ix_(places, places)]
    for one in (operator, products):
        np.testing.assert_allclose(one.block(places).dense(), expected, atol=1e-14)
        np.testing.assert_allclose(one.block(places) @ jnp.ones(3), expected.sum(axis=1), atol=1e-14)
    mask = np.array([True, False, False, True, False, False])
    np.testing.assert_allclose(operator.block(mask).dense(), np.asarray(operator.matrix)[np.ix_([0, 3], [0, 3])])
    for wrong in ([], [6], [1, 1], [0.5], [True, False]):
        with pytest.raises(ValueError, match="`places` must give places from 0 to 5, none twice, or a mask of 6"):
            operator.block(wrong)


def test_refusals():
    operator = symmetric([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"`method` must be one of \['hutchinson', 'xtrace'\], but is 'xtrac'"):
        trace_estimate(operator, key=jax.random.key(0), method="xtrac")
    with pytest.raises(ValueError, match="`probes` must be an integer of at least 4, but is 3"):
        trace_estimate(operator, key=jax.random.key(0), probes=3, method="xtrace")
