"""Blocks of a Hessian: parameters that belong together, by leaf, by layer or as the user says."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from qjaxsim.common.checks import shown
from qjaxsim.common.suggestions import did_you_mean
from qjaxsim.curvature.balance import magnitude
from qjaxsim.curvature.operators import LinearOperator, checked_places
from qjaxsim.curvature.spectra.measure import TRACE_PROBES, Measured, counted
from qjaxsim.curvature.spectrum import EigenPairs, dense_spectrum, top_eigenpairs
from qjaxsim.report.row import Row

if TYPE_CHECKING:
    from qjaxsim.common.progress import Progress

Groups = str | Mapping[str, Any] | Callable[[str], str] | None
KINDS = ("leaves", "rows")


def places_of(
    groups: Groups, params: Any, name: str = "groups", kinds: tuple[str, ...] = KINDS
) -> dict[str, np.ndarray]:
    """By name of a group, where its parameters stand in the flat vector; `groups` as in `spectrum_report`.

    Args:
        groups: as there.
        params: pytree.
        name: what the argument is called where it is given, for messages.
        kinds: the names that it may be there.

    >>> found = places_of("rows", {"b": np.zeros(1), "w": np.zeros((2, 2))})
    >>> {name: own.tolist() for name, own in found.items()}
    {'b': [0], 'w[0]': [1, 2], 'w[1]': [3, 4]}
    """
    if groups is None:
        return {}
    leaves = _leaves(params)
    size = sum(own.size for own in leaves.values())
    if isinstance(groups, str):
        if groups not in KINDS:
            raise ValueError(
                f"Argument `{name}` must be {', '.join(map(repr, kinds))}, a function of a leaf's name, a mapping from "
                f"names to places, or None, but is {groups!r}{did_you_mean(groups, kinds)}."
            )
        return {leaf: own.ravel() for leaf, own in leaves.items()} if groups == "leaves" else _rows(leaves)
    if callable(groups):
        return _named(groups, leaves, name)
    if not isinstance(groups, Mapping):
        raise TypeError(
            f"Argument `{name}` must be a name of a kind, a function, a mapping or None, but is {shown(groups)}."
        )
    return {str(group): checked_places(own, size, f"{name}[{group!r}]") for group, own in groups.items()}


def leaf_names(params: Any) -> list[str]:
    """A name for each leaf, in their order: "layers/0/w", or in JAX's own notation where another one is called so.

    >>> leaf_names({"a": {"b": 1.0}, "a/b": 2.0})
    ['a/b', "['a/b']"]
    """
    names: dict[str, None] = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(params):
        name = jax.tree_util.keystr(path, simple=True, separator="/") or "params"
        names[jax.tree_util.keystr(path) if name in names else name] = None
    return list(names)


def _leaves(params: Any) -> dict[str, np.ndarray]:
    """By name of a leaf, its places in its own shape; leaves without numbers have none."""
    start, found = 0, {}
    for name, leaf in zip(leaf_names(params), jax.tree.leaves(params), strict=True):
        shape = np.shape(leaf)
        size = int(np.prod(shape))
        if size:
            found[name] = np.arange(start, start + size).reshape(shape)
        start += size
    return found


def _rows(leaves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each slice along the leading axis of a leaf that has two axes or more, such as a layer's weights."""
    found = {}
    for name, own in leaves.items():
        if own.ndim < 2:
            found[name] = own.ravel()
        else:
            found |= {f"{name}[{i}]": row.ravel() for i, row in enumerate(own)}
    return found


