"""Training of all seeds as one program against a plain loop; random initialisations against closed forms; spectra."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim.models.losses import cross_entropy
from qjaxsim.studies.gradient_variance import plateau as gradient_plateau
from qjaxsim.studies.gradient_variance.cell import parameter_arrays, seed_parameters, train_cell
from qjaxsim.studies.gradient_variance.curvature import circuit_places, circuit_split, spectra
from qjaxsim.studies.gradient_variance.settings import GradientSettings, Run
from qjaxsim.studies.gradient_variance.training import minibatches, train_seeds
from qjaxsim.studies.shared.examples import Examples
from tests.cases import mostly_slow

RUN = Run(2, 1, 8, "linear", "alternate", 0.05)


@pytest.fixture(scope="module")
def data() -> Examples:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (29, 3, 3))
    y = rng.integers(0, 3, 29).astype(np.int32)
    return Examples(x[:20], y[:20], x[20:], y[20:], 3, "random")


@functools.cache
def trained(run: Run, data: Examples, seeds=(3, 0)):
    """Two epochs."""
    return train_seeds(run, run.model(data.side, data.n_classes), data, seeds, 2, "float64")


def test_training_equals_a_plain_loop(data):
    """Twenty images in batches of 8: the last minibatch of an epoch has 4."""
    model, seed = RUN.model(3, 3), 0
    found = trained(RUN, data)
    params = model.init(jax.random.key(seed), np.float64)
    optimiser = optax.adam(RUN.learning_rate)
    state = optimiser.init(params)
    order = minibatches(20, RUN, 2, seed).images.reshape(2, -1)[:, :20]

    @jax.jit
    def gradients(params, x, y):
        """Of the mean loss in the parameters, and of each image's own loss in <Z>."""
        values = model.expectations(params, x)
        own = jax.grad(lambda v: cross_entropy(model.classify(params, v), y).sum())(values)
        return jax.grad(lambda p: cross_entropy(model.outputs(p, x), y).mean())(params), own

    for epoch in range(2):
        for step, cut in enumerate((slice(0, 8), slice(8, 16), slice(16, 20))):
            x, y = data.x_train[order[epoch, cut]], jnp.asarray(data.y_train[order[epoch, cut]])
            gradient, signal = gradients(params, x, y)
            flat = np.asarray(gradient["weights"]).reshape(-1)
            expected = {
                "grad_mean": flat.sum() / flat.size,
                "grad_var": ((flat - flat.sum() / flat.size) ** 2).sum() / flat.size,
                "post_scale": np.linalg.norm(params["post"]["weight"]) / math.sqrt(6),
                "signal_scale": np.linalg.norm(signal) / math.sqrt(signal.size),
            }
            for name, value in expected.items():
                np.testing.assert_allclose(found.steps[name][1, epoch, step], value, rtol=1e-9, atol=1e-14)
            with jax.numpy_dtype_promotion("standard"):
                changes, state = optimiser.update(gradient, state, params)
            params = optax.apply_updates(params, changes)
        logits = np.asarray(model.outputs(params, data.x_test))
        assert found.evaluated["accuracy_test"][1, epoch] == pytest.approx((logits.argmax(1) == data.y_test).mean())
    loss = cross_entropy(model.outputs(params, data.x_train), jnp.asarray(data.y_train)).mean()
    assert found.evaluated["loss"][1, 1] == pytest.approx(float(loss), rel=1e-9)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-9, atol=1e-12), found.end, params)


@pytest.mark.parametrize("shots", mostly_slow([None, 50], keep=1))
def test_seeds_side_by_side_equal_seeds_alone(data, shots):
    run = RUN._replace(shots=shots)
    together = trained(run, data)
    for place, seed in enumerate((3, 0)):
        alone = trained(run, data, (seed,))
        for name, values in together.steps.items():
            np.testing.assert_allclose(values[place], alone.steps[name][0], rtol=1e-10, atol=1e-14)
        jax.tree.map(lambda a, b, s=place: np.testing.assert_allclose(a[s], b[0], atol=1e-12), together.end, alone.end)


def test_seeds_differ_and_sampled_gradients_differ_from_exact_ones(data):
    exact, sampled = trained(RUN, data), trained(RUN._replace(shots=50), data)
    assert not np.allclose(exact.steps["grad_var"][0], exact.steps["grad_var"][1])
    np.testing.assert_allclose(exact.start["weights"], sampled.start["weights"])
    difference = np.abs(exact.steps["grad_mean"] - sampled.steps["grad_mean"])
    assert (difference > 1e-6).all() and difference[:, 0, 0].max() < 0.2


def test_a_frozen_post_layer_stays_and_the_rest_moves(data):
    found = trained(RUN._replace(frozen=True), data)
    jax.tree.map(np.testing.assert_array_equal, found.end["post"], found.start["post"])
    assert np.ptp(found.steps["post_scale"], axis=(1, 2)).max() == 0
    for name in ("pre", "weights"):
        assert not np.allclose(ravel_pytree(found.end[name])[0], ravel_pytree(found.start[name])[0])


def test_minibatches_meet_every_image_once_an_epoch():
    found = minibatches(20, RUN, 3, 5)
    assert found.images.shape == (3, 3, 8) and found.weight.shape == (3, 8)
    np.testing.assert_allclose(found.weight.sum(axis=1), 1)
    np.testing.assert_allclose(found.weight[2], [0.25] * 4 + [0] * 4)
    for epoch in found.images:
        assert sorted(epoch[found.weight > 0].tolist()) == list(range(20))
    assert not np.array_equal(found.images[0], found.images[1])
    assert not np.array_equal(found.images, minibatches(20, RUN, 3, 6).images)


