"""Simulated annealing of many quadratic binary problems (`problems.py`) at once, in JAX; the form used inside training.

The chain is single-flip Metropolis in a fixed order. Head a's variable (i + a) mod n comes i-th, so the H variables of
step i have different tokens, do not interact, and flip at once without changing the law of the chain. Local fields of
a block of steps come from one matrix product, and each step then corrects only the rest of its block: a flip touches
its block and H counters, not n H fields.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from qjaxsim.annealing.problems import HeadsProblem, energies, geometric_betas, in_floats, rounded
from qjaxsim.annealing.streams import lanes_of, uniform
from qjaxsim.common.checks import is_traced, positive_integer
from qjaxsim.common.precision import HIGHEST
from qjaxsim.running.array_types import to_jax
from qjaxsim.running.sampling import key_axes

MAX_DESCENT = 200
# Steps whose fields come from one matrix product; the divisor of n among these is taken, or the least padding.
_BLOCKS = (8, 7, 6, 5)
# Chains a CPU works on at a time, so that a block's arrays stay in its nearer caches.
CPU_LANES = 2048


class Annealed(NamedTuple):
    """Samples of a batch.

    Attributes:
        states: (B, R, H, n) int8, zeros and ones.
        energies: (B, R), without any offset.

    >>> from qjaxsim.annealing import dense_problem
    >>> ring = jnp.roll(jnp.eye(4), 1, axis=1)
    >>> found = anneal(dense_problem(2 * ring, linear=-2 * jnp.ones(4)), jax.random.key(0))
    >>> found.states.shape, found.energies.shape
    ((1, 16, 1, 4), (1, 16))
    """

    states: jax.Array
    energies: jax.Array


def anneal(
    problem: HeadsProblem,
    key: jax.Array,
    *,
    reads: int = 16,
    sweeps: int = 100,
    betas: Any = None,
    descent: bool = True,
    bits: int | None = None,
    start: Any = None,
) -> Annealed:
    """Final states of independent chains of every problem, and their energies.

    Traceable: use it inside `jax.jit`. Nothing is differentiated through it.

    Args:
        problem: B problems.
        key: random key, or one for each problem; equal keys give equal states on one machine.
        reads: chains R of each problem.
        sweeps: passes over all variables, with `geometric_betas`; 0 leaves the descent from random states.
        betas: inverse temperatures instead, one a sweep: (sweeps,) or (sweeps, B).
        descent: then flip whatever lowers the energy until nothing does (at most `MAX_DESCENT` sweeps).
        bits: anneal the problem `rounded` to so many bits; energies are still those of the exact one.
        start: first states (B, R, H, n) of zeros and ones instead of random ones.

    Cost: a sweep takes B R H n (n + H) additions, most of them in matrix products, and B R H n random numbers.

    Raises:
        ValueError: for sizes that do not fit.
        TypeError: for what is no key.

    >>> from qjaxsim.annealing import dense_problem
    >>> ring = jnp.roll(jnp.eye(4), 1, axis=1)
    >>> problem = dense_problem(2 * ring, linear=-2 * jnp.ones(4))  # minus the cut of a ring
    >>> print(anneal(problem, jax.random.key(0)).energies.min())
    -4.0
    """
    problem = HeadsProblem(*map(lax.stop_gradient, in_floats(problem)))
    couplings = problem.couplings
    n_batch, n_heads, n, _ = couplings.shape
    reads = positive_integer("reads", reads)
    solved = problem if bits is None else rounded(problem, bits)
    betas = geometric_betas(solved, sweeps) if betas is None else jnp.asarray(betas, couplings.dtype)
    if betas.ndim == 1:
        betas = jnp.broadcast_to(betas[:, None], (len(betas), n_batch))
    if betas.ndim != 2 or betas.shape[1] != n_batch:
        raise ValueError(
            f"Argument `betas` must have shape (sweeps,) or (sweeps, {n_batch}), but has shape {betas.shape}."
        )
    if key_axes(key) not in ((), (n_batch,)):
        raise ValueError(
            f"Argument `key` must be one random key, or {n_batch}, one for each problem, but is an array of keys of "
            f"shape {key_axes(key)}."
        )
    lanes = lanes_of(key, n_batch, n_heads, reads)
    if start is None:
        # A number that no sweep of a run uses.
        start = uniform(lanes[:, :, :, None], jnp.arange(n, dtype=jnp.uint32) + jnp.uint32(2**31)) < 0.5
        start = start.transpose(0, 2, 1, 3)
    elif not is_traced(start) and not np.isin(start, (0, 1)).all():
        raise ValueError("Argument `start` must hold 0 and 1 only.")
    start = to_jax(start)
    if start.shape != (n_batch, reads, n_heads, n):
        raise ValueError(
            f"Argument `start` must have shape {(n_batch, reads, n_heads, n)}, but has shape {start.shape}."
        )
    states = _in_chunks(solved, lanes, start.astype(couplings.dtype), betas, MAX_DESCENT if descent else 0)
    return Annealed(states.astype(jnp.int8), energies(problem, states))


def best(found: Annealed) -> tuple[jax.Array, jax.Array]:
    """The state of lowest energy of every problem, (B, H, n) int8, and its energy (B,).

    >>> found = Annealed(jnp.array([[[[0, 1]], [[1, 1]]]]), jnp.array([[3.0, -1.0]]))
    >>> state, energy = best(found)
    >>> print(state, energy)
    [[[1 1]]] [-1.]
    """
    index = found.energies.argmin(1)
    states = jnp.take_along_axis(found.states, index[:, None, None, None], 1)[:, 0]
    return states, found.energies.min(1)


# --- the chain -------------------------------------------------------------------------------------------------------


def _in_chunks(problem: HeadsProblem, lanes: jax.Array, start: jax.Array, betas: jax.Array, descent: int) -> jax.Array:
    """Final states (B, R, H, n); on a CPU some problems after the others."""
    n_batch, n_heads, reads = lanes.shape
    most = n_batch
    if jax.default_backend() == "cpu":
        most = max(1, CPU_LANES // (n_heads * reads))
    chunk = max(size for size in range(1, min(most, n_batch) + 1) if n_batch % size == 0)
    if chunk == n_batch:
        return _chain(problem, lanes, start, betas, descent)

    def split(array: jax.Array) -> jax.Array:
        return array.reshape(n_batch // chunk, chunk, *array.shape[1:])

    def one(part: tuple[jax.Array, ...]) -> jax.Array:
        *inner, lane, first, schedule = part
        return _chain(HeadsProblem(*inner), lane, first, schedule.T, descent)

    penalty = jnp.broadcast_to(problem.penalty, n_batch)
    parts = tuple(map(split, (problem.couplings, problem.linear, penalty, lanes, start, betas.T)))
    return lax.map(one, parts).reshape(start.shape)


def block_size(n: int, n_heads: int) -> tuple[int, int]:
    """Steps of a block, and the number of positions after padding."""

    def padded(block: int) -> int:
        # Tokens of a block's steps must differ: `block` steps of `n_heads` heads.
        return -(-max(n, n_heads + block - 1) // block) * block

    block = min(_BLOCKS, key=lambda size: (padded(size), -size))
    return block, padded(block)


@functools.partial(jax.jit, static_argnames="descent")
def _chain(problem: HeadsProblem, lanes: jax.Array, start: jax.Array, betas: jax.Array, descent: int) -> jax.Array:
    """Sweeps at the given temperatures, then descending ones until nothing changes."""
    n = start.shape[3]
    block, n_padded = block_size(n, start.shape[2])
    extra = n_padded - n
    # Padding variables have no couplings to others: what they do changes nothing.
    couplings = _rolled(jnp.pad(problem.couplings, ((0, 0), (0, 0), (0, extra), (0, extra))), (2, 3))
    linear = _rolled(jnp.pad(problem.linear, ((0, 0), (0, 0), (0, extra))), (2,))
    states = jnp.pad(start.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, extra), (0, 0)))  # (B, H, n, R)
    counts = states.sum(1).transpose(1, 0, 2)  # (n, B, R)
    # Heads first: then the counters of a step's H tokens are one slice.
    x = _rolled(states, (2,)).swapaxes(0, 1)
    fixed = _Fixed(
        couplings.swapaxes(0, 1),
        linear.swapaxes(0, 1),
        jnp.broadcast_to(problem.penalty.astype(x.dtype), x.shape[1])[None, :, None],
        lanes.swapaxes(0, 1),
        block,
    )
    sweeps = len(betas)
    # One row more, so that there is one to look up without sweeps; the descent's steps do not depend on it.
    rows = jnp.concatenate([betas, jnp.full((1, betas.shape[1]), 1.0, betas.dtype)])

    def unfinished(carry: Any) -> jax.Array:
        number, _, _, changed = carry
        return (number < sweeps) | (changed & (number < sweeps + descent))

    def body(carry: Any) -> Any:
        number, x, counts, _ = carry
        beta = lax.dynamic_index_in_dim(rows, jnp.minimum(number, jnp.int32(sweeps)), 0, keepdims=True)  # (1, B)
        # The descent compares the change itself: an exponential rounds small ones away.
        after, counts = _sweep(fixed, _Turn(beta[:, :, None], number >= sweeps, number), x, counts)
        return number + jnp.int32(1), after, counts, (after != x).any()

    x = lax.while_loop(unfinished, body, (jnp.int32(0), x, counts, jnp.bool_(True)))[1]
    return _rolled(x.swapaxes(0, 1), (2,), back=True)[:, :, :n].transpose(0, 3, 1, 2)


def _rolled(array: jax.Array, axes: tuple[int, ...], back: bool = False) -> jax.Array:
    """Head a's token (i + a) mod n at position i; heads are axis 1."""
    sign = -1 if not back else 1
    heads = [jnp.roll(array[:, a], sign * a, axis=tuple(axis - 1 for axis in axes)) for a in range(array.shape[1])]
    return jnp.stack(heads, 1)


