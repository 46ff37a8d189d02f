"""Array kernels: from matrices and a state to the next state.

A state is *stacked real*: an array of shape (2, 2**n, columns), real part first, so that a complex product becomes one
real product of twice the size, which CPUs run two to four times faster. Columns are samples of a batch (or one column,
before any data), last so that every operation on qubits moves whole rows.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.steps import Monomial


def from_complex(state: jax.Array) -> jax.Array:
    """(...) complex as (2, ...) real."""
    return jnp.stack([state.real, state.imag])


def to_complex(state: jax.Array) -> jax.Array:
    """(2, ...) real as (...) complex."""
    return lax.complex(state[0], state[1])


def identity(n_qubits: int, dtype: np.dtype) -> jax.Array:
    """The identity as a state of 2**n columns, (2, 2**n, 2**n)."""
    eye = jnp.eye(2**n_qubits, dtype=dtype)
    return jnp.stack([eye, jnp.zeros_like(eye)])


def apply_dense(matrix: jax.Array, state: jax.Array) -> jax.Array:
    """Apply a complex (d, d) or (d, d, batch) matrix to the leading qubits of a (2, 2**n, columns) state."""
    return apply_stacked(from_complex(matrix), state)


def apply_stacked(parts: jax.Array, state: jax.Array) -> jax.Array:
    """Apply a matrix given as its real and imaginary parts, (2, d, d) or (2, d, d, batch), like `apply_dense`."""
    size = parts.shape[1]
    re, im = parts
    real = jnp.concatenate([jnp.concatenate([re, -im], axis=1), jnp.concatenate([im, re], axis=1)])
    if real.ndim == 2:
        out = jnp.matmul(real, state.reshape(2 * size, -1), precision=lax.Precision.HIGHEST)
        return out.reshape(state.shape)
    blocks = state.reshape(2 * size, -1, state.shape[2])
    if state.shape[2] == 1:
        out = jnp.einsum("abz,br->arz", real, blocks[:, :, 0], precision=lax.Precision.HIGHEST)
    else:
        out = jnp.einsum("abz,brz->arz", real, blocks, precision=lax.Precision.HIGHEST)
    return out.reshape(2, state.shape[1], real.shape[2])


def apply_monomial(step: Monomial, order: Sequence[int], state: jax.Array) -> jax.Array:
    """Apply a permutation with phases to a state whose leading index bits stand for the qubits in `order`."""
    source, phase = _for_order(step, order)
    size = len(source)
    moved = state
    if not step.is_diagonal:
        # Both parts as rows of one array: whole rows are gathered faster than slices of two.
        both = np.concatenate([source, size + source])
        rows = state.reshape(2 * size, -1).at[both].get(unique_indices=True, mode="promise_in_bounds")
        moved = rows.reshape(state.shape)
    return moved if phase is None else apply_phases(jnp.stack([phase.real, phase.imag]).astype(state.dtype), moved)


def apply_phases(phases: jax.Array, state: jax.Array) -> jax.Array:
    """Multiply a state by phases, (2, 2**m) or (2, 2**m, batch), of its leading m index bits."""
    re, im = phases[:, :, None, None] if phases.ndim == 2 else phases[:, :, None, :]
    blocks = state.reshape(2, phases.shape[1], -1, state.shape[2])
    out = jnp.stack([re * blocks[0] - im * blocks[1], re * blocks[1] + im * blocks[0]])
    return out.reshape(2, state.shape[1], out.shape[3])


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


def bring_to_front(state: jax.Array, order: Sequence[int], qubits: Sequence[int]) -> tuple[jax.Array, tuple[int, ...]]:
    """Make some qubits the leading index bits, as they stand among themselves.

    Args:
        state: (2, 2**n, columns), whose index bits stand for the qubits in `order`.
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
    axes = [0, *(1 + where[i] for i in range(len(runs))), 1 + len(runs)]
    return state.reshape(2, *shape, state.shape[2]).transpose(axes).reshape(state.shape)


def permute_matrix(matrix: jax.Array, qubits: Sequence[int], order: Sequence[int]) -> jax.Array:
    """A matrix on `qubits` (ascending) for index bits that stand for the same qubits in `order`."""
    rank = {qubit: i for i, qubit in enumerate(qubits)}
    return reorder_matrix(matrix, np.argsort([rank[qubit] for qubit in order]).tolist())


def permute_phases(phases: jax.Array, qubits: Sequence[int], order: Sequence[int]) -> jax.Array:
    """Phases over the bits of `qubits` (ascending) for index bits that stand for the same qubits in `order`."""
    columns = phases.reshape(2, phases.shape[1], -1)
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
