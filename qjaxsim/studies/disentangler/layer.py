"""One layer of the study `disentangler`: operators of every kind for it, and what they are worth."""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.models.disentangler.circuit import Brickwall, identity_gates
from qjaxsim.models.disentangler.config import DisentanglerConfig, lay_out
from qjaxsim.models.disentangler.layer import DisentangledLayer, DisentangleResult, disentangle
from qjaxsim.models.disentangler.low_rank import Svd, svd, svd_rank_at
from qjaxsim.models.disentangler.mpo import Geometry, Mpo, balanced_geometry, bond_entropies, qubit_geometry, tt_svd
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.disentangler.settings import FULL, REGISTER, DisentanglerStudySettings

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Subject:
    """A matrix to be compressed.

    Attributes:
        layer: its name.
        source: "trained", "file" or "noise".
        weight: (out, in).
        seed: of the model or the noise.
        moment: mean of x x^T over inputs, (in, in); None where none are known.
        score: maps a matrix in its place to perplexity, perplexity_change and accuracy of the model; None without one.
        inputs: some rows that it receives, (N, in); None where none are known.
    """

    layer: str
    source: str
    weight: np.ndarray
    seed: int
    moment: np.ndarray | None = None
    score: Callable[[Any], dict[str, float]] | None = None
    inputs: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        return self.weight.shape[0], self.weight.shape[1]

    @functools.cached_property
    def svd(self) -> Svd:
        """Decomposed once for all its baselines."""
        return svd(self.weight)

    def row(self, part: str, method: str) -> Row:
        """The beginning of a row."""
        return {"part": part, "seed": self.seed, "layer": self.layer, "source": self.source, "method": method}

    def measures(self, matrix: Any, *, scored: bool = True) -> dict[str, float]:
        """How far a matrix is from the layer, and what the model makes of it."""
        weight, other = np.asarray(self.weight, np.float64), np.asarray(matrix, np.float64)
        found = {"error": float(np.linalg.norm(weight - other) / np.linalg.norm(weight))}
        if self.moment is not None and (whole := _power(weight, self.moment)) > 0:
            found["activation_error"] = float(np.sqrt(_power(weight - other, self.moment) / whole))
        return found | (self.score(other) if scored and self.score is not None else {})


def noise_like(weight: np.ndarray, seed: int) -> np.ndarray:
    """Gaussian numbers with the shape and the norm of a matrix."""
    noise = np.random.default_rng((seed, 271)).normal(size=weight.shape)
    scaled: np.ndarray = (noise * (np.linalg.norm(weight) / np.linalg.norm(noise))).astype(weight.dtype)
    return scaled


def config_of(
    settings: DisentanglerStudySettings,
    shape: tuple[int, int],
    method: str,
    chi: int,
    circuit: tuple[int, int],
    seed: int,
    target: str | None = None,
) -> DisentanglerConfig:
    """Settings of one optimisation; `chi` 0 is the full bond, `circuit` (gate qubits, depth)."""
    geometry = qubit_geometry(*shape)
    gate_qubits = geometry.n_sites if circuit[0] == REGISTER else circuit[0]
    return DisentanglerConfig(
        chi=bond_of(geometry, chi),
        gate_qubits=gate_qubits,
        layers=circuit[1],
        method=method,  # type: ignore[arg-type]
        target=target or settings.target,  # type: ignore[arg-type]
        sweeps=settings.sweeps if method == "explicit" else settings.gradient_steps,
        restarts=settings.restarts,
        seed=seed,
    )


def circuit_rows(
    settings: DisentanglerStudySettings,
    subject: Subject,
    part: str,
    method: str,
    circuit: tuple[int, int],
    chis: tuple[int, ...],
    folder: Path,
    progress: Progress,
) -> tuple[list[Row], dict[str, np.ndarray]]:
    """Rows of one layer between circuits of one kind, for every bond, each with its baselines; and the operators.

    Args:
        settings: of the study.
        subject: the layer.
        part: "layers" or "bond".
        method: "explicit" or "gradient".
        circuit: gate qubits and depth.
        chis: bonds.
        folder: of the cell; optimisations are kept there until the cell is done.
        progress: shows how far they are.
    """
    rows: list[Row] = []
    arrays: dict[str, np.ndarray] = {}
    for chi in chis:
        config = config_of(settings, subject.shape, method, chi, circuit, subject.seed)
        result = optimise(subject, config, folder, progress)
        own = disentangled_row(subject, part, result, config, circuit)
        rows += [own, *_at_equal_numbers(settings, subject, part, own)]
        arrays |= operator_arrays(result.layer, f"chi{chi}")
    return rows, arrays


