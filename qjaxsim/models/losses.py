"""Losses of outputs, and what training takes and measures."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.curvature.objective import of_classes, of_labels_or_numbers
from qjaxsim.curvature.parts import for_values

Loss = Callable[[jax.Array, jax.Array], jax.Array]
# How labels that are written otherwise become what losses take.
_OF_LABELS = "labels in a column take `[:, 0]`, one-hot rows `.argmax(axis=1)`, floats `.astype(int)`"


@of_classes
def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy of each sample: (batch, K) logits and (batch,) integer labels to (batch,) nats.

    A single logit is that of class 1; class 0 has the logit 0. A label that has no logit, from K on or negative, gives
    NaN (Hessians refuse it where they see it). Loss, gradient and Hessian keep their relative precision where one
    class, the label's or another, is all but certain and its probability rounds to one.

    Raises:
        TypeError: if labels are not integers.
        ValueError: for other shapes.

    >>> print(cross_entropy(jnp.zeros((2, 4)), jnp.array([0, 3])) / jnp.log(2.0))  # bits
    [2. 2.]
    """
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"Argument `labels` must hold integers, but it has dtype {labels.dtype}; cast it.")
    _require_rows("logits", logits)
    if labels.shape != logits.shape[:1]:
        raise ValueError(
            f"Argument `labels` must have shape {logits.shape[:1]}, one class for each row of logits, but has "
            f"{labels.shape}; {_OF_LABELS}."
        )
    return _cross_entropy(logits, labels)


# In a traced computation its operations stand as they are; outside, they are one program in place of one each.
@functools.partial(jax.jit, inline=True)
def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    if logits.shape[1] == 1:
        logits = jnp.concatenate([jnp.zeros_like(logits), logits], axis=1)
    places = jnp.arange(logits.shape[1], dtype="int32")[None]
    likeliest = logits.argmax(axis=1).astype("int32")[:, None]
    largest = jnp.take_along_axis(logits, likeliest, axis=1)
    # The likeliest class's own share is left out of the sum: beside it the others' round away where it is nearly one,
    # and with them the loss and its derivatives. So does its derivative where it is the label's, unless it is chosen.
    shares = jnp.where(places != likeliest, jnp.exp(logits - largest), 0)
    own = _narrow(labels)[:, None]
    own = jnp.where(own < 0, logits.shape[1], own)  # JAX would count from the last one
    behind = jnp.where(own == likeliest, 0, largest - jnp.take_along_axis(logits, own, axis=1))
    return behind[:, 0] + jnp.log1p(shares.sum(axis=1))


