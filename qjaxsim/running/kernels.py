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

from qjaxsim.common.precision import HIGHEST
from qjaxsim.running.permutation import of_bits, of_rows, permute
from qjaxsim.running.varying import rest

# Index bits that one reduction sums over.
BITS_AT_ONCE = 10


def to_complex(state: jax.Array) -> jax.Array:
    """(2, ...) real as (...) complex."""
    return lax.complex(*jnp.unstack(state))


def dagger(parts: jax.Array) -> jax.Array:
    """The adjoint of a matrix given as (2, d, d) or (2, d, d, columns) real and imaginary part."""
    re, im = jnp.unstack(jnp.swapaxes(parts, 1, 2))
    return jnp.stack([re, -im])


def apply_dense(parts: jax.Array, state: jax.Array) -> jax.Array:
    """Apply a matrix to the leading index bits.

    Args:
        parts: real and imaginary part of the matrix, (2, rows, d) or, one for each column, (2, rows, d, columns).
        state: (2, 2**n, columns).

    Returns:
        (2, 2**n / d * rows, columns).
    """
    rows, size = parts.shape[1:3]
    if size == 1:
        return _outer(parts.reshape(2, rows, -1), state)
    re, im = jnp.unstack(parts)
    real = jnp.concatenate([jnp.concatenate([re, -im], axis=1), jnp.concatenate([im, re], axis=1)])
    shape = (2, state.shape[1] // size * rows, state.shape[2])
    if real.ndim == 2:
        return jnp.tensordot(real, state.reshape(2 * size, *rest(state)), 1, precision=HIGHEST).reshape(shape)
    blocks = state.reshape(2 * size, -1, state.shape[2])
    return jnp.einsum("abz,brz->arz", real, blocks, precision=HIGHEST).reshape(shape)


def _outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Kronecker product of two states, column by column."""
    (a_re, a_im), (b_re, b_im) = jnp.unstack(a[:, :, None]), jnp.unstack(b[:, None])
    product = jnp.stack([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re])
    return product.reshape(2, -1, product.shape[3])


def enter(n_bits: int, state: jax.Array) -> jax.Array:
    """Put index bits in front that are 0."""
    size = state.shape[1]
    return jnp.pad(state, ((0, 0), (0, (2**n_bits - 1) * size), (0, 0)))


def product_state(psi: jax.Array, state: jax.Array) -> jax.Array:
    """Put index bits in front that are in a state of their own, (2, 2**k) or (2, 2**k, columns)."""
    re, im = (part.reshape(part.shape[0], 1, -1) for part in jnp.unstack(psi))
    inner_re, inner_im = jnp.unstack(state[:, None])
    out = jnp.stack([re * inner_re - im * inner_im, re * inner_im + im * inner_re])
    return out.reshape(2, -1, out.shape[-1])


def overlap_with(psi: jax.Array, state: jax.Array) -> jax.Array:
    """The sum over the first index bits of conj(psi) times a state: what `product_state` does, undone."""
    re, im = (part.reshape(part.shape[0], 1, -1) for part in jnp.unstack(psi))
    own_re, own_im = jnp.unstack(state.reshape(2, len(re), -1, state.shape[2]))
    return jnp.stack([(re * own_re + im * own_im).sum(axis=0), (re * own_im - im * own_re).sum(axis=0)])


def apply_monomial(source: np.ndarray, phase: np.ndarray | None, state: jax.Array) -> jax.Array:
    """out[i] = phase[i] * state[source[i]] on the leading index bits."""
    moved = permute(of_rows(source), state)
    if phase is None:
        return moved
    parts = jnp.asarray(np.stack([phase.real, phase.imag]), state.dtype)
    return apply_phases([(tuple(range(len(source).bit_length() - 1)), parts)], moved)


def apply_phases(tables: Sequence[tuple[Sequence[int], jax.Array]], state: jax.Array) -> jax.Array:
    """Multiply a state by phases of some of its index bits.

    Args:
        tables: ascending positions of m index bits with phases over them, (2, 2**m) or (2, 2**m, columns).
        state: (2, 2**n, columns).
    """
    n_bits = state.shape[1].bit_length() - 1
    ends = _segments([positions for positions, _ in tables], n_bits)
    sizes = [2 ** (stop - start) for start, stop in ends]
    re, im = jnp.unstack(state.reshape(2, *sizes, state.shape[2]))
    for positions, phases in tables:
        inside = [size if start in positions else 1 for (start, _), size in zip(ends, sizes, strict=True)]
        c, s = jnp.unstack(phases.reshape(2, *inside, phases.shape[2] if phases.ndim == 3 else 1))
        re, im = c * re - s * im, c * im + s * re
    return jnp.stack([re, im]).reshape(state.shape)


def _segments(chosen: Sequence[Sequence[int]], n_bits: int) -> list[tuple[int, int]]:
    """The bits cut into runs that every table holds as a whole or not at all, as (start, stop)."""
    member = [tuple(bit in positions for positions in chosen) for bit in range(n_bits)]
    cuts = [0, *(bit for bit in range(1, n_bits) if member[bit] != member[bit - 1]), n_bits]
    return list(zip(cuts, cuts[1:], strict=False))


def sum_over_bits(values: jax.Array, bits: Sequence[int]) -> jax.Array:
    """Sums of (2**n, columns) over some index bits, (2, ..., 2, columns) with the other bits as axes.

    Not in one go: XLA may add up all numbers one after the other, which in single precision stops growing after 2**24
    of them. The barrier keeps it from joining the steps.
    """
    n_bits = len(values).bit_length() - 1
    total = values.reshape((2,) * n_bits + values.shape[1:])
    left = list(bits)
    while left:
        left, now = left[:-BITS_AT_ONCE], left[-BITS_AT_ONCE:]
        total = total.sum(axis=now)
        total = lax.optimization_barrier(total) if left else total
    return total


def project(position: int, outcome: int, state: jax.Array) -> jax.Array:
    """Keep one outcome of one index bit, the other amplitudes zero."""
    split = state.reshape(2, 2**position, 2, -1, state.shape[2])
    kept = split[:, :, outcome]
    zero = jnp.zeros_like(kept)
    pair = (kept, zero) if outcome == 0 else (zero, kept)
    return jnp.stack(pair, axis=2).reshape(state.shape)


def reorder(state: jax.Array, order: Sequence[int], new: Sequence[int]) -> jax.Array:
    """Transpose the index bits from one order of the qubits to another; trailing ones that stay move as one row."""
    position = {qubit: i for i, qubit in enumerate(order)}
    places = [position[qubit] for qubit in new]
    while places and places[-1] == len(places) - 1:
        places.pop()
    return permute(of_bits(places), state)


def reorder_matrix(matrix: jax.Array, qubits: Sequence[int]) -> jax.Array:
    """A matrix whose index bits stand for `qubits`, with the bits put in ascending order."""
    order = list(np.argsort(qubits))
    k = len(order)
    if order == list(range(k)):
        return matrix
    rest = matrix.shape[2:]
    axes = [*order, *(k + i for i in order), *range(2 * k, 2 * k + len(rest))]
    return matrix.reshape((2,) * (2 * k) + rest).transpose(axes).reshape(matrix.shape)