def optimise(subject: Subject, config: DisentanglerConfig, folder: Path, progress: Progress) -> DisentangleResult:
    """`disentangle`, resumed from what an attempt before left in `folder`."""
    weight = np.asarray(subject.weight, np.float32)
    with progress.counter(f"{subject.layer}, bond {config.chi}", config.sweeps * config.restarts) as moved:
        return disentangle(
            weight,
            config,
            progress=lambda done, total, _: moved(done, total),
            checkpoint=folder / f"{config.target}-chi{config.chi}.npz",
        )


def disentangled_row(
    subject: Subject, part: str, result: DisentangleResult, config: DisentanglerConfig, circuit: tuple[int, int]
) -> Row:
    """The row of one optimised layer."""
    layer = result.layer
    counts = numbers(subject, layer.n_classical, layer.n_circuit)
    measured = subject.measures(layer.to_dense(), scored=part != "depth")
    return {
        **subject.row(part, config.method),
        "chi": config.chi,
        "gate_qubits": config.gate_qubits,
        "register": circuit[0] == REGISTER or config.gate_qubits >= layer.geometry.n_sites,
        "depth": circuit[1],
        **counts,
        **measured,
        "merit": result.merit,
        "bound": result.bound,
        "entropy_before": _mean(result.entropies_before),
        "entropy": _mean(result.entropies_after),
        **break_even(subject, counts, measured["error"]),
        "sweeps": len(result.history) - 1,
        "converged": result.converged,
        "seconds": result.seconds,
    }


def plain_rows(settings: DisentanglerStudySettings, subject: Subject, part: str, chis: tuple[int, ...]) -> list[Row]:
    """Rows without circuits: nothing, noise in the layer's place, MPOs of every bond on padded qubits and unpadded."""
    rows = []
    geometry = qubit_geometry(*subject.shape)
    balanced = balanced_or_none(subject.shape, settings.balanced_sites)
    entropy = _mean(bond_entropies(subject.weight, geometry))
    replaced = {"zero": np.zeros_like(subject.weight)}
    if subject.source == "trained":
        replaced["noise"] = noise_like(subject.weight, subject.seed)
    for method, matrix in replaced.items():
        counts = numbers(subject, matrix.size if method == "noise" else 0, 0)
        rows.append({**subject.row(part, method), **counts, **subject.measures(matrix)})
    for chi in chis:
        bond = bond_of(geometry, chi)
        budget, key = geometry.n_params(bond), {"chi": bond, "depth": 0}
        rows.append(_mpo_row(subject, part, "mpo", geometry, budget) | key)
        rows[-1] |= {"entropy_before": entropy, "entropy": entropy}
        if balanced is not None:
            rows.append(_mpo_row(subject, part, "mpo-balanced", balanced, budget) | key)
    return rows


def _at_equal_numbers(settings: DisentanglerStudySettings, subject: Subject, part: str, own: Row) -> list[Row]:
    """Baselines with as many numbers as a disentangled layer; they carry its bond and circuit."""
    key = {name: own[name] for name in ("chi", "gate_qubits", "register", "depth")}
    shape, total, classical = subject.shape, own["total"], own["classical"]
    rows = [
        _svd_row(subject, part, "svd-total", svd_rank_at(*shape, total), total),
        _svd_row(subject, part, "svd-minimal", minimal_rank_at(shape, total), total),
        _svd_row(subject, part, "svd-classical", svd_rank_at(*shape, classical), classical),
        _mpo_row(subject, part, "mpo-total", qubit_geometry(*shape), total),
    ]
    balanced = balanced_or_none(shape, settings.balanced_sites)
    if balanced is not None:
        rows.append(_mpo_row(subject, part, "mpo-balanced-total", balanced, total))
    return [row | key for row in rows]


def _svd_row(subject: Subject, part: str, method: str, rank: int, budget: int) -> Row:
    if budget >= subject.weight.size:
        kept = numbers(subject, subject.weight.size, 0)
        return {**subject.row(part, method), "rank": min(subject.shape), **kept, **subject.measures(subject.weight)}
    layer = subject.svd.layer(rank)
    stored = layer.n_params if method != "svd-minimal" else rank * (sum(subject.shape) - rank)
    counts = numbers(subject, stored, 0)
    return {**subject.row(part, method), "rank": rank, **counts, **subject.measures(layer.to_dense())}


def _mpo_row(subject: Subject, part: str, method: str, geometry: Geometry, budget: int) -> Row:
    chi = bond_at(geometry, budget)
    if not chi:
        measured = subject.measures(np.zeros_like(subject.weight))
        return {**subject.row(part, method), **numbers(subject, 0, 0), **measured}
    layer = plain_operator(subject.weight, geometry, chi)
    counts = numbers(subject, layer.n_params, 0)
    return {**subject.row(part, method), **counts, **subject.measures(layer.to_dense())}


