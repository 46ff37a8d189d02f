"""A matrix as U M V^+: two circuits of small gates around a matrix product operator.

Aizpurua, Jahromi, Singh, Orus: arXiv:2410.17397 (the layer), arXiv:2509.06653 (the two ways to optimise). The weight W
(d_out, d_in) is filled with zeros to powers of two; M is U^+ W V cut to bond chi; the layer is U M V^+ without the rows
and columns added. Real weights take orthogonal gates.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.pytrees import pytree_dataclass
from qjaxsim.models.disentangler.circuit import Brickwall, Gates, apply_circuit
from qjaxsim.models.disentangler.config import DisentanglerConfig, DisentanglerPlan, Layout, lay_out, plan_disentangler
from qjaxsim.models.disentangler.mpo import Geometry, Mpo, bond_entropies, check_matrix, pad, tt_svd
from qjaxsim.models.disentangler.search import Best, search
from qjaxsim.models.disentangler.sweep import distance, operand, truncated
from qjaxsim.running.array_types import to_jax

__all__ = [
    "DisentangleResult",
    "DisentangledLayer",
    "DisentanglerConfig",
    "DisentanglerPlan",
    "disentangle",
    "plan_disentangler",
]


@pytree_dataclass(data=("u", "mpo", "v"), meta=("d_out", "d_in", "wall_u", "wall_v", "real"))
@dataclass(frozen=True)
class DisentangledLayer:
    """U M V^+ as an operator; a pytree whose leaves are gates and cores.

    Attributes:
        u: gates of U, on the output side.
        mpo: M.
        v: gates of V, on the input side.
        d_out: rows of the weight.
        d_in: its columns.
        wall_u: layout of U.
        wall_v: layout of V.
        real: whether the weight is real; complex gates and cores then count for their real part only.
    """

    u: Gates
    mpo: Mpo
    v: Gates
    d_out: int
    d_in: int
    wall_u: Brickwall
    wall_v: Brickwall
    real: bool

    @property
    def geometry(self) -> Geometry:
        """Legs of the MPO."""
        return self.mpo.geometry

    @property
    def n_classical(self) -> int:
        """Real numbers in the MPO."""
        return self.mpo.n_params

    @property
    def n_circuit(self) -> int:
        """Real angles of U and V together."""
        complex_gates = jnp.iscomplexobj(self.u[0])
        return self.wall_u.n_angles(complex_gates) + self.wall_v.n_angles(complex_gates)

    @property
    def n_params(self) -> int:
        """Both together."""
        return self.n_classical + self.n_circuit

    @jax.jit
    def apply(self, x: jax.Array) -> jax.Array:
        """The layer times each row: (..., d_in) -> (..., d_out), of the rows' dtype (complex if the weight is).

        Rows of integers are taken as floats. Fewer rows than the padded input has entries go through circuits and MPO;
        from there on the dense matrix is cheaper and is formed once.

        Raises:
            ValueError: for rows of another length.
        """
        rows, batch = self.rows_of(x)
        if not self.real:
            rows = rows.astype(self.u[0].dtype)
        if rows.shape[0] >= self.geometry.shape[1]:
            y = jnp.matmul(rows, self.to_dense().T.astype(rows.dtype), precision=HIGHEST)
        else:
            y = self._through(rows)
        return y.reshape(*batch, self.d_out)

    @jax.jit
    def to_dense(self) -> jax.Array:
        """The (d_out, d_in) matrix."""
        # U M V^+ = U (V M^+)^+
        right = apply_circuit(self.wall_v, self.v, jnp.conj(self.mpo.to_dense().T))
        dense = apply_circuit(self.wall_u, self.u, jnp.conj(right.T))[: self.d_out, : self.d_in]
        return jnp.real(dense) if self.real else dense

    def rows_of(self, x: jax.Array) -> tuple[jax.Array, tuple[int, ...]]:
        """Inputs as rows (B, d_in) of inexact numbers, and their batch axes. Errors as `apply`."""
        x = to_jax(x)
        if x.shape[-1:] != (self.d_in,):
            raise ValueError(f"Argument `x` must have shape (..., {self.d_in}), but has shape {x.shape}.")
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            x = x.astype(jnp.finfo(self.u[0].dtype).dtype)
        return x.reshape(-1, self.d_in), x.shape[:-1]

    def _through(self, rows: jax.Array) -> jax.Array:
        """(B, d_in) -> (B, d_out) by V^+, M and U in turn."""
        missing = self.geometry.shape[1] - self.d_in
        state = jnp.pad(rows.astype(self.u[0].dtype), ((0, 0), (0, missing))).T
        state = apply_circuit(self.wall_v, self.v, state, inverse=True)
        state = self.mpo.apply(state.T).T
        y = apply_circuit(self.wall_u, self.u, state)[: self.d_out].T
        return (jnp.real(y) if self.real else y).astype(rows.dtype)


@dataclass(frozen=True)
class DisentangleResult:
    """What an optimisation found.

    Attributes:
        layer: the best iterate of all restarts.
        error: relative Frobenius distance of the layer from the weight.
        error_padded: the same with padding, ||Z - M|| / ||W|| for Z = U^+ W V; not smaller than `error`.
        merit: A = Re <T, Z> / (||T|| ||Z||) with the target T that was optimised: `T_chi(W)` if fixed (the papers'
            figure of merit at bond 1), the layer's own M if adaptive (then A**2 is the norm retained).
        bound: the largest A that any two unitaries reach with that target (von Neumann).
        entropies_before: (n_sites - 1,) entropies of W's bonds, nats.
        entropies_after: the same of Z.
        history: relative distance of Z from the target at the start and after each sweep or step of the best restart.
        restart: the restart that gave the best, from 0.
        seconds: time of the optimisation, that of earlier runs from a checkpoint included.
        converged: whether the best restart stopped by itself.
    """

    layer: DisentangledLayer
    error: float
    error_padded: float
    merit: float
    bound: float
    entropies_before: np.ndarray
    entropies_after: np.ndarray
    history: np.ndarray
    restart: int
    seconds: float
    converged: bool


def disentangle(
    weight: Any,
    config: DisentanglerConfig,
    *,
    progress: Callable[[int, int, float], None] | None = None,
    checkpoint: Path | None = None,
) -> DisentangleResult:
    """The best layer U M V^+ found for a weight.

    Args:
        weight: (d_out, d_in) real, or complex with complex gates.
        config: bond, circuits, method.
        progress: called as progress(done, total, best error) after each sweep or step, over all restarts.
        checkpoint: file (.npz) where the state is kept, written atomically; if it exists, the run goes on from it and
            ends as it would have without interruption.

    Raises:
        ValueError: if the weight is no finite matrix, is zero, or does not fit the geometry; if complex without complex
            gates; if the checkpoint is of another run.
        MemoryError: before anything is allocated, if the work does not fit.
    """
    matrix = check_matrix(weight, "weight")
    d_out, d_in = matrix.shape
    layout = lay_out(d_out, d_in, config)
    padded = _prepared(matrix, layout, config)
    best = search(padded, layout, config, progress, checkpoint)
    begin = time.perf_counter()
    result = _result(matrix, padded, layout, config, best)
    return replace(result, seconds=best.seconds + time.perf_counter() - begin)


def _prepared(matrix: np.ndarray, layout: Layout, config: DisentanglerConfig) -> jax.Array:
    """The padded weight on the device, of norm 1 lest squares overflow or vanish. Errors as `disentangle`."""
    if not np.any(matrix):
        raise ValueError("Argument `weight` must not be zero: a zero matrix has nothing to disentangle.")
    if np.iscomplexobj(matrix) and not config.complex_gates:
        raise ValueError("Argument `weight` is complex and needs complex gates; pass complex_gates=True.")
    layout.require_memory(config)
    return jax.device_put(pad(matrix / _norm(matrix), layout.geometry).astype(config.array_dtype))


def _result(
    matrix: np.ndarray, padded: jax.Array, layout: Layout, config: DisentanglerConfig, best: Best
) -> DisentangleResult:
    geometry = layout.geometry
    u, v = best.gates
    current = operand(layout.wall_u, layout.wall_v, u, v, padded)
    norm = _norm(matrix)
    mpo = tt_svd(np.asarray(current) * norm, geometry, config.chi)
    d_out, d_in = matrix.shape
    real = not np.iscomplexobj(matrix)
    layer = DisentangledLayer(u, mpo, v, d_out, d_in, layout.wall_u, layout.wall_v, real)
    # Of norm 1 at most, as `padded` is.
    reached = np.asarray(mpo.to_dense()) / norm
    target = truncated(padded, geometry, config.target_bond) if config.target == "fixed" else jnp.asarray(reached)
    return DisentangleResult(
        layer=layer,
        error=_norm((matrix - np.asarray(layer.to_dense())) / norm),
        error_padded=_norm(np.asarray(current) - reached),
        merit=float(distance(current, target)[0]),
        bound=_merit_bound(np.asarray(padded), np.asarray(target)),
        entropies_before=bond_entropies(np.asarray(padded), geometry),
        entropies_after=bond_entropies(np.asarray(current), geometry),
        history=best.history,
        restart=best.restart,
        seconds=best.seconds,
        converged=best.converged,
    )


def _norm(array: np.ndarray) -> float:
    """The Frobenius norm, in double precision."""
    return float(np.linalg.norm(array.astype(np.result_type(array.dtype, np.float64))))


def _merit_bound(weight: np.ndarray, target: np.ndarray) -> float:
    """Sum of products of singular values over the norms: von Neumann's trace inequality."""
    double = np.result_type(weight.dtype, np.float64)
    values, targets = (np.linalg.svd(m.astype(double), compute_uv=False) for m in (weight, target))
    norms = np.linalg.norm(values) * np.linalg.norm(targets)
    return float(values @ targets / norms) if norms else 0.0
