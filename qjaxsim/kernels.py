"""Array kernels: from a plan's leaves to matrices, and from matrices and a state to the next state.

Arrays of amplitudes have shape (2**n, columns); columns are samples of a batch (or one column, before any data), last
so that every operation on qubits moves whole rows. Per-sample quantities carry the batch as their last axis too:
angles (stack, batch), matrices (d, d, batch).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.expressions import Expression
from qjaxsim.gates import GATES, complex_dtype
from qjaxsim.steps import Dense, Diagonal, Leaf, Monomial

Environment = Mapping[str, jax.Array]
"""Flat parameters by name: weights (size,), data (size, batch)."""

# From this matrix size on, one real product of stacked real and imaginary parts is faster than a complex one on CPU
# (256 x 256 on 1,000 columns: 2.2 times); the copies cost more than they save for the small matrices of blocks.
REAL_PRODUCT_FROM = 64


# --- angles and matrices ---------------------------------------------------------------------------------------------


def angle_stack(angles: Sequence[Any], env: Environment, dtype: Any) -> jax.Array:
    """The values of several angles, shape (stack,) or (stack, batch).

    Angles that are one parameter's elements up to factor and offset, as nearly all are, take one slice or gather.
    """
    elements = _single_elements(angles)
    if elements is not None:
        name, rows, factors, offsets = elements
        values = _rows(env[name], rows)
        column = (len(rows),) + (1,) * (values.ndim - 1)
        if (factors != 1).any():
            values = values * factors.reshape(column).astype(dtype)
        return values if not offsets.any() else values + offsets.reshape(column).astype(dtype)
    values = [_evaluate(angle, env, dtype) for angle in angles]
    shape = jnp.broadcast_shapes(*(value.shape for value in values))
    return jnp.stack([jnp.broadcast_to(value, shape) for value in values])


def _single_elements(angles: Sequence[Any]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray] | None:
    """Name, rows, factors and offsets if every angle is factor * element + offset of one common parameter."""
    rows, factors, offsets, names = [], [], [], set()
    for angle in angles:
        affine = angle.affine() if isinstance(angle, Expression) else None
        if affine is None or len(affine[0]) != 1:
            return None
        (((name, row), factor),) = affine[0].items()
        names.add(name)
        rows.append(row)
        factors.append(factor)
        offsets.append(affine[1])
    if len(names) != 1:
        return None
    return names.pop(), np.array(rows), np.array(factors), np.array(offsets)


def _rows(values: jax.Array, rows: np.ndarray) -> jax.Array:
    """Rows of an array; evenly spaced ones by a slice, whose derivative is a cheap pad instead of a scatter."""
    steps = np.diff(rows)
    if len(rows) == 1 or (steps[0] > 0 and (steps == steps[0]).all()):
        return values[rows[0] : rows[-1] + 1 : int(steps[0]) if len(rows) > 1 else 1]
    return values[rows]


def _evaluate(angle: Any, env: Environment, dtype: Any) -> jax.Array:
    if isinstance(angle, Expression):
        return angle.evaluate(lambda name, index: env[name][index], jnp)
    return jnp.asarray(angle, dtype)


def stack_matrices(leaves: Sequence[Leaf], env: Environment, dtype: Any) -> jax.Array:
    """The matrices of leaves with one signature, shape (d, d, stack) or (d, d, stack, batch)."""
    total = None
    for factors in zip(*(leaf.factors for leaf in leaves), strict=True):
        if isinstance(factors[0], np.ndarray):
            matrix = jnp.asarray(np.stack(factors, axis=-1), complex_dtype(dtype))
        else:
            columns = zip(*(gate.angles for gate in factors), strict=True)
            angles = [angle_stack(column, env, dtype) for column in columns]
            matrix = GATES[factors[0].name].matrix(jnp, *_same_shape(angles))
        total = matrix if total is None else _multiply_stacks(matrix, total)
    assert total is not None
    return total


def _same_shape(angles: Sequence[jax.Array]) -> list[jax.Array]:
    """Stacks of angles with the batch axis added where only some have it."""
    rank = max(angle.ndim for angle in angles)
    return jnp.broadcast_arrays(*(angle.reshape(angle.shape + (1,) * (rank - angle.ndim)) for angle in angles))


def _multiply_stacks(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix products of two stacks, either of which may lack the batch axis.

    Written as multiply and add: the matrices are 2 x 2 or 4 x 4 and the stack axes long.
    """
    rank = max(a.ndim, b.ndim)
    a, b = (m.reshape(m.shape + (1,) * (rank - m.ndim)) for m in (a, b))
    return sum((a[:, None, j] * b[None, j] for j in range(1, a.shape[1])), a[:, None, 0] * b[None, 0])


