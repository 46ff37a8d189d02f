"""Many small arrays as one, in a program whose length does not grow with how they are taken apart again.

XLA compiles a slice for every piece that derivatives cut from a joined array: ten milliseconds each, so that a circuit
of thousands of named angles would compile for minutes. A shift register does the same with one short loop: each turn
hands out the first array and moves the others up; derivatives run it backwards.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from qjaxsim.running.varying import vary_alike

# So many arrays are joined in one operation: their slices compile faster than loops do.
FEW = 24


def joined(arrays: Sequence[jax.Array]) -> jax.Array:
    """Arrays (size, ...) of one shape behind the first axis, one after the other along it.

    Cost: one pass; where many have one shape, as scalars do, n**1.5 moves for n of them.
    """
    if len(arrays) <= FEW or len({array.shape for array in arrays}) > 1:
        return jnp.concatenate(arrays)
    width = math.isqrt(len(arrays) - 1) + 1
    rows = [arrays[i : i + width] for i in range(0, len(arrays), width)]
    rows[-1] = [*rows[-1], *[jnp.zeros_like(arrays[0])] * (width - len(rows[-1]))]
    table = _register([jnp.concatenate(row) for row in rows])
    return table.reshape(-1, *table.shape[2:])[: len(arrays) * len(arrays[0])]


def _register(arrays: Sequence[jax.Array]) -> jax.Array:
    """Arrays of one shape stacked along a new leading axis."""

    def turn(carry: tuple[jax.Array, ...], _: None) -> tuple[tuple[jax.Array, ...], jax.Array]:
        first, *others = carry
        return (*others, first), first

    return lax.scan(turn, tuple(vary_alike(list(arrays))), length=len(arrays))[1]
