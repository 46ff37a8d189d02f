"""A circuit of PennyLane's operations, whose angles are numbers or expressions of the parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.methods import checked_channel
from qjaxsim.circuits.operations import Channel, Gate
from qjaxsim_pennylane.reading import Reader
from qjaxsim_pennylane.sources import Numbers
from qjaxsim_pennylane.symbols import plain, symbol, traced

# Angles as they are written and as they are computed differ by rounding alone.
_ROUNDING = 1e-9


def circuit_of(numbers: Numbers, qubits: Mapping[Any, int]) -> Circuit:
    """The circuit, with a parameter for each of the numbers' arrays that it uses.

    Raises:
        ValueError: for operations that cannot be converted, or angles that are no expressions of the numbers.
    """
    reader = Reader(qubits)
    with qml.QueuingManager.stop_recording():
        if not numbers.values:
            operations = [_with_angles(each, _number) for each in _read(reader, numbers, numbers.flat)]
        else:
            operations = _followed(reader, numbers)
    circuit = Circuit(len(qubits))
    for each in operations:
        if isinstance(each, Gate):
            circuit.append(each.name, each.qubits, each.angles)
        elif isinstance(each, Channel):
            circuit.extend([checked_channel(each.name, each.qubits, each.angles)])
        else:
            circuit.extend([each])
    return circuit


def _read(reader: Reader, numbers: Numbers, flat: Any) -> list[Any]:
    operations = _built(numbers, flat)
    return [
        each
        for place, operation in enumerate(map(_measured, operations))
        for each in reader.read(operation, f"The tape's operation {place} ({operation.name})")
    ]


def _measured(operation: Any) -> Any:
    """A projector that stands in the tape itself, as deferred measurements leave it, as a postselected measurement."""
    if isinstance(operation, qml.Projector) and len(operation.data[0]) == 1:
        return qml.ops.MidMeasure(operation.wires, postselect=int(operation.data[0][0]))
    return operation


def _built(numbers: Numbers, flat: Any) -> Sequence[Any]:
    try:
        found: Sequence[Any] = numbers.tape(numbers.split(flat)).operations
        return found
    except Exception as error:  # anybody's code
        raise ValueError(
            f"The operations cannot be made for traced parameters ({type(error).__name__}: {error}); use qml.math or "
            'pennylane.numpy for arithmetic, or parameters="constant".'
        ) from error


def _followed(reader: Reader, numbers: Numbers) -> list[Any]:
    """Operations with expressions as angles, which are compared with the angles at other places."""
    here, *others = numbers.places
    found = [_with_angles(each, _expression) for each in _traced(reader, numbers, here)]
    if not all(_agrees_at(reader, numbers, found, flat) for flat in others):
        raise ValueError(
            "The circuit's gates depend on the values of the parameters, which those of a circuit here do not; use "
            'parameters="constant".'
        )
    return found


def _traced(reader: Reader, numbers: Numbers, flat: np.ndarray) -> Sequence[Any]:
    return traced(lambda box: _read(reader, numbers, box), flat, numbers.symbols)


def _agrees_at(reader: Reader, numbers: Numbers, found: Sequence[Any], flat: np.ndarray) -> bool:
    """Whether the operations are those that are made of other numbers, as far as any can be made of these."""
    with np.errstate(all="ignore"):
        try:
            others = [_with_angles(each, _number) for each in _traced(reader, numbers, flat)]
        except ValueError:  # such as a model that refuses negative numbers
            return True
        return _agree(found, others, numbers.split(flat))


def _with_angles(operation: Any, convert: Any) -> Any:
    if not isinstance(operation, Gate | Channel):
        return operation
    return replace(operation, angles=tuple(convert(_single(angle)) for angle in operation.angles))


def _single(angle: Any) -> Any:
    """NumPy's own functions, such as `where`, leave numbers that autograd follows in arrays of objects."""
    return angle.item() if isinstance(angle, np.ndarray) and angle.dtype == object else angle


def _expression(angle: Any) -> Any:
    found = symbol(angle)
    if found is None:
        raise ValueError(
            "An angle of the circuit cannot be written as an expression of its parameters: + - * / ** abs, sqrt, exp, "
            "log, sin, cos, tan, their inverses and tanh can; compute it before the circuit, or use "
            'parameters="constant".'
        )
    return found if isinstance(found, Expression) else _number(found)


def _number(angle: Any) -> float:
    return float(plain(angle))


def _agree(found: Sequence[Any], others: Sequence[Any], values: Mapping[str, Any]) -> bool:
    """Whether the operations are the others at some values."""

    def lookup(name: str, index: int) -> Any:
        return np.ravel(values[name])[index]  # NumPy's, whose roots of negative numbers are NaN, not complex

    def at_values(angle: Any) -> float:
        return float(angle.evaluate(lookup, np)) if isinstance(angle, Expression) else angle

    return len(found) == len(others) and all(
        _same(_with_angles(one, at_values), other) for one, other in zip(found, others, strict=True)
    )


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other) or one.qubits != other.qubits:
        return False
    if isinstance(one, Gate | Channel):
        close = np.allclose(one.angles, other.angles, rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)
        return one.name == other.name and close
    return bool(one.key == other.key)
