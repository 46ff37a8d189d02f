"""Training as it is called: what does not fit, bars of progress, optimisers of optax."""

import dataclasses
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qjaxsim.curvature import split_hessian
from qjaxsim.models.losses import squared_error
from qjaxsim.training import CheckpointError, TrainConfig, fit
from tests.training_problem import config, logits, loss, metrics, params, run, x, y

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
    with pytest.raises(ValueError, match=r"`resume` must be True or False, but is 'no'"):
        fit(loss, params, x, y, config, folder="nowhere", resume="no")
    with pytest.raises(ValueError, match=r"`checkpoint_every` must be a positive integer, but is 0"):
        fit(loss, params, x, y, config, checkpoint_every=0)
    with pytest.raises(ValueError, match=r"`batch_size` must lie in 1\.\.64, the number of examples, but is 65"):
        fit(loss, params, x, y, dataclasses.replace(config, batch_size=65))


def test_data_and_params_may_have_another_machines_order_of_bytes():
    """As FITS, HDF5 and IDX files have them: one step of gradient descent, by NumPy."""
    swapped = lambda value: value.astype(value.dtype.newbyteorder("S"))  # noqa: E731
    w, target = np.array([0.5, -1.0, 0.25, 2.0, 0.0]), x @ np.arange(5.0) + 1
    squares = lambda w, x, y: ((x @ w - y) ** 2).mean()  # noqa: E731
    step = TrainConfig(epochs=1, batch_size=64, learning_rate=0.1, optimizer="sgd")
    given = [swapped(np.asarray(value, float)) for value in (w, x, target)]
    result = fit(squares, *given, step, test=(given[1], given[2]), progress=False)
    slope = 2 * x.T.astype(float) @ (x @ w - target) / len(x)
    np.testing.assert_allclose(result.params_final, w - 0.1 * slope, rtol=1e-10)
    assert result.history[0]["test_loss"] == pytest.approx(np.mean((x @ w - target) ** 2))


def test_what_makes_no_array_is_told_with_the_way_out(tmp_path):
    with pytest.raises(TypeError, match="float32 or float64 arrays, but a leaf is a function; pass the arrays alone"):
        fit(loss, {**params, "activation": lambda x: x}, x, y, config)
    with pytest.raises(TypeError, match="float32 or float64 arrays, but a leaf has dtype object; cast it"):
        fit(loss, {**params, "b": np.array([None, 1.0, 2.0])}, x, y, config)
    np.savez(tmp_path / "start.npz", **params)
    with (
        np.load(tmp_path / "start.npz") as start,
        pytest.raises(TypeError, match="a leaf is a NpzFile; pass `dict` of"),
    ):
        fit(loss, start, x, y, config)
    with pytest.raises(TypeError, match=r"`x` must hold numbers that JAX has, but its dtype is .*float64\)` say"):
        fit(loss, params, x.astype([("a", float)]), y, config)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    (
        (np.ones(60), ValueError, r"`weights` must hold a positive number for each of the 64 examples, shape \(64,\)"),
        (np.arange(64), ValueError, "`weights` must hold a positive number .*; leave out examples that are not to"),
        (np.full(64, np.inf), ValueError, "`weights` must hold a positive number"),
        (np.array(["1"] * 64), ValueError, "`weights` must hold a positive number"),
        (np.ma.ones(64), TypeError, "Argument `weights` must be whole, but is a masked array"),
        (np.ones(64), ValueError, "`loss` must return one number an example where `weights` are given, but returns"),
    ),
)
def test_weights_that_do_not_fit(weights, error, message):
    with pytest.raises(error, match=message):
        fit(loss, params, x, y, config, weights=weights)


def test_means_that_weights_cannot_weigh_are_refused():
    each = lambda p, x, y: logits(p, x)[:, 0] ** 2  # noqa: E731
    with pytest.raises(ValueError, match="`metrics` must return one number an example where `weights` are given"):
        fit(each, params, x, y, config, weights=np.ones(64), metrics=metrics)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda p, x, y: (loss(p, x, y), 0),
            r"must return real floats, .* returned PyTreeDef\(\(\*, \*\)\); leave out",
        ),
        (lambda p, x, y: loss(p, x, y).astype(complex), "but returned complex128; .* take the real part"),
        (lambda p, x, y: (logits(p, x).argmax(1) != y).sum(), "but returned int64"),
        (lambda p, x, y: None, r"but returned PyTreeDef\(None\)"),
    ],
)
def test_losses_that_are_no_real_numbers(wrong, message):
    with pytest.raises(TypeError, match=f"`loss` .*{message}"):
        fit(wrong, params, x, y, config)


def test_examples_that_are_no_numbers():
    with pytest.raises(TypeError, match=r"`y` must hold numbers, but its dtype is <U5; number the classes"):
        fit(loss, params, x, np.where(y > 0, "large", "small"), config)
    with pytest.raises(TypeError, match=r"`test\[0\]` must hold numbers, but its dtype is object"):
        fit(loss, params, x, y, config, test=(x.astype(object), y))


