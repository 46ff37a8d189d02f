"""Training: the optimiser against NumPy, the schedule against its formula, runs that survive being killed."""

import csv
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from qjaxsim import datasets
from qjaxsim.common import files
from qjaxsim.datasets import stratified_batches
from qjaxsim.training import CheckpointError, Evaluation, TrainConfig, fit, learning_rates
from qjaxsim.training import checkpoint as checkpoint_module

# The small problem of most tests, as text: killed runs execute it in a process of their own.
PROBLEM = textwrap.dedent("""
    import jax, jax.numpy as jnp, numpy as np
    from qjaxsim.training import TrainConfig, fit

    rng = np.random.default_rng(7)
    x = rng.normal(size=(64, 5)).astype(np.float32)
    y = rng.integers(0, 3, 64)
    x_test, y_test = x + 0.1, y
    params = {"w": rng.normal(size=(5, 3)).astype(np.float32), "b": np.zeros(3, np.float32)}

    def logits(params, x):
        return jnp.sin(x @ params["w"]) + jnp.broadcast_to(params["b"], (len(x), 3))

    def loss(params, x, y):
        log_p = jax.nn.log_softmax(logits(params, x))
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    def metrics(params, x, y):
        right = jnp.argmax(logits(params, x), axis=1) == y
        return {"loss": loss(params, x, y), "accuracy": jnp.mean(right.astype(jnp.float32))}

    config = TrainConfig(
        epochs=12, batch_size=8, learning_rate=0.05, schedule="cosine_cycle", weight_decay=1e-2, seed=3
    )

    def run(**options):
        return fit(loss, params, x, y, config, metrics=metrics, test=(x_test, y_test), **options)
""")
problem: dict = {}
exec(PROBLEM, problem)
loss, metrics, x, y, params, config, run = (
    problem[name] for name in ("loss", "metrics", "x", "y", "params", "config", "run")
)


@pytest.fixture(scope="module")
def uninterrupted():
    return run()


