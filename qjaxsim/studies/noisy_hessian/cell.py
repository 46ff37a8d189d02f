"""One cell of the study `noisy-hessian`: train without noise, then curvature under every noise and its shots."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.curvature import count_outliers, exact_zeros, numerical_rank
from qjaxsim.curvature.shifts import MeasuredHessian
from qjaxsim.models.losses import cross_entropy, metrics, sample_losses
from qjaxsim.studies.noisy_hessian.columns import COLUMNS
from qjaxsim.studies.noisy_hessian.examples import Features
from qjaxsim.studies.noisy_hessian.model import loss_hessian, model_of, noisy_values
from qjaxsim.studies.noisy_hessian.settings import NoisyHessianSettings
from qjaxsim.studies.noisy_hessian.shots import Evaluations, energy_hessian, evaluate, loss_errors
from qjaxsim.studies.shared.sharpness import sharpness_arrays
from qjaxsim.studies.shared.sweep import CellResult
from qjaxsim.training import TrainConfig, TrainResult, fit

NONE, LOCAL, GLOBAL = "none", "local", "global"
# Below this share of the largest eigenvalue the others are rounding.
ROUNDING = 1e-9
# Relative error that `shots_max` is for.
RELATIVE = 0.1
# Draws of errors for the edge of what they make of a Hessian of zeros.
DRAWS = 20


class _Noise(NamedTuple):
    """One noise of a row, with the row's strength and signal."""

    name: str
    strength: float
    signal: float

    @property
    def p(self) -> float:
        """Probability after every gate."""
        return self.strength if self.name == LOCAL else 0.0

    @property
    def factor(self) -> float:
        """Of all expectation values."""
        return self.signal if self.name == GLOBAL else 1.0


class _Spectrum(NamedTuple):
    """Eigenvalues (P,), ascending, and their vectors (P, P) in columns."""

    values: np.ndarray
    vectors: np.ndarray


def run_cell(settings: NoisyHessianSettings, seed: int, data: Features, folder: Path, progress: Progress) -> CellResult:
    """Train, or take up the training that `folder` holds, then look at every noise.

    Returns:
        A row a noise, and arrays: "weights" of the training; with an entry for each row "eigenvalues" (M, P) of the
        loss, "energy_eigenvalues" and their standard errors at one shot "energy_stds" (M, P), and "drawn" (M, S, P),
        the energy's eigenvalues in one draw for each number of shots.
    """
    result, along = _trained(settings, seed, data, folder, progress)
    weights = np.asarray(result.params_final["weights"])
    chosen = np.linspace(0, len(data.x) - 1, settings.shot_images).astype(int)
    noises = _noises(settings, weights, data)
    rows: list[dict[str, Any]] = []
    arrays: list[dict[str, np.ndarray]] = []
    spectra: list[_Spectrum] = []
    with progress.bar(f"curvature, seed {seed}", len(noises), compiles=True) as advance:
        for noise in noises:
            row, spectrum = _of_loss(settings, weights, data, noise)
            measured = evaluate(data.x[chosen], data.y[chosen], weights, settings.classes, noise.p, noise.factor)
            shots, energy = _of_shots(settings, data, measured, spectrum)
            named = {"seed": seed, "noise": noise.name, "strength": noise.strength, "signal": noise.signal}
            rows.append({**named, **row, **shots})
            arrays.append({"eigenvalues": spectrum.values, **_energy_arrays(energy, settings.shots, seed)})
            spectra.append(spectrum)
            advance(1)
    for place, row in enumerate(rows):
        row["ratio_max"] = row["lambda_max"] / rows[0]["lambda_max"]
        row["overlap"] = _overlap(spectra[0], spectra[place], settings.classes)
        if row["noise"] == LOCAL:  # its control comes next
            row["overlap_control"] = _overlap(spectra[place + 1], spectra[place], settings.classes)
    stacked = along | {name: np.stack([one[name] for one in arrays]) for name in arrays[0]}
    ordered = [{name: row[name] for name in COLUMNS if name in row} for row in rows]
    return CellResult(ordered, {"weights": weights, **stacked})


def _overlap(one: _Spectrum, other: _Spectrum, count: int) -> float:
    """Of the spaces of so many leading eigenvectors: 1 where they are equal."""
    return float(((one.vectors[:, -count:].T @ other.vectors[:, -count:]) ** 2).sum() / count)


def _noises(settings: NoisyHessianSettings, weights: np.ndarray, data: Features) -> list[_Noise]:
    """None, then for each strength the local noise and its control."""
    outputs = np.asarray(_values(settings, data.x, weights, 0.0))
    found = [_Noise(NONE, 0.0, 1.0)]
    for strength in settings.strengths:
        noisy = np.asarray(_values(settings, data.x, weights, strength))
        signal = float((noisy * outputs).sum() / (outputs * outputs).sum())
        found += [_Noise(name, strength, signal) for name in (LOCAL, GLOBAL)]
    return found


