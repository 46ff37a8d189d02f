"""One cell of the study `lie-variance`: draws of an expectation value at every depth."""

from typing import Any

import numpy as np

from qjaxsim.common.progress import Progress
from qjaxsim.running.simulate import expectation
from qjaxsim.studies.lie_variance.circuits import OBSERVABLE, circuit_of, closed_form, theory
from qjaxsim.studies.lie_variance.settings import CIRCUITS, LieVarianceSettings
from qjaxsim.studies.shared.sweep import CellResult

# Draws whose states are held at once.
_CHUNK = 500


def run_cell(settings: LieVarianceSettings, progress: Progress, *, circuit: str, qubits: int, seed: int) -> CellResult:
    """Draw angles and look at the scatter of <X_0>.

    Returns:
        A row a depth, and the array "values" (depths, draws) of <X_0>.
    """
    known = theory(circuit, qubits)
    named: dict[str, Any] = {"circuit": circuit, "qubits": qubits, "seed": seed}
    expected = {**known._asdict(), "predicted": known.variance, "closed_form": closed_form(circuit, qubits)}
    rows, values = [], []
    with progress.bar(f"{circuit}, {qubits} qubits, seed {seed}", len(settings.depths), compiles=True) as advance:
        for depth in settings.depths:
            rng = np.random.default_rng([seed, CIRCUITS.index(circuit), qubits, depth])
            found = drawn_values(circuit, qubits, depth, settings.draws, rng)
            moments = moments_of(found)
            deviation = (moments["variance"] - known.variance) / moments["variance_error"]
            rows.append({**named, "depth": depth, "draws": found.size, **moments, **expected, "deviation": deviation})
            values.append(found)
            advance(1)
    return CellResult(rows, {"values": np.stack(values)})


def drawn_values(circuit: str, qubits: int, depth: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """<X_0> (draws,) at angles within +-pi."""
    built = circuit_of(circuit, qubits, depth)
    value = expectation(built, OBSERVABLE)
    parts = []
    for begin in range(0, draws, _CHUNK):
        count = min(_CHUNK, draws - begin)
        angles = {
            name: rng.uniform(-np.pi, np.pi, (count, *shape)).astype(np.float32)
            for name, shape in built.parameters.items()
        }
        parts.append(np.asarray(value(angles), np.float64))
    return np.concatenate(parts)


def moments_of(values: np.ndarray) -> dict[str, float]:
    """Mean and variance of (N,) numbers with their standard errors.

    >>> moments_of(np.array([-1.0, 1.0, -1.0, 1.0]))["variance"]
    1.3333333333333333
    """
    centred = values - values.mean()
    variance = float(centred @ centred / (values.size - 1))
    fourth = float((centred**4).mean())
    return {
        "mean": float(values.mean()),
        "mean_error": float(np.sqrt(variance / values.size)),
        "variance": variance,
        "variance_error": float(np.sqrt(max(fourth - variance**2, 0) / values.size)),
    }