def without_seconds(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_equal_runs(one, other):
    """Equal bit for bit in everything but the time taken."""
    assert without_seconds(one.history) == without_seconds(other.history)
    np.testing.assert_array_equal(one.trajectory, other.trajectory)
    assert one.best_epoch == other.best_epoch
    for mine, theirs in ((one.params_final, other.params_final), (one.params_best, other.params_best)):
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


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
    return -jnp.take_along_axis(jax.nn.log_softmax(problem["logits"](p, x)), y[:, None], axis=1)[:, 0]


def each_metric(p, x, y):
    right = jnp.argmax(problem["logits"](p, x), axis=1) == y
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


# --- on disk -----------------------------------------------------------------------------------------------------


def test_folder_holds_the_run(tmp_path, uninterrupted):
    result = run(folder=tmp_path)
    assert_equal_runs(result, uninterrupted)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["epoch_0011.npz", "epoch_0012.npz"]
    points = [np.load(tmp_path / "trajectory" / f"epoch_{i:04d}.npy") for i in range(13)]
    np.testing.assert_array_equal(points, result.trajectory)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert [float(row["train_loss"]) for row in rows] == [row["train_loss"] for row in result.history]
    assert (rows[0]["learning_rate"], rows[1]["learning_rate"]) == ("", "0.05")


def test_resume_of_a_finished_run_and_of_nothing(tmp_path, uninterrupted):
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    before = (tmp_path / "metrics.csv").read_text()
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    assert (tmp_path / "metrics.csv").read_text() == before


def test_more_epochs_go_on_from_a_finished_run(tmp_path, uninterrupted):
    fit(loss, params, x, y, dataclasses.replace(config, epochs=5), metrics=metrics, folder=tmp_path)
    longer = fit(loss, params, x, y, config, metrics=metrics, folder=tmp_path, resume=True)
    np.testing.assert_array_equal(longer.trajectory, uninterrupted.trajectory)


def test_checkpoint_every_third_epoch(tmp_path, uninterrupted):
    shorter = dataclasses.replace(config, epochs=8)
    fit(loss, params, x, y, shorter, folder=tmp_path, checkpoint_every=3)
    names = sorted(path.stem for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch_0006", "epoch_0008"]
    points = sorted((tmp_path / "trajectory").iterdir())
    np.testing.assert_array_equal([np.load(p) for p in points], uninterrupted.trajectory[:9])


class Interrupted(Exception):
    pass


def interrupt_at(monkeypatch, epoch):
    """Make the checkpoint of an epoch fail halfway: its trajectory point is written, the rest is not."""
    write = files.write_npz

    def write_npz(path, arrays):
        if path.stem == f"epoch_{epoch:04d}":
            raise Interrupted
        return write(path, arrays)

    monkeypatch.setattr(checkpoint_module.files, "write_npz", write_npz)


@pytest.fixture(scope="module")
def stopped_in_epoch_7(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    with pytest.MonkeyPatch.context() as patched:
        interrupt_at(patched, 7)
        with pytest.raises(Interrupted):
            run(folder=folder)
    return folder


@pytest.fixture
def stopped(stopped_in_epoch_7, tmp_path):
    """A folder of its own with a run that died while writing the checkpoint of epoch 7."""
    return shutil.copytree(stopped_in_epoch_7, tmp_path / "run")


def test_interrupted_run_goes_on_bit_for_bit(stopped, uninterrupted):
    # What the lost epoch left must not be taken for the new one.
    np.save(stopped / "trajectory" / "epoch_0007.npy", np.zeros(18))
    assert_equal_runs(run(folder=stopped, resume=True), uninterrupted)
    np.testing.assert_array_equal(np.load(stopped / "trajectory" / "epoch_0007.npy"), uninterrupted.trajectory[7])


def test_what_was_left_without_a_checkpoint_is_not_taken(tmp_path, uninterrupted):
    (tmp_path / "trajectory").mkdir()
    np.save(tmp_path / "trajectory" / "epoch_0001.npy", np.zeros(18))
    run(folder=tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "trajectory" / "epoch_0001.npy"), uninterrupted.trajectory[1])


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "bit flip", "trajectory"])
def test_damaged_checkpoint_falls_back_to_the_one_before(stopped, uninterrupted, damage):
    path = stopped / "checkpoints" / "epoch_0006.npz"
    if damage == "trajectory":
        path = stopped / "trajectory" / "epoch_0006.npy"
    whole = path.read_bytes()
    middle = whole.index(uninterrupted.trajectory[6].tobytes()[:12])
    path.write_bytes({
        "truncated": whole[: len(whole) // 2],
        "garbage": b"not a checkpoint",
        "empty": b"",
        "bit flip": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "trajectory": whole[:100],
    }[damage])  # fmt: skip
    with pytest.warns(UserWarning, match=r"Passed over a damaged checkpoint \(epoch_0006\.npz: .*from epoch_0005\.npz"):
        result = run(folder=stopped, resume=True)
    assert_equal_runs(result, uninterrupted)


def test_only_damaged_checkpoints(stopped):
    for path in (stopped / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"checkpoints cannot be read \(.*epoch_0006.*epoch_0005.*\); delete"):
        run(folder=stopped, resume=True)


def test_resume_refuses_another_run_and_names_the_difference(tmp_path):
    few = dataclasses.replace(config, epochs=2)
    fit(loss, params, x, y, few, folder=tmp_path)

    def again(params=params, x=x, config=few, **options):
        return fit(loss, params, x, y, config, folder=tmp_path, resume=True, **options)

    with pytest.raises(CheckpointError, match=r"other settings \(config\.learning_rate was 0\.05, is 0\.1\); use them"):
        again(config=dataclasses.replace(few, learning_rate=0.1))
    with pytest.raises(CheckpointError, match=r"config\.epochs was None, is 2"):
        again(config=dataclasses.replace(few, schedule="cosine"))
    with pytest.raises(CheckpointError, match=r"data\.train was \['float32\[64, 5\] \w+', .*is \['float32\[64, 5\] "):
        again(x=x + 1)
    with pytest.raises(
        CheckpointError, match=r"\(params\.params\['b'\] was 'float32\[3\] \w+', is 'float32\[3\] \w+'\)"
    ):
        again(params=params | {"b": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"metrics was \['train_loss'\], is \['train_accuracy', 'train_loss'\]"):
        again(metrics=metrics)
    with pytest.raises(ValueError, match=r"`config\.epochs` must be at least the 2 epochs already in .*, but is 1"):
        again(config=dataclasses.replace(few, epochs=1))
    with pytest.raises(FileExistsError, match=r"`folder` must not hold a run, but .* pass resume=True"):
        fit(loss, params, x, y, few, folder=tmp_path)
    assert len(again().history) == 3


def test_cosine_over_the_run_refuses_other_lengths(tmp_path):
    falling = dataclasses.replace(config, epochs=2, schedule="cosine")
    fit(loss, params, x, y, falling, folder=tmp_path)
    with pytest.raises(CheckpointError, match=r"config\.epochs was 2, is 4"):
        fit(loss, params, x, y, dataclasses.replace(falling, epochs=4), folder=tmp_path, resume=True)


def test_optimiser_state_of_another_form_is_not_taken(stopped):
    for path in (stopped / "checkpoints").iterdir():
        with np.load(path) as stored:
            arrays = dict(stored)
        files.write_npz(path, arrays | {"optimizer/0": arrays["optimizer/0"].astype(np.int64)})
    with pytest.raises(
        CheckpointError,
        match=r"cannot be read \(epoch_0006.npz: its parameters or the optimiser's state have another form;",
    ):
        run(folder=stopped, resume=True)


# --- killed for real ---------------------------------------------------------------------------------------------

KILLED = PROBLEM + textwrap.dedent("""
    import os, signal, sys, time
    jax.config.update("jax_enable_x64", True)
    replace, count = os.replace, 0

    def slow_or_deadly(source, target):
        # Every file passes here: slow enough to be killed from outside, and from the eighth epoch on waiting for it,
        # or killing itself between write and rename.
        global count
        count += 1
        if sys.argv[2] == "outside":
            time.sleep(0.05 if count < 25 else 120)
        elif count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = slow_or_deadly
    run(folder=sys.argv[1], resume=True)
    print("finished")
""")


def start_killed(folder, how):
    return subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_killed_between_write_and_rename_again_and_again(tmp_path, uninterrupted):
    """One process dies in the checkpoint of epoch 2; the next, going on, in the metrics after that of epoch 3."""
    for how in ("8", "7"):
        process = start_killed(tmp_path, how)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors
        assert list(tmp_path.glob("*/.*.tmp")) + list(tmp_path.glob(".*.tmp")) != []
    assert max((tmp_path / "checkpoints").glob("epoch_*.npz")).stem == "epoch_0003"
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)
    assert list(tmp_path.glob("*/.*.tmp")) + list(tmp_path.glob(".*.tmp")) == []


def test_killed_from_outside_at_any_moment(tmp_path, uninterrupted):
    process = start_killed(tmp_path, "outside")
    fourth = tmp_path / "checkpoints" / "epoch_0004.npz"
    deadline = time.monotonic() + 120
    while not fourth.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert "finished" not in output
    newest = int(max((tmp_path / "checkpoints").glob("epoch_*.npz")).stem[-4:])
    assert 4 <= newest < 12
    assert_equal_runs(run(folder=tmp_path, resume=True), uninterrupted)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"schedule": "step"}, r"`schedule` must be one of \['constant', 'cosine', 'cosine_cycle'\], but is 'step'"),
        ({"optimizer": "lion"}, r"`optimizer` must be one of \['adam', 'sgd'\] or an optax .*, but is 'lion'"),
        ({"optimizer": optax.adam}, r"or an optax optimiser, made with its rate, but is <function adam"),
        ({"epochs": -1}, r"`epochs` must be an integer of at least 0, but is -1"),
        ({"batch_size": 0}, r"`batch_size` must be an integer of at least 1, but is 0"),
        ({"cycle_epochs": 2.5}, r"`cycle_epochs` must be an integer of at least 1, but is 2\.5"),
        ({"learning_rate": float("nan")}, r"`learning_rate` must be finite and not negative, but is nan"),
        ({"weight_decay": -1e-3}, r"`weight_decay` must be finite and not negative, but is -0\.001"),
    ],
)
def test_config_refuses(setting, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**setting)


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match=r"`x` and `y` must hold equally many .* shapes \(64, 5\) and \(60,\)"):
        fit(loss, params, x, y[:60], config)
    with pytest.raises(
        ValueError, match=r"`test\[0\]` and `test\[1\]` must hold .* at least one, .* \(0, 5\) and \(0,\)"
    ):
        fit(loss, params, x, y, config, test=(x[:0], y[:0]))
    with pytest.raises(TypeError, match=r"must hold float32 or float64 arrays, but params\['w'\] is int64; convert it"):
        fit(loss, {"w": np.arange(3)}, x, y, config)
    with pytest.raises(TypeError, match=r"params\[0\] is complex128"):
        fit(loss, [np.zeros(2, complex)], x, y, config)
    with pytest.raises(ValueError, match=r"`params` must hold at least one array, but is empty"):
        fit(loss, {}, x, y, config)
    with pytest.raises(ValueError, match=r"`folder` must be given when resume=True, but is None"):
        fit(loss, params, x, y, config, resume=True)
    with pytest.raises(ValueError, match=r"`checkpoint_every` must be a positive integer, but is 0"):
        fit(loss, params, x, y, config, checkpoint_every=0)
    with pytest.raises(ValueError, match=r"`batch_size` must lie in 1\.\.64, the number of examples, but is 65"):
        fit(loss, params, x, y, dataclasses.replace(config, batch_size=65))


