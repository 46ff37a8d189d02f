"""X and rotations under several controls, written with phases, which cost a pass over the state each.

Qiskit's own definitions are for devices: up to hundreds of gates on two qubits.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def plain_controls(operation: Any) -> Any:
    """An annotated operation that is a standard gate under controls alone as Qiskit's gate of that kind, else None."""
    from qiskit.circuit import ControlModifier
    from qiskit.circuit.library import HGate, PhaseGate, RXGate, RYGate, RZGate, SwapGate, UGate, XGate, YGate, ZGate

    base, modifiers = operation.base_op, operation.modifiers
    known = (HGate, PhaseGate, RXGate, RYGate, RZGate, SwapGate, UGate, XGate, YGate, ZGate)
    controls_alone = all(isinstance(modifier, ControlModifier) for modifier in modifiers)
    if not controls_alone or getattr(base, "base_class", None) not in known:
        return None
    count, pattern = 0, 0
    for modifier in modifiers:  # the later ones' controls come first
        pattern = pattern << modifier.num_ctrl_qubits | modifier.ctrl_state
        count += modifier.num_ctrl_qubits
    return base.control(count, ctrl_state=pattern, annotated=False) if count else base


def by_phases(operation: Any) -> "QuantumCircuit | None":
    """A gate under several controls in phases and a few gates on its target; None for other operations.

    Args:
        operation: Qiskit's; of those that it makes, an X, RX, RY, RZ or U under two controls or more, open ones too.
    """
    from qiskit import QuantumCircuit

    if (add := _builder(operation)) is None:
        return None
    out = QuantumCircuit(operation.num_qubits)
    # Bit i of the pattern belongs to control i.
    opened = [i for i in range(operation.num_ctrl_qubits) if not operation.ctrl_state >> i & 1]
    if opened:
        out.x(opened)
    add(out, *operation.params)
    if opened:
        out.x(opened)
    return out


def _builder(operation: Any) -> Callable[..., None] | None:
    """What adds the gate's base on the last qubit, under controls on all others."""
    from qiskit.circuit import ControlledGate
    from qiskit.circuit.library import MCXGate, RXGate, RYGate, RZGate, UGate

    kind = getattr(operation, "base_class", None)
    if kind is MCXGate:
        return _x
    if kind is not ControlledGate:
        return None
    builders: dict[type, Callable[..., None]] = {RXGate: _rx, RYGate: _ry, RZGate: _rz, UGate: _u}
    builder = builders.get(type(operation.base_gate))
    return builder if builder and _is_qiskits(operation) else None


def _is_qiskits(operation: Any) -> bool:
    """Whether it is what Qiskit makes of its base: anybody can make a ControlledGate with a definition of their own."""
    made = operation.base_gate.control(operation.num_ctrl_qubits, ctrl_state=operation.ctrl_state, annotated=False)
    return bool(operation == made)


def _x(out: "QuantumCircuit") -> None:
    """X on the last qubit where all others are 1."""
    *controls, target = range(out.num_qubits)
    out.h(target)
    out.mcp(math.pi, controls, target)
    out.h(target)


def _rz(out: "QuantumCircuit", angle: Any) -> None:
    *controls, target = range(out.num_qubits)
    # diag(exp(-i angle / 2), exp(i angle / 2)) is a phase of the angle on 1 after one of -angle / 2 on both.
    out.mcp(angle, controls, target)
    out.mcp(-angle / 2, controls[:-1], controls[-1])


def _rx(out: "QuantumCircuit", angle: Any) -> None:
    target = out.num_qubits - 1
    out.h(target)
    _rz(out, angle)
    out.h(target)


def _ry(out: "QuantumCircuit", angle: Any) -> None:
    target = out.num_qubits - 1
    out.sdg(target)
    _rx(out, angle)
    out.s(target)


def _u(out: "QuantumCircuit", theta: Any, phi: Any, lam: Any) -> None:
    *controls, _ = range(out.num_qubits)
    # U(theta, phi, lam) = exp(i (phi + lam) / 2) RZ(phi) RY(theta) RZ(lam)
    _rz(out, lam)
    _ry(out, theta)
    _rz(out, phi)
    out.mcp((phi + lam) / 2, controls[:-1], controls[-1])