def dense_matrix(step: Dense, leaf_matrices: Mapping[int, jax.Array], dtype: Any) -> jax.Array:
    """The matrix of a dense block, shape (d, d) or (d, d, batch), from its leaves' matrices by id."""
    k = len(step.qubits)
    total = None
    for layer in step.layers:
        if isinstance(layer, Monomial):
            if total is None:
                total = jnp.eye(2**k, dtype=complex_dtype(dtype))
            total = _move_rows(total, layer.source, layer.phase)
        else:
            matrix = _kron_layer(layer, leaf_matrices, k, dtype)
            total = matrix if total is None else _multiply(matrix, total)
    assert total is not None
    return total


def _multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """Product of square matrices with or without a trailing batch axis."""
    left, right = ("abz" if a.ndim == 3 else "ab"), ("bcz" if b.ndim == 3 else "bc")
    out = "acz" if "z" in left + right else "ac"
    return jnp.einsum(f"{left},{right}->{out}", a, b, precision=lax.Precision.HIGHEST)


def _kron_layer(layer: Sequence[Leaf], leaf_matrices: Mapping[int, jax.Array], k: int, dtype: Any) -> jax.Array:
    """The Kronecker product of leaves on different qubits, identity elsewhere, in the order of the k qubits."""
    used = [qubit for leaf in layer for qubit in leaf.qubits]
    idle = [qubit for qubit in range(k) if qubit not in used]
    factors = [leaf_matrices[id(leaf)] for leaf in layer]
    total = factors[0]
    for factor in factors[1:]:
        total = _kron(total, factor)
    if idle:
        total = _kron(total, jnp.eye(2 ** len(idle), dtype=complex_dtype(dtype)))
    return _reorder_matrix(total, used + idle)


def _kron(a: jax.Array, b: jax.Array) -> jax.Array:
    """Kronecker product over the first two axes; a trailing batch axis may be missing on either side."""
    rank = max(a.ndim, b.ndim)
    a, b = (m.reshape(m.shape + (1,) * (rank - m.ndim)) for m in (a, b))
    product = a[:, None, :, None] * b[None, :, None, :]
    return product.reshape((a.shape[0] * b.shape[0], a.shape[1] * b.shape[1], *product.shape[4:]))


