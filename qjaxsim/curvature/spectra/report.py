"""The one call that gives a function's curvature at a point."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checks import as_path, integer_from, is_traced, positive_integer, require_one_of, require_switch
from qjaxsim.curvature.balance import magnitude
from qjaxsim.curvature.landscape import evaluate_plane
from qjaxsim.curvature.objective import Loss
from qjaxsim.curvature.spectra.columns import NUMBERS
from qjaxsim.curvature.spectra.groups import Groups, block_rows, places_of
from qjaxsim.curvature.spectra.measure import (
    Measured,
    by_matrix,
    by_products,
    is_dense,
    leading,
    outlier_numbers,
    with_kept_products,
)
from qjaxsim.curvature.spectra.planes import PLANES, Scene, plane_arrays, require_grid
from qjaxsim.curvature.spectra.problem import Problem, checked_value, problem_of
from qjaxsim.curvature.spectra.record import SpectrumReport
from qjaxsim.curvature.spectrum import EigenPairs

if TYPE_CHECKING:
    from qjaxsim.common.progress import Progress

METHODS = ("auto", "dense", "lanczos")


def spectrum_report(
    function: Any,
    params: Any,
    data: tuple[Any, Any] | None = None,
    *,
    loss: Loss | None = None,
    observables: Any = None,
    classes: int | None = None,
    method: str = "auto",
    top: int = 20,
    batch_size: int | None = None,
    groups: Groups = "leaves",
    planes: Sequence[str] | None = None,
    plane_points: int = 20,
    trajectory: Any = None,
    frozen: Any = None,
    seed: int = 0,
    check_deterministic: bool = True,
    checkpoint: str | Path | None = None,
    progress: "bool | Progress" = True,
    title: str = "Hessian spectrum",
) -> SpectrumReport:
    """Spectrum of a Hessian with its parts, blocks and planes, of any JAX function, model or circuit.

    Args:
        function: one of three things. A function of params that returns a real scalar. With `data` and `loss`, a
            function of (params, x) that returns real outputs (B, K), such as logits, one sample's from that sample
            alone: then G and R of H = G + R are known too. A `qj.Circuit` with `observables`: the expectation value of
            one observable, or with `data` (x by parameter name) and `loss` those of several as outputs.
        params: the point: pytree of real float arrays of one dtype, P numbers in all. Of a module of Flax or Equinox
            its arrays alone, with the rest closed over (`nnx.split`, `equinox.partition`).
        data: pair (x, y) of inputs and targets, pytrees of arrays with N samples along axis 0.
        loss: maps (outputs, y) to one loss a sample, shape (B,); the function is its mean.
        observables: of a circuit.
        classes: K of the rules for outliers; default the number of outputs, 2 where there are none.
        method: "dense", "lanczos", or "auto": dense to 12,000 parameters if five matrices of them fit in free memory.
        top: leading eigenvalues and vectors that lanczos computes, at least K; dense keeps K vectors.
        batch_size: samples held at once; default as `split_hessian` and `curvature_operators` choose.
        groups: blocks. "leaves": one for each leaf of params; "rows": one for each slice along the leading axis of a
            leaf of two axes or more (a layer); a function from a leaf's name ("layers/0/kernel") to its group's; a
            mapping from names to places in the flat vector or masks, which may overlap; None: no blocks.
        planes: where to evaluate the function around the point: "eigen" (leading eigenvectors), "random"
            (filter-normalised directions), "pca" (of `trajectory`). Default: "eigen", and "pca" with a trajectory.
        plane_points: grid points along each axis.
        trajectory: path that led to the point, (T, P) flat vectors or a sequence of pytrees; drawn on every plane.
        frozen: mask (P,) of parameters that the plane "pca" holds at the point.
        seed: of random probes, starting vectors and directions.
        check_deterministic: evaluate the function twice at the point, and refuse two values, and outputs of the first
            samples that change with those beside them or with their order.
        checkpoint: folder for unfinished work: a killed call with the same arguments goes on from there. It is left
            there; remove it when done. Lanczos keeps each product, P numbers.
        progress: show bars on a terminal; or a Progress to add them to.
        title: heading of the page.

    Returns:
        SpectrumReport; `plot`, `to_html` and `save` are its methods.

    Raises:
        TypeError: for params of other dtypes, a function that returns no real scalar, or where JAX traces params or
            data.
        ValueError: for arguments that do not fit each other, a function that is not finite or not deterministic, or
            one that does not depend on params at all, or outputs of a sample that depend on others or on its place.
        MemoryError: if "dense" does not fit, or the planes do not.

    Cost: dense as `split_hessian` or P Hessian-vector products, and P^3; lanczos about 60 + 3 top + 400 products, and
    about 60 more a group. A plane takes `plane_points`^2 evaluations. Functions are taken as they are at the
    call: those that read something else than before are compiled again.

    >>> import jax.numpy as jnp
    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> report = spectrum_report(outputs, w, (x, y), loss=loss, planes=(), progress=False)
    >>> round(report.lambda_max, 3), round(report.numbers["gn_lambda_max"], 3)  # -cos(2 w) and sin(w)^2
    (0.5, 0.75)
    """
    require_one_of("method", method, METHODS)
    if any(map(is_traced, jax.tree.leaves((params, data)))):
        raise TypeError(
            "Arguments `params` and `data` must be known, but they are traced by JAX (in jit, grad or vmap); call this "
            "function outside: it compiles what it computes."
        )
    require_switch("check_deterministic", check_deterministic)
    top, seed = positive_integer("top", top), integer_from(0, "seed", seed)
    problem = problem_of(function, params, data, loss, observables, batch_size)
    size = problem.flat.size
    known = classes is not None or problem.model is not None
    places, classes, held = checked_choices(problem, groups, classes, frozen)
    path = _path(trajectory, problem)
    planes = _planes(planes, path, size)
    points = integer_from(2, "plane_points", plane_points)
    require_grid("plane_points", points, planes)
    value = checked_value(problem) if check_deterministic else None
    key, folder = jax.random.key(seed), None if checkpoint is None else as_path("checkpoint", checkpoint)
    with _bars(progress) as bars:
        if is_dense(method, size, problem.flat.dtype.itemsize):
            found = by_matrix(problem, batch_size, bars, folder)
        else:
            found = by_products(with_kept_products(problem, folder), min(max(top, classes), size), key, bars)
        _require_dependence(found)
        pairs = leading(found, min(max(2, classes), size), key, bars)
        blocks = block_rows(places, found, pairs, key, bars)
        arrays = found.arrays | {
            "params": np.asarray(problem.flat),
            "gradient": np.asarray(found.gradient),
            "top_values": np.asarray(pairs.values),
            "top_vectors": np.asarray(pairs.vectors),
            "top_residuals": np.asarray(pairs.residuals),
            **{f"group_{i}": own for i, own in enumerate(places.values())},
            "minimum": np.array(
                0 if path is None else np.linalg.norm(path - np.asarray(problem.flat), axis=1).argmin()
            ),
        }
        two = arrays["top_values"][:2], arrays["top_vectors"][:2]
        scene = Scene(problem.flat, problem.unravel, path, *two, held, key, points, value or 0.0)
        for name in planes:
            arrays |= plane_arrays(name, partial(evaluate_plane, problem.function), scene, bars, folder)
    settings = {"classes": classes, "method": method, "dtype": str(problem.flat.dtype), "seed": seed}
    numbers = _numbers(problem, found, pairs, classes, known, value)
    # Not those that keep their products.
    operators = problem.operators[:2] if found.hessian.matrix is None else (found.hessian, found.gauss_newton)
    return SpectrumReport(title, numbers, blocks, arrays, settings, *operators)


@contextmanager
def _bars(progress: "bool | Progress") -> "Iterator[Progress]":
    """The Progress given, or one of our own, which shows nothing for False."""
    from qjaxsim.common.progress import Progress  # rich takes a while to import

    if isinstance(progress, Progress):
        yield progress
        return
    own = Progress()
    own.disable |= not progress
    with own:
        yield own


def _numbers(
    problem: Problem, found: Measured, pairs: EigenPairs, classes: int, classes_known: bool, value: float | None
) -> dict[str, float | int | str | None]:
    """The numbers of `columns.NUMBERS`, in its order."""
    norm = magnitude(found.gradient)
    within = np.asarray(pairs.vectors, float)[:classes] @ (np.asarray(found.gradient, float) / (norm or 1))
    values = found.arrays.get("eigenvalues", found.arrays.get("lanczos_values"))
    largest = max(abs(found.numbers["lambda_max"]), abs(found.numbers["lambda_min"]))
    numbers = {
        "parameters": problem.flat.size,
        "samples": problem.model and problem.model.n_samples,
        "loss": value,
        "gradient_norm": float(norm),
        "gradient_in_top_k": float(np.sum(within**2)) if norm else None,
        **found.numbers,
        **outlier_numbers(values, classes, known=classes_known, above=found.above, largest=largest),
        "rounding": problem.flat.size * float(np.finfo(problem.flat.dtype).eps) * largest,
    }
    return {name: numbers.get(name) for name in NUMBERS}


# --- checks ----------------------------------------------------------------------------------------------------------


def checked_choices(
    problem: Problem, groups: Groups, classes: int | None, frozen: Any
) -> tuple[dict[str, np.ndarray], int, np.ndarray | None]:
    """Places of the groups, classes and mask, in the words of `spectrum_report`, whose arguments these are.

    Raises:
        ValueError: for what does not fit the problem.
    """
    return places_of(groups, problem.params), _classes(classes, problem), _mask(frozen, problem.flat.size)


def _classes(given: int | None, problem: Problem) -> int:
    if given is not None:
        return integer_from(2, "classes", given)
    return 2 if problem.model is None else max(2, problem.model.n_outputs)


def _path(trajectory: Any, problem: Problem) -> np.ndarray | None:
    """The path as (T, P)."""
    if trajectory is None:
        return None
    size = problem.flat.size
    if not hasattr(trajectory, "ndim"):
        wanted, points = _shapes(problem.params), list(trajectory)
        for number, found in enumerate(map(_shapes, points)):
            if found not in (wanted, {"": (size,)}):
                raise ValueError(
                    f"Argument `trajectory` must be a sequence of points with the arrays of params, {wanted}, but "
                    f"point {number} holds {found}."
                )
        trajectory = [_in_order(point, wanted) for point in points]
    path = np.asarray(trajectory)
    if path.ndim != 2 or path.shape[1] != size or len(path) < 2:
        raise ValueError(
            f"Argument `trajectory` must be at least two points of {size} parameters, shape (T, {size}), but has shape "
            f"{path.shape}."
        )
    if not np.isfinite(path).all():
        raise ValueError("Argument `trajectory` must hold finite numbers, but some are not; leave these points out.")
    return path


def _in_order(point: Any, places: Collection[str]) -> jax.Array:
    """A point as a vector, its arrays in the order of these places: an OrderedDict may hold them in another one."""
    leaves = {jax.tree_util.keystr(place): leaf for place, leaf in jax.tree_util.tree_leaves_with_path(point)}
    return ravel_pytree([leaves[place] for place in (places if leaves.keys() == set(places) else leaves)])[0]


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of a pytree's arrays by their places."""
    return {jax.tree_util.keystr(place): np.shape(leaf) for place, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _mask(frozen: Any, size: int) -> np.ndarray | None:
    if frozen is None:
        return None
    mask = np.asarray(frozen)
    if mask.dtype != bool or mask.shape != (size,):
        raise ValueError(
            f"Argument `frozen` must be a boolean mask of shape ({size},), but is {mask.dtype}{list(mask.shape)}."
        )
    return mask


def _planes(planes: Sequence[str] | None, path: np.ndarray | None, size: int) -> Sequence[str]:
    if planes is None:
        planes = ("eigen",) if path is None else ("pca", "eigen")
        return planes if size > 1 else ()
    if isinstance(planes, str):
        planes = (planes,)
    for name in planes:
        require_one_of("planes", name, PLANES)
    if "pca" in planes and path is None:
        raise ValueError("Argument `planes` has 'pca', the plane of a path, but there is no `trajectory`; give one.")
    if planes and size < 2:
        raise ValueError(f"Argument `planes` needs two parameters at least, but there is {size}; pass `planes=()`.")
    return planes


def _require_dependence(found: Measured) -> None:
    """Refuse a function that no parameter changes, up to second order."""
    numbers = found.numbers
    if numbers["lambda_max"] == numbers["lambda_min"] == 0 and not np.asarray(found.gradient).any():
        raise ValueError(
            "Argument `function` does not depend on its parameters: gradient and Hessian are zero there. Are they "
            "frozen (`stop_gradient`, a filter), or is the function constant, or flat to second order at this point?"
        )
