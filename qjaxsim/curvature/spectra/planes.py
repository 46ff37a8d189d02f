"""Landscapes of a report: the function on planes through its point, kept in a file line by line."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from qjaxsim.common.checkpoint import Checkpoint, Fingerprint, OtherComputationError, digest
from qjaxsim.common.files import SO_FAR
from qjaxsim.common.memory import require_memory
from qjaxsim.curvature import landscape
from qjaxsim.curvature.landscape import Plane

if TYPE_CHECKING:
    from qjaxsim.common.progress import Progress

# The plane of eigenvectors reaches as far as the quadratic model rises by so much along each, and at most half a turn.
# Of large functions by a share of their size: less would be lost in their rounding.
EIGEN_RISE, EIGEN_SHARE = 2.0, 1e-3
PLANES = ("pca", "eigen", "random")
Evaluate = Callable[[Plane, np.ndarray, np.ndarray], Any]
"""From a plane and coordinates a (A,) and b (B,) to the function there, (B, A), as `evaluate_plane` gives it."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What planes are laid through.

    Attributes:
        flat: the point (P,).
        unravel: from such a vector to the params.
        trajectory: points of a path (T, P), or None; only it makes the plane "pca".
        top_values: the two largest eigenvalues at the point.
        top_vectors: their vectors (2, P).
        frozen: mask (P,) of parameters that the plane "pca" holds, or None.
        key: of random directions.
        points: grid points along each axis.
        value: the function at the point, 0 where it is not known.
    """

    flat: jax.Array
    unravel: Callable[[jax.Array], Any]
    trajectory: np.ndarray | None
    top_values: np.ndarray
    top_vectors: np.ndarray
    frozen: np.ndarray | None
    key: jax.Array
    points: int
    value: float = 0.0


_Laid = tuple[Plane, np.ndarray, tuple[np.ndarray, np.ndarray], dict[str, np.ndarray]]


def require_grid(name: str, points: int, planes: Sequence[str]) -> None:
    """Raise if values on planes of so many points along each axis do not fit in memory.

    Args:
        name: the argument that says how many.
        points: along each axis.
        planes: names; nothing is refused without.

    Raises:
        MemoryError: naming the GiB needed and the GiB available.
    """
    # Each value, and its line as it is kept; those of earlier planes stay.
    what = f"A plane of {points:,} x {points:,} points"
    require_memory(8 * (len(planes) + bool(planes)) * points**2, what, f"choose fewer `{name}`")


def plane_arrays(
    name: str, evaluate: Evaluate, scene: Scene, progress: "Progress", folder: Path | None
) -> dict[str, np.ndarray]:
    """The function on one plane, with the path in its coordinates.

    Args:
        name: "pca" (of the path), "eigen" (of the leading eigenvectors) or "random" (filter-normalised directions).
        evaluate: the function on a grid.
        scene: what to lay it through.
        progress: bars.
        folder: where an unfinished plane is kept, or None.

    Returns:
        For "pca" `landscape_a`, `landscape_b`, `landscape`, `trajectory` and `explained_variance`; for the other planes
        the first four with the plane's name and "_" in front, and `eigen_values`. The path is the point alone where
        there is none.
    """
    plane, path, (a, b), extra = _LAID[name](scene)
    with progress.counter(f"landscape {name}, lines", len(b)) as moved:
        values = _values(evaluate, plane, a, b, None if folder is None else folder / f"plane_{name}{SO_FAR}.npz", moved)
    own = {"landscape_a": a, "landscape_b": b, "landscape": values, "trajectory": path, **extra}
    return own if name == "pca" else {_prefixed(name, key): value for key, value in own.items()}


def _values(
    evaluate: Evaluate,
    plane: Plane,
    a: np.ndarray,
    b: np.ndarray,
    path: Path | None,
    moved: Callable[[int, int], None],
) -> np.ndarray:
    """Values (B, A), kept in a file line by line; an earlier attempt at this very grid and function is gone on with.

    The function is known by the first line, which is evaluated in any case.
    """
    first = evaluate(plane, a, b[:1])[0]
    saved, lines = None, [np.asarray(first)]
    if path is not None:
        identity = {"plane": digest([plane.origin, plane.directions]), "grid": digest([a, b])}
        saved = Checkpoint(path, identity, fingerprint=Fingerprint("first", "function", first))
        try:
            state = saved.restore({"lines": np.empty((0, len(a)), plane.origin.dtype)}, growing=("lines",))
        except OtherComputationError:
            state = None
        lines = list(state["lines"]) if state else lines
    for done in range(len(lines), len(b)):
        lines.append(np.asarray(evaluate(plane, a, b[done : done + 1])[0]))
        if saved is not None:
            saved.save({"lines": np.stack(lines)}, last=done + 1 == len(b))
        moved(done + 1, len(b))
    return np.stack(lines)


def _prefixed(name: str, key: str) -> str:
    return key if key.startswith(f"{name}_") else f"{name}_{key}"


def _pca(scene: Scene) -> _Laid:
    """The plane and grid of arXiv:2504.19239; frozen parameters stay at their values in the point."""
    assert scene.trajectory is not None
    trajectory = scene.trajectory.astype(scene.flat.dtype)
    anchor = None if scene.frozen is None else np.asarray(scene.flat)
    principal = landscape.pca_plane(trajectory, scene.unravel, frozen=scene.frozen, anchor=anchor)
    axes = landscape.grid_around(principal.projection, points=scene.points)
    return principal.plane, principal.projection, axes, {"explained_variance": principal.explained}


def _eigen(scene: Scene) -> _Laid:
    plane = landscape.eigen_plane(scene.unravel(scene.flat), scene.top_vectors)
    rise = max(EIGEN_RISE, EIGEN_SHARE * abs(scene.value))
    # In double precision, which holds what is large in single.
    reach = [np.sqrt(2 * rise / max(float(value), 1e-12)) for value in scene.top_values]
    axes = tuple(np.linspace(-far, far, scene.points) for far in np.minimum(reach, np.pi))
    return plane, _coordinates(scene, plane), (axes[0], axes[1]), {"eigen_values": np.asarray(scene.top_values)}


def _random(scene: Scene) -> _Laid:
    plane = landscape.random_plane(scene.unravel(scene.flat), scene.key)
    axis = np.linspace(-1.0, 1.0, scene.points)
    return plane, _coordinates(scene, plane), (axis, axis), {}


_LAID = {"pca": _pca, "eigen": _eigen, "random": _random}


def _coordinates(scene: Scene, plane: Plane) -> np.ndarray:
    """The path's projections onto a plane through the point, (T, 2)."""
    path = np.asarray(scene.flat)[None] if scene.trajectory is None else scene.trajectory
    return np.asarray(path - np.asarray(scene.flat)) @ np.linalg.pinv(np.asarray(plane.directions))