def test_integers_that_jax_would_wrap_round():
    beyond = np.array([0, 1, 2**32])
    with jax.enable_x64(False):
        for given, name in (((x[:3], beyond), "y"), ((beyond[:, None], y[:3]), "x")):
            with pytest.raises(
                ValueError, match=f"`{name}` must hold integers that fit into int32, .*holds 4294967296"
            ):
                fit(loss, jax.tree.map(np.float32, params), *given, config)
            with pytest.raises(
                ValueError, match=f"`{name}` must hold integers that fit into int32, .*holds 4294967296"
            ):
                split_hessian(lambda w, x: x * w, squared_error, np.ones((1, 1), "float32"), *given)


def test_masked_arrays_are_not_read_through_their_masks():
    for name, given in (
        ("A leaf of `params`", (jax.tree.map(np.ma.asarray, params), x, y)),
        ("Argument `x`", (params, np.ma.asarray(x), y)),
        ("Argument `y`", (params, x, np.ma.asarray(y))),
    ):
        with pytest.raises(TypeError, match=f"{name} must be whole, but is a masked array; fill it"):
            fit(loss, *given, config)


def test_metrics_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"`metrics` must return means .* 'hits' has shape \(64, 5\) of 64 examples; take its mean"
    ):
        fit(loss, params, x, y, config, metrics=lambda p, x, y: {"hits": x})
    with pytest.raises(
        ValueError, match=r"`loss` must return the mean .* has shape \(8, 3\) of 8 examples; take its me"
    ):
        fit(lambda p, x, y: logits(p, x), params, x, y, config, metrics=metrics)
    with pytest.raises(
        ValueError, match=r"`config\.best` must be one of the metrics \['train_a'\], but is 'train_loss'"
    ):
        fit(loss, params, x, y, config, metrics=lambda p, x, y: {"a": loss(p, x, y)})
    by_accuracy = dataclasses.replace(config, best="train_accuracy")
    with pytest.raises(ValueError, match="`config.best` is 'train_accuracy', whose least value is worst"):
        fit(loss, params, x, y, by_accuracy, metrics=lambda p, x, y: {"accuracy": loss(p, x, y)})


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


def test_training_without_compilation_is_the_same():
    few = dataclasses.replace(config, epochs=1)
    compiled = fit(loss, params, x, y, few)
    with jax.disable_jit():
        np.testing.assert_allclose(fit(loss, params, x, y, few).trajectory, compiled.trajectory, atol=1e-6)


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


def test_random_keys_in_the_state_of_an_optimiser_are_kept(tmp_path):
    loss, params, x, y = _line()

    def run(epochs, key, **place):
        optimizer = optax.noisy_sgd(0.01, eta=0.1, key=key)
        return fit(loss, params, x, y, TrainConfig(epochs, 8, optimizer=optimizer), progress=False, **place)

    run(2, jax.random.key(3, impl="rbg"), folder=tmp_path)
    whole = run(4, jax.random.key(3, impl="rbg"))
    resumed = run(4, jax.random.key(3, impl="rbg"), folder=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed.trajectory, whole.trajectory)
    assert not np.array_equal(run(4, jax.random.key(4, impl="rbg")).trajectory, whole.trajectory)
    with pytest.raises(CheckpointError, match="config.optimizer was 'optax, sha256 "):
        run(6, jax.random.key(4, impl="rbg"), folder=tmp_path, resume=True)


def test_gradients_gathered_over_all_minibatches_of_an_epoch_are_those_of_all_examples():
    loss, params, x, y = _line()
    gathering = optax.MultiSteps(optax.sgd(0.1), every_k_schedule=5)
    found = fit(loss, params, x, y, TrainConfig(epochs=4, batch_size=8, optimizer=gathering), progress=False)
    w = np.zeros(3)
    for point in found.trajectory[1:]:
        w = w - 0.1 * 2 * x.T @ (x @ w - y) / 40
        np.testing.assert_allclose(point, w, rtol=1e-6)  # optax gathers in single precision


def test_what_an_optimiser_of_optax_has_itself_is_refused():
    for idle in ({"learning_rate": 0.3}, {"schedule": "cosine"}, {"weight_decay": 0.1}, {"eps": 1e-3}):
        with pytest.raises(ValueError, match=f"`{next(iter(idle))}` must be left out with an optimiser of optax"):
            TrainConfig(optimizer=optax.sgd(0.1), **idle)
    loss, params, x, y = _line()
    for other in (optax.lbfgs(), optax.lookahead(optax.sgd(0.1), 5, 0.5)):
        with pytest.raises(ValueError, match="updated by gradients, state and parameters alone, but is not: "):
            fit(loss, params, x, y, TrainConfig(epochs=1, optimizer=other), progress=False)
    with pytest.raises(MemoryError, match=r"The trajectory of 3 parameters over 10,000,000,000,000 epochs needs"):
        fit(loss, params, x, y, TrainConfig(epochs=10**13), progress=False)