@of_labels_or_numbers
def squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Squared error of each sample, summed over its outputs: (batch, K) and (batch,) or (batch, K) to (batch,).

    Integer targets (batch,) are labels: the output of a label's class is to be 1 and all others -1, and a single output
    1 for class 1 and -1 for class 0, which may be written as -1. A label that no output stands for gives NaN (Hessians
    refuse it where they see it). Numbers to be met are floats, or of shape (batch, K); (batch,) of a single output.

    Raises:
        TypeError: if targets are truth values.
        ValueError: for other shapes, which would be spread over outputs or samples.

    >>> print(squared_error(jnp.array([[1.0], [0.5]]), jnp.array([3.0, 0.5])))
    [4. 0.]
    >>> print(squared_error(jnp.array([[1.0, -1.0], [1.0, -1.0]]), jnp.array([0, 1])))
    [0. 8.]
    """
    if targets.dtype == bool:
        raise TypeError("Argument `targets` must hold numbers, or integers for labels, but has dtype bool; cast it.")
    _require_rows("outputs", outputs)
    of_integers = jnp.issubdtype(targets.dtype, jnp.integer)
    alone = targets.shape == outputs.shape[:1] and (of_integers or outputs.shape[1] == 1)
    if not alone and targets.shape != outputs.shape:
        raise ValueError(
            f"Argument `targets` must have shape {outputs.shape}, a number for each output, or hold integer labels of "
            f"shape {outputs.shape[:1]}, but is {targets.dtype}{list(targets.shape)}; {_OF_LABELS}."
        )
    return _squared_error(outputs, targets)


@functools.partial(jax.jit, inline=True)
def _squared_error(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    of_integers = jnp.issubdtype(targets.dtype, jnp.integer)
    if of_integers and targets.ndim == 1:
        wanted = _of_labels(_narrow(targets)[:, None], outputs.shape[1])
    else:
        wanted = targets.reshape(outputs.shape)
    return jnp.sum((outputs - (wanted.astype(outputs.dtype) if of_integers else wanted)) ** 2, axis=1)


def _require_rows(name: str, outputs: jax.Array) -> None:
    if outputs.ndim != 2:
        raise ValueError(
            f"Argument `{name}` must have shape (batch, K), but has {outputs.shape}; for one number a sample give a "
            "model a list of one observable, or take `[:, None]`."
        )


def _narrow(labels: jax.Array) -> jax.Array:
    """Labels in 32 bits; those that would wrap round become the largest number, which is no class."""
    narrow = labels.astype("int32")
    same = (narrow.astype(labels.dtype) == labels) & ((narrow < 0) == (labels < 0))
    return jnp.where(same, narrow, jnp.iinfo("int32").max)


def _of_labels(labels: jax.Array, n_outputs: int) -> jax.Array:
    """What outputs are to be for labels (batch, 1): 1 and -1, NaN for those that have none."""
    if n_outputs == 1:
        return jnp.where((labels >= -1) & (labels <= 1), jnp.where(labels == 1, 1.0, -1.0), jnp.nan)
    places = jnp.arange(n_outputs, dtype="int32")[None]
    own = places == labels
    return jnp.where(own.any(axis=1, keepdims=True), jnp.where(own, 1.0, -1.0), jnp.nan)


LOSSES: dict[str, Loss] = {"cross_entropy": cross_entropy, "squared_error": squared_error}


def decided(outputs: Any) -> Any:
    """The class that outputs (batch, K), JAX's or NumPy's, speak for: the largest; of a single one, its sign."""
    return outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)


# One object for equal models, so that what is compiled for one serves those that differ in their seed.
@functools.lru_cache(maxsize=16)
def sample_losses(model: Any, loss: Loss = cross_entropy) -> Callable[..., jax.Array]:
    """Maps (params, x, y) to the loss of each of `model.outputs(params, x)`, (B,); one object for equal models."""

    def losses(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        outputs = model.outputs(params, x)
        return _one_each(loss(outputs, y), outputs)

    return losses


def _one_each(losses: jax.Array, outputs: jax.Array) -> jax.Array:
    """Losses of samples, or their mean.

    Raises:
        ValueError: for another shape, as (batch, batch) where targets in a column meet outputs in a row.
    """
    if (shape := jnp.shape(losses)) not in ((), outputs.shape[:1]):
        raise ValueError(
            f"Argument `loss` must return one number a sample, shape {outputs.shape[:1]}, but returned shape "
            f"{shape}; sum or average over the other axes."
        )
    return losses


@functools.lru_cache(maxsize=16)
def training_loss(model: Any, loss: Loss = cross_entropy) -> Callable[..., jax.Array]:
    """Maps (params, x, y) to the mean of `sample_losses`; one object for equal models."""
    losses = sample_losses(model, loss)
    return lambda params, x, y: losses(params, x, y).mean()


@functools.lru_cache(maxsize=16)
def metrics(model: Any, loss: Loss = cross_entropy) -> Callable[..., dict[str, jax.Array]]:
    """Maps (params, x, y) to each sample's "loss" and, for labels y (B,), "accuracy"; one object for equal models.

    Of a single output, class 0 may be written as -1, as in `squared_error`.
    """

    def measured(params: Any, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        outputs = for_values(model.outputs)(params, x)
        found = {"loss": _one_each(loss(outputs, y), outputs)}
        if jnp.issubdtype(y.dtype, jnp.integer) and y.ndim == 1:
            labels = _narrow(y)
            labels = jnp.where((labels == -1) & (outputs.shape[1] == 1), 0, labels)
            found["accuracy"] = (decided(outputs).astype(labels.dtype) == labels).astype(outputs.dtype)
        return found

    return measured
