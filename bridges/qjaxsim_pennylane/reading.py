"""PennyLane's operations as ours, by class, and by decomposition or matrix where the class has no counterpart."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from autograd.tracer import isbox

from qjaxsim.circuits.measurements import Projection
from qjaxsim.circuits.operations import Gate, Unitary
from qjaxsim_pennylane.channels import read_channel
from qjaxsim_pennylane.controls import BY_PHASES, controlled
from qjaxsim_pennylane.symbols import plain

# Controlled operations on more qubits are taken apart: their matrices would be larger than all of their gates.
_MATRIX_QUBITS = 6

_NAMES: dict[type, str] = {
    qml.PauliX: "x", qml.PauliY: "y", qml.PauliZ: "z", qml.Hadamard: "h", qml.S: "s", qml.T: "t", qml.SX: "sx",
    qml.CNOT: "cx", qml.CY: "cy", qml.CZ: "cz", qml.CH: "ch", qml.SWAP: "swap", qml.ISWAP: "iswap", qml.ECR: "ecr",
    qml.Toffoli: "ccx", qml.CCZ: "ccz", qml.CSWAP: "cswap", qml.RX: "rx", qml.RY: "ry", qml.RZ: "rz",
    qml.PhaseShift: "p", qml.U1: "u1", qml.U2: "u2", qml.U3: "u3", qml.CRX: "crx", qml.CRY: "cry", qml.CRZ: "crz",
    qml.ControlledPhaseShift: "cp", qml.IsingXX: "rxx", qml.IsingYY: "ryy", qml.IsingZZ: "rzz",
}  # fmt: skip
_NOTHING = (qml.Identity, qml.Barrier, qml.Snapshot, qml.WireCut)


def _rot(angles: Sequence[Any], qubits: tuple[int, ...], prefix: str = "") -> list[Gate]:
    return [Gate(f"{prefix}{name}", qubits, (a,)) for name, a in zip(("rz", "ry", "rz"), angles, strict=True)]


def _fermionic_swap(angles: Sequence[Any], qubits: tuple[int, ...]) -> list[Gate]:
    phases = [Gate("p", (qubit,), (angles[0] / 2,)) for qubit in qubits]
    return [Gate("xx_plus_yy", qubits, (angles[0], 0.0)), *phases]


# Classes whose conventions differ from those of our gates, or whose decomposition takes real angles through complex
# numbers, where nothing follows them.
_RULES: dict[type, Callable[[Sequence[Any], tuple[int, ...]], list[Gate]]] = {
    qml.GlobalPhase: lambda angles, qubits: [Gate("global_phase", (), (-angles[0],))],
    qml.Rot: _rot,
    qml.CRot: lambda angles, qubits: _rot(angles, qubits, "c"),
    qml.IsingXY: lambda angles, qubits: [Gate("xx_plus_yy", qubits, (-angles[0], 0.0))],
    qml.SingleExcitation: lambda angles, qubits: [Gate("xx_plus_yy", qubits, (angles[0], -math.pi / 2))],
    qml.FermionicSWAP: _fermionic_swap,
}


def _double_excitation(sign: int) -> Callable[[Any], list[Any]]:
    """`DoubleExcitation` with the phase `sign` times half the angle on all states that it leaves alone."""

    def parts(operation: Any) -> list[Any]:
        a, b, c, d = operation.wires
        (angle,) = operation.data
        # Takes |0011> and |1100> to the states whose b is 0, whose d is 0 and whose c is 1.
        gather = [qml.CNOT([a, b]), qml.CNOT([c, d]), qml.CNOT([a, c])]
        back = qml.ctrl(qml.PhaseShift(-sign * angle / 2, c), [b, d], control_values=[0, 0])
        phases = [qml.GlobalPhase(-sign * angle / 2), *gather, back, *gather[::-1]]
        return [qml.DoubleExcitation(angle, operation.wires), *phases]

    return parts


# Classes that PennyLane itself does not take apart into gates with angles.
_APART: dict[type, Callable[[Any], list[Any]]] = {
    qml.DoubleExcitationPlus: _double_excitation(1),
    qml.DoubleExcitationMinus: _double_excitation(-1),
}


class Reader:
    """Reads PennyLane's operations on some wires.

    Args:
        qubits: our qubit for each wire.
    """

    def __init__(self, qubits: Mapping[Any, int]):
        self._qubits = qubits

    def read(self, operation: Any, where: str) -> list[Any]:
        """Our operations in time order, whose angles may be traced by autograd.

        Args:
            operation: PennyLane's.
            where: what it is part of, for messages.

        Raises:
            ValueError: for what is neither a unitary gate nor a channel, or has a batch of parameters.
        """
        _refuse(operation, where)
        kind, qubits = type(operation), tuple(self._qubits[wire] for wire in operation.wires)
        if kind in _NAMES:
            return [Gate(_NAMES[kind], qubits, tuple(operation.data))]
        if kind in _RULES:
            return list(_RULES[kind](operation.data, qubits))
        if isinstance(operation, _NOTHING):
            return []
        if isinstance(operation, qml.ops.MidMeasure):
            reset = [Gate("x", qubits)] if operation.reset and operation.postselect else []
            return [Projection(qubits[0], operation.postselect), *reset]
        if isinstance(operation, qml.operation.Channel):
            return list(read_channel(operation, qubits, where))
        if kind is qml.QubitUnitary:
            return [self._matrix(operation, qubits, where)]
        if isinstance(operation, qml.ops.Adjoint):
            return [each.inverse() for each in reversed(self.read(operation.base, where))]
        if isinstance(operation, qml.ops.Controlled):
            return self._controlled(operation, qubits, where)
        return self._taken_apart(operation, qubits, where)

    def _taken_apart(self, operation: Any, qubits: tuple[int, ...], where: str) -> list[Any]:
        if isinstance(operation, qml.ops.Evolution) and len(operation.base.pauli_rep or ()) == 1:
            return self.read(_pauli_rotation(operation), where)
        if isinstance(operation, qml.ops.Pow) and isinstance(operation.base, qml.ops.Exp):
            return self.read(operation.base.pow(operation.z), where)  # which PennyLane's own decomposition gets wrong
        if type(operation) in _APART and any(map(isbox, operation.data)):
            return [each for part in _APART[type(operation)](operation) for each in self.read(part, where)]
        if operation.has_decomposition:
            return [each for part in _parts(operation, where) for each in self.read(part, where)]
        if isinstance(operation, qml.ops.Pow) and isinstance(operation.z, int):
            gates = self.read(operation.base, where) * abs(operation.z)
            return gates if operation.z >= 0 else [each.inverse() for each in reversed(gates)]
        if operation.has_matrix:
            return [self._matrix(operation, qubits, where)]
        raise ValueError(f"{where} has neither a decomposition nor a matrix ({operation.name}); write it in gates.")

    def _controlled(self, operation: Any, qubits: tuple[int, ...], where: str) -> list[Any]:
        """Phases; a matrix where it is small and constant; else the gates of the base, controlled one by one."""
        by_phases = len(qubits) > 3 and _NAMES.get(type(operation.base)) in BY_PHASES
        if not by_phases and not any(map(isbox, operation.data)):
            if len(qubits) <= _MATRIX_QUBITS and operation.has_matrix:
                return [self._matrix(operation, qubits, where)]
            if operation.has_decomposition:
                return self._taken_apart(operation, qubits, where)
        controls = [self._qubits[wire] for wire in operation.control_wires]
        open_ones = [
            Gate("x", (qubit,)) for qubit, value in zip(controls, operation.control_values, strict=True) if not value
        ]
        gates = self.read(operation.base, where)
        if not all(isinstance(gate, Gate | Unitary) for gate in gates):
            raise ValueError(f"{where} has noise or measures under a control, which no circuit here does; remove it.")
        inner = [each for gate in gates for each in controlled(gate, controls, self._constant)]
        return [*open_ones, *inner, *open_ones]

    def _constant(self, matrix: np.ndarray, qubits: Sequence[int], controls: Sequence[int]) -> list[Any]:
        """A constant matrix under controls."""
        wires = {qubit: wire for wire, qubit in self._qubits.items()}
        target = [wires[qubit] for qubit in qubits]
        operation = qml.ctrl(qml.QubitUnitary(matrix, target), [wires[qubit] for qubit in controls])
        return self.read(operation, "A controlled gate")

    def _matrix(self, operation: Any, qubits: tuple[int, ...], where: str) -> Unitary:
        if any(map(isbox, operation.data)):
            evolution = isinstance(operation, qml.ops.Exp)
            raise ValueError(
                f"{where} depends on parameters by a matrix ({operation.name}), not by angles of gates; "
                f"{'take it apart by qml.TrotterProduct, or ' if evolution else ''}keep it constant, as by "
                'parameters="constant" or without its numbers in `trainable_params`.'
            )
        matrix = plain(operation.matrix(wire_order=operation.wires)).astype(complex)
        error = np.abs(matrix @ matrix.conj().T - np.eye(len(matrix))).max()
        if not error < 1e-6:
            raise ValueError(f"{where} must be unitary ({operation.name}), but differs from it by {error:.2g}.")
        return Unitary(matrix, qubits, operation.name)


def _parts(operation: Any, where: str) -> Sequence[Any]:
    try:
        parts: Sequence[Any] = list(operation.decomposition())
    except Exception as error:  # anybody's code
        raise ValueError(f"{where} cannot be decomposed ({operation.name}): {error}") from error
    return parts


def _pauli_rotation(evolution: Any) -> Any:
    """The evolution exp(-i x G) under a multiple G of a Pauli word."""
    ((word, factor),) = evolution.base.pauli_rep.items()
    angle = qml.math.real(factor) * evolution.param
    if not word:
        return qml.GlobalPhase(angle)
    return qml.PauliRot(2 * angle, "".join(word.values()), wires=list(word))


def _refuse(operation: Any, where: str) -> None:
    """Raise for what no circuit here can do."""
    free = isinstance(operation, qml.ops.MidMeasure) and operation.postselect is None
    if free or isinstance(operation, qml.ops.Conditional | qml.ops.PauliMeasure):
        raise ValueError(
            f"{where} measures in the middle of the circuit or depends on it ({operation.name}); apply "
            "qml.defer_measurements first, or postselect an outcome."
        )
    if getattr(operation, "batch_size", None) is not None:
        raise ValueError(
            f"{where} has a batch of parameters ({operation.name}); give one sample here, and batch axes on calling."
        )
