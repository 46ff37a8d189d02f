"""The numbers of a tape that are angles, and operations with others in their place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.ops.op_math import CompositeOp, ScalarSymbolicOp, SymbolicOp

from qjaxsim_pennylane.symbols import plain

# Numbers of these are states and matrices, no angles.
_NO_ANGLES = (
    qml.operation.StatePrepBase, qml.QubitUnitary, qml.DiagonalQubitUnitary, qml.BlockEncode, qml.QubitChannel,
)  # fmt: skip


def angle_of(operation: Any, number: int) -> np.ndarray | None:
    """One of an operation's numbers as angles, in double precision; None where it is none.

    Args:
        operation: PennyLane's.
        number: place in its data. The coefficient of an exponential that is imaginary is its imaginary part.
    """
    owner = _owners(operation)[number]
    if isinstance(owner, _NO_ANGLES):
        return None
    return floats(_imaginary(plain(operation.data[number])) if _has_coefficient(owner) else operation.data[number])


def _has_coefficient(owner: Any) -> bool:
    return isinstance(owner, qml.ops.Exp) and not isinstance(owner, qml.ops.Evolution)


def _imaginary(value: np.ndarray) -> np.ndarray:
    return value.imag if np.iscomplexobj(value) and not value.real.any() else value


def floats(value: Any) -> np.ndarray | None:
    """Floats as an array in double precision; None for anything else."""
    try:
        array = plain(value)
    except (TypeError, ValueError):
        return None
    return array.astype(float) if array.dtype.kind == "f" else None


def rebound(operation: Any, angles: Mapping[int, Any]) -> Any:
    """An operation with other angles.

    Args:
        operation: PennyLane's.
        angles: by place in its data.
    """
    data = list(operation.data)
    for number, angle in angles.items():
        was_complex = _has_coefficient(_owners(operation)[number]) and np.iscomplexobj(plain(data[number]))
        data[number] = 1j * angle if was_complex else angle
    return _with_data(operation, data)


def _with_data(operation: Any, data: Sequence[Any]) -> Any:
    """An operation with these numbers; PennyLane itself looks for more numbers in an evolution than it counts."""
    if isinstance(operation, qml.ops.Evolution):
        return qml.ops.Evolution(operation.base, data[0])
    if isinstance(operation, qml.ops.SProd):
        return qml.s_prod(data[0], _with_data(operation.base, data[1:]), lazy=True)
    build = _around_evolution(operation)
    if build is None:
        return qml.ops.functions.bind_new_parameters(operation, data)
    inner, start = [], 0
    for each in _inside(operation):
        inner.append(_with_data(each, data[start : start + each.num_params]))
        start += each.num_params
    return build(inner)


def _around_evolution(operation: Any) -> Callable[[Sequence[Any]], Any] | None:
    """How an operation that holds an evolution is made of its parts; None for all others."""
    if not any(isinstance(each, qml.ops.Evolution) or _around_evolution(each) for each in _inside(operation)):
        return None
    if isinstance(operation, CompositeOp):
        return lambda parts: type(operation)(*parts)
    if isinstance(operation, qml.ops.Adjoint):
        return lambda parts: qml.ops.Adjoint(parts[0])
    if isinstance(operation, qml.ops.Pow):
        return lambda parts: qml.ops.Pow(parts[0], operation.z)
    rest = {name: value for name, value in operation.hyperparameters.items() if name != "base"}
    return lambda parts: type(operation)(parts[0], **rest)


def _inside(operation: Any) -> Sequence[Any]:
    """The operations whose numbers are all of this one's, in turn; none where it has numbers of its own."""
    if isinstance(operation, CompositeOp) and not isinstance(operation, qml.ops.LinearCombination):
        return list(operation.operands)
    return [operation.base] if isinstance(operation, SymbolicOp) and not _is_scaled(operation) else []


def _is_scaled(operation: Any) -> bool:
    """Whether its own number stands before those of its base."""
    return isinstance(operation, ScalarSymbolicOp) and not isinstance(operation, qml.ops.Pow)


def _owners(operation: Any) -> list[Any]:
    """The innermost operation that has each of an operation's numbers."""
    if _is_scaled(operation) and not isinstance(operation, qml.ops.Evolution):
        return [operation, *_owners(operation.base)]
    if inside := _inside(operation):
        return [owner for each in inside for owner in _owners(each)]
    return [operation] * len(operation.data)
