"""Loops over many small blocks: their matrices made together, their products one after the other."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.circuits.gates import GATES, complex_dtype
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.steps import Factors, Packed
from qjaxsim.running.kernels import apply_dense, dagger, reorder_matrix
from qjaxsim.running.matrices import Environment, angle_stack, multiply_stacks
from qjaxsim.running.permutation import Tables, move_rows, tables_of_orders
from qjaxsim.running.varying import vary_alike

Each = tuple[jax.Array, Tables]
"""What one turn needs: the matrix, and where rows come from."""


def apply_packed(step: Packed, own: jax.Array | None, state: jax.Array) -> jax.Array:
    """The state (2, 2**n, columns) after all blocks; `own` is what `block_matrices` gives."""

    def turn(state: jax.Array, each: Each) -> tuple[jax.Array, None]:
        matrix, tables = each
        return apply_dense(matrix, move_rows(state, tables)), None

    each = _each(step, own, state)
    return lax.scan(turn, vary_alike(state, each), each)[0]


def undo_packed(step: Packed, own: jax.Array | None, state: jax.Array) -> jax.Array:
    """The state before all blocks, from the one after them."""

    def turn(state: jax.Array, each: Each) -> tuple[jax.Array, None]:
        matrix, tables = each
        return move_rows(apply_dense(dagger(matrix), state), tables.inverse), None

    each = _each(step, own, state)
    return lax.scan(turn, vary_alike(state, each), each, reverse=True)[0]


def reverse_packed(
    step: Packed, own: jax.Array, state: jax.Array, ct: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """From the state after all blocks and its cotangent to those before, with the cotangents of the matrices."""

    def turn(carry: tuple[jax.Array, jax.Array], each: Each) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        matrix, tables = each
        state, ct = carry
        before = apply_dense(dagger(matrix), state)
        d_matrix = jax.vjp(lambda m: apply_dense(m, before), matrix)[1](ct)[0]
        ct = apply_dense(dagger(matrix), ct)
        return (move_rows(before, tables.inverse), move_rows(ct, tables.inverse)), d_matrix

    each = _each(step, own, state)
    (state, ct), d_own = lax.scan(turn, vary_alike((state, ct), each), each, reverse=True)
    return state, ct, d_own


def _each(step: Packed, own: jax.Array | None, state: jax.Array) -> Each:
    if own is None:
        assert step.constant is not None
        own = jnp.asarray(np.stack([step.constant.real, step.constant.imag], axis=1), state.dtype)
    return own, tables_of_orders(step.before, step.orders)


# --- matrices --------------------------------------------------------------------------------------------------------


def block_matrices(step: Packed, env: Environment, dtype: Any) -> jax.Array:
    """The matrices of all blocks with angles, (blocks, 2, d, d): a product of stacks for each doubling of the factors.

    Args:
        step: with factors.
        env: parameters.
        dtype: real dtype.
    """
    factors = step.factors
    assert factors is not None
    length, blocks = factors.slots.shape
    size = factors.constants.shape[1]
    constants = jnp.asarray(factors.constants.transpose(1, 2, 0), complex_dtype(dtype))
    slots = constants[:, :, factors.slots.reshape(-1)] + _gates_in_slots(factors, step.width, env, dtype)
    total = slots.reshape(size, size, length, blocks)
    while total.shape[2] > 1:
        total = multiply_stacks(total[:, :, 1::2], total[:, :, ::2])
    matrices = total[:, :, 0].transpose(2, 0, 1)
    return jnp.stack([matrices.real, matrices.imag], axis=1)


def _gates_in_slots(factors: Factors, width: int, env: Environment, dtype: Any) -> jax.Array:
    """The gates' matrices at their slots, zero elsewhere, (d, d, slots)."""
    parts = [_on_places(_stack(gates, env, dtype), places, width) for places, gates in factors.stacks]
    gates = jnp.concatenate(parts, axis=2)
    others = np.setdiff1d(np.arange(factors.slots.size), factors.where)
    size = gates.shape[0] * gates.shape[1]
    rows = jnp.pad(gates.reshape(size, -1, 1), ((0, 0), (0, len(others)), (0, 0)))
    order = np.concatenate([factors.where, others])
    moved = move_rows(rows, Tables.of_rows(np.argsort(order), order))
    return moved.reshape(*gates.shape[:2], -1)


def _stack(gates: Sequence[Gate], env: Environment, dtype: Any) -> jax.Array:
    """Matrices of gates of one name, (d, d, gates)."""
    columns = zip(*(gate.angles for gate in gates), strict=True)
    return GATES[gates[0].name].matrix(jnp, *(angle_stack(column, env, dtype) for column in columns))


def _on_places(stack: jax.Array, places: tuple[int, ...], width: int) -> jax.Array:
    """Matrices on some places of a block as matrices on all of them."""
    idle = [place for place in range(width) if place not in places]
    if idle:
        identity = jnp.eye(2 ** len(idle), dtype=stack.dtype)
        size = len(stack) * len(identity)
        stack = (stack[:, None, :, None] * identity[None, :, None, :, None]).reshape(size, size, -1)
    return reorder_matrix(stack, [*places, *idle])
