"""Landscapes of a cell: the training loss on planes through its path or its minimum."""

from pathlib import Path

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.progress import Progress
from qjaxsim.curvature.spectra.planes import Scene, plane_arrays
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian.examples import HessianExamples, loss_of_params
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.training import TrainResult


def planes(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    result: TrainResult,
    leading: tuple[np.ndarray, np.ndarray],
    progress: Progress,
    folder: Path,
) -> dict[str, np.ndarray]:
    """Arrays of every plane that the settings name, as `plane_arrays` gives them, with the training path.

    Args:
        settings: resolved, of one cell.
        model: the model.
        examples: its data.
        result: its training.
        leading: the two largest eigenvalues (2,) at the minimum and their vectors (2, P).
        progress: bars.
        folder: where an unfinished plane is kept.
    """
    images = settings.landscape_images or settings.curvature_images
    loss = loss_of_params(model, examples, images, settings.dtype)
    minimum, unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(settings.dtype), result.params_best))
    scene = Scene(
        minimum,
        unravel,
        result.trajectory,
        *leading,
        frozen=np.arange(minimum.size) < model.image_size**2,  # as in the paper, the position bias
        key=jax.random.key(settings.data_seed),
        points=settings.landscape_points,
    )
    arrays: dict[str, np.ndarray] = {}
    for name in settings.landscape:
        arrays |= plane_arrays(name, loss, scene, progress, folder)
    return arrays
