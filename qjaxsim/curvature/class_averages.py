"""Averages over the samples of each class under `classes`: chunks of one class after the other, resumable."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, digest
from qjaxsim.common.checks import is_traced, require_unmasked
from qjaxsim.common.chunks import even_chunk
from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.chunks import evenly
from qjaxsim.curvature.gauss_newton import flat_unsharded
from qjaxsim.curvature.hvp import chunk_size
from qjaxsim.curvature.objective import Outputs, check_model, require_classes
from qjaxsim.curvature.parts import pulled_back, values
from qjaxsim.running.array_types import taken, to_jax

# Of one class in a chunk when the caller does not say: enough that calls of compiled functions take little of the time.
SAMPLES_AT_ONCE = 256


class Averages(NamedTuple):
    """Averages over the samples of each class.

    Attributes:
        rows: (K, K, P), of delta_{i,c'} for each c'.
        probabilities: (K, K), of the softmax.
        shares: (K,), of the samples.
    """

    rows: jax.Array
    probabilities: jax.Array
    shares: np.ndarray


def averages(
    outputs: Outputs,
    params: Any,
    x: Any,
    y: Any,
    batch_size: int | None,
    progress: Callable[[int, int], None] | None,
    checkpoint: str | Path | None,
) -> Averages:
    """The averages in the words of `class_decomposition`, whose arguments these are.

    Args:
        outputs: the model.
        params: its P numbers.
        x: inputs.
        y: classes.
        batch_size: samples of one class in a chunk.
        progress: called after each chunk.
        checkpoint: the file of unfinished sums.
    """
    flat, unravel = flat_unsharded(params, x, y)
    params, labels = unravel(flat), class_labels(y)
    if is_traced(flat):
        raise TypeError(
            "Argument `params` must be known, since averages are kept by NumPy, but is traced by JAX (in jit, grad or "
            "vmap); call this function outside, once for each."
        )
    shapes = check_model(outputs, _one_number, params, x, labels)
    count, k = shapes.n_samples, shapes.n_outputs
    _check_classes(labels, k)
    most = chunk_size("batch_size", batch_size, count, SAMPLES_AT_ONCE)
    # For a tenth more samples than a class has on average: whatever the labels, the same programs.
    size = even_chunk(-(-11 * count // (10 * k)), most)
    needed = 3 * k**2 * flat.size * flat.dtype.itemsize
    require_memory(needed, f"Averages over {k} classes of {flat.size} parameters", "use fewer classes")
    chunks = list(_chunks(labels, k, size, flat.dtype))
    sums = (jnp.zeros((k, k, flat.size), flat.dtype), jnp.zeros((k, k), flat.dtype))
    saved, done = None, 0
    if checkpoint is not None:
        digests = {"params": digest(params), "x": digest(x), "y": digest(labels)}
        identity = {**digests, "batch_size": size}
        saved = Checkpoint(checkpoint, identity, fingerprint=_mark(outputs, params, _samples(x, evenly(size, count))))
        state = saved.restore({"sums": sums, "chunks": 0})
        sums, done = (state["sums"], state["chunks"]) if state else (sums, 0)
    counted = np.cumsum([0, *(chunk.fresh for chunk in chunks)])
    if done and progress is not None:
        progress(int(counted[done]), count)
    for number, chunk in enumerate(chunks[done:], start=done + 1):
        xs = _samples(x, chunk.places)
        cotangents, p = _cotangents(values(outputs, params, xs), chunk.weights)
        sums = _added(sums, chunk.label, pulled_back(outputs, params, xs, cotangents), p)
        if saved is not None:
            saved.save({"sums": sums, "chunks": number}, last=number == len(chunks))
        if progress is not None:
            jax.block_until_ready(sums)
            progress(int(counted[number]), count)
    return Averages(*sums, np.bincount(labels, minlength=k) / count)


class _Chunk(NamedTuple):
    """Samples of one class.

    Attributes:
        label: the class.
        places: (size,) where they stand; the last chunk of a class repeats some.
        weights: (size,) one over the samples of the class, or zero where one is repeated.
        fresh: how many are not.
    """

    label: int
    places: np.ndarray
    weights: np.ndarray
    fresh: int


def _chunks(labels: np.ndarray, n_classes: int, size: int, dtype: Any) -> Iterator[_Chunk]:
    """All samples class by class, so that a chunk's vectors add up to one average, in chunks of one size."""
    for label in range(n_classes):
        own = np.flatnonzero(labels == label)
        for begin in range(0, len(own), size):
            part = own[begin : begin + size]
            weights = (np.arange(size) < len(part)) / len(own)
            yield _Chunk(label, np.resize(part, size), weights.astype(dtype), len(part))


def _mark(outputs: Outputs, params: Any, xs: Any) -> Fingerprint:
    """What stands for the outputs: logits of some samples and the vectors that they add up to."""
    logits = values(outputs, params, xs)
    cotangents, _ = _cotangents(logits, jnp.full(len(logits), 1 / len(logits), logits.dtype))
    vectors = pulled_back(outputs, params, xs, cotangents)
    return Fingerprint("evidence", "outputs", jnp.concatenate([logits.ravel(), vectors.ravel().astype(logits.dtype)]))


def _samples(x: Any, places: np.ndarray) -> Any:
    def own(leaf: Any) -> jax.Array:
        return taken(leaf, places) if isinstance(leaf, jax.Array) else to_jax(leaf[places])  # not all to the device

    return jax.tree.map(own, x)


@jax.jit
def _cotangents(z: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """For each class c' the weighted sqrt(p_c') (e_c' - p) of each sample, (K, B, K), and the weighted p, (K,)."""
    p, weights = jax.nn.softmax(z, axis=1), weights.astype(z.dtype)[:, None]
    same = jnp.eye(z.shape[1], dtype=z.dtype)
    # What a class lacks to one is what the others have: the difference rounds away where it is all but certain.
    lacking = jnp.matmul(p, 1 - same, precision=HIGHEST)
    apart = same[:, None, :] * lacking[None] - (1 - same)[:, None, :] * p[None]
    return (weights * jnp.sqrt(p)).T[:, :, None] * apart, (weights * p).sum(axis=0)


@functools.partial(jax.jit, donate_argnums=0)
def _added(
    sums: tuple[jax.Array, jax.Array], label: jax.Array, rows: jax.Array, probabilities: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The sums with those of a chunk of one class."""
    given = zip(sums, (rows, probabilities), strict=True)
    first, second = (total.at[label].add(own.astype(total.dtype)) for total, own in given)
    return first, second


# --- checks ----------------------------------------------------------------------------------------------------------


def _one_number(z: jax.Array, y: jax.Array) -> jax.Array:
    """Stands for the loss where shapes are checked: no derivative of it is taken."""
    return z[:, 0]


def class_labels(y: Any) -> np.ndarray:
    """The classes as NumPy's integers (N,).

    Raises:
        TypeError: for what is traced or holds no integers.
        ValueError: for another shape.
    """
    if is_traced(y):
        raise TypeError(
            "Argument `y` must be known, since it decides which samples are averaged, but is traced by JAX (in jit, "
            "grad or vmap); call this function outside."
        )
    require_unmasked("Argument `y`", y)
    labels = np.asarray(y)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"Argument `y` must hold integers, the class of each sample, but is {labels.dtype}{list(labels.shape)}; "
            "classes take `y.astype(int)`, and losses other than softmax cross-entropy have no classes."
        )
    if labels.ndim != 1:
        raise ValueError(
            f"Argument `y` must have shape (N,), one class a sample, but has {labels.shape}; for one-hot rows take "
            "`y.argmax(axis=1)`."
        )
    return labels


def _check_classes(labels: np.ndarray, n_outputs: int) -> None:
    if n_outputs < 2:
        raise ValueError(
            "Argument `outputs` must return one logit a class, two at least, but returned 1; give class 0 a logit of "
            "its own, `jnp.pad(z, ((0, 0), (1, 0)))`."
        )
    require_classes(labels, 0, n_outputs)
