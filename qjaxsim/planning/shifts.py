"""Parameter-shift rules: derivatives of expectation values from their values at shifted angles. NumPy only, no JAX.

As a function of one angle of one gate, an expectation value is a trigonometric polynomial. Its frequencies are the
differences of those with which the gate's matrix turns: 1 for rotations, 1/2 and 1 for controlled ones. With R of them,
2 R shifted values give the derivative (Wierichs et al. 2022, doi:10.22331/q-2022-03-30-677).
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.inspection import has_free_matrix
from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.operations import Gate
from qjaxsim.planning.layers import written_out

ANGLES = "angles"
# Matrices are sampled at so many angles in [0, 4 pi), which tells multiples of 1/2 below a quarter of it apart.
_SAMPLES = 32


@dataclass(frozen=True, eq=False)
class Shifted:
    """A circuit whose angles are free, and the rules for its derivatives in them.

    Attributes:
        circuit: the same gates with the entries of one parameter `ANGLES` (A,) in place of what depends on parameters.
        angles: what these entries are, expressions of the original parameters.
        shifts: (S, A) what is added to the angles in each shifted run.
        weights: (A, S) of the shifted values in each derivative.
    """

    circuit: Circuit
    angles: tuple[Expression, ...]
    shifts: np.ndarray
    weights: np.ndarray


def shift_rules(circuit: Circuit) -> Shifted:
    """The circuit with free angles and the rule for each.

    Raises:
        ValueError: for a projection, whose outcome's probability divides the values, or a matrix that is a parameter.
    """
    operations = list(written_out(circuit.operations))
    if has_free_matrix(operations):
        raise ValueError("A matrix that is a parameter has no shift rule, so that `shots` must be None for it.")
    if any(isinstance(operation, Projection) for operation in operations):
        raise ValueError("A circuit with projections has no shift rule, so that `shots` must be None for it.")
    free = [
        (operation.name, place, angle)
        for operation in operations
        if isinstance(operation, Gate)
        for place, angle in enumerate(operation.angles)
        if isinstance(angle, Expression)
    ]
    made = Circuit(circuit.n_qubits)
    entries = iter(Parameter(ANGLES, (len(free),)) if free else ())
    for operation in operations:
        made.extend([_freed(operation, entries) if isinstance(operation, Gate) else operation])
    rules = [_rule(frequencies(name, place)) for name, place, _ in free]
    total = sum(len(shifts) for shifts, _ in rules)
    table, weights = np.zeros((total, len(free))), np.zeros((len(free), total))
    start = 0
    for angle, (shifts, factors) in enumerate(rules):
        table[start : start + len(shifts), angle] = shifts
        weights[angle, start : start + len(shifts)] = factors
        start += len(shifts)
    return Shifted(made, tuple(angle for *_, angle in free), table, weights)


def _freed(gate: Gate, entries: Any) -> Gate:
    return Gate(gate.name, gate.qubits, tuple(next(entries) if isinstance(a, Expression) else a for a in gate.angles))


@functools.cache
def frequencies(name: str, place: int) -> tuple[float, ...]:
    """The frequencies of expectation values in one angle of a gate, ascending, without 0.

    >>> frequencies("rx", 0), frequencies("crx", 0), frequencies("delay", 0)
    ((1.0,), (0.5, 1.0), ())
    """
    spec = GATES[name]
    if spec.phases is not None:
        return _differences((2 * np.unique(spec.phases[:, place])).tolist())
    angles = [np.full(_SAMPLES, 0.3 + 0.4 * i) for i in range(spec.n_angles)]
    angles[place] = 4 * np.pi / _SAMPLES * np.arange(_SAMPLES)
    parts = np.fft.fft(spec.matrix(np, *angles), axis=2)
    bins = np.flatnonzero(np.abs(parts).max((0, 1)) > 1e-9)
    return _differences(np.where(bins > _SAMPLES // 2, bins - _SAMPLES, bins).tolist())


def _differences(turning: list[float]) -> tuple[float, ...]:
    """From twice the frequencies of a matrix to those of expectation values."""
    found = {abs(a - b) / 2 for a in turning for b in turning}
    return tuple(sorted(found - {0.0}))


def _rule(found: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Shifts of one angle, and the weights of the values there in the derivative."""
    if not found:
        return np.zeros(0), np.zeros(0)
    shifts = (2 * np.arange(len(found)) + 1) * np.pi / (2 * len(found) * found[0])
    # f'(0) = sum_s b_s (f(s) - f(-s)): each frequency w contributes 2 b_s sin(w s), which must add up to w.
    weights = np.linalg.solve(2 * np.sin(np.outer(found, shifts)), np.array(found))
    return np.concatenate([shifts, -shifts]), np.concatenate([weights, -weights])
