"""One epoch of the loop: stratified minibatches of examples, and the compiled function that goes through them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.loops import scan
from qjaxsim.running.array_types import to_jax
from qjaxsim.training.config import TrainConfig, gradient_transformation

Params = Any
Loss = Callable[[Params, jax.Array, jax.Array], jax.Array]


class Batch(NamedTuple):
    """Places of examples, and their weights in the mean."""

    rows: Any
    weights: Any


@functools.lru_cache(maxsize=8)  # so that runs which differ in their seed share what is compiled
def epoch_function(loss: Loss, config: TrainConfig) -> Callable[..., Any]:
    """A compiled function of one epoch: (params, state, x, y, stacks of indices, rate) -> (params, state, losses)."""
    optimizer = gradient_transformation(config)

    def mean(params: Params, x: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
        value = jax.jit(loss)(params, x, y)
        return value if value.ndim == 0 else jnp.sum(weights.astype(value.dtype) * value)

    def step(carry: tuple[Params, Any], batch: Batch, x: jax.Array, y: jax.Array, rate: jax.Array) -> Any:
        params, state = carry
        value, gradient = jax.value_and_grad(mean)(params, x[batch.rows], y[batch.rows], batch.weights)
        # optax mixes integer counters with floats; the caller's loss keeps the caller's own rule of promotion.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(gradient, state, params)
        if config.brings_its_rate:
            params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), params, updates)
        else:
            params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, params, updates)
        return (params, state), value

    @jax.jit
    def run(params: Params, state: Any, x: jax.Array, y: jax.Array, stacks: list[Batch], rate: jax.Array) -> Any:
        carry, losses = (params, state), []
        rate = to_jax(rate)  # a float where jit is disabled
        for stack in stacks:
            carry, values = scan(lambda carry, batch: step(carry, batch, x, y, rate), carry, stack)
            losses.append(values)
        return *carry, losses

    return run


def stacks_of(batches: Sequence[np.ndarray], weights: np.ndarray | None, together: bool) -> list[Batch]:
    """Batches stacked, larger ones first: one stack, or two when their sizes differ by one and are not to go together.

    Together, smaller ones have their first example twice, once with weight 0.

    Args:
        batches: places of examples.
        weights: of all examples, positive, 1 in the mean; None where all are 1.
        together: whether all go into one stack.
    """
    most = max(map(len, batches))
    stacks: dict[int, list[Batch]] = {}
    for batch in sorted(batches, key=len, reverse=True):
        rows = np.resize(batch, most if together else len(batch)).astype(np.int32)
        shares = np.where(np.arange(len(rows)) < len(batch), 1 / len(batch), 0)
        if weights is not None:
            shares *= weights[rows]
        stacks.setdefault(len(rows), []).append(Batch(rows, shares))
    return [Batch(*map(np.stack, zip(*stack, strict=True))) for stack in stacks.values()]


def mean_loss(losses: list[jax.Array], stacks: Sequence[Batch], where: str) -> float:
    """Mean over the examples of an epoch, once the epoch is done."""
    values = np.concatenate([np.asarray(part, np.float64) for part in losses])
    sizes = np.concatenate([np.count_nonzero(stack.weights, axis=1) for stack in stacks])
    if not np.all(np.isfinite(values)):
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise FloatingPointError(
            f"The loss became {values[first]} {where} (minibatch {first + 1} of {len(values)}); lower `learning_rate` "
            f"or check the data and the initial parameters."
        )
    return float(values @ sizes / sizes.sum())


def classes_of(y: np.ndarray) -> np.ndarray:
    """Labels to stratify by: y itself if it holds classes, else a single class."""
    return y if y.ndim == 1 and np.issubdtype(y.dtype, np.integer) else np.zeros(len(y), np.int32)
