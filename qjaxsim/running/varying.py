"""Arrays on several devices: inside `jax.shard_map`, over which axes of the mesh they vary; else, what spreads them.

JAX knows for every array in a mapped function whether it differs from device to device, and puts a sum over devices
into the derivative where one that does not differ meets one that does. All that one run of the engine works on is
therefore made to vary alike, once, at the parameters: the derivative then has one sum for each parameter, loops carry
arrays of one type, and derivatives written by hand see only this device's share. Elsewhere nothing happens.
"""

from typing import Any, TypeVar

import jax
from jax import lax

Tree = TypeVar("Tree")


def varying_axes(*trees: Any) -> frozenset[Any]:
    """The mesh axes over which any of the arrays varies; none outside `jax.shard_map` or without its `check_vma`."""
    types = [jax.typeof(leaf) for leaf in jax.tree.leaves(trees)]
    return frozenset[Any]().union(*(kind.manual_axis_type.varying for kind in types))


def vary(tree: Tree, axes: frozenset[Any]) -> Tree:
    """The arrays, varying over these axes as well as those that they vary over already."""

    def cast(leaf: jax.Array) -> jax.Array:
        missing = tuple(sorted(axes - varying_axes(leaf), key=str))
        return lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree) if axes else tree


def vary_alike(tree: Tree, *others: Any) -> Tree:
    """The arrays of `tree`, varying over every axis that any of them or of the others varies over."""
    return vary(tree, varying_axes(tree, *others))


def in_unchecked_region() -> bool:
    """Whether this is traced inside `jax.shard_map` with `check_vma=False`, where no array tells how it varies."""
    axes = jax.sharding.get_abstract_mesh().manual_axes
    return bool(axes) and not varying_axes(lax.axis_index(axes[0]))


def spread_by_xla() -> bool:
    """Whether XLA may spread an array over devices: not where there is one, or `jax.shard_map` holds the whole mesh."""
    return jax.device_count() > 1 and not jax.sharding.get_abstract_mesh().are_all_axes_manual


def rest(array: jax.Array) -> tuple[int, ...]:
    """The shape, in a reshape, of what follows the index bits that an operation works on: other bits, then columns.

    One axis of both where columns cannot be spread: gradients take up to a third less or more time in the other shape.
    Else XLA would have every device gather all of them first: an axis is spread only as a whole.
    """
    columns = array.shape[-1]
    return (-1, columns) if columns > 1 and spread_by_xla() else (-1,)