def _trained(
    settings: NoisyHessianSettings, seed: int, data: Features, folder: Path, progress: Progress
) -> tuple[TrainResult, dict[str, np.ndarray]]:
    """The training without noise, and the arrays of its sharpness if that is asked for."""
    model = model_of(settings)
    config = TrainConfig(
        epochs=settings.epochs, batch_size=settings.batch_size, learning_rate=settings.learning_rate, seed=seed
    )
    losses = sample_losses(model)
    result = fit(
        losses,
        model.init(jax.random.key(seed), np.float64),
        data.x,
        data.y,
        config,
        metrics=metrics(model),
        folder=folder / "training",
        resume=True,
        progress=progress,
    )
    if not settings.sharpness:
        return result, {}
    return result, sharpness_arrays(losses, result, data.x, data.y, config, folder, progress)


def _values(settings: NoisyHessianSettings, x: np.ndarray, weights: np.ndarray, p: float) -> jax.Array:
    return noisy_values(settings.layers, settings.classes)({"inputs": x, "weights": weights, "p": np.float64(p)})


def _of_loss(
    settings: NoisyHessianSettings, weights: np.ndarray, data: Features, noise: _Noise
) -> tuple[dict[str, Any], _Spectrum]:
    """Columns of the loss, and the spectrum of its Hessian."""
    scale = settings.scale * noise.factor
    logits = scale * _values(settings, data.x, weights, noise.p)
    run = loss_hessian(settings.layers, settings.classes)
    matrix = np.asarray(run(weights, np.float64(noise.p), np.float64(scale), data.x, data.y))
    values, vectors = np.linalg.eigh(matrix)
    row = {
        "parameters": values.size,
        "train_loss": float(cross_entropy(logits, jax.numpy.asarray(data.y)).mean()),
        "train_accuracy": float((np.asarray(logits).argmax(axis=1) == data.y).mean()),
        "lambda_max": float(values[-1]),
        "lambda_min": float(values[0]),
        "negative": int((values < -ROUNDING * values[-1]).sum()),
        "rank": numerical_rank(values, ROUNDING),
        "dead": exact_zeros(matrix, ROUNDING),
        "outliers": count_outliers(values, settings.classes).number,
    }
    return row, _Spectrum(values, vectors)


def _of_shots(
    settings: NoisyHessianSettings, data: Features, found: Evaluations, spectrum: _Spectrum
) -> tuple[dict[str, Any], MeasuredHessian]:
    """Columns of the errors that shots give, and the energy's Hessian with those of one shot an evaluation."""
    energy = energy_hessian(found)
    values, stds = energy.eigenvalues, energy.eigenvalue_stds
    errors = loss_errors(found, settings.scale, spectrum.vectors[:, [-1, 0]], len(data.x), DRAWS)
    return {
        "evaluations": found.means.shape[1],
        **_shots("", spectrum.values, errors.stds, errors.edge),
        "energy_lambda_max": float(values[-1]),
        "energy_lambda_min": float(values[0]),
        "energy_evaluations": len(energy.values),
        **_shots("energy_", values, stds[[-1, 0]], energy.edge(DRAWS)),
    }, energy


def _shots(prefix: str, values: np.ndarray, stds: np.ndarray, edge: float) -> dict[str, Any]:
    """Columns of errors at one shot, of the largest and of the smallest eigenvalue, and of the shots that they need."""
    top, bottom = values[-1], values[0]
    nothing = ROUNDING * np.abs(values).max()
    found = {
        "std_max": float(stds[0]),
        "std_min": float(stds[1]),
        "edge": edge,
        "shots_max": math.ceil((stds[0] / (RELATIVE * top)) ** 2) if top > nothing else None,
        "shots_sign_min": math.ceil((2 * stds[1] / bottom) ** 2) if bottom < -nothing else None,
        "shots_edge_min": math.ceil((edge / bottom) ** 2) if bottom < -nothing else None,
    }
    return {f"{prefix}{name}": value for name, value in found.items()}


def _energy_arrays(found: MeasuredHessian, shots: Sequence[int], seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Of so many outcomes 1 or -1 how many are -1.
    odds = np.clip((1 - found.values) / 2, 0, 1)
    drawn = [replace(found, values=1 - 2 * rng.binomial(count, odds) / count).eigenvalues for count in shots]
    return {
        "energy_eigenvalues": found.eigenvalues,
        "energy_stds": found.eigenvalue_stds,
        "drawn": np.stack(drawn),
    }
