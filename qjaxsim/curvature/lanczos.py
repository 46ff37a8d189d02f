"""The Lanczos machinery under `spectrum`: Krylov spaces that grow, breakdown, repeated eigenvalues.

The recurrence runs step by step from the host: each step is one product of the operator and one compiled update of the
basis. So a space grows until its pairs have converged, without a second start, and nothing is compiled twice.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.memory import require_memory
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.balance import Balanced
from qjaxsim.curvature.operators import LinearOperator
from qjaxsim.running.array_types import to_jax

MAX_STEPS = 1280  # steps after which an adaptive run stops and lets its residuals speak
# Steps between two looks at the convergence of a growing space.
STEPS_AT_ONCE = 10
_ROOM = 64  # rows of a new basis; it doubles when they are filled


class KrylovSpace:
    """Orthonormal basis of the space of start, A start, A^2 start, ... and A's tridiagonal matrix in it.

    Full re-orthogonalisation, twice a step. With `locked` orthonormal vectors (m, P), A is restricted to their
    complement.

    Cost: a step takes one product and about 8 (steps + m) P multiply-adds; memory at most 2 (steps + m) P numbers, half
    as much again while it grows.
    """

    def __init__(self, operator: LinearOperator, start: jax.Array, locked: jax.Array | None = None):
        self.operator = operator
        self.locked = 0 if locked is None else len(locked)
        self.steps = 0
        self.coefficients: list[tuple[jax.Array, jax.Array]] = []
        room = min(_ROOM, operator.size + 1 - self.locked)
        require_basis(operator, self.locked + room)
        empty = jnp.zeros((room, start.size), start.dtype)
        self.basis = empty if locked is None else jnp.concatenate([locked, empty])
        self.basis, self.newest, _ = _append(self.basis, self.locked, start)

    def grow(self, steps: int) -> None:
        """Take so many more steps, as far as the dimension allows."""
        room = self.operator.size - self.locked
        for _ in range(min(steps, room - self.steps)):
            position = self.locked + self.steps
            if position + 1 == len(self.basis):
                require_basis(self.operator, 2 * len(self.basis))
                self.basis = jnp.pad(self.basis, ((0, len(self.basis)), (0, 0)))
            self.basis, self.newest, entries = _append(self.basis, position + 1, self.operator.matvec(self.newest))
            self.coefficients.append(entries)
            self.steps += 1

    def tridiagonal(self) -> tuple[np.ndarray, np.ndarray]:
        """Diagonal (steps,), and off-diagonal (steps,) that ends with the norm of the last residual."""
        diagonal, off_diagonal = np.array(self.coefficients).T
        return diagonal, off_diagonal

    def pairs(self, k: int, which: str) -> tuple[np.ndarray, jax.Array, np.ndarray]:
        """At most k leading Ritz values (k,), vectors (k, P), and residual norms (k,)."""
        values, coefficients, errors = solve_tridiagonal(*self.tridiagonal())
        leading = order(values, which)[:k]
        # Zero for all other rows of the basis: a slice of it would be a program of its own for each number of steps.
        combine = np.zeros((len(leading), len(self.basis)), self.basis.dtype)
        combine[:, self.locked : self.locked + len(values)] = coefficients[:, leading].T
        return values[leading], jnp.matmul(to_jax(combine), self.basis, precision=HIGHEST), errors[leading]


@functools.partial(jax.jit, donate_argnums=0)
def _append(
    basis: jax.Array, position: int, vector: jax.Array
) -> tuple[jax.Array, jax.Array, tuple[jax.Array, jax.Array]]:
    """The basis with the part of a vector outside it as a unit row at `position`.

    Returns:
        The basis, that row, and two numbers: the vector's part along the row before, and the norm of that outside.
    """
    along = jnp.vdot(basis[position - 1], vector, precision=HIGHEST)
    with jax.default_matmul_precision("highest"):
        for _ in range(2):  # once leaves a part of the size of the rounding, twice none (Parlett, section 6.9)
            vector = vector - (basis @ vector) @ basis
    length = jnp.linalg.norm(vector)
    unit = vector / jnp.where(length > 0, length, 1)
    return jax.lax.dynamic_update_slice_in_dim(basis, unit[None], position, axis=0), unit, (along, length)


def normal(key: jax.Array, operator: LinearOperator) -> jax.Array:
    """Random normal vector that the operator takes."""
    return jax.random.normal(key, (operator.size,), operator.dtype)


def require_basis(operator: LinearOperator, rows: int) -> None:
    """Refuse a Krylov basis that does not fit."""
    needed = rows * operator.size * np.dtype(operator.dtype).itemsize
    require_memory(needed, f"A Krylov basis of {rows} vectors of {operator.size} numbers", "ask for fewer steps")


def solve_tridiagonal(diagonal: np.ndarray, off_diagonal: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ritz values (m,), coefficients in the basis (m, m) by column, and residual norms (m,).

    Where the Krylov space is exhausted, the next off-diagonal entry is zero or rounding noise. Only the part before is
    used: it is exact.
    """
    import scipy.linalg

    if not (np.isfinite(diagonal).all() and np.isfinite(off_diagonal).all()):
        raise ValueError("Argument `matvec` must give finite numbers, but it gave NaN or infinity.")
    length = exhausted_at(diagonal, off_diagonal)
    diagonal, off_diagonal = diagonal[:length].astype(np.float64), off_diagonal[:length].astype(np.float64)
    values, coefficients = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal[:-1])
    return values, coefficients, np.abs(off_diagonal[-1] * coefficients[-1])