def _named(name_of: Callable[[str], str], leaves: dict[str, np.ndarray], argument: str) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    for leaf, own in leaves.items():
        name = name_of(leaf)
        if not isinstance(name, str):
            raise TypeError(
                f"Argument `{argument}` must map the name of a leaf to that of its group, but mapped {leaf!r} to "
                f"{shown(name)}."
            )
        found.setdefault(name, []).append(own.ravel())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def block_rows(
    places: dict[str, np.ndarray], found: Measured, pairs: EigenPairs, key: jax.Array, progress: "Progress"
) -> list[Row]:
    """A row of `columns.BLOCKS` for each group.

    Cost: with the dense matrix the spectra of its blocks; else three Lanczos runs a group, and 24 products in all.
    """
    if not places:
        return []
    gradient, vector = np.asarray(found.gradient, float), np.asarray(pairs.vectors[0], float)
    gradient = gradient / (magnitude(gradient) or 1)
    dense = found.numbers["spectrum"] == "dense"
    blocks = _dense_blocks(places, found) if dense else _product_blocks(places, found, key, progress)
    return [
        {
            "group": name,
            "parameters": own.size,
            **block,
            "gradient_share": float(gradient[own] @ gradient[own]),
            "leading_share": float(vector[own] @ vector[own]),
        }
        for (name, own), block in zip(places.items(), blocks, strict=True)
    ]


def _dense_blocks(places: dict[str, np.ndarray], found: Measured) -> list[dict[str, Any]]:
    hessian = np.asarray(found.hessian.dense())
    gauss_newton = None if found.gauss_newton is None else np.asarray(found.gauss_newton.dense())
    rows = np.abs(hessian).max(axis=1)
    zero = rows <= len(rows) * float(np.finfo(hessian.dtype).eps) * rows.max()
    blocks = []
    for own in places.values():
        values = _spectrum(hessian, own, found.arrays["eigenvalues"])
        block: dict[str, Any] = {
            "block_lambda_max": float(values[-1]),
            "block_lambda_min": float(values[0]),
            "block_trace": float(values.sum()),
            "block_exact_zeros": int(zero[own].sum()),
        }
        if gauss_newton is not None:
            values = _spectrum(gauss_newton, own, found.arrays["gn_eigenvalues"])
            block["gn_block_lambda_max"] = float(values[-1])
        blocks.append(block)
    return blocks


def _spectrum(matrix: np.ndarray, own: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Eigenvalues of a block; those of the matrix if the block is all of it."""
    return whole if own.size == len(matrix) else dense_spectrum(matrix[np.ix_(own, own)])


def _product_blocks(
    places: dict[str, np.ndarray], found: Measured, key: jax.Array, progress: "Progress"
) -> list[dict[str, Any]]:
    keys = jax.random.split(key, 2)
    with progress.bar("blocks, products (about)", 60 * len(places) + TRACE_PROBES, compiles=True) as advance:
        hessian = counted(found.hessian, advance)
        gauss_newton = None if found.gauss_newton is None else counted(found.gauss_newton, advance)
        traces = _traces(hessian, places, keys[0])
        blocks = []
        for own, (trace, error) in zip(places.values(), traces, strict=True):
            block = hessian.block(own)
            parts = {"block_lambda_max": block, "gn_block_lambda_max": gauss_newton and gauss_newton.block(own)}
            largest = {
                name: float(top_eigenpairs(part, 1, key=keys[1], copies=False).values[0])
                for name, part in parts.items()
                if part is not None
            }
            lowest = -float(top_eigenpairs(-block, 1, key=keys[1], copies=False).values[0])
            blocks.append(largest | {"block_lambda_min": lowest, "block_trace": trace, "block_trace_error": error})
    return blocks


def _traces(operator: LinearOperator, places: dict[str, np.ndarray], key: jax.Array) -> list[tuple[float, float]]:
    """Traces of all blocks and their standard errors from the same random signs: sums of v_i (H v)_i over a block."""
    signs = jax.random.rademacher(key, (operator.size, TRACE_PROBES), operator.dtype)
    products = np.asarray(signs * (operator @ signs), float)
    sums = [products[own].sum(axis=0) for own in places.values()]
    return [(float(one.mean()), float(one.std(ddof=1) / np.sqrt(TRACE_PROBES))) for one in sums]
