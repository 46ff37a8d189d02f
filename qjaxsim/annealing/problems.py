"""Quadratic binary problems, many at once.

A problem has H heads of n variables x_ai in {0, 1}, dense within a head; heads meet at equal i only:

    E(x) = sum_a (x_a^T C_a x_a / 2 + h_a . x_a) + p sum_i sum_{a < b} x_ai x_bi

H = 1 is any dense problem; quantum-annealing attention has H > 1 (`qjaxsim.models.attention_problem`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import integer_from, is_traced, shown
from qjaxsim.common.precision import HIGHEST
from qjaxsim.running.array_types import to_jax

# Range of inverse temperatures in units of 1 / (typical local field), hot to cold.
HOT, COLD = 3.0, 90.0
# Of the largest coupling: how far matrices may be from symmetric.
_ROUNDING = 1e-2
# Of the integers that problems are rounded to: what a double holds.
MOST_BITS = 53


class HeadsProblem(NamedTuple):
    """A batch of problems, as in the module's formula.

    Attributes:
        couplings: C, (B, H, n, n), symmetric with zero diagonal.
        linear: h, (B, H, n).
        penalty: p, scalar, or (B,), one for each problem.

    >>> problem = HeadsProblem(np.zeros((1, 2, 1, 1)), -np.ones((1, 2, 1)), penalty=3.0)  # 3 x_0 x_1 - x_0 - x_1
    >>> print(energies(problem, [[[[0], [0]], [[1], [0]], [[1], [1]]]]))
    [[ 0. -1.  1.]]
    """

    couplings: Any
    linear: Any
    penalty: Any = 0.0


def dense_problem(matrix: Any, linear: Any = None) -> HeadsProblem:
    """The problem of one head whose energy is x^T M x + linear . x.

    Args:
        matrix: (B, N, N) or (N, N), symmetric or not; its diagonal counts as linear.
        linear: (B, N) or (N,), more linear terms.

    Raises:
        ValueError: for shapes that do not fit, and complex numbers.

    >>> problem = dense_problem([[-1.0, 3.0], [0.0, -1.0]])  # 3 x_0 x_1 - x_0 - x_1
    >>> print(energies(problem, [[[[0, 0]], [[1, 0]], [[1, 1]]]]))
    [[ 0. -1.  1.]]
    """
    matrix = _real("matrix", matrix)
    if not _inexact(matrix):
        matrix = matrix.astype(jnp.result_type(float))  # integers would overflow
    if matrix.ndim not in (2, 3) or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"Argument `matrix` must have shape (N, N) or (B, N, N), but has shape {matrix.shape}.")
    if linear is not None and np.shape(linear) != matrix.shape[:-1]:
        raise ValueError(f"Argument `linear` must have shape {matrix.shape[:-1]}, but has shape {np.shape(linear)}.")
    matrix = matrix if matrix.ndim == 3 else matrix[None]
    diagonal = jnp.diagonal(matrix, axis1=1, axis2=2)
    both = matrix + matrix.swapaxes(1, 2)
    couplings = jnp.where(jnp.eye(matrix.shape[1], dtype=bool)[None], jnp.zeros_like(both), both)
    if linear is not None:
        diagonal = diagonal + _real("linear", linear).astype(matrix.dtype).reshape(diagonal.shape)
    return HeadsProblem(couplings[:, None], diagonal[:, None], jnp.zeros((), matrix.dtype))


def in_floats(problem: HeadsProblem) -> HeadsProblem:
    """The problem as arrays, integers among them as floats: penalties and temperatures are no integers.

    Raises:
        TypeError: for anything but a `HeadsProblem`.
        ValueError: for what is no array of real numbers, shapes that do not fit, and couplings that are no symmetric
            matrices with zero diagonals, where their values are known (not under `jax.jit`).
    """
    if not isinstance(problem, HeadsProblem):
        raise TypeError(
            f"Argument `problem` must be a HeadsProblem, but is {shown(problem)}; "
            "`dense_problem` makes one of a matrix."
        )
    parts = [_real(name, part) for name, part in problem._asdict().items()]
    floats = [part.dtype for part in parts if _inexact(part)]
    whole = not _inexact(parts[0])
    dtype = max(floats, key=lambda each: each.itemsize, default=jnp.result_type(float)) if whole else parts[0].dtype
    out = HeadsProblem(*(part.astype(dtype) if whole or not _inexact(part) else part for part in parts))
    require_couplings(out)
    return out


def require_couplings(problem: HeadsProblem) -> None:
    """Refuse what the chain would take for another problem than the energy does.

    Raises:
        ValueError: for shapes that do not fit, and couplings that are no symmetric matrices with zero diagonals.
    """
    couplings, linear, penalty = map(to_jax, problem)
    fits = linear.ndim == 3 and couplings.shape == (*linear.shape, linear.shape[-1])
    if not fits or penalty.shape not in ((), linear.shape[:1]):
        raise ValueError(
            "A HeadsProblem must have couplings of shape (B, H, n, n), linear terms of (B, H, n) and as penalty one "
            f"number or (B,), but has shapes {couplings.shape}, {linear.shape} and {penalty.shape}."
        )
    if is_traced(couplings) or not couplings.size:
        return
    known = np.asarray(couplings)  # JAX would trace what is done to it where it traces anything
    # Products of matrices in low precision are symmetric to a few digits only.
    least = _ROUNDING * np.abs(known).max()
    for wrong, what, way_out in (
        (known - known.swapaxes(2, 3), "symmetric", "take (C + C^T) / 2"),
        (np.diagonal(known, axis1=2, axis2=3), "without diagonals", "add half of them to the linear terms"),
    ):
        if (worst := np.abs(wrong).max()) > least:
            raise ValueError(
                f"Couplings of a HeadsProblem must be matrices that are {what}, but some are off by "
                f"{float(worst):.3g}; {way_out}."
            )


def _inexact(array: jax.Array) -> bool:
    return bool(jnp.issubdtype(array.dtype, jnp.inexact))


def _real(name: str, numbers: Any) -> jax.Array:
    try:
        array = to_jax(numbers)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Argument `{name}` must be an array of numbers, but is {shown(numbers)}.") from error
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        raise ValueError(f"Argument `{name}` must be real, but is {array.dtype}; give its real part, if that is meant.")
    return array


def energies(problem: HeadsProblem, states: Any) -> jax.Array:
    """E(x), (B, R), of states (B, R, H, n).

    Raises:
        ValueError: for states of another shape.

    >>> ring = jnp.roll(jnp.eye(4), 1, axis=1)
    >>> problem = dense_problem(2 * ring, linear=-2 * jnp.ones(4))  # minus the cut of a ring
    >>> print(energies(problem, [[[[0, 0, 0, 1]], [[0, 0, 1, 1]], [[0, 1, 0, 1]]]]))
    [[-2. -2. -4.]]
    """
    problem, states = in_floats(problem), to_jax(states)
    n_batch, n_heads, n = problem.linear.shape
    if states.ndim != 4 or states.shape[0] != n_batch or states.shape[2:] != (n_heads, n):
        raise ValueError(
            f"Argument `states` must have shape ({n_batch}, R, {n_heads}, {n}), but has shape {states.shape}."
        )
    return _energies(problem, states)


@jax.jit
def _energies(problem: HeadsProblem, states: jax.Array) -> jax.Array:
    couplings, linear = problem.couplings, problem.linear
    x = states.astype(couplings.dtype)
    fields = jnp.einsum("brai,baij->braj", x, couplings, precision=HIGHEST)
    own = jnp.einsum("braj,braj->br", fields / 2, x, precision=HIGHEST)
    own = own + jnp.einsum("brai,bai->br", x, linear, precision=HIGHEST)
    count = x.sum(2)  # (B, R, n)
    penalty = jnp.broadcast_to(problem.penalty.astype(x.dtype), len(linear))[:, None]
    return own + penalty * (count * (count - 1)).sum(2) / 2


def rounded(problem: HeadsProblem, bits: int = 8) -> HeadsProblem:
    """The problem as a machine with signed integers of so many bits sees it, in the problem's own units.

    Such machines (coherent Ising machines among them) take an Ising matrix, with linear terms as couplings to one more
    spin, scaled to the largest entry; so the rounding is that of the Ising form.

    Args:
        problem: the problems.
        bits: 2 to 53; 8 keeps -127..127.

    >>> problem = dense_problem([[1.0, 0.0], [0.0, 0.3]])
    >>> print(rounded(problem, bits=2).linear)  # -1, 0 or 1 times the largest
    [[[1. 0.]]]
    """
    bits = integer_from(2, "bits", bits, MOST_BITS)
    c, h, p = in_floats(problem)
    p = jnp.broadcast_to(p.astype(c.dtype), len(c))
    n_heads = c.shape[1]
    # x = (1 + s) / 2: a pair bias of C gives C / 4 to the spins' coupling and to both spins' fields.
    spin_fields = h / 2 + c.sum(3) / 4 + p[:, None, None] * (n_heads - 1) / 4
    couplings, between = c / 4, p / 4
    largest = jnp.maximum(jnp.abs(couplings).max((1, 2, 3)), jnp.abs(spin_fields).max((1, 2)))
    if n_heads > 1:
        largest = jnp.maximum(largest, jnp.abs(between))
    step = jnp.where(largest > 0, largest, jnp.ones_like(largest)) / float(2 ** (bits - 1) - 1)
    between = jnp.round(between / step) * step
    step = step[:, None, None]
    couplings = jnp.round(couplings / step[..., None]) * step[..., None]
    fields = jnp.round(spin_fields / step) * step
    linear = 2 * fields - 2 * couplings.sum(3) - 2 * between[:, None, None] * (n_heads - 1)
    return HeadsProblem(4 * couplings, linear, 4 * between)


def geometric_betas(problem: HeadsProblem, sweeps: int, hot: float = HOT, cold: float = COLD) -> jax.Array:
    """Inverse temperatures (sweeps, B) in geometric progression, in units of each problem's typical local field.

    The unit is the root of the mean over variables of the squared couplings and linear term of one variable.

    Args:
        problem: the problems.
        sweeps: how many, 0 or more.
        hot: first one times the typical field.
        cold: last one times the typical field.

    >>> betas = geometric_betas(dense_problem([[2.0]]), 3, hot=1.0, cold=100.0)  # of a field of 2
    >>> print(np.asarray(betas).T.round(3))
    [[ 0.5  5.  50. ]]
    """
    steps = np.geomspace(hot, cold, sweeps) if sweeps else np.zeros(0)
    return _in_fields(in_floats(problem), steps)


@jax.jit
def _in_fields(problem: HeadsProblem, steps: jax.Array) -> jax.Array:
    """Steps (S,) over the typical field of each problem, (S, B)."""
    couplings = problem.couplings
    between = problem.penalty.astype(couplings.dtype) ** 2 * (couplings.shape[1] - 1)
    field = jnp.sqrt(((couplings**2).sum(3) + problem.linear**2).mean((1, 2)) + between)
    field = jnp.where(field > 0, field, jnp.ones_like(field))
    return steps.astype(couplings.dtype)[:, None] / field[None]