def exhausted_at(diagonal: np.ndarray, off_diagonal: np.ndarray) -> int:
    """Dimension of the Krylov space where it has an end, else the number of steps."""
    scale = max(np.abs(diagonal).max(), np.abs(off_diagonal).max())
    ends = np.flatnonzero(off_diagonal <= 100 * np.finfo(diagonal.dtype).eps * scale)
    return int(ends[0]) + 1 if ends.size else diagonal.size


def leading_pairs(
    balance: Balanced, k: int, key: jax.Array, steps: int | None, which: str, copies: bool
) -> tuple[np.ndarray, jax.Array, int]:
    """Values, vectors and products spent of the run that `top_eigenpairs` describes, for the balanced operator."""
    run_key, copies_key = jax.random.split(key)
    operator = balance.operator
    first = _first_steps(k) if steps is None else steps
    if first >= operator.size:
        return *_dense_pairs(balance, k, which), operator.size
    space = KrylovSpace(operator, normal(run_key, operator))
    space.grow(first)
    if steps is not None:
        values, vectors, _ = space.pairs(k, which)
        return values, vectors, space.steps
    if not _converge(space, k, k, which):
        return *_dense_pairs(balance, k, which), space.steps + operator.size
    values, vectors, _ = space.pairs(k, which)
    spent = space.steps
    if copies or len(values) < k:
        values, vectors, extra = _add_copies(operator, (values, vectors), k, first, which, copies_key)
        spent += extra
    return values, vectors, spent


def _first_steps(k: int) -> int:
    """Steps before the first look. Of several pairs the smaller ones count as converged early, beside the largest."""
    return 1 + STEPS_AT_ONCE if k == 1 else 2 * k + 2 * STEPS_AT_ONCE


def _converge(space: KrylovSpace, wanted: int, k: int, which: str) -> bool:
    """Grow a space until its first `wanted` pairs have converged; False where that takes the whole dimension."""
    while True:
        diagonal, off_diagonal = space.tridiagonal()
        values, _, errors = solve_tridiagonal(diagonal, off_diagonal)
        leading = order(values, which)[:k]
        ended = exhausted_at(diagonal, off_diagonal) < space.steps or space.steps >= MAX_STEPS
        if ended or errors[leading[:wanted]].max() <= _tolerance(space.operator, values[leading]):
            return True
        if space.steps + STEPS_AT_ONCE + space.locked >= space.operator.size:
            return False
        space.grow(STEPS_AT_ONCE)


def _add_copies(
    operator: LinearOperator,
    pairs: tuple[np.ndarray, jax.Array],
    k: int,
    first: int,
    which: str,
    key: jax.Array,
) -> tuple[np.ndarray, jax.Array, int]:
    """Search the complement of the pairs found for more, until none belongs to the first k.

    A space sees one copy of a repeated eigenvalue. Returns at most k values, their vectors, and the products spent.
    """
    values, vectors = pairs
    tolerance, spent = _tolerance(operator, values), 0
    for round_key in jax.random.split(key, k):  # an eigenvalue has at most k copies among the first k
        space = KrylovSpace(operator, normal(round_key, operator), locked=vectors)
        space.grow(first)
        _converge(space, 1, k, which)
        found, more, _ = space.pairs(k, which)
        if len(values) < k or _size(found, which).max() > _size(values, which).min() + tolerance:
            _converge(space, k, k, which)
            found, more, _ = space.pairs(k, which)
        spent += space.steps
        if len(values) == k and _size(found, which).max() <= _size(values, which).min() + tolerance:
            break
        values, vectors = np.concatenate([values, found]), jnp.concatenate([vectors, more])
        leading = order(values, which)[:k]
        values, vectors = values[leading], vectors[leading]
    return values, vectors, spent


def _dense_pairs(balance: Balanced, k: int, which: str) -> tuple[np.ndarray, jax.Array]:
    """The k leading pairs of the matrix itself."""
    import scipy.linalg

    size, dtype = balance.operator.size, balance.operator.dtype
    require_memory(4 * 8 * size**2, f"All eigenpairs of a matrix of dimension {size}", "ask for fewer steps")
    matrix = balance.matrix()
    if not np.isfinite(matrix).all():
        raise ValueError("Argument `matvec` must give finite numbers, but it gave NaN or infinity.")
    values, vectors = scipy.linalg.eigh(matrix)
    leading = order(values, which)[:k]
    return values[leading], jnp.asarray(vectors[:, leading].T, dtype)


def _tolerance(operator: LinearOperator, values: np.ndarray) -> float:
    """Residual norm below which a pair has converged."""
    return float(np.sqrt(np.finfo(operator.dtype).eps) * np.abs(values).max())


def _size(values: np.ndarray, which: str) -> np.ndarray:
    return np.abs(values) if which == "magnitude" else values


def order(values: np.ndarray, which: str) -> np.ndarray:
    """Positions of the values from the first to the last."""
    return np.argsort(-_size(values, which), kind="stable")
