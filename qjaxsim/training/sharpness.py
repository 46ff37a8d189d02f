"""Sharpness along a training: the largest eigenvalue of the loss's Hessian after every epoch, beside 2 / rate."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, digest
from qjaxsim.common.checks import positive_integer
from qjaxsim.common.loops import each
from qjaxsim.curvature import LinearOperator, top_eigenpairs
from qjaxsim.running.array_types import to_jax
from qjaxsim.training.config import TrainConfig, learning_rates
from qjaxsim.training.epoch import Loss
from qjaxsim.training.loop import TrainResult, examples_of

# Examples that the Hessian is taken of by default.
EXAMPLES = 1000


class Sharpness(NamedTuple):
    """Of a training of E epochs, each (E + 1,): at its start and after every epoch.

    Attributes:
        values: largest eigenvalues of the Hessian of the mean loss.
        residuals: each value lies within its residual of an eigenvalue.
        bounds: 2 / rate of the epoch that comes next: above it, gradient descent on a quadratic function diverges. Of
            the last epoch again at the end; infinite at a rate of zero, NaN for an optimiser with a rate of its own.

    >>> Sharpness(np.array([3.0]), np.array([1e-9]), np.array([20.0])).bounds
    array([20.])
    """

    values: np.ndarray
    residuals: np.ndarray
    bounds: np.ndarray


def sharpness_along(
    loss: Loss,
    result: TrainResult,
    x: Any,
    y: Any,
    config: TrainConfig,
    *,
    examples: int = EXAMPLES,
    checkpoint: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sharpness:
    """The largest eigenvalue of the Hessian at every point of a trajectory.

    In plain gradient descent it rises up to about 2 / rate and stays there (Cohen et al. 2021, arXiv:2103.00065, the
    edge of stability). Adam has another bound, for the Hessian in its own metric (Cohen et al. 2022, arXiv:2207.14484),
    and minibatches keep it lower; 2 / rate is then a mark to compare with, no threshold.

    Args:
        loss: as `fit` took it.
        result: of `fit`.
        x: inputs, as `fit` took them.
        y: targets, as `fit` took them.
        config: as `fit` took it.
        examples: how many of them the loss is taken of, spread evenly over all.
        checkpoint: file (.npz) to keep finished epochs in and to go on from; default nothing is kept.
        progress: called as progress(points done, points in all).

    Returns:
        Sharpness.

    Raises:
        TypeError: if x or y holds no numbers, or has a mask.
        ValueError: for x and y as in `fit`, if examples is not a positive integer, the rates of config are not those
            of the training, or the checkpoint is of another training or loss.

    Cost: for each epoch about 30 products with the Hessian, of two to four gradients each.

    >>> from qjaxsim.training import fit
    >>> config = TrainConfig(epochs=2, batch_size=2, learning_rate=0.1, optimizer="sgd")
    >>> loss = lambda w, x, y: ((w["a"] * x - y) ** 2).mean()
    >>> x = np.array([1.0, 3.0], np.float32)
    >>> result = fit(loss, {"a": np.float32(0.0)}, x, 2 * x, config, progress=False)
    >>> sharpness_along(loss, result, x, 2 * x, config).values.round(3)  # 2 times the mean of x squared
    array([10., 10., 10.])
    """
    x, y = examples_of(x, y, "x", "y")
    count = min(positive_integer("examples", examples), len(x))
    bounds = _bounds(config, result)
    chosen = np.linspace(0, len(x) - 1, count).astype(int)
    data = to_jax(np.asarray(x)[chosen]), to_jax(np.asarray(y)[chosen])
    flat, unravel = ravel_pytree(result.params_final)
    points = len(result.trajectory)
    values, residuals = np.full(points, np.nan), np.full(points, np.nan)
    saved = None
    done = 0
    if checkpoint is not None:
        probe = jax.random.normal(jax.random.key(0), (1, flat.size), flat.dtype)
        mark = Fingerprint("product", "loss", _rows(loss, unravel(flat), data, probe))
        identity = {"trajectory": digest(result.trajectory), "data": digest(data)}
        saved = Checkpoint(checkpoint, identity, fingerprint=mark)
        state = saved.restore({"values": values, "residuals": residuals, "done": 0})
        values, residuals, done = tuple(state.values()) if state else (values, residuals, 0)
    for point in range(done, points):
        params = unravel(jnp.asarray(result.trajectory[point], flat.dtype))
        operator = LinearOperator(flat.size, flat.dtype, functools.partial(_rows, loss, params, data))
        pairs = top_eigenpairs(operator, 1, key=jax.random.key(point), copies=False)
        values[point], residuals[point] = float(pairs.values[0]), float(pairs.residuals[0])
        if saved is not None:
            saved.save({"values": values, "residuals": residuals, "done": point + 1}, last=point + 1 == points)
        if progress is not None:
            progress(point + 1, points)
    return Sharpness(values, residuals, bounds)


def _bounds(config: TrainConfig, result: TrainResult) -> np.ndarray:
    ran = [row["learning_rate"] for row in result.history[1:]]
    if config.brings_its_rate or not ran:
        return np.full(len(result.history), np.nan)
    rates = learning_rates(config)
    if len(rates) != len(ran) or None in ran or not np.allclose(rates, np.array(ran, float), rtol=1e-6, atol=0):
        raise ValueError("Argument `config` must be as `fit` took it, but its rates are not those of `result`.")
    with np.errstate(divide="ignore"):
        return 2 / np.append(rates, rates[-1])


@functools.partial(jax.jit, static_argnums=0)
def _rows(loss: Loss, params: Any, data: tuple[jax.Array, jax.Array], rows: jax.Array) -> jax.Array:
    """Images of rows (m, P), one after the other: compiled once for a training."""
    flat, unravel = ravel_pytree(params)
    slope = jax.grad(lambda w: jnp.mean(loss(unravel(w), *data)))
    image = lambda row: jax.jvp(slope, (flat,), (row,))[1]  # noqa: E731
    images: jax.Array = each(image, rows)
    return images
