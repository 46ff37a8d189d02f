"""Gates with further controls in front, angles kept as they are."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from qjaxsim.circuits.dense import PAULI
from qjaxsim.circuits.gates import GATES
from qjaxsim.circuits.operations import Gate, Unitary

Constant = Callable[[np.ndarray, Sequence[int], Sequence[int]], list[Any]]

# Gates that have a name with one control more.
_ONE_MORE = {
    "x": "cx", "y": "cy", "z": "cz", "h": "ch", "s": "cs", "sdg": "csdg", "sx": "csx", "swap": "cswap", "cx": "ccx",
    "cz": "ccz", "rx": "crx", "ry": "cry", "rz": "crz", "p": "cp", "u1": "cu1", "u3": "cu3",
}  # fmt: skip
# Gates that are phases in some basis of their qubit.
BY_PHASES = ("x", "z", "p", "u1", "rx", "ry", "rz")
_ONE_LESS = {more: name for name, more in _ONE_MORE.items()}


def controlled(gate: Gate | Unitary, controls: Sequence[int], constant: Constant) -> list[Any]:
    """Operations that do what a gate does where all controls are 1.

    Args:
        gate: what to control.
        controls: qubits, at least one.
        constant: gives the operations for a constant matrix, its qubits and its controls.

    Returns:
        Gates whose angles are multiples of the gate's and differences of them, which may be traced.
    """
    if isinstance(gate, Unitary):
        return constant(gate.matrix, gate.qubits, controls)
    if len(controls) == 1 and gate.name in _ONE_MORE:
        return [Gate(_ONE_MORE[gate.name], (*controls, *gate.qubits), gate.angles)]
    fewer = "p" if gate.name.startswith("mcp") else _ONE_LESS.get(gate.name)
    if fewer is not None:
        width = GATES[fewer].n_qubits
        inner = Gate(fewer, gate.qubits[-width:], gate.angles)
        return controlled(inner, (*controls, *gate.qubits[:-width]), constant)
    if gate.name in BY_PHASES:
        return _by_phases(gate, controls)
    spec = GATES[gate.name]
    if spec.constant is not None:
        return constant(spec.constant, gate.qubits, controls)
    if spec.pauli is not None:
        return _rotation(gate, spec.pauli, controls, constant)
    if gate.name == "global_phase":
        return _each([Gate("p", (controls[-1],), gate.angles)], controls[:-1], constant)
    return _each(_in_rotations(gate), controls, constant)


def _by_phases(gate: Gate, controls: Sequence[int]) -> list[Any]:
    """A gate on one qubit as phases on it and its controls, each a pass over the state, between gates on it."""
    (target,) = gate.qubits
    (angle,) = gate.angles or (math.pi,)
    turned = {"x": ("h",), "rx": ("h",), "ry": ("sdg", "h")}.get(gate.name, ())
    back = [Gate({"sdg": "s"}.get(name, name), (target,)) for name in reversed(turned)]
    phases = [_phase(angle, (*controls, target))]
    if gate.name in ("rx", "ry", "rz"):  # phases of half the angle on 0 and on 1, not of the whole on 1
        phases.append(_phase(-angle / 2, controls))
    return [*(Gate(name, (target,)) for name in turned), *phases, *back]


def _phase(angle: Any, qubits: Sequence[int]) -> Gate:
    return Gate("cp" if len(qubits) == 2 else f"mcp{len(qubits) - 1}", tuple(qubits), (angle,))


def _each(gates: Sequence[Gate], controls: Sequence[int], constant: Constant) -> list[Any]:
    if not controls:
        return list(gates)
    return [each for gate in gates for each in controlled(gate, controls, constant)]


def _rotation(gate: Gate, label: str, controls: Sequence[int], constant: Constant) -> list[Any]:
    """A P with A anticommuting with P turns the rotation's second half round, so that without A the halves cancel."""
    (angle,) = gate.angles
    flip = constant(PAULI["Z" if label[0] == "X" else "X"], gate.qubits[:1], controls)
    halves = [Gate(gate.name, gate.qubits, (angle / 2,)), Gate(gate.name, gate.qubits, (-angle / 2,))]
    return [halves[0], *flip, halves[1], *flip]


def _in_rotations(gate: Gate) -> list[Gate]:
    """A gate as rotations and a global phase, which are controlled one by one."""
    qubits, angles = gate.qubits, gate.angles
    if gate.name in ("u2", "u3"):
        theta, phi, lam = (math.pi / 2, *angles) if gate.name == "u2" else angles
        phase = Gate("global_phase", (), ((phi + lam) / 2,))
        return [Gate("rz", qubits, (lam,)), Gate("ry", qubits, (theta,)), Gate("rz", qubits, (phi,)), phase]
    assert gate.name == "xx_plus_yy"  # the last of the names that reading makes
    theta, beta = angles
    middle = [Gate("rxx", qubits, (theta / 2,)), Gate("ryy", qubits, (theta / 2,))]
    return [Gate("rz", qubits[:1], (beta,)), *middle, Gate("rz", qubits[:1], (-beta,))]
