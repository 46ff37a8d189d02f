"""One cell of the study `lie-variance`: draws of an expectation value at every depth."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.common.progress import Progress
from qjaxsim.common.words import counted
from qjaxsim.running.simulate import expectation, statevector
from qjaxsim.studies.lie_variance.circuits import OBSERVABLE, closed_form, layer_of, plus, theory
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
    depths = sorted(settings.depths)
    rng = np.random.default_rng([seed, CIRCUITS.index(circuit), qubits])
    with progress.bar(f"{circuit}, {counted(qubits, 'qubit')}, seed {seed}", settings.draws, compiles=True) as advance:
        parts = []
        for begin in range(0, settings.draws, _CHUNK):
            count = min(_CHUNK, settings.draws - begin)
            parts.append(drawn_values(circuit, qubits, depths, count, rng))
            advance(count)
    values = np.concatenate(parts, axis=1)
    rows = []
    for depth, found in zip(depths, values, strict=True):
        moments = moments_of(found)
        deviation = (moments["variance"] - known.variance) / moments["variance_error"]
        rows.append({**named, "depth": depth, "draws": found.size, **moments, **expected, "deviation": deviation})
    return CellResult(rows, {"values": values})


def drawn_values(circuit: str, qubits: int, depths: Sequence[int], count: int, rng: np.random.Generator) -> np.ndarray:
    """<X_0> (depths, count) after so many layers, ascending, of the same draws of angles within +-pi."""
    shapes = layer_of(circuit, qubits).parameters
    run, read = _programs(circuit, qubits)
    states: Any = np.broadcast_to(plus(qubits), (count, 2**qubits)).astype(np.complex64)
    values = []
    for depth in range(1, depths[-1] + 1):
        angles = {name: rng.uniform(-np.pi, np.pi, (count, *shape)) for name, shape in sorted(shapes.items())}
        states = run({name: each.astype(np.float32) for name, each in angles.items()}, initial=states)
        if depth in depths:
            values.append(np.asarray(read({}, initial=states), np.float64))
    return np.stack(values)


@cache
def _programs(circuit: str, qubits: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """What a layer makes of states, and the observable's value in them."""
    return statevector(layer_of(circuit, qubits)), expectation(Circuit(qubits), OBSERVABLE)


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
