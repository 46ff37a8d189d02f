"""From a plan's leaves to matrices: angles, stacks of small matrices, blocks.

Per-sample quantities carry the batch as their last axis: angles (stack, batch), matrices (d, d, batch).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.gates import complex_dtype
from qjaxsim.circuits.operations import Gate
from qjaxsim.common.precision import HIGHEST
from qjaxsim.planning.leaves import Leaf, PauliRotation, Picked
from qjaxsim.planning.steps import Dense, Diagonal, Monomial, Prepare, Rotations, Singles, Table
from qjaxsim.running.joining import joined
from qjaxsim.running.kernels import reorder_matrix
from qjaxsim.running.permutation import of_rows, permute
from qjaxsim.running.trigonometry import cos_sin

Environment = Mapping[str, jax.Array]
"""Flat parameters by name: weights (size,), data (size, batch)."""

# A product of rotations by data is expanded in products of cosines and sines up to this many terms.
MAX_TERMS = 16


def angle_stack(angles: Sequence[Any], env: Environment, dtype: Any) -> jax.Array:
    """The values of several angles, shape (stack,) or (stack, batch).

    Angles that are a parameter's element up to factor and offset, as nearly all are, take one slice or gather in all.
    """
    names, rows, factors, offsets, rest = _single_elements(angles)
    if not names and not rest:
        return jnp.asarray(offsets, dtype)
    parts = [env[name] for name in names] + [angle.evaluate(lambda n, i: env[n][i], jnp)[None] for angle in rest]
    pool = parts[0] if len(parts) == 1 else joined(_same_shape(parts, keep=0))
    sizes = np.cumsum([0, *(len(part) for part in parts)])
    values = _rows(pool, sizes[rows[:, 0]] + rows[:, 1])
    column = (len(rows),) + (1,) * (values.ndim - 1)
    if (factors != 1).any():
        values = values * factors.reshape(column).astype(dtype)
    return values if not offsets.any() else values + offsets.reshape(column).astype(dtype)


def _single_elements(
    angles: Sequence[Any],
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray, list[Expression]]:
    """Every angle as factor * entry + offset.

    Returns:
        Names of the parameters in use; for every angle which part its entry is in and where (parts are first the named
        parameters, then the other expressions, one entry each); factors; offsets; the other expressions.
    """
    names: dict[str, int] = {}
    rest: list[Expression] = []
    entries: list[tuple[int, int, float, float]] = []
    for angle in angles:
        affine = angle.affine() if isinstance(angle, Expression) else ({}, float(angle))
        if affine is not None and not affine[0]:
            entries.append((0, 0, 0.0, affine[1]))
        elif affine is not None and len(affine[0]) == 1:
            (((name, row), factor),) = affine[0].items()
            entries.append((names.setdefault(name, len(names)), row, factor, affine[1]))
        else:
            entries.append((-1 - len(rest), 0, 1.0, 0.0))
            rest.append(angle)
    table = np.array(entries, dtype=float).reshape(-1, 4)
    rows = table[:, :2].astype(int)
    rows[:, 0] = np.where(rows[:, 0] < 0, len(names) - 1 - rows[:, 0], rows[:, 0])
    return list(names), rows, table[:, 2], table[:, 3], rest


def _rows(values: jax.Array, rows: np.ndarray) -> jax.Array:
    """Rows of an array; evenly spaced ones by a slice, whose derivative is a cheap pad instead of a scatter."""
    steps = np.diff(rows)
    if len(rows) == 1 or (steps[0] > 0 and (steps == steps[0]).all()):
        return values[rows[0] : rows[-1] + 1 : int(steps[0]) if len(rows) > 1 else 1]
    return values[rows]


def stack_matrices(leaves: Sequence[Leaf], env: Environment, dtype: Any) -> jax.Array:
    """The matrices of leaves with one signature, shape (d, d, stack) or (d, d, stack, batch).

    Rotations by data are expanded: exp(-i theta P / 2) = cos(theta / 2) - i sin(theta / 2) P, so that a row of such
    rotations with weights between them is a sum of products of cosines and sines, each times a matrix of weights only.
    The matrices are found once for the whole batch; what is left for each sample is one small matrix product.
    """
    total: jax.Array | None = None
    terms = _Expansion(2 ** len(leaves[0].qubits), len(leaves), dtype)
    for factors in zip(*(leaf.factors for leaf in leaves), strict=True):
        fixed = factors[0]
        if isinstance(fixed, np.ndarray):
            terms.multiply(jnp.asarray(np.stack(factors, axis=-1), complex_dtype(dtype)))
            continue
        columns = zip(*(gate.angles for gate in factors), strict=True)
        angles = _same_shape([angle_stack(column, env, dtype) for column in columns])
        pauli = fixed.spec.pauli if isinstance(fixed, Gate) else None
        if angles[0].ndim == 1:
            terms.multiply(factor_matrices(factors, angles))
        elif pauli is not None and terms.has_room:
            terms.rotate(pauli, angles[0])
        else:
            own, before = factor_matrices(factors, angles), terms.times(total)
            total = own if before is None else multiply_stacks(own, before)
            terms = _Expansion(terms.size, terms.stack, dtype)
    made = terms.times(total)
    assert made is not None
    return made


def factor_matrices(factors: Sequence[Any], angles: Sequence[jax.Array]) -> jax.Array:
    """The matrices of one kind of factor, (d, d, stack) or (d, d, stack, batch), from their angles."""
    fixed = factors[0]
    if isinstance(fixed, Picked):
        return _picked(factors, angles)
    if isinstance(fixed, Gate):
        return jnp.asarray(fixed.spec.matrix(jnp, *angles))
    dtype = complex_dtype(angles[0].dtype)
    trailing = (len(factors),) + (1,) * (angles[0].ndim - 1)
    if isinstance(fixed, PauliRotation):
        paulis = np.stack([pauli_matrix(factor.letters) for factor in factors], axis=-1)
        identity = np.eye(len(paulis)).reshape(*paulis.shape[:2], *(1,) * len(trailing))
        c, s = (part(angles[0] / 2).astype(dtype)[None, None] for part in (jnp.cos, jnp.sin))
        generators = jnp.asarray(-1j * paulis.reshape(*paulis.shape[:2], *trailing), dtype)
        return jnp.asarray(identity, dtype) * c + generators * s
    offsets = np.stack([factor.offset for factor in factors], axis=-1)  # (d, stack)
    exponents = jnp.asarray(offsets.reshape(-1, *trailing), angles[0].dtype)
    for i, angle in enumerate(angles):
        column = np.stack([factor.table[:, i] for factor in factors], axis=-1)
        exponents = exponents + jnp.asarray(column.reshape(-1, *trailing), angle.dtype) * angle[None]
    diagonals = lax.complex(jnp.cos(exponents), jnp.sin(exponents))
    identity = np.eye(len(offsets)).reshape(len(offsets), len(offsets), *(1,) * len(trailing))
    return jnp.asarray(identity, dtype) * diagonals[:, None]


def _picked(factors: Sequence[Picked], angles: Sequence[jax.Array]) -> jax.Array:
    """The blocks that the last of the angles, bits of the device's number, pick of block diagonal matrices."""
    fixed, count = factors[0], len(factors[0].positions)
    bits, dtype = angles[len(angles) - count :], complex_dtype(angles[0].dtype)
    if isinstance(fixed.factor, np.ndarray):
        stack = np.stack([np.asarray(factor.factor) for factor in factors], axis=-1)
        whole = jnp.asarray(stack.reshape(stack.shape + (1,) * (bits[0].ndim - 1)), dtype)
    else:
        whole = factor_matrices([factor.factor for factor in factors], angles[: len(angles) - count])
    k = len(whole).bit_length() - 1
    blocks = whole.reshape(*(2,) * (2 * k), *whole.shape[2:])
    # From the last position on, so that places in front keep their numbers.
    for position, bit in reversed(list(zip(fixed.positions, bits, strict=True))):
        width = (blocks.ndim - whole.ndim + 2) // 2
        zero, one = (blocks.take(value, width + position).take(value, position) for value in (0, 1))
        factor = bit.astype(dtype).reshape((1,) * (zero.ndim - bit.ndim) + bit.shape)
        blocks = (1 - factor) * zero + factor * one
    size = 2 ** (k - count)
    return blocks.reshape(size, size, *blocks.shape[blocks.ndim - bits[0].ndim :])


