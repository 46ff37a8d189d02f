"""Losses against NumPy, sample by sample, and targets that JAX would spread over outputs or samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

import qjaxsim as qj
from qjaxsim.curvature import mean_loss
from qjaxsim.models import CircuitModel
from qjaxsim.models.losses import cross_entropy, decided, metrics, squared_error, training_loss

RNG = np.random.default_rng(5)
ROWS, LABELS = RNG.normal(size=(6, 3)), np.array([0, 2, 1, 1, 0, 2])
ONE = ROWS[:, :1]


def test_every_shape_that_is_taken_gives_each_samples_own_loss():
    numbers = RNG.normal(size=(6, 3))
    signs = 2 * np.eye(3)[LABELS] - 1
    two, sides = LABELS % 2, 2.0 * (LABELS % 2) - 1
    found = {
        "two classes": (squared_error(ONE, two), (ONE[:, 0] - sides) ** 2),
        "minus one for class 0": (squared_error(ONE, 2 * two - 1), (ONE[:, 0] - sides) ** 2),
        "classes of one logit": (cross_entropy(ONE, two), np.log1p(np.exp(-sides * ONE[:, 0]))),
        "numbers": (squared_error(ROWS, numbers), ((ROWS - numbers) ** 2).sum(1)),
        "labels": (squared_error(ROWS, LABELS), ((ROWS - signs) ** 2).sum(1)),
        "one number": (squared_error(ONE, numbers[:, 0]), (ONE[:, 0] - numbers[:, 0]) ** 2),
        "a column": (squared_error(ONE, numbers[:, :1]), (ONE[:, 0] - numbers[:, 0]) ** 2),
        "classes": (cross_entropy(ROWS, LABELS), logsumexp(ROWS, axis=1) - ROWS[range(6), LABELS]),
    }
    for name, (losses, wanted) in found.items():
        np.testing.assert_allclose(losses, wanted, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    "outputs, targets",
    [
        (ROWS, LABELS * 1.0),  # one number for all outputs of a sample
        (ROWS, LABELS[:, None]),
        (ROWS, ROWS.T),
        (ROWS, np.ones(12)),
        (ROWS, LABELS[:1]),
        (ONE, ROWS),
        (ONE, ROWS.T),
        (ONE, np.ones(12)),
        (ONE, LABELS[None]),
        (ONE, LABELS[:1]),
    ],
)
def test_numbers_and_labels_that_do_not_belong_to_outputs_are_refused(outputs, targets):
    with pytest.raises(ValueError, match=r"`targets` must have shape \(6, \d\), a number for each output, or hold"):
        squared_error(outputs, jnp.asarray(targets))


@pytest.mark.parametrize("labels", [LABELS[:, None], LABELS[None], LABELS[:1], np.tile(LABELS, 2), LABELS[0]])
def test_labels_that_do_not_belong_to_rows_are_refused(labels):
    for logits in (ROWS, ONE):
        with pytest.raises(ValueError, match=r"`labels` must have shape \(6,\), one class for each row of logits, but"):
            cross_entropy(logits, jnp.asarray(labels))


@pytest.mark.parametrize("outputs", [ROWS[:, 0], ROWS[:, :, None], ROWS[0, 0]])
def test_outputs_without_rows_are_refused(outputs):
    """Of shape (6,) they would meet targets in a column as (6, 6)."""
    with pytest.raises(ValueError, match=r"`outputs` must have shape \(batch, K\), but has \("):
        squared_error(outputs, LABELS[:, None] * 1.0)
    with pytest.raises(ValueError, match=r"`logits` must have shape \(batch, K\), but has \("):
        cross_entropy(outputs, LABELS)


def of_columns(outputs, targets):
    """Squares of (batch,) and (batch, 1), which are (batch, batch)."""
    with jax.numpy_rank_promotion("allow"):
        return (outputs[:, 0] - targets.astype(outputs.dtype)) ** 2


def circuit_model():
    x, w = qj.Parameter("x", (3,)), qj.Parameter("w", (3,))
    circuit = qj.Circuit(3)
    for q in range(3):
        circuit.rx(x[q], q).ry(w[q], q)
    return CircuitModel(circuit.cx(0, 1).cx(1, 2), [qj.Z(2)], inputs="x")


def test_losses_of_pairs_of_samples_are_no_losses_of_samples(key):
    model = circuit_model()
    params, column = model.init(key), LABELS[:, None] * 1.0
    calls = [
        lambda y: training_loss(model, of_columns)(params, ROWS, y),
        lambda y: metrics(model, of_columns)(params, ROWS, y)["loss"].mean(),
        lambda y: mean_loss(model.outputs, of_columns, ROWS, y, batch_size=4)(params),
    ]
    outputs = np.asarray(model.outputs(params, ROWS))[:, 0]
    for call in calls:
        np.testing.assert_allclose(call(column[:, 0]), np.mean((outputs - LABELS) ** 2), rtol=1e-6)
        with pytest.raises(ValueError, match=r"`loss` must return one number a sample, shape \(6,\), but"):
            call(column)


def test_a_mean_loss_takes_as_many_inputs_as_targets_and_no_means():
    outputs, squares = lambda w, x: x @ w, lambda z, y: ((z - y) ** 2).sum(1)
    w, x = jnp.ones((3, 2)), RNG.normal(size=(7, 3))
    y = RNG.normal(size=(7, 2))
    wanted = ((x @ np.ones((3, 2)) - y) ** 2).sum(1).mean()
    np.testing.assert_allclose(mean_loss(outputs, squares, x, y, batch_size=3)(w), wanted, rtol=1e-6)
    for targets in (y[:5], np.concatenate([y, y]), y[None]):
        with pytest.raises(ValueError, match="`x` and `y` must have one and the same number of samples"):
            mean_loss(outputs, squares, x, targets)
    with pytest.raises(ValueError, match=r"must return one number a sample, shape \(7,\), .* leave the mean to this"):
        mean_loss(outputs, lambda z, y: squares(z, y).mean(), x, y, batch_size=3)(w)
    np.testing.assert_allclose(
        jax.grad(mean_loss(outputs, squares, x, y, batch_size=3))(w),
        2 * x.T @ (x @ np.ones((3, 2)) - y) / 7,
        rtol=1e-5,
    )


def test_outputs_speak_for_the_largest_or_of_a_single_one_by_its_sign():
    assert decided(ROWS[:, :2]).tolist() == (ROWS[:, 1] > ROWS[:, 0]).astype(int).tolist()
    assert decided(ROWS).tolist() == [max(range(3), key=row.__getitem__) for row in ROWS.tolist()]
    assert decided(np.array([[-0.3], [0.0], [0.2]])).tolist() == [0, 0, 1]


@pytest.mark.parametrize("kind", ["int8", "int32", "uint8"])
def test_accuracy_counts_class_0_written_as_minus_one(kind, key):
    model = circuit_model()
    params = model.init(key)
    outputs = np.asarray(model.outputs(params, ROWS))[:, 0]
    classes = np.where(LABELS > 0, 1, 0)
    right = (outputs > 0) == (classes == 1)
    assert 0 < right.sum() < 6 and (classes[right] == 0).any()
    for labels in (classes, 2 * classes - 1) if kind != "uint8" else (classes,):
        found = metrics(model, squared_error)(params, ROWS, jnp.asarray(labels, kind))["accuracy"]
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("loss", "targets"),
    [(cross_entropy, np.arange(5)), (squared_error, np.arange(5)), (squared_error, RNG.normal(size=(5, 11)))],
)
def test_outside_jit_a_loss_is_one_program_and_inside_no_call(compiled, loss, targets):
    outputs = jnp.asarray(RNG.normal(size=(5, 11)))
    assert compiled(lambda: loss(outputs, targets)) == 1
    for traced in (lambda z: loss(z, targets), jax.grad(lambda z: loss(z, targets).sum())):
        assert f"call @_{loss.__name__}" not in jax.jit(traced).lower(outputs).as_text()
