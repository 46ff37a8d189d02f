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
_ONE_LESS = {more: name for name, more in _ONE_MORE.items() if GATES[name].n_angles}


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
    spec = GATES[gate.name]
    if spec.constant is not None:
        return constant(spec.constant, gate.qubits, controls)
    if gate.name in _ONE_LESS:
        inner = Gate(_ONE_LESS[gate.name], gate.qubits[1:], gate.angles)
        return controlled(inner, (*controls, gate.qubits[0]), constant)
    if spec.pauli is not None:
        return _rotation(gate, spec.pauli, controls, constant)
    if gate.name == "global_phase":
        return _each([Gate("p", (controls[-1],), gate.angles)], controls[:-1], constant)
    return _each(_in_rotations(gate), controls, constant)


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
    if gate.name in ("p", "u1"):
        return [Gate("rz", qubits, angles), Gate("global_phase", (), (angles[0] / 2,))]
    if gate.name in ("u2", "u3"):
        theta, phi, lam = (math.pi / 2, *angles) if gate.name == "u2" else angles
        phase = Gate("global_phase", (), ((phi + lam) / 2,))
        return [Gate("rz", qubits, (lam,)), Gate("ry", qubits, (theta,)), Gate("rz", qubits, (phi,)), phase]
    assert gate.name == "xx_plus_yy"  # the last of the names that reading makes
    theta, beta = angles
    middle = [Gate("rxx", qubits, (theta / 2,)), Gate("ryy", qubits, (theta / 2,))]
    return [Gate("rz", qubits[:1], (beta,)), *middle, Gate("rz", qubits[:1], (-beta,))]
