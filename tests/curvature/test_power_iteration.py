"""The power iteration: its stop rule step by step, what it says where it fails, and its residual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qjaxsim.curvature import linear_operator, matrix_operator, power_iteration
from tests.curvature.test_spectrum import SPECTRUM, prescribed


def test_finds_the_largest_magnitude_with_its_sign(key):
    matrix = prescribed(SPECTRUM)
    found = power_iteration(matrix_operator(matrix), key=key, tol=1e-13, max_steps=200)
    assert found.converged
    assert abs(found.value + 20) < 1e-10
    np.testing.assert_allclose(matrix @ found.vector, -20 * found.vector, atol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 1e-8])
def test_stop_rule(scale, key):
    """Step by step in NumPy from the same start: the rule must fire at the same step, whatever the scale."""
    matrix = scale * prescribed(SPECTRUM)
    found = power_iteration(matrix_operator(matrix), key=key)
    vector = np.asarray(jax.random.normal(key, (len(SPECTRUM),)))
    vector, quotients = vector / np.linalg.norm(vector), []
    while len(quotients) < 2 or abs(quotients[-1] - quotients[-2]) / abs(quotients[-2]) >= 1e-3:
        image = np.asarray(matrix) @ vector
        quotients.append(vector @ image)
        vector = image / np.linalg.norm(image)
    assert (found.steps, found.converged) == (len(quotients), True)
    np.testing.assert_allclose(found.value, quotients[-1], rtol=1e-12)


def test_says_when_it_has_not_converged(key):
    found = power_iteration(
        linear_operator(lambda v: jnp.array([1.0, 2.0, -2.0]) * v, 3), key=key, tol=1e-12, max_steps=7
    )
    assert (found.steps, found.converged) == (7, False)


def test_zero_matrix(key):
    found = power_iteration(linear_operator(lambda v: 0 * v, 4), key=key)
    assert (found.value, found.steps, found.converged) == (0.0, 2, True)


def test_errors(key):
    with pytest.raises(ValueError, match="Argument `max_steps` must be a positive integer, but is 0"):
        power_iteration(linear_operator(lambda v: v, 4), key=key, max_steps=0)
    for wrong in (-1e-3, np.nan, "small"):
        with pytest.raises(ValueError, match="Argument `tol` must be a finite number from 0 on, but is"):
            power_iteration(linear_operator(lambda v: v, 4), key=key, tol=wrong)


@pytest.mark.parametrize("scale", [1.0, 1e-30])
def test_the_residual_tells_of_two_leading_values_that_differ_in_sign_alone(scale, key):
    """The rule is met between the two; by dense products the residual is what is missing, and bounds the error."""
    values = np.array([3.0, -3.0, 1.0, 0.5, -0.2])
    matrix = scale * prescribed(values)
    found = power_iteration(matrix_operator(matrix), key=key)
    rest = np.asarray(matrix) @ np.asarray(found.vector) - found.value * np.asarray(found.vector)
    np.testing.assert_allclose(found.residual, np.linalg.norm(rest), rtol=1e-9)
    error = np.abs(scale * values - found.value).min()
    assert found.converged and found.residual >= error > 1e-3 * scale
    alone = power_iteration(matrix_operator(scale * prescribed(values + 1)), key=key, tol=1e-12, max_steps=200)
    assert alone.residual < 1e-5 * scale