class _Expansion:
    """A product of matrices as a sum over terms: (terms, d, d, stack) matrices times (terms, stack, batch) numbers."""

    def __init__(self, size: int, stack: int, dtype: Any):
        self.size, self.stack, self.dtype = size, stack, complex_dtype(dtype)
        self.matrices: jax.Array | None = None
        self.numbers: jax.Array | None = None

    @property
    def has_room(self) -> bool:
        """Whether one more rotation keeps the number of terms in bounds."""
        return self.matrices is None or 2 * len(self.matrices) <= MAX_TERMS

    def multiply(self, matrix: jax.Array) -> None:
        """Multiply by a (d, d, stack) matrix from the left."""
        if self.matrices is None:
            self.matrices = matrix[None]
        else:
            products = matrix[None, :, :, None] * self.matrices[:, None]
            self.matrices = products.sum(axis=2)

    def rotate(self, pauli: str, angles: jax.Array) -> None:
        """Multiply by exp(-i angle P / 2) from the left, angles (stack, batch)."""
        generator = (-1j * pauli_matrix(pauli)).astype(self.dtype)
        if self.matrices is None:
            both = np.stack([np.eye(self.size, dtype=self.dtype), generator])[:, :, :, None]
            self.matrices = jnp.broadcast_to(both, (2, self.size, self.size, self.stack))
        else:
            turned = jnp.einsum("ab,tbcs->tacs", generator, self.matrices, precision=HIGHEST)
            self.matrices = jnp.concatenate([self.matrices, turned])
        pair = jnp.stack(cos_sin(angles / 2))
        if self.numbers is None:
            self.numbers = pair
        else:
            self.numbers = (pair[:, None] * self.numbers[None]).reshape(-1, *angles.shape)

    def times(self, before: jax.Array | None) -> jax.Array | None:
        """The product, (d, d, stack) or (d, d, stack, batch), times what stands before it; None for the identity."""
        if self.matrices is None:
            return before
        own = self._value(self.matrices)
        return own if before is None else multiply_stacks(own, before)

    def _value(self, matrices: jax.Array) -> jax.Array:
        if self.numbers is None:
            return matrices[0]
        return jnp.einsum("tacs,tsz->acsz", matrices, self.numbers.astype(self.dtype), precision=HIGHEST)


