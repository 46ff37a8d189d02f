"""Errors that shots give curvature by the parameter-shift rule, from the known variances of all evaluations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.curvature.shifts import MeasuredHessian, shift_rule
from qjaxsim.models.losses import cross_entropy
from qjaxsim.studies.noisy_hessian.model import noisy_values


class Evaluations(NamedTuple):
    """What a device would measure: Z of all outputs together, for some images at shifted weights.

    Attributes:
        means: (M, E, K) of the Z; those at the weights themselves first, then others of the rule, then all weights
            shifted by pi/2 and all by -pi/2, one at a time, for first derivatives.
        covariances: (M, E, K, K) of one shot.
        labels: (M,) of the images.
        weights: (E', P, P) of the rule, for the first E' evaluations.
    """

    means: np.ndarray
    covariances: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def evaluate(x: np.ndarray, y: np.ndarray, weights: np.ndarray, n_classes: int, p: float, factor: float) -> Evaluations:
    """Exact means and covariances.

    Args:
        x: (M, 4) images as angles.
        y: (M,) their labels.
        weights: (layers, 4, 3) of the circuit.
        n_classes: outputs K.
        p: depolarizing probability after every gate.
        factor: of all expectation values, as a global depolarizing channel makes them.
    """
    rule, units = shift_rule(np.eye(weights.size)), np.pi / 2 * np.eye(weights.size)
    shifts = np.concatenate([rule.shifts, units, -units])
    run = noisy_values(len(weights), n_classes, pairs=True)
    turned = weights + shifts.reshape(-1, *weights.shape)
    # One image at a time, for memory.
    found = factor * np.stack([run({"inputs": row[None], "weights": turned, "p": np.float64(p)}) for row in x])
    means, pairs = found[..., :n_classes], found[..., n_classes:]
    products = np.ones((*means.shape, n_classes))  # the square of a Z is 1
    upper, right = np.triu_indices(n_classes, 1)
    products[..., upper, right] = products[..., right, upper] = pairs
    covariances = products - means[..., :, None] * means[..., None, :]
    return Evaluations(means, covariances, y, rule.weights)


def energy_hessian(found: Evaluations) -> MeasuredHessian:
    """Of minus the mean over images of <Z> of their classes, by one shot an evaluation.

    A shot takes an image by chance, so that its outcome is 1 or -1 and its variance known from its mean.
    """
    own = np.take_along_axis(found.means, found.labels[:, None, None], axis=2)[..., 0]
    z = own.mean(axis=0)[: len(found.weights)]
    return MeasuredHessian(-z, np.sqrt(np.maximum(1 - z**2, 0)), found.weights, shots=1)


def loss_curvature(found: Evaluations, scale: float, vector: np.ndarray, n_images: int) -> tuple[float, float]:
    """Curvature of the mean cross-entropy along a vector, and its standard error by one shot an evaluation and image.

    To first order in the errors: beyond, the loss's curvature has a bias of the order of 1 / shots.

    Args:
        found: for some images, from which the mean is estimated.
        scale: factor of expectation values in the logits.
        vector: (P,) of length 1.
        n_images: images of the loss.
    """
    inner = jnp.asarray(np.einsum("p,kpq,q->k", vector, found.weights, vector, optimize=True))

    def curvature(z: jax.Array, label: jax.Array) -> jax.Array:
        plus, minus = jnp.split(z[len(inner) :], 2)
        slopes, bend = vector @ (plus - minus) / 2, inner @ z[: len(inner)]

        def loss(at: jax.Array) -> jax.Array:
            return cross_entropy(scale * at[None], label[None])[0]

        return slopes @ jax.hessian(loss)(z[0]) @ slopes + jax.grad(loss)(z[0]) @ bend

    each: Any = jax.vmap(jax.value_and_grad(curvature))
    values, slopes = each(jnp.asarray(found.means), jnp.asarray(found.labels))
    variances = np.einsum("mek,mekl,mel->m", slopes, found.covariances, slopes, optimize=True)
    return float(values.mean()), float(np.sqrt(variances.mean() / n_images))
