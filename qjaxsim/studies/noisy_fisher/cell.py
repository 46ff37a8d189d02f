"""One cell of the study `noisy-fisher`: all matrices of a circuit with so many layers, at all angles and strengths."""

from typing import Any, NamedTuple

import numpy as np
import optax

from qjaxsim.common.progress import Progress
from qjaxsim.common.words import counted
from qjaxsim.curvature import numerical_rank
from qjaxsim.running.array_types import to_jax
from qjaxsim.studies.noisy_fisher.model import mixed_with_identity, noiseless_energy, noisy_matrices, weight_of
from qjaxsim.studies.noisy_fisher.settings import NoisyFisherSettings
from qjaxsim.studies.shared.descent import Descent, refined
from qjaxsim.studies.shared.sweep import CellResult

NONE, LOCAL, GLOBAL = "none", "local", "global"
RANDOM, MINIMUM = "random", "minimum"
# What Newton's steps leave of a Hessian's zeros, over the largest.
HESSIAN_TOLERANCE = 1e-6
# A share of the largest eigenvalue that a measurement may tell from nothing.
COARSE = 1e-2


class _Taken(NamedTuple):
    """What is taken of one state."""

    purity: float
    weight: float | None
    energy: float
    fisher: np.ndarray
    hessian: np.ndarray


def run_cell(settings: NoisyFisherSettings, layers: int, progress: Progress) -> CellResult:
    """A row for each point, seed and noise, and arrays.

    Returns:
        Rows, and "angles" (points, M), random ones of all seeds, then minima; with an entry for each row "fisher" and
        "hessian" (rows, M), eigenvalues in ascending order.
    """
    with progress.bar(counted(layers, "layer"), 2, compiles=True) as advance:
        starts = np.stack(
            [np.random.default_rng([seed, layers]).uniform(0, np.pi, 2 * layers) for seed in settings.seeds]
        )
        points = np.concatenate([starts, _minima(settings, layers, starts)])
        advance(1)
        strengths = np.array([0.0, *settings.strengths])
        taken = noisy_matrices(settings.qubits, layers)(to_jax(points), to_jax(strengths))
        found = {name: np.asarray(value) for name, value in taken.items()}
        advance(1)
    rows: list[dict[str, Any]] = []
    spectra: list[tuple[np.ndarray, np.ndarray]] = []
    for place in range(len(points)):
        first = None
        for (noise, strength), one in _all_noises(settings, found, place):
            eigenvalues = np.linalg.eigvalsh(one.fisher), np.linalg.eigvalsh(one.hessian)
            first = first or eigenvalues
            point, seed = divmod(place, len(settings.seeds))
            rows.append(
                {
                    "layers": layers,
                    "angles": 2 * layers,
                    "point": (RANDOM, MINIMUM)[point],
                    "seed": settings.seeds[seed],
                    "noise": noise,
                    "strength": strength,
                    "purity": one.purity,
                    "weight": one.weight,
                    **_of_fisher(eigenvalues[0], first[0], settings.tolerance),
                    "energy": one.energy,
                    **_of_hessian(eigenvalues[1], first[1], settings.tolerance, at_minimum=point == 1),
                }
            )
            spectra.append(eigenvalues)
    fisher, hessian = (np.stack(both) for both in zip(*spectra, strict=True))
    return CellResult(rows, {"angles": points, "fisher": fisher, "hessian": hessian})


def _minima(settings: NoisyFisherSettings, layers: int, starts: np.ndarray) -> np.ndarray:
    """Of the energy without noise, from starts (S, M)."""
    energy = noiseless_energy(settings.qubits, layers)
    descent = Descent(energy, optax.adam(settings.learning_rate))
    points = to_jax(starts)
    points, _, _ = descent.run(points, descent.begin(points), settings.steps)
    return np.stack([refined(energy, point)[0] for point in np.asarray(points)])


def _all_noises(
    settings: NoisyFisherSettings, found: dict[str, np.ndarray], place: int
) -> list[tuple[tuple[str, float], _Taken]]:
    """None, then for each strength the local noise and its control."""
    local = [
        _Taken(float(purity), None, float(energy), fisher, hessian)
        for purity, energy, fisher, hessian in zip(
            *(found[name][place] for name in ("purity", "energy", "fisher", "hessian")), strict=True
        )
    ]
    pure, dimension = local[0], 2**settings.qubits
    out = [((NONE, 0.0), pure)]
    for strength, one in zip(settings.strengths, local[1:], strict=True):
        weight = weight_of(one.purity, dimension)
        factor = mixed_with_identity(weight, dimension)
        # The energy has no trace, so that the identity adds nothing to it.
        control = _Taken(one.purity, weight, weight * pure.energy, factor * pure.fisher, weight * pure.hessian)
        out += [((LOCAL, strength), one), ((GLOBAL, strength), control)]
    return out


def _of_fisher(values: np.ndarray, noiseless: np.ndarray, tolerance: float) -> dict[str, Any]:
    """Columns of the QFIM from its eigenvalues, ascending, and those without noise."""
    rank = numerical_rank(noiseless, tolerance)
    return {
        "rank": numerical_rank(values, tolerance),
        "rank_strict": numerical_rank(values, 1e-3 * tolerance),
        "rank_loose": numerical_rank(values, 1e3 * tolerance),
        "rank_coarse": numerical_rank(values, COARSE),
        "largest": float(values[-1]),
        "kept": float(values[-rank]),
        "turned_on": float(values[-rank - 1]) if rank < len(values) else None,
        "smallest": float(values[0]),
    }


def _of_hessian(values: np.ndarray, noiseless: np.ndarray, tolerance: float, at_minimum: bool) -> dict[str, Any]:
    """Columns of the Hessian likewise."""
    tolerance = max(tolerance, HESSIAN_TOLERANCE) if at_minimum else tolerance
    sizes, rank = np.sort(np.abs(values))[::-1], numerical_rank(noiseless, tolerance)
    return {
        "hessian_rank": numerical_rank(values, tolerance),
        "hessian_max": float(values[-1]),
        "hessian_min": float(values[0]),
        "hessian_negative": int((values < -tolerance * sizes[0]).sum()),
        "hessian_turned_on": float(sizes[rank]) if at_minimum and rank < len(values) else None,
    }
