"""Rotations about Pauli strings: a loop whose iterations differ in bit masks and angles only.

Written out, each rotation would be a program of its own shape, which XLA compiles in tenths of a second and, where it
joins several into one loop, computes again and again. As a loop they cost what one costs to compile, and the signs and
places of a Pauli string are computed from its masks as the loop goes. States are those of `kernels`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.planning.steps import Rotations
from qjaxsim.running.permutation import flip_rows
from qjaxsim.running.varying import vary_alike

# What differs from rotation to rotation: flips, signs, -i times i for each Y, and cosine and sine of half the angle.
One = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def apply_rotations(step: Rotations, halves: jax.Array, state: jax.Array) -> jax.Array:
    """Apply rotations in their order.

    Args:
        step: the rotations.
        halves: cosines and sines of half the angles, (count, 2) or (count, 2, columns).
        state: (2, 2**n, columns).
    """
    return _loop(step, halves, state, reverse=False)


def undo_rotations(step: Rotations, halves: jax.Array, state: jax.Array) -> jax.Array:
    """The state before rotations from that after them."""
    return _loop(step, _opposite(halves), state, reverse=True)


def reverse_rotations(
    step: Rotations, halves: jax.Array, state: jax.Array, ct: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """From the state after rotations and its cotangent to those before, with the cotangent of `halves`.

    No state is kept: each is found from the one after it.
    """

    def body(carry: tuple[jax.Array, jax.Array], one: One) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state, ct = carry
        flips, signs, power, half = one
        back = (flips, signs, power, _opposite(half[None])[0])
        before = _rotated(state, back)
        (d_half,) = jax.vjp(lambda half: _rotated(before, (flips, signs, power, half)), half)[1](ct)
        return (before, _rotated(ct, back)), d_half

    (state, ct), d_halves = lax.scan(body, (state, ct), _each(step, halves), reverse=True)
    return state, ct, d_halves


def _loop(step: Rotations, halves: jax.Array, state: jax.Array, reverse: bool) -> jax.Array:
    each = _each(step, halves)
    out, _ = lax.scan(lambda x, one: (_rotated(x, one), None), vary_alike(state, each), each, reverse=reverse)
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
    flips, signs, (a, b), (c, s) = one
    # The sign is that of the row which a row comes from.
    source = lax.iota(jnp.uint32, state.shape[1]) ^ flips
    sign = 1 - 2 * (lax.population_count(source & signs) & 1).astype(jnp.int32)
    turned = sign.astype(s.dtype)[:, None] * s.reshape(1, -1)
    c = c.reshape(1, -1)
    re, im = state
    other_re, other_im = flip_rows(state, flips)
    return jnp.stack([c * re + turned * (a * other_re - b * other_im), c * im + turned * (a * other_im + b * other_re)])