def test_metrics_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"`metrics` must return means .* 'hits' has shape \(64, 5\) of 64 examples; take its mean"
    ):
        fit(loss, params, x, y, config, metrics=lambda p, x, y: {"hits": x})
    with pytest.raises(
        ValueError, match=r"`loss` must return the mean .* has shape \(8, 3\) of 8 examples; take its me"
    ):
        fit(lambda p, x, y: problem["logits"](p, x), params, x, y, config, metrics=metrics)
    with pytest.raises(
        ValueError, match=r"`config\.best` must be one of the metrics \['train_a'\], but is 'train_loss'"
    ):
        fit(loss, params, x, y, config, metrics=lambda p, x, y: {"a": loss(p, x, y)})


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    def explosive(p, x, y):
        return jnp.mean(x * p**4)

    settings = TrainConfig(epochs=9, batch_size=5, learning_rate=50.0, optimizer="sgd")
    with pytest.raises(
        FloatingPointError, match=r"loss became (nan|inf) in epoch 2 at learning rate 50 \(minibatch 1 of 1\); lower"
    ):
        fit(explosive, np.array(1e50), np.ones(5), np.zeros(5), settings, folder=tmp_path, metrics=lambda p, x, y: {
            "loss": jnp.mean(x)
        })  # fmt: skip
    assert (tmp_path / "checkpoints" / "epoch_0001.npz").exists()
    with pytest.raises(FloatingPointError, match=r"metric 'loss' became nan before the first epoch; lower"):
        fit(explosive, np.array(np.nan), np.ones(5), np.zeros(5), settings)


