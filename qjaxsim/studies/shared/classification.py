"""What studies of classifiers train on and measure: mean cross-entropy and accuracy of a model's outputs."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from qjaxsim.models.losses import cross_entropy


# One object for equal models, so that what is compiled for one cell serves those that differ in their seed.
@functools.lru_cache(maxsize=16)
def mean_loss(model: Any) -> Callable[..., jax.Array]:
    """Maps (params, x, y) to the mean cross-entropy of `model.outputs(params, x)`; one object for equal models."""

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return cross_entropy(model.outputs(params, x), y).mean()

    return loss


@functools.lru_cache(maxsize=16)
def metrics(model: Any) -> Callable[..., dict[str, jax.Array]]:
    """Maps (params, x, y) to mean "loss" and "accuracy" of `model.outputs(params, x)`; one object for equal models."""

    def measured(params: Any, x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
        logits = model.outputs(params, x)
        hits = (logits.argmax(axis=1).astype(y.dtype) == y).astype(logits.dtype)
        return {"loss": cross_entropy(logits, y).mean(), "accuracy": hits.mean()}

    return measured