def _same_shape(arrays: Sequence[jax.Array], keep: int | None = None) -> list[jax.Array]:
    """Arrays with the batch axis added where only some have it; the axis `keep` may differ in length."""
    rank = max(array.ndim for array in arrays)
    padded = [array.reshape(array.shape + (1,) * (rank - array.ndim)) for array in arrays]
    if keep is None:
        return jnp.broadcast_arrays(*padded)
    shape = np.broadcast_shapes(*(array.shape[keep + 1 :] for array in padded))
    return [jnp.broadcast_to(array, (*array.shape[: keep + 1], *shape)) for array in padded]


def multiply_stacks(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix products of two stacks, either of which may lack the batch axis.

    Written as multiply and add: the matrices are 2 x 2 or 4 x 4 and the stack axes long.
    """
    rank = max(a.ndim, b.ndim)
    a, b = (m.reshape(m.shape + (1,) * (rank - m.ndim)) for m in (a, b))
    return sum((a[:, None, j] * b[None, j] for j in range(1, a.shape[1])), a[:, None, 0] * b[None, 0])


def dense_matrix(step: Dense, leaf_matrices: Mapping[Leaf, jax.Array], dtype: Any) -> jax.Array:
    """The matrix of a dense block, real and imaginary part, (2, d, d[, batch]), from its leaves' matrices."""
    k = len(step.qubits)
    total = None
    for layer in step.layers:
        if isinstance(layer, Monomial):
            if total is None:
                total = jnp.asarray(_monomial_matrix(layer).astype(complex_dtype(dtype)))
            else:
                total = _move_rows(total, layer.source, layer.phase)
        else:
            matrix = _kron_layer(layer, leaf_matrices, k, dtype)
            total = matrix if total is None else _multiply(matrix, total)
    assert total is not None
    return jnp.stack([total.real, total.imag])


def single_matrices(step: Singles, leaf_matrices: Mapping[Leaf, jax.Array], columns: int) -> jax.Array:
    """The matrices on single qubits, real and imaginary part, (qubits, 2, 2, 2, columns)."""
    own = jnp.stack([jnp.broadcast_to(leaf_matrices[leaf], (2, 2, columns)) for leaf in step.leaves])
    return jnp.stack([own.real, own.imag], axis=1)


def _monomial_matrix(layer: Monomial) -> np.ndarray:
    """The matrix that `_move_rows` multiplies by."""
    moved = np.eye(len(layer.source), dtype=complex)[layer.source]
    return moved if layer.phase is None else layer.phase[:, None] * moved


def _move_rows(rows: jax.Array, source: np.ndarray, phase: np.ndarray | None) -> jax.Array:
    """out[i] = phase[i] * rows[source[i]]."""
    moved = permute(of_rows(source), rows[None])[0]
    if phase is None:
        return moved
    return moved * jnp.asarray(phase, rows.dtype).reshape((-1,) + (1,) * (rows.ndim - 1))


def _multiply(a: jax.Array, b: jax.Array) -> jax.Array:
    """Product of square matrices with or without a trailing batch axis."""
    left, right = ("abz" if a.ndim == 3 else "ab"), ("bcz" if b.ndim == 3 else "bc")
    out = "acz" if "z" in left + right else "ac"
    return jnp.einsum(f"{left},{right}->{out}", a, b, precision=HIGHEST)


def _kron_layer(layer: Sequence[Leaf], leaf_matrices: Mapping[Leaf, jax.Array], k: int, dtype: Any) -> jax.Array:
    """The Kronecker product of leaves on different qubits, identity elsewhere, in the order of the k qubits."""
    used = [qubit for leaf in layer for qubit in leaf.qubits]
    idle = [qubit for qubit in range(k) if qubit not in used]
    factors = [leaf_matrices[leaf] for leaf in layer]
    total = factors[0]
    for factor in factors[1:]:
        total = _kron(total, factor)
    if idle:
        total = _kron(total, np.eye(2 ** len(idle), dtype=complex_dtype(dtype)))
    return reorder_matrix(total, used + idle)


def _kron(a: jax.Array, b: jax.Array | np.ndarray) -> jax.Array:
    """Kronecker product over the first two axes; a trailing batch axis may be missing on either side."""
    rank = max(a.ndim, b.ndim)
    a, b = a.reshape(a.shape + (1,) * (rank - a.ndim)), b.reshape(b.shape + (1,) * (rank - b.ndim))
    product = a[:, None, :, None] * b[None, :, None, :]
    return product.reshape((a.shape[0] * b.shape[0], a.shape[1] * b.shape[1], *product.shape[4:]))


def diagonal_phases(step: Diagonal, env: Environment, dtype: Any) -> list[jax.Array]:
    """The phases of each table of a diagonal step, real and imaginary part, (2, 2**m) or (2, 2**m, batch)."""
    return [_phases(table, env, dtype) for table in step.tables]


def rotation_halves(step: Rotations, env: Environment, dtype: Any) -> jax.Array:
    """Cosines and sines of half the angles of rotations, (count, 2) or (count, 2, batch)."""
    halves = angle_stack(step.angles, env, dtype) / 2
    return jnp.stack(cos_sin(halves), axis=1)


def amplitudes(step: Prepare, env: Environment, dtype: Any) -> jax.Array:
    """The amplitudes of a prepared state, of norm 1, (2, 2**k) or (2, 2**k, batch)."""
    values = env[step.name].astype(dtype)
    parts = values.reshape(step.parts, -1, *values.shape[1:])
    real = parts[0]
    imaginary = parts[1] if step.parts == 2 else jnp.zeros_like(real)
    psi = moderate(jnp.stack([real, -imaginary if step.conjugated else imaginary]))
    return psi / jnp.sqrt((psi * psi).sum(axis=(0, 1), keepdims=True))


def moderate(states: jax.Array, axes: Sequence[str] = ()) -> jax.Array:
    """States (2, n, ...) that are to be normalised, over their largest magnitudes, which drop out then.

    Squares of very large or small amplitudes would have no place in the dtype.

    Args:
        states: real and imaginary parts.
        axes: mesh axes that they are spread over.
    """
    largest = lax.stop_gradient(jnp.abs(states)).max(axis=(0, 1), keepdims=True)
    return states / (lax.pmax(largest, axes) if axes else largest)


def _phases(table: Table, env: Environment, dtype: Any) -> jax.Array:
    if not table.angles:
        return jnp.asarray(np.stack([np.cos(table.offset), np.sin(table.offset)]), dtype)
    angles = angle_stack(table.angles, env, dtype)
    exponents = jnp.matmul(jnp.asarray(table.table, dtype), angles, precision=HIGHEST)
    offset = table.offset.reshape((-1,) + (1,) * (exponents.ndim - 1))
    exponents = exponents + offset.astype(dtype) if offset.any() else exponents
    return jnp.stack(cos_sin(exponents))
