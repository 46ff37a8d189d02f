"""Training: the optimiser against NumPy, the schedule against its formula, what a run gives."""

import dataclasses
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim import datasets
from qjaxsim.datasets import stratified_batches
from qjaxsim.training import Evaluation, TrainConfig, fit, learning_rates
from tests.training_problem import PROBLEM, assert_equal_runs, config, logits, loss, metrics, params, run, x, y

# --- schedule and optimiser --------------------------------------------------------------------------------------


def test_cosine_cycle_is_the_published_formula():
    settings = TrainConfig(epochs=50, learning_rate=1e-2, schedule="cosine_cycle", cycle_epochs=5)
    rates = learning_rates(settings)
    np.testing.assert_allclose(rates, 0.5e-2 * (1 + np.cos(np.pi * np.arange(50) / 5)), atol=1e-16)
    assert np.flatnonzero(rates == 0).tolist() == [5, 15, 25, 35, 45]
    assert rates[-1] / 1e-2 == pytest.approx(0.905, abs=5e-4)


def test_other_schedules():
    np.testing.assert_array_equal(learning_rates(TrainConfig(epochs=3, learning_rate=0.2)), [0.2] * 3)
    cosine = learning_rates(TrainConfig(epochs=8, learning_rate=2.0, schedule="cosine"))
    np.testing.assert_allclose(cosine, 1 + np.cos(np.pi * np.arange(8) / 8), rtol=1e-14)
    assert learning_rates(TrainConfig(epochs=0, schedule="cosine")).shape == (0,)


def numpy_adam(gradient, theta, rates, decay, eps=1e-8):
    """Adam with coupled L2 from its definition (Kingma and Ba 2015, algorithm 1), one rate per step."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    path = [theta]
    for t, rate in enumerate(rates, 1):
        g = gradient(theta, t) + decay * theta
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        theta = theta - rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + eps)
        path.append(theta)
    return np.array(path)


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_full_batch_adam_against_numpy(decay):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(20, 4)), rng.normal(size=20)
    start = rng.normal(size=4)

    def square(theta, a, b):
        return jnp.mean((a @ theta - b) ** 2)

    settings = TrainConfig(
        epochs=12, batch_size=20, learning_rate=0.1, schedule="cosine_cycle", cycle_epochs=4, weight_decay=decay
    )
    result = fit(square, start, a, b, settings)
    expected = numpy_adam(lambda theta, t: 2 * a.T @ (a @ theta - b) / 20, start, learning_rates(settings), decay)
    np.testing.assert_allclose(result.trajectory, expected, rtol=1e-10, atol=1e-12)
    assert result.history[5]["train_loss"] == pytest.approx(np.mean((a @ expected[5] - b) ** 2), rel=1e-12)


def test_minibatch_adam_against_numpy_on_the_same_batches():
    """Unequal batches (7, 7, 6), larger ones first, every example once an epoch."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20, 3)), np.arange(20) % 4
    settings = TrainConfig(epochs=3, batch_size=7, learning_rate=0.05, weight_decay=0.1, seed=9)

    def square(theta, a, b):
        return jnp.mean((a @ theta - b.astype(a.dtype)) ** 2)

    batches = []
    for epoch in (1, 2, 3):
        folds = stratified_batches(b, 7, rng=np.random.default_rng((9, epoch)))
        batches += sorted(folds, key=len, reverse=True)
    assert [len(batch) for batch in batches[:3]] == [7, 7, 6]

    def gradient(theta, t):
        rows, targets = a[batches[t - 1]], b[batches[t - 1]]
        return 2 * rows.T @ (rows @ theta - targets) / len(rows)

    expected = numpy_adam(gradient, np.zeros(3), [0.05] * 9, 0.1)
    result = fit(square, np.zeros(3), a, b, settings)
    np.testing.assert_allclose(result.trajectory, expected[::3], rtol=1e-10, atol=1e-12)
    losses = [np.mean((a[i] @ expected[k] - b[i]) ** 2) for k, i in enumerate(batches)]
    assert result.history[1]["batch_loss"] == pytest.approx(np.dot(losses[:3], [7, 7, 6]) / 20)


