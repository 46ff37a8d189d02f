"""The images of a cell, and the loss on them as a function of the parameters."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from qjaxsim.curvature.mean_loss import mean_loss
from qjaxsim.models.losses import cross_entropy
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.shared.examples import Examples


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
    """The mean loss on so many training images as a function of params."""
    x, y = examples.chosen(images)
    return mean_loss(model.outputs, cross_entropy, x.astype(dtype), y)
