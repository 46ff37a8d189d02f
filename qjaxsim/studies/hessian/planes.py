"""Landscapes of a cell: the training loss on planes through its path or its minimum."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim import curvature
from qjaxsim.common.checkpoint import Checkpoint, OtherComputationError, digest
from qjaxsim.common.progress import Progress
from qjaxsim.models.patches import PatchesModel
from qjaxsim.studies.hessian.examples import HessianExamples, loss_of_params
from qjaxsim.studies.hessian.settings import HessianSettings
from qjaxsim.training import TrainResult

# The plane of eigenvectors reaches as far as the quadratic model rises by so many nats along each.
EIGEN_RISE = 2.0
# How the names of files end that hold unfinished work of a cell.
SO_FAR = "_so_far.npz"


def planes(
    settings: HessianSettings,
    model: PatchesModel,
    examples: HessianExamples,
    result: TrainResult,
    leading: tuple[np.ndarray, np.ndarray],
    progress: Progress,
    folder: Path,
) -> dict[str, np.ndarray]:
    """Arrays of every plane that the settings name, with the training path in its coordinates.

    Args:
        settings: resolved, of one cell.
        model: the model.
        examples: its data.
        result: its training.
        leading: the two largest eigenvalues (2,) at the minimum and their vectors (2, P).
        progress: bars.
        folder: where an unfinished plane is kept.

    Returns:
        For "pca" `landscape_a`, `landscape_b`, `landscape`, `trajectory` and `explained_variance`; for the other planes
        the first four with the plane's name and "_" in front, and `eigen_values`.
    """
    images = settings.landscape_images or settings.curvature_images
    loss = loss_of_params(model, examples, images, settings.dtype)
    arrays: dict[str, np.ndarray] = {}
    for name in settings.landscape:
        plane, path, (a, b), extra = _PLANES[name](settings, model, result, leading)
        with progress.counter(f"landscape {name}, lines", len(b)) as moved:
            losses = _losses(loss, plane, a, b, folder / f"plane_{name}{SO_FAR}", moved)
        own = {"landscape_a": a, "landscape_b": b, "landscape": losses, "trajectory": path, **extra}
        arrays |= own if name == "pca" else {_prefixed(name, key): value for key, value in own.items()}
    return arrays


def _losses(
    loss: Callable[[Any], jax.Array],
    plane: curvature.Plane,
    a: np.ndarray,
    b: np.ndarray,
    path: Path,
    moved: Callable[[int, int], None],
) -> np.ndarray:
    """Losses (B, A), kept in a file line by line; an earlier attempt at this very grid is gone on with."""
    saved = Checkpoint(path, {"plane": digest([plane.origin, plane.directions]), "grid": digest([a, b])})
    try:
        state = saved.restore({"lines": np.empty((0, len(a)), plane.origin.dtype)}, growing=("lines",))
    except OtherComputationError:
        state = None
    lines = list(state["lines"]) if state else []
    for done in range(len(lines), len(b)):
        lines.append(np.asarray(curvature.evaluate_plane(loss, plane, a, b[done : done + 1])[0]))
        saved.save({"lines": np.stack(lines)}, last=done + 1 == len(b))
        moved(done + 1, len(b))
    return np.stack(lines)


def _prefixed(name: str, key: str) -> str:
    return key if key.startswith(f"{name}_") else f"{name}_{key}"


_Plane = tuple[curvature.Plane, np.ndarray, tuple[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def _pca(settings: HessianSettings, model: PatchesModel, result: TrainResult, leading: Any) -> _Plane:
    """The paper's plane and grid; the position bias stays at its value in the minimum."""
    minimum, unravel = _flat(settings, result)
    frozen = np.arange(minimum.size) < model.image_size**2
    trajectory = result.trajectory.astype(settings.dtype)
    principal = curvature.pca_plane(trajectory, unravel, frozen=frozen, anchor=np.asarray(minimum))
    axes = curvature.grid_around(principal.projection, points=settings.landscape_points)
    return principal.plane, principal.projection, axes, {"explained_variance": principal.explained}


def _eigen(settings: HessianSettings, model: PatchesModel, result: TrainResult, leading: Any) -> _Plane:
    values, vectors = leading
    minimum, unravel = _flat(settings, result)
    plane = curvature.eigen_plane(unravel(minimum), vectors)
    reach = [np.sqrt(2 * EIGEN_RISE / max(value, 1e-12)) for value in values]
    axes = tuple(np.linspace(-far, far, settings.landscape_points) for far in np.minimum(reach, np.pi))
    return plane, _coordinates(result, minimum, plane), (axes[0], axes[1]), {"eigen_values": np.asarray(values)}


def _random(settings: HessianSettings, model: PatchesModel, result: TrainResult, leading: Any) -> _Plane:
    minimum, unravel = _flat(settings, result)
    plane = curvature.random_plane(unravel(minimum), jax.random.key(settings.data_seed))
    axis = np.linspace(-1.0, 1.0, settings.landscape_points)
    return plane, _coordinates(result, minimum, plane), (axis, axis), {}


_PLANES = {"pca": _pca, "eigen": _eigen, "random": _random}


def _flat(settings: HessianSettings, result: TrainResult) -> tuple[jax.Array, Any]:
    """The minimum as a flat vector in the precision of curvature."""
    return ravel_pytree(jax.tree.map(lambda leaf: leaf.astype(settings.dtype), result.params_best))


def _coordinates(result: TrainResult, minimum: jax.Array, plane: curvature.Plane) -> np.ndarray:
    """The path's projections onto a plane through the minimum, (T, 2)."""
    return np.asarray(result.trajectory - np.asarray(minimum)) @ np.linalg.pinv(np.asarray(plane.directions))