def _reorder_matrix(matrix: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """A matrix whose index bits stand for `qubits`, with the bits put in ascending order."""
    order = list(np.argsort(qubits))
    k = len(order)
    if order == list(range(k)):
        return matrix
    rest = matrix.shape[2:]
    axes = [*order, *(k + i for i in order), *range(2 * k, 2 * k + len(rest))]
    return matrix.reshape((2,) * (2 * k) + rest).transpose(axes).reshape(matrix.shape)


def diagonal_phases(step: Diagonal, env: Environment, dtype: Any) -> jax.Array:
    """The phases of a diagonal step, shape (2**m,) or (2**m, batch)."""
    angles = angle_stack(step.angles, env, dtype)
    exponents = jnp.matmul(jnp.asarray(step.table, dtype), angles, precision=lax.Precision.HIGHEST)
    return lax.complex(jnp.cos(exponents), jnp.sin(exponents))


# --- applying to a state ---------------------------------------------------------------------------------------------


def apply_dense(matrix: jax.Array, state: jax.Array) -> jax.Array:
    """Apply a (d, d) or (d, d, batch) matrix to the leading qubits of a (2**n, columns) state."""
    size = matrix.shape[0]
    if matrix.ndim == 2:
        return product(matrix, state.reshape(size, -1)).reshape(state.shape)
    blocks = state.reshape(size, -1, state.shape[1])
    if state.shape[1] == 1:
        out = jnp.einsum("abz,br->arz", matrix, blocks[:, :, 0], precision=lax.Precision.HIGHEST)
    else:
        out = jnp.einsum("abz,brz->arz", matrix, blocks, precision=lax.Precision.HIGHEST)
    return out.reshape(state.shape[0], matrix.shape[2])


def product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Complex matrix product at full precision, in real arithmetic where that is faster."""
    if a.shape[0] < REAL_PRODUCT_FROM:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
    rows = a.shape[0]
    stacked = jnp.block([[a.real, -a.imag], [a.imag, a.real]])
    out = jnp.matmul(stacked, jnp.concatenate([b.real, b.imag]), precision=lax.Precision.HIGHEST)
    return lax.complex(out[:rows], out[rows:])


def apply_monomial(step: Monomial, order: Sequence[int], state: jax.Array) -> jax.Array:
    """Apply a permutation with phases to a state whose leading index bits stand for the qubits in `order`."""
    source, phase = _for_order(step, order)
    if step.is_diagonal:
        return state if phase is None else apply_phases(jnp.asarray(phase, state.dtype), state)
    rows = _move_rows(state.reshape(2 ** len(order), -1), source, phase)
    return rows.reshape(state.shape)


def apply_phases(phases: jax.Array, state: jax.Array) -> jax.Array:
    """Multiply a state by phases, (2**m,) or (2**m, batch), of its leading m index bits."""
    blocks = state.reshape(phases.shape[0], -1, state.shape[1])
    out = blocks * (phases[:, None, None] if phases.ndim == 1 else phases[:, None, :])
    return out.reshape(state.shape[0], out.shape[2])


def _for_order(step: Monomial, order: Sequence[int]) -> tuple[np.ndarray, np.ndarray | None]:
    """The step's tables when its qubits stand in another order than ascending."""
    rank = {qubit: i for i, qubit in enumerate(step.qubits)}
    axes = [rank[qubit] for qubit in order]
    if axes == sorted(axes):
        return step.source, step.phase
    k = len(axes)
    old = np.arange(2**k).reshape((2,) * k).transpose(axes).reshape(-1)  # new position -> old index
    new = np.argsort(old)
    return new[step.source[old]], None if step.phase is None else step.phase[old]


def _move_rows(rows: jax.Array, source: np.ndarray, phase: np.ndarray | None) -> jax.Array:
    """out[i] = phase[i] * rows[source[i]]."""
    moved = rows.at[source].get(unique_indices=True, mode="promise_in_bounds")
    if phase is None:
        return moved
    return moved * jnp.asarray(phase, rows.dtype).reshape((-1,) + (1,) * (rows.ndim - 1))


def bring_to_front(state: jax.Array, order: Sequence[int], qubits: Sequence[int]) -> tuple[jax.Array, tuple[int, ...]]:
    """Make some qubits the leading index bits, as they stand among themselves.

    Args:
        state: (2**n, columns), whose index bits stand for the qubits in `order`.
        order: all n qubits.
        qubits: those wanted in front, in any order.

    Returns:
        The state and its new order: the wanted qubits (in their relative order), then the rest.
    """
    wanted = set(qubits)
    new = tuple([q for q in order if q in wanted] + [q for q in order if q not in wanted])
    return reorder(state, order, new), new


def reorder(state: jax.Array, order: Sequence[int], new: Sequence[int]) -> jax.Array:
    """Transpose the index bits from one order of the qubits to another, neighbours moved together."""
    if tuple(order) == tuple(new):
        return state
    position = {qubit: i for i, qubit in enumerate(order)}
    axes = [position[qubit] for qubit in new]
    # Index bits that stay neighbours become one axis, which keeps the transpose of low rank.
    runs: list[list[int]] = []
    for axis in axes:
        if runs and axis == runs[-1][-1] + 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    by_start = sorted(range(len(runs)), key=lambda i: runs[i][0])
    shape = [2 ** len(runs[i]) for i in by_start]
    where = {run: place for place, run in enumerate(by_start)}
    moved = state.reshape(*shape, state.shape[1]).transpose([where[i] for i in range(len(runs))] + [len(runs)])
    return moved.reshape(state.shape)


def permute_matrix(matrix: jax.Array, qubits: Sequence[int], order: Sequence[int]) -> jax.Array:
    """A matrix on `qubits` (ascending) for index bits that stand for the same qubits in `order`."""
    rank = {qubit: i for i, qubit in enumerate(qubits)}
    return _reorder_matrix(matrix, np.argsort([rank[qubit] for qubit in order]).tolist())


def permute_phases(phases: jax.Array, qubits: Sequence[int], order: Sequence[int]) -> jax.Array:
    """Phases over the bits of `qubits` (ascending) for index bits that stand for the same qubits in `order`."""
    columns = phases.reshape(phases.shape[0], -1)
    return reorder(columns, qubits, order).reshape(phases.shape)
