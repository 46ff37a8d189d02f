"""Means of metrics over data, a chunk at a time, by one compiled function where that is possible; shapes of losses."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.chunks import even_chunk

Params = Any
Metrics = Callable[[Params, jax.Array, jax.Array], Mapping[str, jax.Array]]


class Evaluation:
    """Means of all metrics over all examples of each part of the data.

    Where every metric is one number an example, all chunks have the same length: the last one of a part begins again at
    the part's first examples, which then count once. So one compiled function serves, also evaluations of other data
    by the same `metrics` object in chunks of that length. Where one is a mean, the last chunk is shorter.

    Attributes:
        columns: names of the metrics by part, "train_loss".

    >>> import jax.numpy as jnp
    >>> squares = Evaluation(lambda w, x, y: {"loss": (w * x - y) ** 2}, 2.0, {"test": (np.arange(3.0), np.ones(3))}, 2)
    >>> squares(jnp.array(2.0))  # the mean of 1, 1 and 9
    {'test_loss': 3.6666666666666665}
    """

    def __init__(
        self,
        metrics: Metrics,
        params: Params,
        data: Mapping[str, tuple[Any, Any]],
        at_once: int,
        weights: Mapping[str, np.ndarray | None] = MappingProxyType({}),
    ):
        """An evaluation, checked on shapes.

        Args:
            metrics: maps (params, x, y) to a dict of means over the examples given, or of one number an example.
            params: parameters of the shapes to come.
            data: by the name of a part inputs (N, ...) and targets (N, ...).
            at_once: examples at once, at most.
            weights: by the name of a part weights of its examples in the means, (N,), or None for equal ones, as
                parts that are missing here have.

        Raises:
            ValueError: if a metric is neither a mean nor one number an example, or a mean where there are weights.
        """
        self._compiled = jax.jit(metrics)
        # On the host, where slices are not compiled.
        parts = {part: (np.asarray(x), np.asarray(y)) for part, (x, y) in data.items()}
        size = even_chunk(max(len(x) for x, _ in parts.values()), at_once)
        few = [jax.ShapeDtypeStruct((size, *array.shape[1:]), array.dtype) for array in next(iter(parts.values()))]
        shapes = self._compiled.eval_shape(params, *few)
        for name, value in shapes.items():
            if value.shape not in ((), (size,)):
                raise ValueError(
                    f"Argument `metrics` must return means over the examples, or one number an example, but {name!r} "
                    f"has shape {value.shape} of {size} examples; take its mean."
                )
        each = all(value.shape for value in shapes.values())
        self._weights = {part: own for part, own in weights.items() if own is not None}
        if self._weights and not each:
            raise ValueError(
                "Argument `metrics` must return one number an example where `weights` are given, but returns means; "
                "leave the mean to the loop."
            )
        self._chunks = {part: _chunks(x, y, size, equal=each) for part, (x, y) in parts.items()}
        self.columns = [f"{part}_{name}" for part in parts for name in shapes]

    def __call__(self, params: Params) -> dict[str, float]:
        """The means by column."""
        return {f"{part}_{name}": mean for part in self._chunks for name, mean in self.means(part, params).items()}

    def means(self, part: str, params: Params) -> dict[str, float]:
        """The means over one part, by metric."""
        chunks = self._chunks[part]
        values = [self._compiled(params, x, y) for x, y, _ in chunks]  # before the first is waited for
        counts = [count for *_, count in chunks]
        weights = self._weights.get(part)
        return {name: _mean([value[name] for value in values], counts, weights) for name in values[0]}


def _chunks(x: np.ndarray, y: np.ndarray, size: int, equal: bool) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Inputs and targets of each chunk, and how many of them count."""
    chunks = []
    for start in range(0, len(x), size):
        fresh = min(size, len(x) - start)
        rows: Any = slice(start, start + fresh)
        if equal and fresh < size:
            rows = np.arange(start, start + size) % len(x)
        chunks.append((x[rows], y[rows], fresh))
    return chunks


def _mean(values: list[jax.Array], counts: list[int], weights: np.ndarray | None) -> float:
    """The weighted mean over examples from that, or from the numbers, of each chunk."""
    each = [
        np.broadcast_to(value, count) if np.ndim(value) == 0 else np.asarray(value)[:count]
        for value, count in zip(values, counts, strict=True)
    ]
    return float(np.average(np.concatenate(each).astype(np.float64), weights=weights))


def loss_shape(
    loss: Callable[[Params, jax.Array, jax.Array], jax.Array], params: Params, x: jax.Array, y: jax.Array, size: int
) -> tuple[int, ...]:
    """The shape of the loss of a minibatch, found on its shapes so that its trace serves again."""
    batch = [jax.ShapeDtypeStruct((size, *array.shape[1:]), array.dtype) for array in (x, y)]
    found = jax.jit(loss).eval_shape(params, *batch)
    if not isinstance(found, jax.ShapeDtypeStruct) or not jnp.issubdtype(found.dtype, jnp.floating):
        what = found.dtype if isinstance(found, jax.ShapeDtypeStruct) else jax.tree.structure(found)
        raise TypeError(
            "Argument `loss` must return real floats, the mean over the examples or one number an example, but "
            f"returned {what}; leave out what else it finds, and take the real part of what is complex."
        )
    return found.shape


def is_each(shape: tuple[int, ...], size: int) -> bool:
    """Whether a loss of this shape is one number an example."""
    if shape not in ((), (size,)):
        raise ValueError(
            f"Argument `loss` must return the mean over the examples, or one number an example, but has shape {shape} "
            f"of {size} examples; take its mean."
        )
    return shape != ()
