"""Products of a vector with the Hessian of a mean loss and with its two parts, over samples in chunks: no matrices.

A model may tell that a part of its work serves all samples (`two_phases`): matrices of its weights, say. That part and
its derivatives are then done once a product instead of once a chunk. `hessian.md` derives it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.chunks import even_chunk
from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.hvp import as_arrays, check_like, check_real, chunk_size
from qjaxsim.curvature.objective import Loss, Outputs, check_model
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.spreading import spread_of
from qjaxsim.running.varying import vary

Chunk = Callable[[Any, Any, jax.Array, Any, Any], tuple[Any, Any]]
"""Maps inputs, targets, weights of losses, (fixed, params) and their tangent to gradient and image, each like the
pair (fixed, params)."""

# Samples in a chunk when the caller does not say: enough to fill the cores, few enough that their states stay near.
SAMPLES_AT_ONCE = 1000


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
        batch_size: samples held at once; default at most 1,000.

    Returns:
        Pytree like params.

    Raises:
        TypeError: if params holds anything but real floats, or v has other dtypes.
        ValueError: if v differs from params, x and y differ in their number of samples, outputs or loss
            return another shape, or batch_size is not a positive integer.

    Cost: about two gradients. Schraudolph 2002, doi:10.1162/08997660260028683. Outside `jax.jit` compiled once, as
    `hessian`; for many products see `curvature_operators`.

    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> round(float(gauss_newton_product(outputs, loss, w, x, y, jnp.ones(1))[0]), 3)  # sin(w)^2
    0.75
    """
    _, after = two_phases(outputs)

    def chunk(xs: Any, ys: Any, weights: jax.Array, at: Any, tangent: Any) -> tuple[Any, Any]:
        z, pull, push = _both_modes(lambda pair: after(pair[0], pair[1], xs), at)
        slope = jax.grad(lambda out: jnp.sum(weights * loss(out, ys)))
        curved = jax.jvp(slope, (z,), (push(tangent),))[1]
        return jax.tree.map(jnp.zeros_like, at), pull(curved)

    return _sum_products(chunk, outputs, loss, params, x, y, v, batch_size)


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
        batch_size: samples held at once; default at most 1,000.

    Returns:
        Pytree like params.

    Raises:
        TypeError: as `gauss_newton_product`.
        ValueError: as `gauss_newton_product`.

    Cost: one Hessian-vector product. Outside `jax.jit` compiled once, as `hessian`; for many products see
    `curvature_operators`.

    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> round(float(residual_product(outputs, loss, w, x, y, jnp.ones(1))[0]), 3)  # -cos(w)^2
    -0.25
    """
    _, after = two_phases(outputs)

    def chunk(xs: Any, ys: Any, weights: jax.Array, at: Any, tangent: Any) -> tuple[Any, Any]:
        slope = jax.grad(lambda out: jnp.sum(weights * loss(out, ys)))(after(at[0], at[1], xs))
        return jax.jvp(jax.grad(lambda pair: jnp.sum(slope * after(pair[0], pair[1], xs))), (at,), (tangent,))

    return _sum_products(chunk, outputs, loss, params, x, y, v, batch_size)


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
        batch_size: samples held at once; default at most 1,000.

    Returns:
        Pytree like params.

    Raises:
        TypeError: as `gauss_newton_product`.
        ValueError: as `gauss_newton_product`.

    Cost: about two gradients. Outside `jax.jit` compiled once, as `hessian`; for many products see
    `curvature_operators`.

    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> round(float(hessian_product(outputs, loss, w, x, y, jnp.ones(1))[0]), 3)  # -cos(2 w)
    0.5
    """
    _, after = two_phases(outputs)

    def chunk(xs: Any, ys: Any, weights: jax.Array, at: Any, tangent: Any) -> tuple[Any, Any]:
        return jax.jvp(
            jax.grad(lambda pair: jnp.sum(weights * loss(after(pair[0], pair[1], xs), ys))), (at,), (tangent,)
        )

    return _sum_products(chunk, outputs, loss, params, x, y, v, batch_size)


def two_phases(outputs: Outputs) -> tuple[Callable[[Any], Any], Callable[[Any, Any, Any], jax.Array]]:
    """The model as `before`, params -> fixed, which no sample enters, and `after`, (fixed, params, x) -> outputs."""
    if isinstance(outputs, PartSum) and (phases := outputs.two_phases()) is not None:
        return phases
    return lambda params: (), lambda _, params, x: outputs(params, x)


def _both_modes(f: Callable[[Any], jax.Array], at: Any) -> tuple[jax.Array, Callable[..., Any], Callable[..., Any]]:
    """Value of f, its transposed and its forward derivative there."""
    z, pull = jax.vjp(f, at)
    return z, lambda cotangent: pull(cotangent)[0], lambda tangent: jax.jvp(f, (at,), (tangent,))[1]


def _sum_products(
    chunk_product: Chunk,
    outputs: Outputs,
    loss: Loss,
    params: Any,
    x: Any,
    y: Any,
    v: Any,
    batch_size: int | None,
) -> Any:
    """The product in the parameters from the chunks' products in what is fixed and the parameters.

    With F = before(params) and g the gradient in F, the pull-back g F'(params) depends on the parameters twice: its
    derivative along v is the image in F pulled back plus g F''(params) v.
    """
    params, v = as_arrays(params), as_arrays(v, "v")
    check_real(params)
    check_like(params, v)
    shapes = check_model(outputs, loss, params, x, y)
    if (spread := spread_of(x, y)) is not None:

        def share(pair: tuple[Any, Any], data: tuple[Any, Any]) -> Any:
            return _sum_products(chunk_product, outputs, loss, pair[0], data[0], data[1], pair[1], batch_size)

        return compiled_once(spread.mean(share), spread.everywhere((params, v)), spread.samples((x, y)))
    params, v = vary((params, v), shapes.axes)
    count = shapes.n_samples
    samples = even_chunk(count, chunk_size("batch_size", batch_size, count, SAMPLES_AT_ONCE))
    data = jax.tree.map(jnp.asarray, (x, y))
    before, _ = two_phases(outputs)

    def product(params: Any, v: Any, data: Any) -> Any:
        fixed, moved = jax.jvp(before, (params,), (v,))
        at, tangent = (fixed, params), (moved, v)

        def add(chunk: jax.Array, total: Any) -> Any:
            start, _, fresh = window(chunk * samples, samples, count)
            xs, ys = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, samples), data)
            weights = fresh.astype(shapes.loss_dtype) / count
            return jax.tree.map(jnp.add, total, chunk_product(xs, ys, weights, at, tangent))

        zeros = jax.tree.map(jnp.zeros_like, at)
        (gradient, _), (image, direct) = jax.lax.fori_loop(0, -(-count // samples), add, (zeros, zeros))
        pulled = jax.jvp(lambda p, g: jax.vjp(before, p)[1](g)[0], (params, gradient), (v, image))[1]
        return jax.tree.map(jnp.add, direct, pulled)

    return compiled_once(product, params, v, data)
