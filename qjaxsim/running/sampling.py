"""Drawing outcomes from probabilities, bit by bit down a tree of sums.

A cumulative sum of 2**20 and more probabilities in single precision, and one uniform number of 23 bits to search it
with, never meet some outcomes at all. Here every bit has a number of its own and weighs two sums against each other
that were added pair by pair, so that each conditional probability holds to the last bits of the precision.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from qjaxsim.common.memory import require_memory
from qjaxsim.running.varying import vary_alike


def draw_outcomes(key: jax.Array, weights: jax.Array, shots: int, axes: tuple[str, ...] = ()) -> jax.Array:
    """Outcomes drawn from weights, bit by bit.

    Args:
        key: random key.
        weights: (2**k,) probabilities, normalised or not.
        shots: number of draws.
        axes: those of the mesh over which the weights are cut, if they are; the outcomes are the same.

    Returns:
        (shots, k) int32, 0 or 1, the most significant bit first, and -1 where weights are NaN: integers hold none.
        Cost: three passes over the weights, which are held twice more, and k steps for each shot. There is no
        derivative: asking for one is a TypeError.

    Raises:
        MemoryError: if so many draws do not fit.
    """
    weights = _without_derivative(weights)
    bits = len(weights).bit_length() - 1
    held = weights.dtype.itemsize + np.dtype(np.int32).itemsize
    require_memory(bits * shots * held, f"Drawing {shots} shots", "ask for fewer, with several keys in turn")
    numbers = jax.random.bits(key, (bits, shots), f"uint{8 * weights.dtype.itemsize}")
    draw = _drawn
    if axes:
        specs = PartitionSpec(axes), PartitionSpec()
        apart = functools.partial(_drawn_apart, axes)
        draw = jax.shard_map(apart, in_specs=specs, out_specs=PartitionSpec(), axis_names=set(axes))
    return jnp.where(jnp.isnan(weights.sum()), -1, draw(weights, numbers))


def _drawn_apart(axes: tuple[str, ...], weights: jax.Array, numbers: jax.Array) -> jax.Array:
    """The same with a piece of the weights on each device: all draw the first bits, and each the rest of its own."""
    own = _tree(weights)[1]
    devices = lax.psum(1, axes)
    place = lax.axis_index(axes)
    sums = lax.psum(jnp.zeros(devices, own.dtype).at[place].set(own), axes)
    first = devices.bit_length() - 1
    device = _drawn(sums, numbers[:first])
    rest = _drawn(weights, numbers[first:])
    number = sum(device[:, i] << (first - 1 - i) for i in range(first))
    return jnp.concatenate([device, lax.psum(jnp.where((number == place)[:, None], rest, 0), axes)], axis=1)


def _drawn(weights: jax.Array, numbers: jax.Array) -> jax.Array:
    """Outcomes (shots, k) int32 from weights (2**k,) and unsigned random integers for each bit of each, (k, shots)."""
    tree, shots = _tree(weights), numbers.shape[1]
    unit = 2.0 ** -(8 * numbers.dtype.itemsize)

    def step(node: jax.Array, number: jax.Array) -> tuple[jax.Array, jax.Array]:
        left, right = tree[2 * node], tree[2 * node + 1]
        # The number from above or from below: near zero floats are fine enough for the smaller weight.
        above, below = (each.astype(tree.dtype) * unit * (left + right) for each in (~number, number))
        # Nothing is drawn that has no weight, also where a product rounds up to the left one.
        one = (jnp.where(right < left, above < right, below >= left) & (right > 0)).astype(node.dtype)
        return 2 * node + one, one

    root = vary_alike(jnp.ones(shots, jnp.uint32), tree, numbers)
    return lax.scan(step, root, numbers)[1].T.astype(jnp.int32)


def key_axes(key: Any) -> tuple[int, ...]:
    """The shape of an array of random keys, new or of the old kind; no axes for a single key.

    Raises:
        TypeError: for what is no key.
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == jnp.uint32):
        raise TypeError(f"Argument `key` must be a random key, as `jax.random.key(0)` makes them, but is {key!r}.")
    shape: tuple[int, ...] = key.shape
    return shape if jnp.issubdtype(dtype, jax.dtypes.prng_key) else shape[:-1]


def require_key(key: Any) -> None:
    """Refuse anything but one random key.

    Raises:
        TypeError: for what is no key.
        ValueError: for an array of keys.
    """
    if axes := key_axes(key):
        raise ValueError(
            f"Argument `key` must be one random key, but is an array of keys of shape {axes}; map over them by "
            "`jax.vmap`."
        )


@functools.partial(jax.jit, inline=True)
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
