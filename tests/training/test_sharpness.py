"""Sharpness along a training: against closed forms, at the edge of stability, resumed, and on a study's page."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qjaxsim.common.checkpoint import OtherComputationError
from qjaxsim.common.progress import Progress
from qjaxsim.studies.shared import sharpness as shared
from qjaxsim.training import TrainConfig, fit
from qjaxsim.training.sharpness import sharpness_along

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ np.array([1.0, -2.0, 0.5])


def squares(w, x, y):
    """Of a linear model, a number an example: its Hessian is 2 x x^T everywhere."""
    return (x @ w["a"] - y) ** 2


def trained(loss=squares, x=X, y=Y, start=None, **settings):
    config = TrainConfig(**{"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "optimizer": "sgd", **settings})
    params = {"a": np.zeros(3)} if start is None else start
    return fit(loss, params, x, y, config, progress=False), config


def test_of_a_linear_model_it_is_that_of_the_data():
    result, config = trained(schedule="cosine_cycle", cycle_epochs=2)
    found = sharpness_along(squares, result, X, Y, config)
    expected = np.linalg.eigvalsh(2 * X.T @ X / len(X))[-1]
    np.testing.assert_allclose(found.values, expected, rtol=1e-10)
    np.testing.assert_array_less(found.residuals, 1e-6)
    np.testing.assert_allclose(found.bounds, [40, 80, np.inf, np.inf])
    few = sharpness_along(squares, result, X, Y, config, examples=5)
    chosen = X[[0, 9, 19, 29, 39]]
    np.testing.assert_allclose(few.values, np.linalg.eigvalsh(2 * chosen.T @ chosen / 5)[-1], rtol=1e-10)


def test_gradient_descent_leaves_minima_above_two_over_the_rate():
    """w0 w1 = 1 is a valley of minima with sharpness w0**2 + w1**2: descent ends where that is below the bound."""
    loss = lambda w, x, y: (w["w"][0] * w["w"][1] - 1.0) ** 2 / 2 + 0 * x.sum()  # noqa: E731
    one = np.ones(1)
    result, config = trained(loss, one, one, {"w": np.array([4.0, 0.3])}, epochs=400, batch_size=1, learning_rate=0.2)
    found = sharpness_along(loss, result, one, one, config)
    assert found.values[0] > found.bounds[0] == 10
    assert 2 <= found.values[-1] <= 10.001
    np.testing.assert_allclose(found.values[-1], (result.trajectory[-1] ** 2).sum(), rtol=1e-4)


def test_goes_on_from_what_was_finished(tmp_path):
    result, config = trained()
    place = tmp_path / "unfinished.npz"

    def stop(done, _):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sharpness_along(squares, result, X, Y, config, checkpoint=place, progress=stop)
    seen = []
    found = sharpness_along(squares, result, X, Y, config, checkpoint=place, progress=lambda now, of: seen.append(now))
    assert seen[0] > 1
    np.testing.assert_array_equal(found.values, sharpness_along(squares, result, X, Y, config).values)
    other, _ = trained(seed=1)
    with pytest.raises(OtherComputationError):
        sharpness_along(squares, other, X, Y, config, checkpoint=place)
    with pytest.raises(OtherComputationError, match="other loss"):
        sharpness_along(lambda *given: 2 * squares(*given), result, X, Y, config, checkpoint=place)


def test_an_optimiser_with_a_rate_of_its_own_has_no_bound():
    config = TrainConfig(epochs=1, batch_size=8, optimizer=optax.sgd(0.1))
    result = fit(squares, {"a": np.zeros(3)}, X, Y, config, progress=False)
    assert np.isnan(sharpness_along(squares, result, X, Y, config).bounds).all()


def test_examples_are_counted():
    result, config = trained()
    with pytest.raises(ValueError, match="`examples` must be a positive integer, but is 0"):
        sharpness_along(squares, result, X, Y, config, examples=0)


@pytest.mark.parametrize("other", [{"epochs": 4}, {"epochs": 2}, {"learning_rate": 0.1}, {"schedule": "cosine"}])
def test_rates_of_another_training_are_refused(other):
    result, config = trained()
    with pytest.raises(ValueError, match="`config` must be as `fit` took it, but its rates are not those of `result`"):
        sharpness_along(squares, result, X, Y, replace(config, **other))


def test_arrays_table_and_figure_of_a_cell(tmp_path, monkeypatch):
    result, config = trained(epochs=2)
    arrays = shared.sharpness_arrays(squares, result, X, Y, config, tmp_path, Progress())
    table = np.loadtxt(tmp_path / "sharpness.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, 1], arrays["sharpness"])
    np.testing.assert_array_equal(table[:, 0], [0, 1, 2])
    assert not list(tmp_path.glob("unfinished*"))
    cells = {"a": arrays, "b": {"other": jnp.zeros(1)}}
    monkeypatch.setattr(shared.sweep, "read_arrays", lambda out, key: cells[key])
    rows = [{shared.sweep.CELL_COLUMN: key} for key in "aab"]
    (figure,) = shared.sharpness_figures(rows, tmp_path)
    assert figure.path.read_bytes()[:4] == b"\x89PNG"
    assert shared.sharpness_figures(rows[2:], tmp_path) == []


def test_examples_are_held_to_what_training_takes():
    result, config = trained()
    with pytest.raises(TypeError, match="Argument `y` must be whole, but is a masked array; fill it"):
        sharpness_along(squares, result, X, np.ma.array(Y, mask=Y > 0), config)
    with pytest.raises(ValueError, match=r"must hold equally many examples .* have shapes \(40, 3\) and \(7,\)"):
        sharpness_along(squares, result, X, Y[:7], config)
    labels = np.arange(40) % 2 + 2**32 * (np.arange(40) == 39)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"`y` must hold integers that fit .* holds 4294967297"):
        sharpness_along(squares, result, X, labels, config)
