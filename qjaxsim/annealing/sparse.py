"""Simulated annealing of one sparse problem over spins, in JAX: many reads, memory in proportion to the couplings.

    E(s) = sum_i h_i s_i + sum_{i < j} J_ij s_i s_j,   s_i in {-1, 1}

Variables are coloured so that none touches another of its colour; a block of variables of one colour may then flip at
once, and the chain is single-flip Metropolis in a fixed order, exactly as in `qjaxsim.annealing.chains`. A block
gathers its neighbours' spins anew for each visit, so that fields carry no rounding from one sweep to the next.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy import sparse

from qjaxsim.annealing import chains
from qjaxsim.annealing.streams import uniform
from qjaxsim.running.array_types import to_jax

# Variables with more neighbours than this go in blocks of a few, which pad less.
_HUB = 128
_BLOCKS, _HUB_BLOCK = (16, 32, 64, 128, 256), 8
# Neighbours gathered by one compiled step, a divisor of none.
_CHUNKS = (4, 8, 16)
# What starting a step costs, in gathers of one variable's neighbour.
_STEP_COST = 600


class Blocks(NamedTuple):
    """Blocks of variables of one colour, all of one size S, at consecutive positions.

    Attributes:
        first: position of the first block's first variable.
        pointers: (blocks + 1,) int32, where each block's chunks begin.
        neighbours: (chunks, K, S) int32, positions.
        couplings: (chunks, K, S), zero where a variable has fewer neighbours than its block holds.
    """

    first: Any
    pointers: Any
    neighbours: Any
    couplings: Any


class SparseProblem(NamedTuple):
    """A problem laid out in blocks; `sparse_problem` makes it.

    Attributes:
        blocks: of variables with few neighbours, of those with many; either may lack.
        linear: (N,) by position; N counts padding, which touches nothing.
        positions: (n,) int32, where each variable is.
    """

    blocks: tuple[Blocks, ...]
    linear: Any
    positions: Any


def colours(matrix: Any) -> np.ndarray:
    """A colour for each variable, (n,), such that none is coupled to another of its colour.

    Colours are maximal independent sets, one after the other, each found by local maxima of random priorities (Luby
    1986, doi:10.1137/0215074), which favour variables with many neighbours.

    Args:
        matrix: (n, n) CSR array, symmetric, zero diagonal.
    """
    n = matrix.shape[0]
    degrees = np.diff(matrix.indptr)
    priority = np.empty(n, np.int64)
    priority[np.lexsort((np.random.default_rng(0).random(n), degrees))] = np.arange(n)
    found = np.full(n, -1)
    rows = np.repeat(np.arange(n), degrees)
    columns = matrix.indices
    colour = 0
    while (found < 0).any():
        candidates = found < 0
        keep = candidates[rows] & candidates[columns]
        rows, columns = rows[keep], columns[keep]
        near, other = rows, columns
        while candidates.any():
            highest = np.full(n, -1, np.int64)
            np.maximum.at(highest, near, priority[other])
            chosen = candidates & (priority > highest)
            found[chosen] = colour
            candidates &= ~chosen
            candidates[other[chosen[near]]] = False
            keep = candidates[near] & candidates[other]
            near, other = near[keep], other[keep]
        colour += 1
    return found


def sparse_problem(matrix: Any, linear: Any, dtype: Any = np.float32) -> SparseProblem:
    """The problem's layout, in NumPy.

    Args:
        matrix: J, (n, n) SciPy array, symmetric with zero diagonal.
        linear: h, (n,).
        dtype: of couplings and fields.
    """
    matrix = sparse.csr_array(matrix)
    n = matrix.shape[0]
    degrees = np.diff(matrix.indptr)
    colour = colours(matrix)
    chunk = next((size for size in _CHUNKS if size >= np.quantile(degrees, 0.9)), _CHUNKS[-1])
    parts, positions, first = [], np.empty(n, np.int32), 0
    for members in (np.flatnonzero(degrees <= _HUB), np.flatnonzero(degrees > _HUB)):
        if not len(members):
            continue
        size = _block_size(colour[members], degrees[members], chunk) if degrees[members[0]] <= _HUB else _HUB_BLOCK
        blocks = _cut(members, colour, degrees, size)
        filled = blocks >= 0
        positions[blocks[filled]] = first + np.flatnonzero(filled.ravel())
        parts.append((first, blocks))
        first += blocks.size
    placed = np.zeros(first, dtype)
    placed[positions] = linear
    tables = tuple(_tables(start, blocks, matrix, positions, chunk, dtype) for start, blocks in parts)
    return SparseProblem(tables, placed, positions)


def anneal_sparse(problem: SparseProblem, lanes: jax.Array, start: jax.Array, betas: jax.Array) -> jax.Array:
    """Spins after one sweep at each inverse temperature.

    Args:
        problem: the problem.
        lanes: (R,) uint32, a word for each read.
        start: (N, R) int8, spins by position.
        betas: (sweeps,).
    """
    problem = SparseProblem(*jax.tree.map(to_jax, tuple(problem)))

    def body(carry: Any, beta: jax.Array) -> Any:
        number, spins = carry
        return (number + jnp.uint32(1), _sweep(problem, lanes, spins, beta, number)), None

    return lax.scan(body, (jnp.uint32(0), start), betas)[0][1]


def descend_sparse(problem: SparseProblem, start: jax.Array) -> jax.Array:
    """Spins (N, R) after flips that lower the energy, until there are none (at most `MAX_DESCENT` sweeps)."""
    problem = SparseProblem(*jax.tree.map(to_jax, tuple(problem)))

    def unfinished(carry: Any) -> jax.Array:
        return carry[2] & (carry[0] < chains.MAX_DESCENT)

    def body(carry: Any) -> Any:
        number, spins, _ = carry
        after = _sweep(problem, None, spins, None, None)
        return number + jnp.int32(1), after, (after != spins).any()

    return lax.while_loop(unfinished, body, (jnp.int32(0), start, jnp.bool_(True)))[1]


def random_spins(lanes: jax.Array, n: int) -> jax.Array:
    """First states (n, R) int8."""
    # A number that no sweep of a run uses.
    draw = jnp.arange(n, dtype=jnp.uint32)[:, None] + jnp.uint32(2**31)
    return jnp.where(uniform(lanes[None], draw) < 0.5, jnp.int8(-1), jnp.int8(1))


# --- a sweep ---------------------------------------------------------------------------------------------------------


def _sweep(problem: SparseProblem, lanes: Any, spins: jax.Array, beta: Any, number: Any) -> jax.Array:
    """One pass over all blocks; without lanes a descending one."""
    for blocks in problem.blocks:
        spins = _sweep_blocks(blocks, problem.linear, lanes, spins, beta, number)
    return spins


def _sweep_blocks(blocks: Blocks, linear: Any, lanes: Any, spins: jax.Array, beta: Any, number: Any) -> jax.Array:
    n, reads = spins.shape
    chunk, size = blocks.neighbours.shape[1:]
    zero = jnp.int32(0)

    def gather(c: jax.Array, fields: jax.Array, spins: jax.Array) -> jax.Array:
        near = lax.dynamic_slice(blocks.neighbours, (c, zero, zero), (1, chunk, size))[0]
        couplings = lax.dynamic_slice(blocks.couplings, (c, zero, zero), (1, chunk, size))[0]
        # Unrolled, so that one fused kernel reads the neighbours' rows and keeps the sum in registers.
        for k in range(chunk):
            row = spins.at[near[k]].get(mode="promise_in_bounds")
            fields = fields + couplings[k][:, None] * row.astype(fields.dtype)
        return fields

    def one_block(b: jax.Array, spins: jax.Array) -> jax.Array:
        first = jnp.asarray(blocks.first, jnp.int32) + b * jnp.int32(size)
        own = lax.dynamic_slice(linear, (first,), (size,))
        fields = jnp.broadcast_to(own[:, None], (size, reads))
        begin, end = blocks.pointers[b], blocks.pointers[b + jnp.int32(1)]
        fields = lax.fori_loop(begin, end, lambda c, f: gather(c, f, spins), fields)
        now = lax.dynamic_slice(spins, (first, zero), (size, reads))
        delta = -2 * now.astype(fields.dtype) * fields
        if lanes is None:
            flip = delta < 0
        else:
            rows = first.astype(jnp.uint32) + jnp.arange(size, dtype=jnp.uint32)
            u = uniform(lanes[None], (number * jnp.uint32(n) + rows)[:, None])
            flip = u.astype(fields.dtype) < jnp.exp(-beta * delta)
        return lax.dynamic_update_slice(spins, jnp.where(flip, -now, now), (first, zero))

    return lax.fori_loop(zero, jnp.int32(len(blocks.pointers) - 1), one_block, spins)


# --- the layout ------------------------------------------------------------------------------------------------------


def _block_size(colour: np.ndarray, degrees: np.ndarray, chunk: int) -> int:
    """The size whose sweeps cost least, padding and the start of steps counted."""
    counts = np.bincount(colour)
    steps = 1 + -(-degrees.mean() // chunk)

    def cost(size: int) -> float:
        return float((-(-counts // size)).sum() * steps * (_STEP_COST + size * chunk))

    return min(_BLOCKS, key=cost)


def _cut(members: np.ndarray, colour: np.ndarray, degrees: np.ndarray, size: int) -> np.ndarray:
    """Blocks (blocks, size) of variables, -1 for padding; those of a block have one colour and like degrees."""
    order = members[np.lexsort((-degrees[members], colour[members]))]
    edges = np.flatnonzero(np.diff(colour[order])) + 1
    pieces = []
    for part in np.split(order, edges):
        padded = np.full(-(-len(part) // size) * size, -1)
        padded[: len(part)] = part
        pieces.append(padded.reshape(-1, size))
    return np.concatenate(pieces)


def _tables(first: int, blocks: np.ndarray, matrix: Any, positions: np.ndarray, chunk: int, dtype: Any) -> Blocks:
    """Neighbours and couplings of the blocks, chunk by chunk."""
    n_blocks, size = blocks.shape
    filled = blocks >= 0
    starts = np.where(filled, matrix.indptr[blocks], 0)
    degrees = np.where(filled, matrix.indptr[blocks + 1] - matrix.indptr[blocks], 0)
    chunks = np.maximum(-(-degrees.max(1) // chunk), 1)
    pointers = np.concatenate([[0], np.cumsum(chunks)]).astype(np.int32)
    neighbours = np.zeros((pointers[-1], chunk, size), np.int32)
    couplings = np.zeros((pointers[-1], chunk, size), dtype)
    # Entry e of the variable in column s of block b is at chunk e // K, row e % K.
    b, s = np.nonzero(degrees)
    counts = degrees[b, s]
    entry = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    source = np.repeat(starts[b, s], counts) + entry
    place = pointers[np.repeat(b, counts)] + entry // chunk, entry % chunk, np.repeat(s, counts)
    neighbours[place] = positions[matrix.indices[source]]
    couplings[place] = matrix.data[source]
    return Blocks(np.int32(first), pointers, neighbours, couplings)
