"""Loss on a plane through parameter space: planes from a trajectory, from random or from eigenvectors."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_from, positive_integer, require_unmasked
from qjaxsim.common.loops import each
from qjaxsim.curvature.balance import size_of
from qjaxsim.curvature.hvp import flatten_real
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.sampling import require_key


@dataclass(frozen=True, eq=False)
class Plane:
    """The points origin + a directions[0] + b directions[1] of the flat parameter space.

    Attributes:
        origin: shape (P,).
        directions: shape (2, P); neither unit nor orthogonal unless the constructor says so.
        unravel: maps a flat vector to the params pytree (second result of `ravel_pytree`).

    >>> plane = Plane(jnp.ones(2), jnp.eye(2), lambda flat: {"w": flat})
    >>> print(plane.point(2.0, 3.0)["w"])
    [3. 4.]
    """

    origin: jax.Array
    directions: jax.Array
    unravel: Callable[[jax.Array], Any]

    def __post_init__(self) -> None:
        if self.origin.ndim != 1 or self.directions.shape != (2, self.origin.size):
            raise ValueError(
                "Arguments `origin` and `directions` must have shapes (P,) and (2, P), "
                f"but they have {self.origin.shape} and {self.directions.shape}."
            )

    def point(self, a: Any, b: Any) -> Any:
        """The params pytree at coordinates (a, b); differentiable and traceable."""
        return _point(self.unravel, self.origin, self.directions, a, b)


@functools.partial(jax.jit, static_argnums=0)
def _point(
    unravel: Callable[[jax.Array], Any], origin: jax.Array, directions: jax.Array, a: jax.Array, b: jax.Array
) -> Any:
    return unravel(origin + a * directions[0] + b * directions[1])


class TrajectoryPlane(NamedTuple):
    """The PCA plane of a trajectory.

    Attributes:
        plane: origin is the trajectory's mean, directions are orthonormal.
        projection: coordinates of the trajectory's points, shape (T, 2).
        explained: fractions of the trajectory's variance along the two directions, shape (2,); NaN where all points are
            the same.

    >>> path = [[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [1.0, 2.0, 1.0], [3.0, 2.0, 1.0]]
    >>> found = pca_plane(path, lambda flat: flat)
    >>> print(np.asarray(found.plane.point(*found.projection[1])).round(3))  # a point of the path in the plane
    [3. 1. 1.]
    """

    plane: Plane
    projection: np.ndarray
    explained: np.ndarray


def pca_plane(
    trajectory: Any,
    unravel: Callable[[jax.Array], Any],
    *,
    frozen: Any = None,
    anchor: Any = None,
) -> TrajectoryPlane:
    """Plane of the two leading principal components of a training trajectory.

    The plane passes through the trajectory's mean, so a minimum on the trajectory lies near it, not on it.
    Computed by scikit-learn's PCA with the full (deterministic) solver.

    Args:
        trajectory: flat parameter vectors of T checkpoints, shape (T, P) with T and P at least 2.
        unravel: maps a flat vector to the params pytree (second result of `ravel_pytree`).
        frozen: boolean mask, shape (P,): parameters left out of the PCA and held at the anchor's values on
            the whole plane (the published figures leave out the position bias). Default: none.
        anchor: flat vector, shape (P,), whose frozen entries are held; goes with `frozen`.

    Returns:
        TrajectoryPlane; the plane has the dtype of the trajectory, of integers float64.

    Raises:
        TypeError: if the trajectory holds no real numbers.
        ValueError: if a shape is wrong, numbers are not finite, only one of frozen and anchor is given, or fewer than
            two parameters are free.

    Cost: T^2 P. Li et al. 2018, arXiv:1712.09913, section 7.2.

    >>> path = [[1.0, 1.0, 1.0], [3.0, 1.0, 1.0], [1.0, 2.0, 1.0], [3.0, 2.0, 1.0]]  # a rectangle of sides 2 and 1
    >>> print(pca_plane(path, lambda flat: flat).explained.round(3))
    [0.8 0.2]
    """
    from sklearn.decomposition import PCA

    points = _real(trajectory, "trajectory")
    if points.ndim != 2 or min(points.shape) < 2:
        raise ValueError(f"Argument `trajectory` must have shape (T, P), both at least 2, but it has {points.shape}.")
    if (frozen is None) != (anchor is None):
        raise ValueError("Arguments `frozen` and `anchor` must be given together, but one is missing.")
    size = points.shape[1]
    held = np.zeros(size, bool) if frozen is None else np.asarray(frozen)
    origin = np.zeros(size, points.dtype) if anchor is None else np.array(anchor, points.dtype)
    if held.shape != (size,) or held.dtype != bool or origin.shape != (size,):
        raise ValueError(
            f"Arguments `frozen` and `anchor` must be a boolean mask and a vector of shape ({size},), "
            f"but they are {held.dtype}{list(held.shape)} and have shape {origin.shape}."
        )
    free = ~held
    if free.sum() < 2:
        raise ValueError(f"Argument `frozen` must leave at least 2 parameters free, but it leaves {free.sum()}.")
    pca, moving = PCA(n_components=2, svd_solver="full"), points[:, free].astype(np.float64)
    scale = np.ldexp(1.0, np.frexp(np.abs(moving).max())[1] - 1)  # squares stay in range
    with np.errstate(invalid="ignore"):
        projection = pca.fit_transform(moving / scale) * scale
    origin[free] = pca.mean_ * scale
    directions = np.zeros((2, size), points.dtype)
    directions[:, free] = pca.components_
    plane = Plane(to_jax(origin), to_jax(directions), unravel)
    return TrajectoryPlane(plane, projection.astype(points.dtype), pca.explained_variance_ratio_)


def random_plane(params: Any, key: jax.Array) -> Plane:
    """Plane through params along two random, filter-normalised directions.

    A filter is one slice along the leading axis of a leaf with two or more axes, and the whole leaf
    otherwise: one layer of circuit weights of shape (layers, qubits, angles), one output row of a (out, in)
    matrix (transpose the leaf first if it is stored (in, out)), one bias vector. Each filter of a normal
    random direction is scaled to the norm of the same filter of params, so a = 1 changes every filter by its
    own size; a zero filter does not move. For rotation angles this sets a scale and nothing more: the
    rescaling symmetry that motivates it for ReLU networks does not exist in a circuit.

    Args:
        params: pytree of real float arrays of one dtype.
        key: random key.

    Returns:
        Plane; the two directions are independent, not orthogonalised.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.

    Li et al. 2018, arXiv:1712.09913, section 4.

    >>> plane = random_plane({"w": jnp.array([3.0, 4.0])}, jax.random.key(0))
    >>> print(np.linalg.norm(plane.directions, axis=1).round(3))  # both as long as w
    [5. 5.]
    """
    require_key(key)
    origin, unravel = flatten_real(params)
    leaves, structure = jax.tree.flatten(unravel(origin))

    def direction(direction_key: jax.Array) -> jax.Array:
        keys = jax.random.split(direction_key, len(leaves))
        scaled = [_filter_normalised(leaf, leaf_key) for leaf, leaf_key in zip(leaves, keys, strict=True)]
        return flatten_real(jax.tree.unflatten(structure, scaled))[0]

    return Plane(origin, jnp.stack([direction(k) for k in jax.random.split(key)]), unravel)


def eigen_plane(params: Any, vectors: Any) -> Plane:
    """Plane through params along two given flat vectors, such as two eigenvectors of the Hessian.

    Args:
        params: pytree of real float arrays of one dtype, P numbers in all.
        vectors: shape (2, P), in `ravel_pytree` order, used as they are: with unit vectors a and b are
            distances.

    Returns:
        Plane.

    Raises:
        TypeError: if params holds anything but real floats of one dtype, or vectors no real numbers.
        ValueError: if vectors has another shape.

    >>> plane = eigen_plane({"w": jnp.ones(3)}, jnp.eye(3)[:2])
    >>> print(plane.point(2.0, 3.0)["w"])
    [3. 4. 1.]
    """
    origin, unravel = flatten_real(params)
    require_unmasked("Argument `vectors`", vectors)
    if jnp.iscomplexobj(vectors):
        raise TypeError(
            "Argument `vectors` must hold real numbers, as `numpy.linalg.eigh` gives of a symmetric matrix, but is "
            "complex."
        )
    return Plane(origin, jnp.asarray(vectors, origin.dtype), unravel)


def evaluate_plane(
    loss: Callable[[Any], jax.Array],
    plane: Plane,
    a: Any,
    b: Any,
    batch_size: int | None = None,
) -> jax.Array:
    """Loss on a grid of a plane.

    Args:
        loss: maps params to a real scalar, an integer (a number of errors, say) included.
        plane: where to look.
        a: coordinates along the first direction, shape (A,).
        b: coordinates along the second direction, shape (B,).
        batch_size: grid points of a line evaluated at once; default one after the other.

    Returns:
        Array of shape (B, A): entry [j, i] is the loss at (a[i], b[j]), as contour plots want it.

    Raises:
        TypeError: if loss returns no real scalar.
        ValueError: if a or b is not a vector of at least one number, or batch_size is not a positive integer.

    Cost: A B evaluations; memory of batch_size evaluations. A line is one compiled loop, which serves all planes of
    equal shapes with the same `loss` object: a long grid can be evaluated with one b at a time, and each line kept.

    >>> plane = eigen_plane(jnp.zeros(2), jnp.eye(2))
    >>> print(evaluate_plane(lambda w: (w**2).sum(), plane, [0.0, 1.0, 2.0], [0.0, 3.0]))
    [[ 0.  1.  4.]
     [ 9. 10. 13.]]
    """
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size)
    for name, axis in (("a", a), ("b", b)):
        require_unmasked(f"Argument `{name}`", axis)
    along = [jnp.asarray(axis, plane.origin.dtype) for axis in (a, b)]
    for name, axis in zip("ab", along, strict=True):
        if axis.ndim != 1 or axis.size == 0:
            raise ValueError(
                f"Argument `{name}` must be a vector of at least one number, but its shape is {axis.shape}."
            )
    return jnp.stack(
        [_plane_line(loss, plane.unravel, batch_size, plane.origin, plane.directions, along[0], at) for at in along[1]]
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _plane_line(
    loss: Callable[[Any], jax.Array],
    unravel: Callable[[jax.Array], Any],
    batch_size: int | None,
    origin: jax.Array,
    directions: jax.Array,
    a: jax.Array,
    b: jax.Array,
) -> jax.Array:
    """Loss at (a[i], b) for every i."""
    plane = Plane(origin, directions, unravel)

    def value(at: jax.Array) -> jax.Array:
        found = loss(plane.point(at, b))
        if jnp.shape(found) != () or jnp.iscomplexobj(found):
            what = f"{jnp.result_type(found)}{list(jnp.shape(found))}"
            raise TypeError(f"Argument `loss` must return a real scalar, but it returned {what}; return one.")
        return found

    return each(value, a, batch_size=batch_size)


def grid_around(projection: Any, margin: float = 5.0, points: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates a and b of a grid that covers a projected trajectory.

    Args:
        projection: coordinates of the trajectory, shape (T, 2).
        margin: how far the grid reaches beyond the trajectory on every side.
        points: number of points along each axis, at least 2. The defaults are those of arXiv:2504.19239's code.

    Returns:
        Two arrays of shape (points,).

    Raises:
        TypeError: if projection holds no real numbers.
        ValueError: if projection has another shape or numbers that are not finite, or points is below 2.

    >>> a, b = grid_around([[0.0, 0.0], [2.0, 4.0]], margin=1.0, points=3)
    >>> print(a, b)
    [-1.  1.  3.] [-1.  2.  5.]
    """
    coordinates = _real(projection, "projection")
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or len(coordinates) == 0:
        raise ValueError(f"Argument `projection` must have shape (T, 2), but it has {coordinates.shape}.")
    points = integer_from(2, "points", points)
    low, high = coordinates.min(axis=0) - margin, coordinates.max(axis=0) + margin
    return np.linspace(low[0], high[0], points), np.linspace(low[1], high[1], points)


def _real(numbers: Any, name: str) -> np.ndarray:
    """Finite real numbers as an array of floats."""
    require_unmasked(f"Argument `{name}`", numbers)
    found = np.asarray(numbers)
    if not jnp.issubdtype(found.dtype, jnp.floating):
        if found.dtype.kind not in "iub":
            raise TypeError(f"Argument `{name}` must hold real numbers, but its dtype is {found.dtype}.")
        found = found.astype(np.float64)
    if missing := np.count_nonzero(~np.isfinite(found)):
        raise ValueError(f"Argument `{name}` must hold finite numbers, but {missing} of its {found.size} are not.")
    return found


def _filter_normalised(leaf: jax.Array, key: jax.Array) -> jax.Array:
    """Random direction of a leaf, each filter as long as the leaf's own."""
    if leaf.size == 0:
        return leaf
    filters = leaf.reshape(leaf.shape[0] if leaf.ndim > 1 else 1, -1)
    noise = jax.random.normal(key, filters.shape, leaf.dtype)
    size = size_of(jnp.abs(filters).max(axis=1, keepdims=True))
    lengths = jnp.linalg.norm(filters / size, axis=1) / jnp.linalg.norm(noise, axis=1)
    return (noise * lengths[:, None] * size).reshape(leaf.shape)
