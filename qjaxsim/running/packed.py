"""Loops over many small blocks: their matrices made together, their products one after the other."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.circuits.gates import complex_dtype
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.steps import Packed, Products
from qjaxsim.running.kernels import reorder_matrix
from qjaxsim.running.matrices import Environment, angle_stack, factor_matrices, multiply_stacks
from qjaxsim.running.permutation import Tables, move_rows, tables_of_orders
from qjaxsim.running.varying import rest, vary_alike

Each = tuple[jax.Array, Tables]
"""What one turn needs: matrices (groups, 2, d, d), and where rows come from."""


def apply_packed(step: Packed, own: jax.Array | None, state: jax.Array) -> jax.Array:
    """The state (2, 2**n, columns) after all blocks; `own` is what `block_matrices` gives."""
    return _applied(_each(step, own, state), state[None])[0]


def undo_packed(step: Packed, own: jax.Array | None, state: jax.Array) -> jax.Array:
    """The state before all blocks, from the one after them."""

    def turn(state: jax.Array, each: Each) -> tuple[jax.Array, None]:
        return _turned_back(state, each), None

    each = _each(step, own, state)
    return lax.scan(turn, vary_alike(state[None], each), each, reverse=True)[0][0]


def reverse_packed(
    step: Packed, own: jax.Array, state: jax.Array, ct: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """From the state after all blocks and its cotangent to those before, with the cotangents of the matrices."""

    def turn(carry: tuple[jax.Array, jax.Array], each: Each) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        matrices, tables = each
        before, ct = _turned_back(carry[0], each), carry[1]
        moved = move_rows(before, tables)
        d_matrices = jax.vjp(lambda m: _multiplied(m, moved), matrices)[1](ct)[0]
        return (before, _turned_back(ct, each)), d_matrices

    each = _each(step, own, state)
    start = vary_alike((state[None], ct[None]), each)
    (state, ct), d_own = lax.scan(turn, start, each, reverse=True)
    return state[0], ct[0], d_own[:, 0]


def _each(step: Packed, own: jax.Array | None, state: jax.Array) -> Each:
    if own is None:
        assert step.constant is not None
        own = jnp.asarray(np.stack([step.constant.real, step.constant.imag], axis=1), state.dtype)
    return own[:, None], tables_of_orders(np.concatenate([[step.before], step.orders])[:, None])


def _applied(each: Each, state: jax.Array) -> jax.Array:
    """States (groups, 2, 2**n, columns) after all turns."""

    def turn(state: jax.Array, each: Each) -> tuple[jax.Array, None]:
        matrices, tables = each
        return _multiplied(matrices, move_rows(state, tables)), None

    return lax.scan(turn, vary_alike(state, each), each)[0]


def _turned_back(state: jax.Array, each: Each) -> jax.Array:
    """States before one turn."""
    matrices, tables = each
    re, im = jnp.unstack(jnp.swapaxes(matrices, 2, 3), axis=1)
    return move_rows(_multiplied(jnp.stack([re, -im], axis=1), state), tables.inverse)


def _multiplied(matrices: jax.Array, state: jax.Array) -> jax.Array:
    """Matrices (groups, 2, d, d), one for each group, on the leading index bits of (groups, 2, 2**n, columns)."""
    groups, _, size, _ = matrices.shape
    re, im = jnp.unstack(matrices, axis=1)
    real = jnp.concatenate([jnp.concatenate([re, -im], axis=2), jnp.concatenate([im, re], axis=2)], axis=1)
    blocks = state.reshape(groups, 2 * size, *rest(state))
    return lax.dot_general(real, blocks, (((2,), (1,)), ((0,), (0,))), precision=HIGHEST).reshape(state.shape)


# --- matrices --------------------------------------------------------------------------------------------------------


def block_matrices(products: Products, env: Environment, dtype: Any) -> jax.Array:
    """The matrices, (matrices, 2, d, d), in a program whose length depends only on names of gates and on widths.

    Args:
        products: what they are made of.
        env: parameters.
        dtype: real dtype.
    """
    parts = _part_matrices(products, env, dtype)
    count, blocks, width = products.orders.shape
    if products.width == products.part and count == 1:
        return parts
    identity = np.eye(2**width, dtype=dtype)
    start = jnp.broadcast_to(np.stack([identity, np.zeros_like(identity)]), (blocks, 2, 2**width, 2**width))
    ascending = np.broadcast_to(np.arange(width), (1, blocks, width))
    orders = np.concatenate([ascending, products.orders, ascending])
    tables = tables_of_orders(orders)

    each = parts.reshape(count, blocks, *parts.shape[1:]), Tables(*(table[:-1] for table in tables))
    return move_rows(_applied(each, start), Tables(*(table[-1] for table in tables)))


def _part_matrices(products: Products, env: Environment, dtype: Any) -> jax.Array:
    """The matrices of all parts, (parts * matrices, 2, d, d): a product of stacks for each doubling of the factors."""
    length, parts = products.slots.shape
    size = products.constants.shape[1]
    constants = jnp.asarray(products.constants.transpose(1, 2, 0), complex_dtype(dtype))
    slots = constants[:, :, products.slots.reshape(-1)] + _gates_in_slots(products, env, dtype)
    total = slots.reshape(size, size, length, parts)
    while total.shape[2] > 1:
        total = multiply_stacks(total[:, :, 1::2], total[:, :, ::2])
    matrices = total[:, :, 0].transpose(2, 0, 1)
    return jnp.stack([matrices.real, matrices.imag], axis=1)


def _gates_in_slots(products: Products, env: Environment, dtype: Any) -> jax.Array:
    """The gates' matrices at their slots, zero elsewhere, (d, d, slots)."""
    each = [_on_places(_stack(gates, env, dtype), places, products.part) for places, gates in products.stacks]
    gates = jnp.concatenate(each, axis=2)
    others = np.setdiff1d(np.arange(products.slots.size), products.where)
    size = gates.shape[0] * gates.shape[1]
    rows = jnp.pad(gates.reshape(1, size, -1, 1), ((0, 0), (0, 0), (0, len(others)), (0, 0)))
    order = np.concatenate([products.where, others])
    moved = move_rows(rows, Tables.of_rows(np.argsort(order), order))
    return moved.reshape(*gates.shape[:2], -1)


def _stack(gates: Sequence[Any], env: Environment, dtype: Any) -> jax.Array:
    """Matrices of factors of one name, (d, d, gates)."""
    columns = zip(*(gate.angles for gate in gates), strict=True)
    return factor_matrices(gates, [angle_stack(column, env, dtype) for column in columns])


def _on_places(stack: jax.Array, places: tuple[int, ...], width: int) -> jax.Array:
    """Matrices on some places of a part as matrices on all of them."""
    idle = [place for place in range(width) if place not in places]
    if idle:
        identity = np.eye(2 ** len(idle), dtype=stack.dtype)
        size = len(stack) * len(identity)
        stack = (stack[:, None, :, None] * identity[None, :, None, :, None]).reshape(size, size, -1)
    return reorder_matrix(stack, [*places, *idle])
