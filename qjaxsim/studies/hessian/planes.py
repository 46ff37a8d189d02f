"""Landscapes of a cell: the training loss on planes through its path or its minimum."""

from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.progress import Progress
from qjaxsim.curvature.landscape import Plane
from qjaxsim.curvature.spectra.planes import Scene, plane_arrays
from qjaxsim.models.losses import metrics
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian.examples import HessianExamples
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.training import Evaluation, TrainConfig, TrainResult


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
    x, y = examples.chosen(settings.landscape_images or settings.curvature_images)
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
    images = {"images": (x.astype(settings.dtype), y)}
    evaluation = Evaluation(metrics(model), unravel(minimum), images, TrainConfig.eval_batch_size)
    arrays: dict[str, np.ndarray] = {}
    for name in settings.landscape:
        arrays |= plane_arrays(name, partial(losses, evaluation), scene, progress, folder)
    return arrays


def losses(evaluation: Evaluation, plane: Plane, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean loss at the points of a grid, (B, A), point by point through the program that training has compiled."""
    lines = [[evaluation.means("images", plane.point(at, height))["loss"] for at in a] for height in b]
    return np.array(lines, plane.origin.dtype)
