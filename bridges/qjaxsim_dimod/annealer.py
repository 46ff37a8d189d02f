"""The JAX annealer as a dimod sampler."""

import time
from collections.abc import Sequence
from typing import Any

import dimod
import jax.numpy as jnp
import numpy as np

from qjaxsim import annealing
from qjaxsim.annealing import HeadsProblem
from qjaxsim.annealing_batch import anneal_batch
from qjaxsim_dimod.options import check_count, check_seed
from qjaxsim_dimod.qubo import BINARY, Qubo, as_qubo


class JaxAnnealer(dimod.Sampler):
    """Simulated annealing of one dense problem or of many at once.

    Chains are single-flip Metropolis in a fixed order (`qjaxsim.annealing`), in single precision on biases scaled to
    the largest; energies of the sample set are computed from the exact problem in double.
    """

    def __init__(self) -> None:
        names = ("num_reads", "num_sweeps", "beta_range", "beta_schedule", "seed", "descent", "bits", "initial_states")
        self._parameters: dict[str, list[str]] = {name: [] for name in names}

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Keyword arguments of `sample`."""
        return self._parameters

    @property
    def properties(self) -> dict[str, Any]:
        """Nothing that could be asked."""
        return {}

    def sample(self, bqm: Any, **options: Any) -> Any:
        """A `dimod.SampleSet` with one row a read.

        Args:
            bqm: a dimod model or a `Qubo`.
            **options: as in `sample_batch`.
        """
        return self.sample_batch([bqm], **options)[0]

    def sample_batch(
        self,
        problems: Sequence[Any],
        *,
        num_reads: int | None = None,
        num_sweeps: int = 200,
        beta_range: tuple[float, float] | None = None,
        beta_schedule: Any = None,
        seed: int | None = None,
        descent: bool = True,
        bits: int | None = None,
        initial_states: Any = None,
        **unknown: Any,
    ) -> list[Any]:
        """A `dimod.SampleSet` for each problem, all annealed in one compiled call.

        Smaller problems are padded to the largest with variables that touch nothing.

        Args:
            problems: dimod models, `Qubo`s or square matrices.
            num_reads: chains of each problem; default 16, or as many as there are initial states.
            num_sweeps: passes over all variables, geometric from hot to cold; 0 leaves the final descent.
            beta_range: first and last inverse temperature; default from each problem's typical field.
            beta_schedule: inverse temperatures, one a sweep, instead of the three above.
            seed: 0 .. 2^31 - 1; default random.
            descent: end every chain with flips that lower the energy until there are none.
            bits: anneal the problem rounded to signed integers of so many bits, as coherent Ising machines take it.
            initial_states: (num_reads, n) in the variables' order and vartype; of a single problem.
            **unknown: named in a warning and left out, as dimod's samplers do.

        Raises:
            ValueError: for an empty problem, NaN, infinite biases, options out of range; naming them.
        """
        self.remove_unknown_kwargs(**unknown)
        qubos = [as_qubo(problem) for problem in problems]
        if not qubos:
            raise ValueError("Argument `problems` must hold at least one problem, but is empty.")
        seed = check_seed(seed)
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        check_count("num_sweeps", num_sweeps, 0)
        start = None if initial_states is None else _start(initial_states, qubos, num_reads)
        num_reads = (16 if start is None else len(start[0])) if num_reads is None else num_reads
        check_count("num_reads", num_reads, 1)
        if bits is not None:
            check_count("bits", bits, 2)
        began = time.perf_counter()
        problem, scales = _arrays(qubos)
        betas = _betas(beta_range, beta_schedule, num_sweeps, scales)
        states, _ = anneal_batch(
            problem, seed, reads=num_reads, sweeps=num_sweeps, betas=betas, descent=descent, bits=bits, start=start
        )
        info = {"seed": seed, "seconds": time.perf_counter() - began, "batch": len(qubos)}
        return [_sample_set(qubo, states[i, :, 0, : qubo.n], info) for i, qubo in enumerate(qubos)]


def sample_heads(
    problem: HeadsProblem, *, num_reads: int = 16, num_sweeps: int = 200, seed: int = 0, bits: int | None = None
) -> list[Any]:
    """A `dimod.SampleSet` for each problem of attention's structured form, variables labelled (head, token).

    The same chain as `JaxAnnealer` runs on the dense form, at a fraction of its cost: a flip touches its head alone.

    Args:
        problem: batch in the annealer's raw form, such as `qjaxsim.models.attention.layer_problem` gives.
        num_reads: chains of each problem.
        num_sweeps: passes over all variables.
        seed: 0 .. 2^31 - 1.
        bits: as in `JaxAnnealer.sample_batch`.
    """
    check_count("num_reads", num_reads, 1)
    check_count("num_sweeps", num_sweeps, 0)
    began = time.perf_counter()
    states, _ = anneal_batch(problem, check_seed(seed) or 0, reads=num_reads, sweeps=num_sweeps, bits=bits)
    info = {"seed": seed, "seconds": time.perf_counter() - began, "batch": len(states)}
    return [_sample_set(Qubo.from_heads(problem, i), one.reshape(num_reads, -1), info) for i, one in enumerate(states)]


def _arrays(qubos: Sequence[Qubo]) -> tuple[HeadsProblem, np.ndarray]:
    """The problems over 0 and 1, padded and divided by their largest bias, which comes along."""
    n = max(qubo.n for qubo in qubos)
    matrices = np.zeros((len(qubos), n, n), np.float32)
    linear = np.zeros((len(qubos), n), np.float32)
    scales = np.ones(len(qubos))
    for i, qubo in enumerate(one.to_binary() for one in qubos):
        largest = max(np.abs(qubo.quadratic).max(), np.abs(qubo.linear).max())
        scales[i] = largest or 1.0
        matrices[i, : qubo.n, : qubo.n] = qubo.quadratic / scales[i]
        linear[i, : qubo.n] = qubo.linear / scales[i]
    return annealing.dense_problem(jnp.asarray(matrices), jnp.asarray(linear)), scales


def _betas(beta_range: Any, beta_schedule: Any, sweeps: int, scales: np.ndarray) -> Any:
    """Inverse temperatures (sweeps, B) of the scaled problems, None for the default."""
    if beta_schedule is None and beta_range is None:
        return None
    if beta_schedule is None:
        ends = np.asarray(beta_range, float)
        if ends.shape != (2,) or not (np.isfinite(ends).all() and (ends > 0).all()):
            raise ValueError(f"Option `beta_range` must be two positive numbers, hot and cold, but is {beta_range!r}.")
        beta_schedule = np.geomspace(ends[0], ends[1], sweeps) if sweeps else np.zeros(0)
    betas = np.asarray(beta_schedule, float)
    if betas.ndim != 1 or not (np.isfinite(betas).all() and (betas >= 0).all()):
        raise ValueError("Option `beta_schedule` must be a list of finite numbers, none negative, one a sweep.")
    return betas[:, None] * scales[None]


def _start(initial_states: Any, qubos: Sequence[Qubo], num_reads: int | None) -> np.ndarray:
    if len(qubos) != 1:
        raise ValueError("Option `initial_states` goes with a single problem, not with a batch.")
    (qubo,) = qubos
    states = np.atleast_2d(np.asarray(initial_states))
    low = 0 if qubo.vartype == BINARY else -1
    if states.shape[1:] != (qubo.n,) or (num_reads is not None and len(states) != num_reads):
        raise ValueError(
            f"Option `initial_states` must have shape ({num_reads or 'reads'}, {qubo.n}), but has shape {states.shape}."
        )
    if not np.isin(states, (low, 1)).all():
        raise ValueError(f"Option `initial_states` must hold {low} and 1 only.")
    return (states == 1).astype(np.int8)[None, :, None]


def _sample_set(qubo: Qubo, bits: np.ndarray, info: dict[str, Any]) -> Any:
    samples = bits if qubo.vartype == BINARY else 2 * bits - 1
    return dimod.SampleSet.from_samples(
        (samples.astype(np.int8), list(qubo.labels or ())), qubo.vartype, energy=qubo.energies(samples), info=dict(info)
    )
