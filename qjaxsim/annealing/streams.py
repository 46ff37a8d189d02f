"""Random numbers of chains: one stream a chain and head, a function of a word (its lane) and a counter."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# 2**32 over the golden ratio, odd: multiples of it are spread evenly over 32 bits (Knuth, volume 3, section 6.4).
_GOLDEN = np.uint32(0x9E3779B9)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def lanes_of(key: jax.Array, n_batch: int, n_heads: int, reads: int) -> jax.Array:
    """A word for each chain and head, (B, H, R), from one key or from a key for each problem."""
    words = jax.random.key_data(key).astype(jnp.uint32)  # of an old key itself
    per_problem = n_heads * reads
    if words.ndim > 1:
        numbers = jnp.broadcast_to(jnp.arange(per_problem, dtype=jnp.uint32)[None], (n_batch, per_problem))
        first, last = words[:, :1], words[:, -1:]
    else:
        numbers = jnp.arange(n_batch * per_problem, dtype=jnp.uint32).reshape(n_batch, per_problem)
        first, last = words[0].reshape(1, 1), words[-1].reshape(1, 1)
    return _mixed(_mixed(numbers * _GOLDEN + first) ^ last).reshape(n_batch, n_heads, reads)


@jax.jit
def uniform(lanes: jax.Array, draw: Any) -> jax.Array:
    """Numbers in [0, 1), float32: a mixed counter (the finaliser of MurmurHash3), one stream a lane.

    Five times cheaper here than JAX's generator, to run and to compile; a chain needs no more.
    """
    draw = jnp.asarray(draw, jnp.uint32) * _GOLDEN
    draw = draw.reshape((1,) * (lanes.ndim - draw.ndim) + draw.shape)
    return (_mixed(lanes + draw) >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2**-24)


def _mixed(z: jax.Array) -> jax.Array:
    z = (z ^ (z >> jnp.uint32(16))) * jnp.uint32(0x85EBCA6B)
    z = (z ^ (z >> jnp.uint32(13))) * jnp.uint32(0xC2B2AE35)
    return z ^ (z >> jnp.uint32(16))
