"""Errors that shots give curvature by the parameter-shift rule, from the known variances of all evaluations."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.curvature.shifts import MeasuredHessian, shift_rule
from qjaxsim.models.losses import cross_entropy
from qjaxsim.running.array_types import to_jax
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


class LossErrors(NamedTuple):
    """Errors of the loss's Hessian by one shot of every evaluation of every image, to first order.

    Attributes:
        curvatures: along each of some vectors.
        stds: of these.
        edge: mean size of the most negative eigenvalue that the errors alone have.
    """

    curvatures: np.ndarray
    stds: np.ndarray
    edge: float


def loss_errors(found: Evaluations, scale: float, vectors: np.ndarray, n_images: int, draws: int) -> LossErrors:
    """What shots leave of the Hessian of the mean cross-entropy; beyond first order it has a bias of about 1 / shots.

    Args:
        found: for some images, from which means over all are estimated.
        scale: factor of expectation values in the logits.
        vectors: (P, V) of length 1, in columns.
        n_images: images of the loss.
        draws: of errors, for the edge.
    """
    rule, means, labels = to_jax(found.weights), to_jax(found.means), to_jax(found.labels)
    values, slopes = _curvatures(rule, scale, means, labels, to_jax(vectors))
    variances = np.einsum("mvek,mekl,mvel->mv", slopes, found.covariances, slopes, optimize=True)
    spread, axes = np.linalg.eigh(found.covariances)
    roots = axes * np.sqrt(np.maximum(spread, 0))[..., None, :]
    rng = np.random.default_rng(0)
    normal = (rng.normal(size=means.shape) for _ in range(draws))
    drawn = [_error(rule, scale, means, labels, np.einsum("mekl,mel->mek", roots, one)) for one in normal]
    # The mean of all images scatters less than that of those that were evaluated.
    less = np.sqrt(len(means) / n_images)
    edge = -less * float(np.mean(np.linalg.eigvalsh(np.stack(drawn))[:, 0]))
    return LossErrors(np.asarray(values).mean(axis=0), np.sqrt(variances.mean(axis=0) / n_images), edge)


def _hessian(rule: jax.Array, scale: Any, z: jax.Array, label: jax.Array) -> jax.Array:
    """Of one image's loss, (P, P), from its evaluations (E, K)."""
    plus, minus = jnp.split(z[len(rule) :], 2)
    slopes, bends = (plus - minus) / 2, jnp.einsum("kpq,ko->pqo", rule, z[: len(rule)])

    def loss(at: jax.Array) -> jax.Array:
        return cross_entropy(scale * at[None], label[None])[0]

    return slopes @ jax.hessian(loss)(z[0]) @ slopes.T + bends @ jax.grad(loss)(z[0])


@jax.jit
def _curvatures(
    rule: jax.Array, scale: Any, means: jax.Array, labels: jax.Array, vectors: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Of images along vectors (P, V), (M, V), and their slopes in the evaluations, (M, V, E, K)."""

    def along(z: jax.Array, label: jax.Array, vector: jax.Array) -> jax.Array:
        return vector @ _hessian(rule, scale, z, label) @ vector

    each = jax.vmap(jax.vmap(jax.value_and_grad(along), (None, None, 1)), (0, 0, None))
    found: tuple[jax.Array, jax.Array] = each(means, labels, vectors)
    return found


@jax.jit
def _error(rule: jax.Array, scale: Any, means: jax.Array, labels: jax.Array, deviations: jax.Array) -> jax.Array:
    """What deviations (M, E, K) of the evaluations change of the mean Hessian, to first order."""

    def one(z: jax.Array, label: jax.Array, deviation: jax.Array) -> jax.Array:
        return jax.jvp(lambda at: _hessian(rule, scale, at, label), (z,), (deviation,))[1]

    return jax.vmap(one)(means, labels, deviations).mean(axis=0)
