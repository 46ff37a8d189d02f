"""Qiskit's circuits in rotations of one angle each, as shift rules take them, and derivatives of these angles."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.definitions import inlined

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter, ParameterExpression

# Rotations exp(-i angle P / 2), whose expectation values obey the two-term shift rule, and what needs no rule.
_ROTATIONS = ("rx", "ry", "rz")
_BASIS = (*_ROTATIONS, "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "cx", "cz", "swap")

Values = Mapping["Parameter", float]


def rotations_of(circuit: "QuantumCircuit") -> dict["Parameter", int]:
    """How many rotations each parameter takes part in after Qiskit has lowered the circuit."""
    found = dict.fromkeys(circuit.parameters, 0)
    for instruction in _in_rotations(circuit).data:
        for parameter in _free(instruction.operation.params):
            found[parameter] += 1
    return found


def one_parameter_a_rotation(
    circuit: "QuantumCircuit", values: Values, chosen: set["Parameter"]
) -> tuple["QuantumCircuit", dict["Parameter", "ParameterExpression"]]:
    """The circuit with a parameter of its own in each rotation that `chosen` takes part in, and those angles.

    Args:
        circuit: without measurements.
        values: a number for every parameter; those of other rotations are put in.
        chosen: parameters that will be shifted.

    Raises:
        ValueError: if Qiskit leaves an angle in a gate other than RX, RY, RZ.
    """
    from qiskit.circuit import Parameter

    lowered = _in_rotations(circuit)
    out, angles = lowered.copy_empty_like(), {}
    out.global_phase = 0
    number = itertools.count()
    for instruction in lowered.data:
        operation = instruction.operation
        if free := _free(operation.params):
            if operation.name not in _ROTATIONS:
                raise ValueError(
                    f"The shift rule needs angles in RX, RY and RZ alone, but Qiskit left {operation.name}."
                )
            (angle,) = operation.params
            if free & chosen:
                own = Parameter(f"_angle{next(number)}")
                angles[own] = angle
            operation = type(operation)(own if free & chosen else bound(angle, values))
        out.append(operation, instruction.qubits, instruction.clbits)
    return out, angles


def bound(angle: Any, values: Values) -> float:
    """The number that an angle, or a derivative of one, is at some values."""
    free = _free([angle])
    return float(angle.bind({parameter: values[parameter] for parameter in free}) if free else angle)


def slope(angle: Any, parameter: "Parameter", way_out: str) -> Any:
    """The derivative of an angle in a parameter, a number or an expression.

    Args:
        angle: an expression, or a number.
        parameter: in which.
        way_out: what to do where Qiskit has none, as an imperative.

    Raises:
        ValueError: naming the angle.
    """
    if parameter not in _free([angle]):
        return 0.0
    try:
        return angle.gradient(parameter)
    except RuntimeError as error:
        raise ValueError(
            f"The parameter-shift rule needs derivatives of angles, but Qiskit has none of {angle}; {way_out}."
        ) from error


def _in_rotations(circuit: "QuantumCircuit") -> "QuantumCircuit":
    from qiskit import transpile

    return transpile(inlined(circuit), basis_gates=list(_BASIS), optimization_level=0)


def _free(angles: Sequence[Any]) -> set["Parameter"]:
    return {parameter for angle in angles for parameter in getattr(angle, "parameters", ())}
