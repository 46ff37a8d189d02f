"""What the type of an array must say, where programs are made from it: sizes with a value, and no explicit sharding."""

from typing import Any

import jax

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
        raise ValueError(f"{what} must have dictionaries whose keys can be sorted, but is {shown(tree)}.") from error


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