@pytest.mark.parametrize("batch_size", (20, 7))
def test_weights_of_examples_count_in_every_minibatch_and_mean(batch_size):
    """By hand: a minibatch's loss is the sum of w l over its size, with w 1 in the mean over all examples."""
    rng = np.random.default_rng(3)
    a, b, weights = rng.normal(size=(20, 3)), rng.normal(size=20), rng.uniform(0.1, 4, 20)
    settings = TrainConfig(epochs=3, batch_size=batch_size, learning_rate=0.05, optimizer="sgd", seed=4)
    shares = weights / weights.mean()
    theta, path = np.zeros(3), [np.zeros(3)]
    for epoch in (1, 2, 3):
        folds = stratified_batches(np.zeros(20, int), batch_size, rng=np.random.default_rng((4, epoch)))
        losses = []
        for rows in sorted(folds, key=len, reverse=True):
            off = a[rows] @ theta - b[rows]
            losses.append(shares[rows] @ off**2)
            theta = theta - 0.05 * 2 * a[rows].T @ (shares[rows] * off) / len(rows)
        path.append(theta)
    result = fit(lambda p, x, y: (x @ p - y) ** 2, np.zeros(3), a, b, settings, weights=1e200 * weights)
    np.testing.assert_allclose(result.trajectory, path, rtol=1e-10)
    assert result.history[3]["batch_loss"] == pytest.approx(sum(losses) / 20)
    means = [np.average((a @ theta - b) ** 2, weights=weights) for theta in path]
    assert [row["train_loss"] for row in result.history] == pytest.approx(means)


def test_sgd_with_coupled_decay_by_hand():
    settings = TrainConfig(epochs=4, batch_size=2, learning_rate=0.25, optimizer="sgd", weight_decay=1.0)
    result = fit(lambda p, x, y: jnp.mean(p * x), np.array(8.0), np.ones(2), np.zeros(2), settings)
    theta = [8.0]
    for _ in range(4):
        theta.append(theta[-1] - 0.25 * (1 + theta[-1]))
    np.testing.assert_allclose(result.trajectory[:, 0], theta, rtol=1e-15)


def test_epochs_of_zero_rate_leave_the_parameters(uninterrupted):
    """Epoch e = 5 has rate zero: entries 5 and 6 of the trajectory are equal, neighbours are not."""
    moves = np.abs(np.diff(uninterrupted.trajectory, axis=0)).max(axis=1)
    assert np.flatnonzero(moves == 0).tolist() == [5]
    assert uninterrupted.history[6]["learning_rate"] == 0


# --- result ------------------------------------------------------------------------------------------------------


def test_result_is_consistent(uninterrupted):
    result = uninterrupted
    assert result.trajectory.shape == (13, 18)
    assert result.trajectory.dtype == np.float32
    np.testing.assert_array_equal(result.trajectory[0], ravel_pytree(jax.tree.map(jnp.asarray, params))[0])
    np.testing.assert_array_equal(result.trajectory[-1], ravel_pytree(result.params_final)[0])
    np.testing.assert_array_equal(result.trajectory[result.best_epoch], ravel_pytree(result.params_best)[0])
    losses = [row["train_loss"] for row in result.history]
    assert result.best_epoch == int(np.argmin(losses)) > 0
    assert [row["epoch"] for row in result.history] == list(range(13))
    assert [row["learning_rate"] for row in result.history] == [None, *learning_rates(config)]
    assert list(result.history[0]) == [
        "epoch", "learning_rate", "batch_loss", "train_accuracy", "train_loss", "test_accuracy", "test_loss", "seconds",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [7, 1000])
def test_metrics_in_chunks_are_means_over_all_examples(size):
    settings = dataclasses.replace(config, epochs=1, eval_batch_size=size)
    result = fit(loss, params, x, y, settings, metrics=metrics, test=(x[:20], y[:20]))
    for part, n in (("train", 64), ("test", 20)):
        whole = metrics(result.params_final, jnp.asarray(x[:n]), jnp.asarray(y[:n]))
        for name, value in whole.items():
            assert result.history[-1][f"{part}_{name}"] == pytest.approx(float(value), rel=1e-6)


def test_best_by_another_column_and_before_the_start():
    worse = TrainConfig(epochs=3, batch_size=64, learning_rate=0.5, best="test_up", optimizer="sgd")
    result = fit(
        lambda p, x, y: jnp.mean(p * x),
        np.array(1.0),
        np.ones(64),
        np.zeros(64),
        worse,
        metrics=lambda p, x, y: {"up": -jnp.mean(p * x)},
        test=(np.ones(2), np.zeros(2)),
    )
    assert result.best_epoch == 0
    assert float(result.params_best) == 1.0
    assert float(result.params_final) == pytest.approx(-0.5)


def test_zero_epochs_evaluate_the_start():
    result = fit(loss, params, x, y, TrainConfig(epochs=0))
    assert result.trajectory.shape == (1, 18)
    assert result.history[0]["train_loss"] == pytest.approx(float(loss(params, jnp.asarray(x), jnp.asarray(y))))


def test_seed_decides_the_batches(uninterrupted):
    again = run()
    assert_equal_runs(uninterrupted, again)
    other = fit(loss, params, x, y, dataclasses.replace(config, seed=4, epochs=1))
    assert not np.array_equal(other.trajectory[1], uninterrupted.trajectory[1])


