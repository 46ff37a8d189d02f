"""Array kernels: from matrices and a state to the next state.

Arrays of amplitudes have shape (2**n, columns); columns are samples of a batch (or one column, before any data), last
so that every operation on qubits moves whole rows.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.steps import Monomial

# From this matrix size on, one real product of stacked real and imaginary parts is faster than a complex one on CPU
# (256 x 256 on 1,000 columns: 2.2 times); the copies cost more than they save for the small matrices of blocks.
REAL_PRODUCT_FROM = 64


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
    rows = move_rows(state.reshape(2 ** len(order), -1), source, phase)
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


def move_rows(rows: jax.Array, source: np.ndarray, phase: np.ndarray | None) -> jax.Array:
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
    return reorder_matrix(matrix, np.argsort([rank[qubit] for qubit in order]).tolist())


def permute_phases(phases: jax.Array, qubits: Sequence[int], order: Sequence[int]) -> jax.Array:
    """Phases over the bits of `qubits` (ascending) for index bits that stand for the same qubits in `order`."""
    columns = phases.reshape(phases.shape[0], -1)
    return reorder(columns, qubits, order).reshape(phases.shape)


def reorder_matrix(matrix: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """A matrix whose index bits stand for `qubits`, with the bits put in ascending order."""
    order = list(np.argsort(qubits))
    k = len(order)
    if order == list(range(k)):
        return matrix
    rest = matrix.shape[2:]
    axes = [*order, *(k + i for i in order), *range(2 * k, 2 * k + len(rest))]
    return matrix.reshape((2,) * (2 * k) + rest).transpose(axes).reshape(matrix.shape)
