"""Products of a vector with the Hessian of a mean loss and with its two parts, over samples in chunks: no matrices.

A model may tell that a part of its work serves all samples (`two_phases`): matrices of its weights, say. That part and
its derivatives are then done once a product instead of once a chunk. `hessian.md` derives it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.chunks import even_chunk
from qjaxsim.common.loops import fori_loop
from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.hvp import as_arrays, check_like, check_real, chunk_size
from qjaxsim.curvature.objective import Loss, Outputs, check_model
from qjaxsim.curvature.parts import PartSum
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.spreading import spread_of
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.varying import vary

Slopes = tuple[jax.Array, jax.Array]
"""The loss's gradient in the outputs, and its tangent along the model's."""

Part = Callable[[Any, Any, Slopes], tuple[Any, Any]]
"""Maps the pull-back of the model's outputs, its tangent, and slopes to gradient and image, each like the pair (fixed,
params); without a gradient, None, where second derivatives of the model have no part."""

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
    return _sum_products(_gauss_newton, outputs, loss, params, x, y, v, batch_size)


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
    return _sum_products(_residual, outputs, loss, params, x, y, v, batch_size)


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
    return _sum_products(_hessian, outputs, loss, params, x, y, v, batch_size)


def two_phases(outputs: Outputs) -> tuple[Callable[[Any], Any], Callable[[Any, Any, Any], jax.Array]]:
    """The model as `before`, params -> fixed, which no sample enters, and `after`, (fixed, params, x) -> outputs."""
    if isinstance(outputs, PartSum) and (phases := outputs.two_phases()) is not None:
        return phases
    return lambda params: (), lambda _, params, x: outputs(params, x)


def _hessian(pull: Any, turned: Any, slopes: Slopes) -> tuple[Any, Any]:
    slope, moved = slopes
    return jax.jvp(lambda pull, slope: pull(slope)[0], (pull, slope), (turned, moved))


def _residual(pull: Any, turned: Any, slopes: Slopes) -> tuple[Any, Any]:
    return jax.jvp(lambda pull: pull(slopes[0])[0], (pull,), (turned,))


def _gauss_newton(pull: Any, turned: Any, slopes: Slopes) -> tuple[Any, Any]:
    return None, pull(slopes[1])[0]


def _moved_pull(f: Callable[[Any], Any], at: Any, tangent: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Value of f and its pull-back there, and the tangents of both, by one run of f."""
    return jax.jvp(lambda at: jax.vjp(f, at), (at,), (tangent,))


def _sum_products(
    part: Part,
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
            return _sum_products(part, outputs, loss, pair[0], data[0], data[1], pair[1], batch_size)

        return compiled_once(spread.mean(share), spread.everywhere((params, v)), spread.samples((x, y)))
    params, v = vary((params, v), shapes.axes)
    count = shapes.n_samples
    samples = even_chunk(count, chunk_size("batch_size", batch_size, count, SAMPLES_AT_ONCE))
    data = jax.tree.map(to_jax, (x, y))
    before, after = two_phases(outputs)

    def product(params: Any, v: Any, data: Any) -> Any:
        (fixed, pull), (moved, turned) = _moved_pull(before, params, v)
        at, tangent = (fixed, params), (moved, v)

        def add(chunk: jax.Array, total: Any) -> Any:
            start, _, fresh = window(chunk * samples, samples, count)
            xs, ys = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, samples), data)
            weights = fresh.astype(shapes.loss_dtype) / count
            (z, back), (dz, turned_back) = _moved_pull(lambda pair: after(pair[0], pair[1], xs), at, tangent)
            slope = jax.grad(lambda out: jnp.sum(weights * loss(out, ys)))
            return jax.tree.map(jnp.add, total, part(back, turned_back, jax.jvp(slope, (z,), (dz,))))

        zeros = jax.tree.map(jnp.zeros_like, at)
        begin = (None if part is _gauss_newton else zeros, zeros)
        gradient, (image, direct) = fori_loop(0, -(-count // samples), add, begin)
        if gradient is None:
            (pulled,) = pull(image)
        else:
            (pulled,) = jax.jvp(lambda pull, g: pull(g), (pull, gradient[0]), (turned, image))[1]
        return jax.tree.map(jnp.add, direct, pulled)

    return compiled_once(product, params, v, data)