def test_few_compilations():
    """One size of minibatch and two of chunk, traced once each however many epochs and batches follow."""
    traced = []

    def counted(p, x, y):
        traced.append(x.shape)
        return loss(p, x, y)

    fit(counted, params, x, y, TrainConfig(epochs=2, batch_size=9, eval_batch_size=10))
    assert sorted(shape[0] for shape in traced) == [4, 8, 10]
    traced.clear()
    # Another run with the same loss, whatever its seed and length, has its epochs compiled already.
    fit(counted, params, x, y, TrainConfig(epochs=5, batch_size=9, eval_batch_size=10, seed=1))
    assert sorted(shape[0] for shape in traced) == [4, 10]


def each_loss(p, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), y[:, None], axis=1)[:, 0]


def each_metric(p, x, y):
    right = jnp.argmax(logits(p, x), axis=1) == y
    return {"loss": each_loss(p, x, y), "accuracy": right.astype(jnp.float32)}


def test_one_number_an_example_trains_like_their_mean_with_one_size_of_minibatch_and_chunk():
    """Unequal minibatches (8 and 9), and chunks (22) that fit neither 64 nor 20 examples."""
    settings = dataclasses.replace(config, batch_size=9, eval_batch_size=30, epochs=4)
    double = jax.tree.map(np.float64, params)
    wide = x.astype(np.float64)
    data = (wide[:60], y[:60], settings)
    test = (wide[:20], y[:20])
    traced = []

    def counted(function):
        def run(p, x, y):
            traced.append(len(x))
            return function(p, x, y)

        return run

    wanted = fit(loss, double, *data, metrics=metrics, test=test)
    found = fit(counted(each_loss), double, *data, metrics=counted(each_metric), test=test)
    assert sorted(traced) == [9, 30]
    np.testing.assert_allclose(found.trajectory, wanted.trajectory, atol=1e-10)
    for row, other in zip(found.history[1:], wanted.history[1:], strict=True):
        assert {**row, "seconds": 0} == pytest.approx({**other, "seconds": 0}, rel=1e-6)


def test_a_part_smaller_than_a_chunk_counts_each_example_once():
    data = {"train": (x, y), "test": (x[:3], y[:3])}
    evaluation = Evaluation(each_metric, params, data, 40)
    assert evaluation.columns == ["train_accuracy", "train_loss", "test_accuracy", "test_loss"]
    found = evaluation(params)
    for part, (inputs, labels) in data.items():
        for name, value in metrics(params, jnp.asarray(inputs), jnp.asarray(labels)).items():
            assert found[f"{part}_{name}"] == pytest.approx(float(value), rel=1e-6)


def test_mixed_precision_leaves_keep_their_dtype():
    mixed = {"a": np.float32(0.5), "b": np.array([1.0, 2.0])}
    result = fit(
        lambda p, x, y: jnp.mean((p["a"].astype(x.dtype) * x - y) ** 2) + jnp.sum(p["b"] ** 2),
        mixed,
        np.ones(4),
        np.zeros(4),
        TrainConfig(epochs=2, batch_size=4),
    )
    assert result.params_best["a"].dtype == jnp.float32
    assert result.params_best["b"].dtype == jnp.float64
    jax.tree.map(np.testing.assert_array_equal, result.params_best, result.params_final)


def test_single_precision_without_x64(tmp_path):
    code = PROBLEM + textwrap.dedent("""
        import sys, warnings
        warnings.simplefilter("error")
        one = run(folder=sys.argv[1])
        two = run(folder=sys.argv[1], resume=True)
        assert one.trajectory.dtype == np.float32 and np.array_equal(one.trajectory, two.trajectory)
        print(one.history[-1]["train_loss"] < one.history[0]["train_loss"])
    """)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert done.stderr == ""  # no bar where there is no terminal


def test_softmax_regression_on_digits():
    """The whole way from images to accuracy; scikit-learn's logistic regression reaches 0.967 on such a split."""
    data = {split: datasets.load("digits", split) for split in ("train", "test")}
    x, x_test = (np.float64(d.images.reshape(len(d), -1)) / d.pixel_max for d in data.values())

    def scores(p, x, y):
        log_p = jax.nn.log_softmax(x @ p["w"] + jnp.broadcast_to(p["b"], (len(x), 10)))
        return {
            "loss": -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1)),
            "accuracy": jnp.mean((jnp.argmax(log_p, axis=1).astype(y.dtype) == y).astype(float)),
        }

    result = fit(
        lambda p, x, y: scores(p, x, y)["loss"],
        {"w": np.zeros((64, 10)), "b": np.zeros(10)},
        x,
        data["train"].labels,
        TrainConfig(epochs=15, batch_size=64, learning_rate=0.03, schedule="cosine"),
        metrics=scores,
        test=(x_test, data["test"].labels),
    )
    assert result.history[0]["train_loss"] == pytest.approx(np.log(10))
    assert 0.94 < result.history[-1]["test_accuracy"] < 1
