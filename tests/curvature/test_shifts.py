"""Hessians made of shifted evaluations: errors against draws, shots against closed forms."""

import numpy as np
import pytest

from qjaxsim.curvature.shifts import MeasuredHessian, shift_rule


def product_of_cosines(angles):
    return np.cos(angles).prod(axis=-1)


@pytest.fixture(scope="module")
def measured() -> MeasuredHessian:
    """Three angles of two parameters, one of them bent, each evaluation with an error of its own."""
    rng = np.random.default_rng(3)
    bends = np.zeros((3, 2, 2))
    bends[1, 0, 0] = 0.7
    rule = shift_rule(rng.normal(size=(3, 2)), bends)
    values = product_of_cosines(np.array([0.3, 0.5, -0.4]) + rule.shifts)
    return MeasuredHessian(values, rng.uniform(0.01, 0.03, len(values)), rule.weights, shots=1000)


def test_the_rule_gives_the_hessian_of_a_product_of_cosines():
    """Of angles that bend with three parameters, against the chain rule by hand."""
    rng = np.random.default_rng(4)
    angles, slopes = rng.uniform(-1, 1, 3), rng.normal(size=(3, 3))
    bends = rng.normal(size=(3, 3, 3))
    bends = bends + bends.swapaxes(1, 2)
    rule = shift_rule(slopes, bends)
    tangents = np.tan(angles)
    in_angles = np.outer(tangents, tangents) - np.diag(tangents**2 + 1)  # over the product
    expected = slopes.T @ in_angles @ slopes - np.tensordot(tangents, bends, 1)
    found = MeasuredHessian(product_of_cosines(angles + rule.shifts), np.zeros(len(rule.shifts)), rule.weights)
    np.testing.assert_allclose(found.mean, product_of_cosines(angles) * expected, atol=1e-12)


def test_errors_of_entries_and_eigenvalues_are_those_of_draws(measured):
    rng = np.random.default_rng(0)
    drawn = rng.normal(measured.values, measured.stds, (20000, len(measured.values)))
    hessians = np.einsum("sk,kpq->spq", drawn, measured.weights)
    found = np.cov(hessians.reshape(20000, 4).T).reshape(2, 2, 2, 2)
    np.testing.assert_allclose(measured.covariance, found, atol=0.05 * found.max())
    np.testing.assert_allclose(measured.stds_of_entries**2, np.einsum("pqpq->pq", measured.covariance), rtol=1e-12)
    np.testing.assert_allclose(measured.eigenvalue_stds, np.linalg.eigvalsh(hessians).std(axis=0), rtol=0.05)
    np.testing.assert_allclose(measured.bootstrap(20000, 5).std(axis=0), measured.eigenvalue_stds, rtol=0.05)


def test_shots_needed_make_the_error_that_was_asked_for(measured):
    for place in (0, -1):
        needed = measured.shots_needed(0.02, place)
        size = abs(measured.eigenvalues[place])
        assert measured.at_shots(needed.value).eigenvalue_stds[place] == pytest.approx(0.02 * size, rel=0.01)
        assert measured.at_shots(needed.sign).eigenvalue_stds[place] <= size / 2
        assert needed.evaluations == len(measured.values)


def test_evaluations_without_weight_are_left_out():
    assert len(shift_rule([[1.0]]).shifts) == 2
    assert len(shift_rule(np.eye(3)).shifts) == 1 + 3 + 12
    assert len(shift_rule([[1.0], [0.0]]).shifts) == 2


def test_shots_need_error_bars(measured):
    without = MeasuredHessian(measured.values, 0 * measured.stds, measured.weights)
    with pytest.raises(ValueError, match=r"Shots needed are known from error bars, .* give `shots`"):
        without.shots_needed()
    with pytest.raises(ValueError, match=r"Argument `shots` needs evaluations by a known number"):
        without.at_shots(10)
    nothing = MeasuredHessian(0 * measured.values, measured.stds, measured.weights, 10)
    with pytest.raises(ValueError, match=r"Argument `place` must be that of an eigenvalue other than zero, but -1"):
        nothing.shots_needed()
    with pytest.raises(ValueError, match=r"Argument `relative` must be a positive number, but is 0"):
        measured.shots_needed(0)
    with pytest.raises(ValueError, match=r"Argument `samples` must be an integer of at least 1, but is 0"):
        measured.bootstrap(0)


def test_the_edge_is_how_far_out_errors_alone_reach():
    rule = shift_rule([[1.0]])
    one = MeasuredHessian(np.array([3.0, -1.0]), np.array([0.3, 0.4]), rule.weights, shots=10)
    assert abs(one.edge(20000)) < 0.01  # a single eigenvalue is as often positive
    # Three by three, against draws made here.
    rule = shift_rule(np.eye(3))
    many = MeasuredHessian(np.ones(len(rule.shifts)), np.full(len(rule.shifts), 0.1), rule.weights, shots=10)
    errors = np.random.default_rng(8).normal(0, 0.1, (20000, len(rule.shifts)))
    wanted = -np.linalg.eigvalsh(np.einsum("sk,kpq->spq", errors, rule.weights))[:, 0].mean()
    assert many.edge(20000) == pytest.approx(wanted, rel=0.03)
    assert many.at_shots(40).edge(20000) == pytest.approx(wanted / 2, rel=0.03)