def plain_operator(weight: np.ndarray, geometry: Geometry, chi: int) -> DisentangledLayer:
    """The MPO of a weight, padding cropped, as a layer without circuits."""
    wall = Brickwall(0, 1, 0)
    mpo = tt_svd(weight, geometry, chi)
    gates = identity_gates(wall, weight.dtype)
    return DisentangledLayer(gates, mpo, gates, weight.shape[0], weight.shape[1], wall, wall, True)


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(subject: Subject, classical: int, circuit: int) -> Row:
    """Counts of a row."""
    dense, total = subject.weight.size, classical + circuit
    return {"dense": dense, "classical": classical, "circuit": circuit, "total": total, "size": total / dense}


def break_even(subject: Subject, counts: Row, error: float) -> Row:
    """Prices of a circuit's angle at which the layer costs as much as the dense one, and as an equally accurate SVD."""
    if not counts["circuit"]:
        return {}
    rank = rank_for(subject.svd.values, error)
    # Beyond that rank the matrix itself is smaller than its factors.
    rival = min(rank * sum(subject.shape), counts["dense"])
    return {
        "break_even_dense": (counts["dense"] - counts["classical"]) / counts["circuit"],
        "break_even_svd": (rival - counts["classical"]) / counts["circuit"],
    }


def rank_for(values: np.ndarray, error: float) -> int:
    """The smallest rank whose relative Frobenius error is at most `error`, from falling singular values.

    >>> rank_for(np.array([4.0, 3.0, 0.0]), 0.6), rank_for(np.array([4.0, 3.0, 0.0]), 0.59)
    (1, 2)
    """
    squares = values**2
    left = np.append(np.cumsum(squares[::-1])[::-1], 0.0) / squares.sum()
    # The rounding of the squares must not ask for one rank more.
    return int(np.argmax(left <= error**2 * (1 + 1e-9)))


def minimal_rank_at(shape: tuple[int, int], budget: int) -> int:
    """The largest rank whose matrices form a family of at most `budget` dimensions, r (out + in - r) for rank r.

    >>> minimal_rank_at((64, 64), 4056), minimal_rank_at((64, 64), 4096), minimal_rank_at((64, 64), 126)
    (57, 64, 0)
    """
    ranks = range(min(shape) + 1)
    return max(rank for rank in ranks if rank * (sum(shape) - rank) <= max(budget, 0))


def bond_of(geometry: Geometry, chi: int) -> int:
    """The bond itself, or for `FULL` the largest useful one.

    >>> bond_of(qubit_geometry(576, 192), FULL), bond_of(qubit_geometry(576, 192), 5)
    (256, 5)
    """
    # No bond exceeds the number of entries.
    return chi if chi != FULL else max(geometry.bonds(math.prod(geometry.shape)), default=1)


def bond_at(geometry: Geometry, budget: int) -> int:
    """The largest useful bond of an MPO with at most `budget` numbers; 0 if there is none.

    >>> bond_at(qubit_geometry(576, 192), 2356), bond_at(qubit_geometry(576, 192), 35)
    (10, 0)
    """
    low, high = 0, bond_of(geometry, FULL)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if geometry.n_params(middle) <= budget else (low, middle - 1)
    return low


def balanced_or_none(shape: tuple[int, int], n_sites: int) -> Geometry | None:
    """Balanced unpadded legs on at most `n_sites` sites; None where a size has no two factors."""
    for sites in range(n_sites, 1, -1):
        try:
            return balanced_geometry(*shape, sites)
        except ValueError:
            continue
    return None


# --- operators on disk -----------------------------------------------------------------------------------------------


def operator_arrays(layer: DisentangledLayer, name: str) -> dict[str, np.ndarray]:
    """A disentangled layer as arrays whose names begin with `name`."""
    parts = {"u": layer.u, "core": layer.mpo.cores, "v": layer.v}
    return {f"{name}.{part}{i}": np.asarray(one) for part, many in parts.items() for i, one in enumerate(many)}


def operator_from(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, int], config: DisentanglerConfig
) -> DisentangledLayer:
    """The layer that `operator_arrays` wrote."""
    layout = lay_out(*shape, config)

    def gates(part: str) -> tuple[jax.Array, jax.Array]:
        return to_jax(arrays[f"{name}.{part}0"]), to_jax(arrays[f"{name}.{part}1"])

    cores = tuple(to_jax(arrays[f"{name}.core{i}"]) for i in range(layout.geometry.n_sites))
    mpo = Mpo(cores, layout.geometry)
    return DisentangledLayer(gates("u"), mpo, gates("v"), *shape, layout.wall_u, layout.wall_v, True)


def _power(matrix: np.ndarray, moment: np.ndarray) -> float:
    """Mean square length of the outputs."""
    return float(np.sum((matrix @ moment) * matrix))


def _mean(entropies: np.ndarray) -> float | None:
    return float(np.mean(entropies)) if len(entropies) else None
