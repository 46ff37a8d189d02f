"""One cell of the study `gauss-newton-transition`: descend to all targets, then split the Hessian at each."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.curvature import split_hessian
from qjaxsim.studies.gauss_newton_transition.decay import fit_decay
from qjaxsim.studies.gauss_newton_transition.model import Energy, Problem, descend, problem_of
from qjaxsim.studies.gauss_newton_transition.settings import TransitionSettings
from qjaxsim.studies.shared.sweep import CellResult

EXPONENTIAL, POWER = "exponential", "power"
# Eigenvalues below this share of the largest of H are taken for zeros.
NEGLIGIBLE = 1e-6


def run_cell(
    settings: TransitionSettings, progress: Progress, *, seed: int, angles: int, learning_rate: float
) -> CellResult:
    """Descend and look at what is left.

    Returns:
        A row a target, and arrays with an entry for each row: "errors" (T, steps + 1), "hessian", "gauss_newton" and
        "residual" (T, P), eigenvalues, ascending.
    """
    problem = problem_of(settings.qubits, angles, seed)
    targets = problem.least + np.array(settings.targets)
    with progress.bar(f"{angles} angles, seed {seed}", 1 + len(targets), compiles=True) as advance:
        last, met = _descended(settings, problem, targets, learning_rate)
        advance(1)
        # A model with one sample: its input are the fixed matrices, its target is O0.
        x = {name: matrix[None] for name, matrix in problem.fixed.items()}
        outputs = _outputs(problem.energy)
        splits = []
        for place, target in enumerate(targets):
            splits.append(split_hessian(outputs, _loss, last[place], x, np.array([target])))
            advance(1)
    errors = np.abs(met.T - np.maximum(targets, problem.least)[:, None])
    spectra = {
        name: np.stack([np.linalg.eigvalsh(getattr(split, name)) for split in splits])
        for name in ("hessian", "gauss_newton", "residual")
    }
    rows = []
    for place, target in enumerate(settings.targets):
        named = {"seed": seed, "angles": angles, "learning_rate": learning_rate, "target": target}
        own = {name: values[place] for name, values in spectra.items()}
        rows.append({**named, **_of_descent(errors[place]), **_of_curvature(own)})
    return CellResult(rows, {"errors": errors, **spectra})


def _descended(
    settings: TransitionSettings, problem: Problem, targets: np.ndarray, rate: float
) -> tuple[np.ndarray, np.ndarray]:
    last, met = descend(problem.energy, problem.fixed, problem.start, targets, rate, settings.steps)
    return np.asarray(last), np.asarray(met)


@cache
def _outputs(energy: Energy) -> Callable[[jax.Array, dict[str, jax.Array]], jax.Array]:
    """<O> as outputs (B, 1) of a model; the same function for the same circuit, so that it is compiled once."""
    return lambda weights, x: energy({"weights": weights, **x})[:, None]


def _loss(z: jax.Array, y: jax.Array) -> jax.Array:
    return (z[:, 0] - y) ** 2 / 2


def _of_descent(errors: np.ndarray) -> dict[str, Any]:
    steps, decay = errors.size - 1, fit_decay(errors)
    found = {} if decay is None else {**decay._asdict(), "decay": EXPONENTIAL if decay.is_exponential else POWER}
    empty = dict.fromkeys(("rate", "exponent", "exponential_misfit", "power_misfit", "decay"))
    return {
        "error": float(errors[-1]),
        "error_quarter": float(errors[steps // 4]),
        "error_half": float(errors[steps // 2]),
        **empty,
        **found,
    }


def _of_curvature(spectra: dict[str, np.ndarray]) -> dict[str, Any]:
    whole, first, second = (spectra[name] for name in ("hessian", "gauss_newton", "residual"))
    size = np.abs(whole).max()
    norms = np.linalg.norm(first), np.linalg.norm(second)
    return {
        "hessian_max": float(whole[-1]),
        "gauss_newton_max": float(first[-1]),
        "residual_max": float(second[-1]),
        "residual_share": float(norms[1] / sum(norms)),
        "gauss_newton_rank": int((np.abs(first) > NEGLIGIBLE * size).sum()),
        "residual_rank": int((np.abs(second) > NEGLIGIBLE * size).sum()),
        "slowest": float(whole[whole > NEGLIGIBLE * size].min(initial=size)),
    }
