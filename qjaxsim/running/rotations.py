"""Rotations about Pauli strings: a loop whose iterations differ in bit masks and angles only.

Written out, each rotation would be a program of its own shape, which XLA compiles in tenths of a second and, where it
joins several into one loop, computes again and again. As a loop they cost what one costs to compile, and the signs and
places of a Pauli string are computed from its masks as the loop goes. States are those of `kernels`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.steps import Rotations
from qjaxsim.running.permutation import flip_rows
from qjaxsim.running.sweep import with_sweep
from qjaxsim.running.varying import vary_alike

# What differs from rotation to rotation: flips, signs, -i times i for each Y, and cosine and sine of half the angle.
One = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def apply_rotations(step: Rotations, halves: jax.Array, state: jax.Array) -> jax.Array:
    """Apply rotations in their order.

    Args:
        step: the rotations.
        halves: cosines and sines of half the angles, (count, 2) or (count, 2, columns).
        state: (2, 2**n, columns).

    Reverse mode runs the loop backwards and keeps no state of its iterations.
    """

    def forward(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        return _loop(step, inputs[1], inputs[0], reverse=False)

    def pull(final: jax.Array, inputs: tuple[jax.Array, jax.Array], ct: jax.Array) -> tuple[jax.Array, jax.Array]:
        _, d_state, d_halves = reverse_rotations(step, inputs[1], final, ct)
        return d_state, d_halves

    return with_sweep(forward, pull)(vary_alike((state, halves)))


def undo_rotations(step: Rotations, halves: jax.Array, state: jax.Array) -> jax.Array:
    """The state before rotations from that after them."""
    return _loop(step, _opposite(halves), state, reverse=True)


def reverse_rotations(
    step: Rotations, halves: jax.Array, state: jax.Array, ct: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """From the state after rotations and its cotangent to those before, with the cotangent of `halves`.

    No state is kept: each is found from the one after it.
    """

    def body(both: jax.Array, one: One) -> tuple[jax.Array, jax.Array]:
        # With Q = -i P, whose square is -1: after = c before + s Q before, before = c after - s Q after, and so the
        # cotangents <ct, before> and <ct, Q before> follow from <ct, after> and <ct, Q after>.
        c, s = _columns(one)
        # Made once: joined to what uses it, every use would gather again.
        turned = lax.optimization_barrier(jax.vmap(_turned, (0, None))(both, one))
        plain, crossed = (_overlaps(both[1], x[0])[None] for x in (both, turned))
        d_half = jnp.concatenate([c[0] * plain - s[0] * crossed, c[0] * crossed + s[0] * plain])
        return c[None] * both - s[None] * turned, d_half if halves.ndim == 3 else d_half.sum(axis=1)

    both, d_halves = lax.scan(body, jnp.stack([state, ct]), _each(step, halves), reverse=True)
    return both[0], both[1], d_halves


def turned_by(step: Rotations, number: int, state: jax.Array) -> jax.Array:
    """-i P times a state, for the Pauli string of one of the rotations."""
    nothing = jnp.zeros((len(step.angles), 2), state.dtype)
    return _turned(state, jax.tree.map(lambda each: each[number], _each(step, nothing)))


def _overlaps(a: jax.Array, b: jax.Array) -> jax.Array:
    """Sums of products of two states, column by column."""
    if a.shape[2] == 1:  # as one product of vectors: XLA would add up a single column number by number
        return jnp.vdot(a, b, precision=HIGHEST)[None]
    return jnp.einsum("abz,abz->z", a, b, precision=HIGHEST)


def _loop(step: Rotations, halves: jax.Array, state: jax.Array, reverse: bool) -> jax.Array:
    each = _each(step, halves)
    out, _ = lax.scan(lambda x, one: (_rotated(x, one), None), state, each, reverse=reverse)
    return out


def _each(step: Rotations, halves: jax.Array) -> One:
    n_y = np.bitwise_count(step.flips & step.signs).astype(int)
    power = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]])[n_y % 4]
    return jnp.asarray(step.flips), jnp.asarray(step.signs), jnp.asarray(power, halves.dtype), halves


def _opposite(halves: jax.Array) -> jax.Array:
    """The inverse rotations' cosines and sines."""
    c, s = jnp.split(halves, 2, axis=1)
    return jnp.concatenate([c, -s], axis=1)


def _rotated(state: jax.Array, one: One) -> jax.Array:
    """One rotation: cos(angle / 2) - i sin(angle / 2) P."""
    c, s = _columns(one)
    return c * state + s * _turned(state, one)


def _columns(one: One) -> tuple[jax.Array, jax.Array]:
    """Cosine and sine in the shape of a state, one for all columns or one for each."""
    c, s = jnp.unstack(one[3])
    return c.reshape(1, 1, -1), s.reshape(1, 1, -1)


def _turned(state: jax.Array, one: One) -> jax.Array:
    """-i P times a state."""
    flips, signs, power, _ = one
    a, b = jnp.unstack(power)
    # The sign is that of the row which a row comes from.
    source = lax.iota(jnp.uint32, state.shape[1]) ^ flips
    sign = 1 - 2 * (lax.population_count(source & signs) & 1).astype(jnp.int32)
    re, im = jnp.unstack(flip_rows(state, flips))
    return jnp.stack([a * re - b * im, a * im + b * re]) * sign.astype(state.dtype)[None, :, None]
