"""What the type of an array must say, where programs are made from it: sizes known, integers that fit, no sharding."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import shown


def require_known_shape(what: str, array: jax.Array) -> None:
    """Refuse arrays whose sizes are symbols; `what` begins the sentence."""
    if not all(isinstance(size, int) for size in array.shape):
        raise ValueError(
            f"{what} must have a shape known when the function is traced, but has the symbolic shape {array.shape}; "
            "export with a fixed size, or with the symbol as an axis of `jax.vmap`."
        )


def check_tree(what: str, tree: Any) -> None:
    """Refuse what JAX cannot take apart; `what` begins the sentence."""
    try:
        jax.tree.structure(tree)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must have dictionaries whose keys can be sorted, such as names, but is {shown(tree)}."
        ) from error


def native(value: Any) -> Any:
    """An array of NumPy's in this machine's order of bytes, the only one that JAX takes; anything else as it is.

    Files of other machines, FITS and HDF5 have the other order.
    """
    if isinstance(value, np.ndarray | np.generic) and not value.dtype.isnative:
        return value.astype(value.dtype.newbyteorder("="))
    return value


def to_jax(value: Any) -> jax.Array:
    """`jnp.asarray` for any order of bytes, and without the program that JAX compiles for NumPy's arrays of new shapes.

    Raises:
        TypeError, ValueError: for what makes no array, as of `jnp.asarray`.
    """
    array = native(value)
    return jax.device_put(array) if isinstance(array, np.ndarray | np.generic) else jnp.asarray(array)


@functools.partial(jax.jit, static_argnums=2, inline=True)
def taken(array: jax.Array, places: np.ndarray, axis: int = 0) -> jax.Array:
    """What an array has in some places along an axis, by one program where `array[places]` takes six outside `jit`."""
    return array[(slice(None),) * axis + (places,)]


def no_array(what: str, held: str, leaf: Any) -> TypeError:
    """The error of a leaf that makes no array, such as a function inside a module; `what` begins the sentence."""
    way_out = "pass the arrays alone and close over the rest (as `equinox.partition` parts a module)"
    if isinstance(leaf, Mapping):  # of another kind than JAX takes apart, as `numpy.load` gives
        way_out = "pass `dict` of it"
    if isinstance(leaf, np.ndarray | np.generic):  # of a type that JAX has not
        return TypeError(f"{what} must hold {held}, but a leaf has dtype {leaf.dtype}; cast it.")
    return TypeError(f"{what} must hold {held}, but a leaf is a {type(leaf).__name__}; {way_out}.")


def require_unwrapped(what: str, value: Any) -> None:
    """Refuse integers that JAX, without its double precision, would wrap round; `what` begins the sentence."""
    if isinstance(value, jax.Array) or (integers := np.asarray(value)).dtype.kind not in "iu":
        return
    if (narrow := jax.dtypes.canonicalize_dtype(integers.dtype)) == integers.dtype:
        return
    wrapped = integers[integers.astype(narrow) != integers]
    if wrapped.size:
        raise ValueError(
            f"{what} must hold integers that fit into {narrow}, as without JAX's double precision, but holds "
            f"{shown(int(wrapped.flat[0]))}; make numbers floats, number classes from 0, or switch that on by "
            '`jax.config.update("jax_enable_x64", True)`.'
        )


def require_unsharded(what: str, tree: Any) -> None:
    """Refuse arrays that are sharded over mesh axes of type Explicit; `what` begins the sentence."""
    check_tree(what, tree)
    for leaf in jax.tree.leaves(tree):
        spec = jax.typeof(leaf).sharding.spec if isinstance(leaf, jax.Array) else ()
        if any(axis is not None for axis in spec):
            raise ValueError(
                f"{what} must not be sharded over mesh axes of type Explicit, but is by {spec}; make the mesh with "
                "`axis_types=(jax.sharding.AxisType.Auto,)` for each axis, or map over it with `jax.shard_map`."
            )
