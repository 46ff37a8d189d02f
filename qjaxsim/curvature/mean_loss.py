"""The objective itself, the mean loss over samples, as a function of the parameters that takes samples in chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.checks import positive_integer
from qjaxsim.common.chunks import even_chunk
from qjaxsim.common.loops import fori_loop
from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.hvp import as_arrays
from qjaxsim.curvature.objective import Loss, Outputs, check_data, check_model, number_of_samples
from qjaxsim.curvature.products import SAMPLES_AT_ONCE
from qjaxsim.running.array_types import to_jax


def mean_loss(
    outputs: Outputs, loss: Loss, x: Any, y: Any, *, batch_size: int = SAMPLES_AT_ONCE
) -> Callable[[Any], jax.Array]:
    """The mean of `loss(outputs(params, x), y)` as a function of params, for planes, gradients and values.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K).
        loss: maps (z, y) to one loss a sample, shape (B,).
        x: inputs, pytree of arrays with N samples along axis 0.
        y: targets, pytree of arrays with N samples along axis 0.
        batch_size: samples held at once.

    Returns:
        A pure function that JAX differentiates. It holds the data: keep one and pass it around, since programs are kept
        by the identity of functions.

    Raises:
        ValueError: if batch_size is not a positive integer, or x and y differ in their number of samples; on calling,
            if outputs or loss return another shape, or labels are none of the classes.
        TypeError: if x, y or, on calling, params hold what JAX takes for no array.

    >>> f = mean_loss(lambda w, x: w * x, lambda z, y: (z - y)[:, 0] ** 2, jnp.ones((4, 1)), jnp.zeros((4, 1)))
    >>> print(f(jnp.array(3.0)), jax.grad(f)(jnp.array(3.0)))
    9.0 6.0
    """
    check_data(x, "x")
    check_data(y, "y")
    x, y = jax.tree.map(to_jax, (x, y))
    count = number_of_samples(x=x, y=y)
    size = even_chunk(count, positive_integer("batch_size", batch_size))

    def mean(params: Any) -> jax.Array:
        params = as_arrays(params)
        check_model(outputs, loss, params, x, y)

        def losses(chunk: jax.Array) -> jax.Array:
            start, _, fresh = window(chunk * size, size, count)
            xs, ys = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), (x, y))
            return jnp.where(fresh, loss(outputs(params, xs), ys), 0).sum()

        start = jnp.zeros((), jax.eval_shape(losses, jnp.zeros((), int)).dtype)
        return fori_loop(0, -(-count // size), lambda chunk, total: total + losses(chunk), start) / count

    return mean
