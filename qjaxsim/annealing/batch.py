"""Annealing a batch from outside JAX: compiled once for a shape, spread over the processor's cores."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.annealing import chains
from qjaxsim.annealing.problems import HeadsProblem, in_floats
from qjaxsim.annealing.sparse import SparseProblem, anneal_sparse, descend_sparse, random_spins
from qjaxsim.annealing.streams import lanes_of


def anneal_batch(
    problem: HeadsProblem,
    seed: int,
    *,
    reads: int = 16,
    sweeps: int = 100,
    betas: Any = None,
    descent: bool = True,
    bits: int | None = None,
    start: Any = None,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """States (B, R, H, n) int8 and energies (B, R) of `qjaxsim.annealing.chains.anneal`, on all cores.

    XLA keeps the small kernels of a chain on one core, so on a CPU the batch is cut into as many parts as there are
    cores. States depend on the seed and a problem's place in the batch, not on the number of parts.

    Args:
        problem: B problems.
        seed: not negative.
        reads: as there.
        sweeps: as there.
        betas: as there.
        descent: as there.
        bits: as there.
        start: as there.
        threads: parts at a time; default the cores on a CPU, 1 elsewhere.

    Raises:
        ValueError: for a batch without problems, and problems without variables.
    """
    problem = in_floats(problem)
    n_batch = len(problem.linear)
    if not problem.linear.size:
        raise ValueError(
            "A HeadsProblem must have at least one problem, head and token, but its linear terms have shape "
            f"{problem.linear.shape}."
        )
    if threads is None:
        threads = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    parts = next(count for count in range(min(threads, n_batch), 0, -1) if n_batch % count == 0)
    keys = jax.random.split(jax.random.key(seed), n_batch)
    if betas is not None:
        betas = jnp.asarray(betas, problem.couplings.dtype)
        betas = jnp.broadcast_to(betas[:, None] if betas.ndim == 1 else betas, (len(betas), n_batch))
    run = _compiled(reads, sweeps, descent, bits)

    # Which precision JAX allows is a thread's own matter.
    double = bool(jax.config.read("jax_enable_x64"))
    penalty = jnp.broadcast_to(problem.penalty, n_batch)

    def one(part: slice) -> Any:
        with jax.enable_x64(double):
            inner = HeadsProblem(problem.couplings[part], problem.linear[part], penalty[part])
            schedule = None if betas is None else betas[:, part]
            return jax.block_until_ready(run(inner, keys[part], schedule, None if start is None else start[part]))

    size = n_batch // parts
    pieces = [slice(i, i + size) for i in range(0, n_batch, size)]
    with ThreadPoolExecutor(parts) as pool:
        found = list(pool.map(one, pieces))
    return tuple(np.concatenate([np.asarray(each[k]) for each in found]) for k in (0, 1))  # type: ignore[return-value]


def anneal_sparse_reads(
    problem: SparseProblem, seed: int, *, reads: int, betas: Any, descent: bool = True, start: Any = None
) -> np.ndarray:
    """States (R, n) int8, zeros and ones, of a sparse problem after a sweep at each inverse temperature.

    Args:
        problem: of `qjaxsim.annealing.sparse.sparse_problem`.
        seed: not negative.
        reads: chains R; equal seeds give equal states, however many there are of them.
        betas: (sweeps,).
        descent: then flip whatever lowers the energy until nothing does.
        start: first states (R, n), zeros and ones, instead of random ones.
    """
    lanes = lanes_of(jax.random.key(seed), 1, 1, reads)[0, 0]
    first = None
    if start is not None:
        first = np.ones((len(problem.linear), reads), np.int8)
        first[problem.positions] = 2 * np.asarray(start, np.int8).T - 1
    spins = _anneal_sparse(problem, lanes, first, jnp.asarray(betas, problem.linear.dtype), descent)
    return (np.asarray(spins)[problem.positions].T + 1) // 2


@functools.partial(jax.jit, static_argnames="descent")
def _anneal_sparse(problem: SparseProblem, lanes: jax.Array, start: Any, betas: jax.Array, descent: bool) -> jax.Array:
    spins = random_spins(lanes, len(problem.linear)) if start is None else start
    spins = anneal_sparse(problem, lanes, spins, betas)
    return descend_sparse(problem, spins) if descent else spins


@functools.lru_cache(maxsize=32)
def _compiled(reads: int, sweeps: int, descent: bool, bits: int | None) -> Any:
    def run(problem: HeadsProblem, keys: jax.Array, betas: Any, start: Any) -> chains.Annealed:
        return chains.anneal(
            problem, keys, reads=reads, sweeps=sweeps, betas=betas, descent=descent, bits=bits, start=start
        )

    return jax.jit(run)
