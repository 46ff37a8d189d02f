"""Products of a vector with the Hessian of a mean loss and with its two parts, over samples in chunks: no matrices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.curvature.hvp import check_like, check_real, chunk_size, hvp
from qjaxsim.curvature.objective import Loss, Outputs, check_model


def gauss_newton_product(
    outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, v: Any, *, batch_size: int | None = None
) -> Any:
    """Gauss-Newton-vector product G v, without a matrix.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K).
        loss: maps (z, y) to one loss a sample, shape (B,); the objective is its mean.
        params: pytree of real float arrays.
        x: inputs, pytree of arrays with N samples along axis 0.
        y: targets, pytree of arrays with N samples along axis 0.
        v: pytree like params.
        batch_size: samples held at once; default all.

    Returns:
        Pytree like params.

    Raises:
        TypeError: if params holds anything but real floats, or v has other dtypes.
        ValueError: if v differs from params, x and y differ in their number of samples, outputs or loss
            return another shape, or batch_size is not a positive integer.

    Cost: about two gradients. Schraudolph 2002, doi:10.1162/08997660260028683. Usable in `jax.jit`.
    """
    params, v = jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, v)

    def product(xs: Any, ys: Any, weights: jax.Array) -> Any:
        z, dz = jax.jvp(lambda p: outputs(p, xs), (params,), (v,))
        slope = jax.grad(lambda out: jnp.sum(weights * loss(out, ys)))
        curved = jax.jvp(slope, (z,), (dz,))[1]
        return jax.vjp(lambda p: outputs(p, xs), params)[1](curved)[0]

    return _sum_products(product, outputs, loss, params, x, y, v, batch_size)


def residual_product(
    outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, v: Any, *, batch_size: int | None = None
) -> Any:
    """Residual-vector product R v = (H - G) v, without a matrix.

    Computed directly, not as a difference: it keeps its digits where R is small beside G.

    Args:
        outputs: as in `gauss_newton_product`.
        loss: as in `gauss_newton_product`.
        params: pytree of real float arrays.
        x: inputs, pytree with N samples along axis 0.
        y: targets, pytree with N samples along axis 0.
        v: pytree like params.
        batch_size: samples held at once; default all.

    Returns:
        Pytree like params.

    Raises:
        TypeError: as `gauss_newton_product`.
        ValueError: as `gauss_newton_product`.

    Cost: one Hessian-vector product. Usable in `jax.jit`.
    """
    params, v = jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, v)

    def product(xs: Any, ys: Any, weights: jax.Array) -> Any:
        slope = jax.grad(lambda out: jnp.sum(weights * loss(out, ys)))(outputs(params, xs))
        return hvp(lambda p: jnp.sum(slope * outputs(p, xs)), params, v)

    return _sum_products(product, outputs, loss, params, x, y, v, batch_size)


def hessian_product(
    outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, v: Any, *, batch_size: int | None = None
) -> Any:
    """Hessian-vector product H v of the mean loss, without a matrix and over samples in chunks.

    `hvp` of the mean loss gives the same with all samples in memory at once.

    Args:
        outputs: as in `gauss_newton_product`.
        loss: as in `gauss_newton_product`.
        params: pytree of real float arrays.
        x: inputs, pytree with N samples along axis 0.
        y: targets, pytree with N samples along axis 0.
        v: pytree like params.
        batch_size: samples held at once; default all.

    Returns:
        Pytree like params.

    Raises:
        TypeError: as `gauss_newton_product`.
        ValueError: as `gauss_newton_product`.

    Cost: about two gradients. Usable in `jax.jit`.
    """
    params, v = jax.tree.map(jnp.asarray, params), jax.tree.map(jnp.asarray, v)

    def product(xs: Any, ys: Any, weights: jax.Array) -> Any:
        return hvp(lambda p: jnp.sum(weights * loss(outputs(p, xs), ys)), params, v)

    return _sum_products(product, outputs, loss, params, x, y, v, batch_size)


def _sum_products(
    product: Callable[[Any, Any, jax.Array], Any],
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    v: Any,
    batch_size: int | None,
) -> Any:
    """Sum `product(x, y, weights)` over chunks of samples, after the checks common to both products."""
    check_real(params)
    check_like(params, v)
    shapes = check_model(outputs, loss, params, x, y)
    count = shapes.n_samples
    samples = chunk_size("batch_size", batch_size, count, count)
    data = jax.tree.map(jnp.asarray, (x, y))

    def add(chunk: jax.Array, total: Any) -> Any:
        start = jnp.minimum(chunk * samples, count - samples)
        xs, ys = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, samples), data)
        fresh = (start + jnp.arange(samples)) >= chunk * samples
        weights = fresh.astype(shapes.loss_dtype) / count
        return jax.tree.map(jnp.add, total, product(xs, ys, weights))

    return jax.lax.fori_loop(0, -(-count // samples), add, jax.tree.map(jnp.zeros_like, params))
