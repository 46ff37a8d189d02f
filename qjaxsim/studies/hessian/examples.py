"""The images of a cell, and the loss on them as a function of the parameters."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.curvature.chunks import window
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.shared.examples import Examples

_IMAGES_AT_ONCE = 1000


@dataclass(frozen=True, eq=False, kw_only=True)
class HessianExamples(Examples):
    """Images as angles (N, side, side) and labels (N,) int32, in double precision.

    Attributes:
        chosen: maps a number of training images, None for all, to a stratified choice of so many.
    """

    chosen: Callable[[int | None], tuple[np.ndarray, np.ndarray]]


@functools.lru_cache(maxsize=8)  # one object for all planes of a model, so that one program serves them
def loss_of_params(
    model: PatchesModel, examples: HessianExamples, images: int | None, dtype: str
) -> Callable[[Any], jax.Array]:
    """The mean loss on so many training images as a function of params, in chunks of a thousand."""
    x, y = (jnp.asarray(array) for array in examples.chosen(images))
    x = x.astype(dtype)
    size = min(_IMAGES_AT_ONCE, len(x))

    def loss(params: Any) -> jax.Array:
        def add(chunk: jax.Array, total: jax.Array) -> jax.Array:
            start, _, fresh = window(chunk * size, size, len(x))
            xs, ys = (jax.lax.dynamic_slice_in_dim(array, start, size) for array in (x, y))
            return total + jnp.where(fresh, cross_entropy(model.outputs(params, xs), ys), 0).sum()

        return jax.lax.fori_loop(0, -(-len(x) // size), add, jnp.zeros((), x.dtype)) / len(x)

    return loss
