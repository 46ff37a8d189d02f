"""Drawing outcomes from probabilities, bit by bit down a tree of sums.

A cumulative sum of 2**20 and more probabilities in single precision, and one uniform number of 23 bits to search it
with, never meet some outcomes at all. Here every bit has a number of its own and weighs two sums against each other
that were added pair by pair, so that each conditional probability holds to the last bits of the precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from qjaxsim.running.varying import vary_alike


def draw_outcomes(key: jax.Array, weights: jax.Array, shots: int) -> jax.Array:
    """Outcomes drawn from weights, bit by bit.

    Args:
        key: random key.
        weights: (2**k,) probabilities, normalised or not.
        shots: number of draws.

    Returns:
        (shots, k) int32, 0 or 1, the most significant bit first. Cost: two passes over the weights, which are held
        twice more, and k steps for each shot. There is no derivative: asking for one is a TypeError.
    """
    tree = _tree(_without_derivative(weights))
    bits = len(weights).bit_length() - 1

    def step(node: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        left, right = tree[2 * node], tree[2 * node + 1]
        # Nothing is drawn that has no weight, also where the product rounds up to the left one.
        one = ((number * (left + right) >= left) & (right > 0)).astype(node.dtype)
        return 2 * node + one, one

    numbers = jax.random.uniform(key, (bits, shots), weights.dtype)
    root = vary_alike(jnp.ones(shots, jnp.uint32), tree, numbers)
    return lax.scan(step, root, numbers)[1].T.astype(jnp.int32)


def require_key(key: Any) -> None:
    """Raise a TypeError for anything but a random key, new or of the old kind."""
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(f"Argument `key` must be a random key, as `jax.random.key(0)` makes them, but is {key!r}.")


def _tree(weights: jax.Array) -> jax.Array:
    """Sums of weights as a binary tree in one array: node i has the children 2 i and 2 i + 1, the root is 1."""
    levels = [weights]
    while len(levels[0]) > 1:
        pairs = levels[0].reshape(-1, 2)
        levels.insert(0, pairs[:, 0] + pairs[:, 1])
    return jnp.concatenate([jnp.zeros_like(levels[0]), *levels])


@jax.custom_jvp
def _without_derivative(weights: jax.Array) -> jax.Array:
    return weights


@_without_derivative.defjvp
def _refuse(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    raise TypeError(
        "Drawn outcomes have no derivative in the parameters; differentiate `expectation` or `probabilities` instead, "
        "or wrap the parameters of `sample` in `jax.lax.stop_gradient`."
    )