def test_minibatches_of_equal_updates_are_full_and_meet_images_evenly():
    found = minibatches(20, RUN._replace(updates=7), 2, 5)
    assert found.images.shape == (2, 7, 8)
    np.testing.assert_allclose(found.weight, 1 / 8)
    counts = np.bincount(found.images.reshape(-1), minlength=20)
    assert counts.min() >= 5 and counts.max() <= 6  # 112 in 20


def test_rows_of_a_cell_and_its_parameters(data):
    settings = GradientSettings(seeds=(3, 0), epochs=2, dtype="float64").resolved()
    rows, arrays = train_cell(settings, RUN, data)
    assert [(row["seed"], row["epoch"], row["updates"]) for row in rows] == [(3, 1, 3), (3, 2, 6), (0, 1, 3), (0, 2, 6)]
    found = trained(RUN, data)
    var, post = found.steps["grad_var"][1, 0], found.steps["post_scale"][1, 0]
    assert rows[2]["grad_var"] == pytest.approx(var.mean(), rel=1e-10)
    assert rows[2]["grad_var_per_post"] == pytest.approx((var / post**2).mean(), rel=1e-10)
    params = seed_parameters(arrays, "end", 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[1], atol=1e-12), params, found.end)
    assert {name for name in arrays if name.startswith("end/")} == set(parameter_arrays("end", found.end))
    for wrong in (5, "3", False):
        with pytest.raises(ValueError, match=rf"`seed` must be one of \[3, 0\], but is {wrong!r}\."):
            seed_parameters(arrays, "end", wrong)


# --- random initialisations ------------------------------------------------------------------------------------------


def test_variances_over_initialisations_equal_closed_forms():
    """Two qubits, one layer, angles all over the circle.

    After RX(a) RY(b) RZ(c) on RY(x)|0> the Bloch vector's z is cos x cos a cos b - sin x sin b. The CNOT (0, 1) makes Z
    of qubit 1 the product of both, leaves Z of qubit 0, and makes Z Z that of qubit 1 alone.
    """
    draws, seed = 6000, 3
    gradients = gradient_plateau.random_gradients(2, 1, "alternate", draws, seed, "float64")[1]
    x = np.random.default_rng([seed, 2, 1]).uniform(-1, 1, 2)
    c2, s2 = np.cos(x) ** 2, np.sin(x) ** 2
    by_a, by_b, square = c2 / 4, c2 / 4 + s2 / 2, c2 / 4 + s2 / 2
    z0 = [by_a[0], by_b[0], 0, 0, 0, 0]
    z1 = [by_a[0] * square[1], by_b[0] * square[1], 0, by_a[1] * square[0], by_b[1] * square[0], 0]
    both = [0, 0, 0, by_a[1], by_b[1], 0]
    np.testing.assert_allclose(gradients.var(axis=0), [z0, z1, both], rtol=0.08, atol=1e-12)
    found = gradient_plateau.variances(gradients[:, :2])
    exact = np.array([z0, z1])
    assert found["init_var"] == pytest.approx(exact.mean(), abs=4 * found["init_var_error"])
    assert found["init_var_seen"] == pytest.approx(exact[exact > 0].mean(), abs=4 * found["init_var_seen_error"])
    assert found["seen"] == pytest.approx(0.5) and 0 < found["init_var_error"] < 0.05 * found["init_var"]


def test_published_range_of_weights_scales_the_same_draws():
    published, whole = gradient_plateau.random_gradients(2, 1, "alternate", 30, 0, "float64")
    assert published.shape == whole.shape == (30, 3, 6)
    assert not np.allclose(published, whole)


@pytest.mark.slow
def test_rows_of_random_initialisations(monkeypatch):
    monkeypatch.setattr(gradient_plateau, "DEPTHS", (1, 2))
    rows, arrays = gradient_plateau.plateau_cell(GradientSettings(draws=20, seeds=(5,)), Run(*(3, 1, 8), *RUN[3:]))
    places = [(row["layers"], row["initial"], row["observable"]) for row in rows]
    assert len(set(places)) == len(rows) == 8 and arrays == {}
    assert all(row["qubits"] == 3 and row["draws"] == 20 and row["init_var"] > 0 for row in rows)


# --- spectra ---------------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_spectra_equal_the_dense_hessian_and_its_circuit_block(data):
    model = RUN._replace(qubits=3, pre="tanh").model(3, 3)
    params = model.init(jax.random.key(2), np.float64)
    flat, unravel = ravel_pytree(params)
    y = jnp.asarray(data.y_train)
    loss = lambda w: cross_entropy(model.outputs(unravel(w), data.x_train), y).mean()  # noqa: E731
    dense = np.asarray(jax.jit(jax.hessian(loss))(flat))
    row, values = spectra(model, params, data.x_train, data.y_train)
    np.testing.assert_allclose(values[""], np.linalg.eigvalsh(dense), atol=1e-10)
    assert row["lambda_max"] == pytest.approx(values[""][-1]) and row["trace"] == pytest.approx(np.trace(dense))
    assert row["parameters"] == flat.size == 27 + 3 + 9 + 12 and row["block_difference"] < 1e-10
    places = circuit_places(params)
    assert np.array_equal(np.asarray(flat)[places], np.asarray(params["weights"]).reshape(-1))
    block = np.asarray(circuit_split(model, params, data.x_train, data.y_train).hessian)
    np.testing.assert_allclose(block, dense[np.ix_(places, places)], atol=1e-10)
    np.testing.assert_allclose(values["_circuit"], np.linalg.eigvalsh(block), atol=1e-10)
