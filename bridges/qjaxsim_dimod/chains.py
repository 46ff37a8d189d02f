"""Chains of the JAX annealer on `Qubo`s: dense ones as a batch, a sparse one by itself."""

import contextlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse

from qjaxsim import annealing
from qjaxsim.annealing.batch import anneal_batch, anneal_sparse_reads
from qjaxsim.annealing.sparse import sparse_problem
from qjaxsim.common import memory
from qjaxsim_dimod.qubo import SPIN, Qubo
from qjaxsim_dimod.temperatures import typical_changes

FORMS = ("auto", "dense", "sparse")
# Where less of a matrix is couplings, and it has more variables, gathers of neighbours beat matrix products.
_SPARSE_SHARE, _SPARSE_SIZE = 0.07, 200
# A field's rounding in single precision against the coldest temperature, at most.
_SINGLE = 2.0**-3
# Biases beyond this times the typical change are as good as infinite, and would overflow single precision.
_LARGEST = 1e30


def choose_form(form: str, qubo: Qubo) -> str:
    """The form of a problem's chains, "dense" or "sparse"; for "auto" by the share of couplings.

    Raises:
        ValueError: for another form.
    """
    if form not in FORMS:
        raise ValueError(f"Option `form` must be one of {', '.join(FORMS)}, but is {form!r}.")
    few = qubo.n > _SPARSE_SIZE and 2 * qubo.n_couplings < _SPARSE_SHARE * qubo.n**2
    return form if form != "auto" else ("sparse" if few else "dense")


def needs_double(qubo: Qubo, betas: np.ndarray) -> bool:
    """Whether single precision would round fields by more than the coldest temperature lets pass."""
    both = sparse.csr_array(abs(qubo.pairs + qubo.pairs.T))
    largest = float((np.abs(qubo.linear) + both.sum(1)).max())
    return bool(len(betas)) and largest * 2.0**-24 * float(betas.max()) > _SINGLE


def rounded(qubo: Qubo, bits: int) -> Qubo:
    """The problem as a machine with signed integers of so many bits sees it: its Ising form scaled to the largest."""
    ising = qubo.to_ising()
    step = (ising.largest_bias or 1.0) / (2 ** (bits - 1) - 1)
    return Qubo(np.round(ising.linear / step) * step, (ising.pairs / step).rint() * step, 0.0, qubo.labels, SPIN)


class DenseChains:
    """Chains of a batch of problems in one compiled call; smaller ones are padded with what touches nothing."""

    form = "dense"

    def __init__(self, qubos: Sequence[Qubo], reads: int, double: bool) -> None:
        n = max(qubo.n for qubo in qubos)
        memory.require_memory(
            40 * len(qubos) * n**2,
            f"The dense form of {n} variables",
            "take form='sparse', or another sampler",
        )
        self._sizes, self._reads = [qubo.n for qubo in qubos], reads
        self._dtype = np.float64 if double else np.float32
        self._scales = np.array([_unit(qubo) for qubo in qubos])
        self._matrices = np.zeros((len(qubos), n, n), self._dtype)
        self._linear = np.zeros((len(qubos), n), self._dtype)
        for i, qubo in enumerate(qubos):
            binary = _scaled(qubo, self._scales[i]).to_binary()
            self._matrices[i, : qubo.n, : qubo.n] = _clipped(binary.quadratic)
            self._linear[i, : qubo.n] = _clipped(binary.linear)

    def run(self, betas: Sequence[np.ndarray], seed: int, start: Any, descent: bool) -> list[np.ndarray]:
        """Final states (R, n) int8, zeros and ones, of each problem, after a sweep at each inverse temperature.

        Args:
            betas: (sweeps,) of each problem, equally many.
            seed: 0 .. 2^31 - 1.
            start: first states like these; None for random ones.
            descent: end with flips that lower the energy.
        """
        units = _clipped(np.stack(betas, 1) * self._scales)
        with _precision(self._dtype):
            problem = annealing.dense_problem(jnp.asarray(self._matrices), jnp.asarray(self._linear))
            states, _ = anneal_batch(
                problem, seed, reads=self._reads, sweeps=len(units), betas=units.astype(self._dtype), descent=descent,
                start=None if start is None else self._padded(start),
            )  # fmt: skip
        return [states[i, :, 0, :size] for i, size in enumerate(self._sizes)]

    def _padded(self, start: Sequence[np.ndarray]) -> np.ndarray:
        n = self._linear.shape[1]
        return np.stack([np.pad(one, ((0, 0), (0, n - one.shape[1]))) for one in start])[:, :, None]


class SparseChains:
    """Chains of one problem whose variables have few neighbours."""

    form = "sparse"

    def __init__(self, qubo: Qubo, reads: int, double: bool) -> None:
        self._reads, self._dtype = reads, np.float64 if double else np.float32
        self._scale = _unit(qubo)
        ising = _scaled(qubo, self._scale).to_ising()
        matrix = sparse.csr_array(ising.pairs + ising.pairs.T)
        matrix.data = _clipped(matrix.data)
        self._problem = sparse_problem(matrix, _clipped(ising.linear), self._dtype)

    def run(self, betas: Sequence[np.ndarray], seed: int, start: Any, descent: bool) -> list[np.ndarray]:
        """As of `DenseChains`, of one problem."""
        units = _clipped(betas[0] * self._scale).astype(self._dtype)
        with _precision(self._dtype):
            return [
                anneal_sparse_reads(
                    self._problem, seed, reads=self._reads, betas=units, descent=descent,
                    start=None if start is None else start[0],
                )
            ]  # fmt: skip


def _unit(qubo: Qubo) -> float:
    """What the chain counts energies in: the median of typical changes, which makes its temperatures of order one."""
    changes = typical_changes(qubo)
    return float(np.median(changes[changes > 0])) if changes.any() else 1.0


def _scaled(qubo: Qubo, scale: float) -> Qubo:
    return Qubo(qubo.linear / scale, qubo.pairs / scale, 0.0, qubo.labels, qubo.vartype)


def _clipped(values: Any) -> Any:
    return np.clip(values, -_LARGEST, _LARGEST)


def _precision(dtype: Any) -> Any:
    return jax.enable_x64(True) if dtype == np.float64 else contextlib.nullcontext()