class _Fixed(NamedTuple):
    """What no sweep changes; heads first, positions rolled.

    Attributes:
        couplings: (H, B, n, n).
        linear: (H, B, n).
        penalty: (1, B, 1).
        lanes: (H, B, R), each a stream of random numbers.
        block: steps whose fields come from one matrix product.
    """

    couplings: jax.Array
    linear: jax.Array
    penalty: jax.Array
    lanes: jax.Array
    block: int


class _Turn(NamedTuple):
    """What the steps of one sweep share.

    Attributes:
        beta: inverse temperatures (1, B, 1).
        descending: whether only what lowers the energy flips.
        number: of the sweep.
    """

    beta: jax.Array
    descending: jax.Array
    number: jax.Array


def _sweep(fixed: _Fixed, turn: _Turn, x: jax.Array, counts: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One pass: x (H, B, n, R) with rolled positions, counts (n, B, R) of heads that chose a token."""

    def one_block(index: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return _block_of_steps(fixed, turn, index * jnp.int32(fixed.block), *carry)

    return lax.fori_loop(jnp.int32(0), jnp.int32(x.shape[2] // fixed.block), one_block, (x, counts))


def _block_of_steps(
    fixed: _Fixed, turn: _Turn, first: jax.Array, x: jax.Array, counts: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The steps from position `first` on: fields of all from one product, which each step then corrects."""
    n_heads, _, n, _ = x.shape
    block, window = fixed.block, fixed.block + n_heads - 1
    rows = _slice(fixed.couplings, first, block, 2)
    inside = _slice(rows, first, block, 3).transpose(3, 0, 1, 2)  # (step, H, B, block)
    old = _slice(x, first, block, 2)
    product = lax.dot_general(rows, x, (((3,), (2,)), ((0, 1), (0, 1))), precision=HIGHEST)
    fields = product + _slice(fixed.linear, first, block, 2)[..., None]  # (H, B, block, R)
    near = counts[:window]
    flips = jnp.zeros((block, *fixed.lanes.shape), x.dtype)
    draw = (turn.number * jnp.int32(n) + first).astype(jnp.uint32)

    step = functools.partial(_step, fixed, turn, inside, old)
    _, flips, near, _ = lax.fori_loop(jnp.int32(0), jnp.int32(block), step, (fields, flips, near, draw))
    x = _update(x, old + jnp.moveaxis(flips, 0, 2), first, 2)
    if n_heads > 1:
        # The next block's window is always at the front.
        counts = jnp.concatenate([near[block:], counts[window:], near[:block]])
    return x, counts


def _step(
    fixed: _Fixed, turn: _Turn, inside: jax.Array, old: jax.Array, s: jax.Array, carry: tuple[jax.Array, ...]
) -> tuple[jax.Array, ...]:
    """Step s of a block: one variable of each head may flip, and the fields of the block follow."""
    fields, flips, near, draw = carry
    n_heads = len(old)
    now = _slice(old, s, 1, 2)[:, :, 0]  # (H, B, R)
    field = _slice(fields, s, 1, 2)[:, :, 0]
    if n_heads > 1:
        field = field + fixed.penalty * (_slice(near, s, n_heads, 0) - now)
    sign = 1 - 2 * now
    change = sign * field
    hot = uniform(fixed.lanes, draw).astype(now.dtype) < jnp.exp(-turn.beta * change)
    flip = jnp.where(jnp.where(turn.descending, change < 0, hot), sign, jnp.zeros_like(sign))
    # Kept in the carry, and read back from there: XLA would compute it again for each use otherwise.
    flips = _update(flips, flip[None], s, 0)
    flip = _slice(flips, s, 1, 0)[0]
    fields = fields + _slice(inside, s, 1, 0)[0][..., None] * flip[:, :, None]
    if n_heads > 1:
        near = _update(near, _slice(near, s, n_heads, 0) + flip, s, 0)
    return fields, flips, near, draw + jnp.uint32(1)


def _slice(array: jax.Array, start: jax.Array, size: int, axis: int) -> jax.Array:
    starts, sizes = [jnp.int32(0)] * array.ndim, list(array.shape)
    starts[axis], sizes[axis] = start, size
    # Without a test for negative starts, which would be a kernel of its own in every step.
    return lax.dynamic_slice(array, starts, sizes, allow_negative_indices=False)


def _update(array: jax.Array, part: jax.Array, start: jax.Array, axis: int) -> jax.Array:
    starts = [jnp.int32(0)] * array.ndim
    starts[axis] = start
    return lax.dynamic_update_slice(array, part, starts, allow_negative_indices=False)
