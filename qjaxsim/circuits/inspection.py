"""Questions about operations: what they hold, and what a user gave as their matrices."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.gates import WIDEST_FREE
from qjaxsim.circuits.measurements import Measure, Projection, Reset
from qjaxsim.circuits.operations import Channel, Conditional, Gate, Kraus, Operation, Preparation, Repeat, Unitary
from qjaxsim.circuits.qiskit_operators import refuse_turned_array
from qjaxsim.common.checks import require_unmasked


def is_unitary(operations: Iterable[Operation]) -> bool:
    """Whether operations are gates alone, those of repeated layers too: no channel, projection or readout error."""
    return all(
        is_unitary(op.circuit.operations) if isinstance(op, Repeat) else isinstance(op, Gate | Unitary)
        for op in operations
    )


def has_projection(operations: Iterable[Operation]) -> bool:
    """Whether operations, or a layer that they repeat, project a qubit."""
    return any(
        has_projection(op.circuit.operations) if isinstance(op, Repeat) else isinstance(op, Projection)
        for op in operations
    )


def is_static(operations: Iterable[Operation]) -> bool:
    """Whether nothing is measured on the way, reset or conditional."""
    return not any(isinstance(operation, Measure | Reset | Conditional) for operation in operations)


def bits_of(operations: Iterable[Operation]) -> int:
    """One more than the largest classical bit that operations measure into or depend on, 0 for none."""
    most = 0
    for operation in operations:
        if isinstance(operation, Measure):
            most = max(most, operation.bit + 1)
        elif isinstance(operation, Conditional):
            most = max(most, max(operation.bits) + 1, bits_of(operation.circuit.operations))
    return most


def written_bits(operations: Iterable[Operation]) -> set[int]:
    """The classical bits that operations measure into, also under conditions."""
    written: set[int] = set()
    for operation in operations:
        if isinstance(operation, Measure):
            written.add(operation.bit)
        elif isinstance(operation, Conditional):
            written |= written_bits(operation.circuit.operations)
    return written


def used_parameters(operation: Operation) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every parameter an operation uses, with repetitions, as the surrounding circuit sees it."""
    if isinstance(operation, Gate | Channel):
        angles = [angle for angle in operation.angles if isinstance(angle, Expression)]
        return [(element.name, element.shape) for angle in angles for element in angle.elements()]
    if isinstance(operation, Repeat):
        return [(name, operation.outer_shape(name, shape)) for name, shape in operation.circuit.parameters.items()]
    if isinstance(operation, Conditional):
        return list(operation.circuit.parameters.items())
    if isinstance(operation, Preparation) and isinstance(operation.state, str):
        return [(operation.state, operation.shape)]
    return []


def kraus_of(operation: Channel | Kraus) -> np.ndarray:
    """The Kraus matrices, (m, 2**k, 2**k), of a channel whose strengths are numbers."""
    if isinstance(operation, Kraus):
        return operation.matrices
    return np.asarray(operation.spec.kraus(np, *(np.float64(angle) for angle in operation.angles)))


def has_free_matrix(operations: "Iterable[Operation]") -> bool:
    """Whether one of these operations, or of a layer that one repeats, is a matrix given by a parameter."""
    return any(
        has_free_matrix(op.circuit.operations) if isinstance(op, Repeat) else isinstance(op, Gate) and op.spec.is_free
        for op in operations
    )


def entries_of(matrix: Parameter, size: int) -> list[Expression]:
    """The elements of a parameter that is a matrix, real parts first."""
    if matrix.shape != (2, size, size) or matrix.prefix or size > 2**WIDEST_FREE:
        raise ValueError(
            f"Argument `matrix` must be a parameter of shape (2, d, d) for d = {size} and up to {2**WIDEST_FREE}, but "
            f"{matrix.name!r} has shape {matrix.shape[len(matrix.prefix) :]}."
        )
    return [matrix[index] for index in np.ndindex(*matrix.shape)]


def constant_array(name: str, value: Any) -> np.ndarray:
    """Amplitudes or a matrix that a user gave as an argument of that name, complex128; what makes none is refused."""
    require_unmasked(f"Argument `{name}`", value)
    refuse_turned_array(f"Argument `{name}`", value, amplitudes=name == "state")
    try:
        return np.array(value, dtype=complex)
    except (TypeError, ValueError) as error:
        if type(error).__name__ == "TracerArrayConversionError":  # JAX's, which is not imported here
            raise TypeError(
                f"Argument `{name}` must be known when the circuit is built, but is traced by JAX (in jit, grad or "
                "vmap); build the circuit outside, with a parameter of shape (2, d, d), or with gates whose angles are "
                "parameters for what changes."
            ) from None
        raise TypeError(
            f"Argument `{name}` must be an array of numbers, but is a {type(value).__name__} that makes none."
        ) from None