# --- progress ----------------------------------------------------------------------------------------------------


def test_progress_bar_of_the_caller_moves():
    from rich.progress import Progress

    with Progress(disable=True) as bar:
        run(progress=bar)
        (task,) = bar.tasks
        assert (task.completed, task.total) == (12, 12)
        assert task.description.startswith("training, 0.")


def test_bar_is_shown_on_a_terminal_only(monkeypatch, capsys):
    def short(**options):
        fit(
            lambda p, x, y: jnp.mean(p * x),
            np.array(1.0),
            np.ones(2),
            np.zeros(2),
            TrainConfig(epochs=3, batch_size=2),
            **options,
        )
        return capsys.readouterr().err

    assert short() == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert short(progress=False) == ""
    assert "3/3" in short()


def test_history_is_json(uninterrupted):
    assert json.loads(json.dumps(uninterrupted.history, allow_nan=False)) == uninterrupted.history


# --- optimisers of optax ---------------------------------------------------------------------------------------------


def _line():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    return (lambda p, x, y: jnp.mean((x @ p["w"] - y) ** 2)), {"w": jnp.zeros(3)}, x, x @ np.array([1.0, -2.0, 3.0])


def test_an_optimiser_of_optax_is_the_named_one_where_they_are_the_same():
    loss, params, x, y = _line()
    named = fit(loss, params, x, y, TrainConfig(epochs=3, batch_size=8, learning_rate=0.05), progress=False)
    own = fit(loss, params, x, y, TrainConfig(epochs=3, batch_size=8, optimizer=optax.adam(0.05)), progress=False)
    np.testing.assert_allclose(own.trajectory, named.trajectory, rtol=1e-12)
    assert own.history[-1]["learning_rate"] is None


def test_an_optimiser_of_optax_is_resumed_and_another_refused(tmp_path):
    loss, params, x, y = _line()

    def run(epochs, optimizer, **place):
        config = TrainConfig(epochs=epochs, batch_size=8, optimizer=optimizer)
        return fit(loss, params, x, y, config, progress=False, **place)

    rate = optax.cosine_decay_schedule(0.1, 20)
    run(2, optax.adamw(rate), folder=tmp_path)
    whole, resumed = run(4, optax.adamw(rate)), run(4, optax.adamw(rate), folder=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.trajectory, whole.trajectory)
    for other in (optax.adamw(optax.cosine_decay_schedule(0.2, 20)), optax.adam(rate), "adam", "sgd"):
        with pytest.raises(CheckpointError, match="config.optimizer was 'optax, sha256 "):
            run(6, other, folder=tmp_path, resume=True)


def test_what_an_optimiser_of_optax_has_itself_is_refused():
    for idle in ({"learning_rate": 0.3}, {"schedule": "cosine"}, {"weight_decay": 0.1}, {"eps": 1e-3}):
        with pytest.raises(ValueError, match=f"`{next(iter(idle))}` must be left out with an optimiser of optax"):
            TrainConfig(optimizer=optax.sgd(0.1), **idle)
    loss, params, x, y = _line()
    with pytest.raises(ValueError, match="updated by gradients, state and parameters alone"):
        fit(loss, params, x, y, TrainConfig(epochs=1, optimizer=optax.lbfgs()), progress=False)
    with pytest.raises(MemoryError, match=r"The trajectory of 3 parameters over 10,000,000,000,000 epochs needs"):
        fit(loss, params, x, y, TrainConfig(epochs=10**13), progress=False)
