"""What circuits are made of: gates, constant matrices, projections, repeated layers.

A repeated layer holds a circuit again, so that this module and `qjaxsim.circuits.circuit` name each other: the first
in its types only.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.gates import GATES, WIDEST_FREE

if TYPE_CHECKING:
    from qjaxsim.circuits.circuit import Circuit


@dataclass(frozen=True)
class Gate:
    """A standard gate on some qubits.

    Attributes:
        name: a key of `qjaxsim.circuits.gates.GATES`.
        qubits: the qubits, most significant bit of the gate's matrix first.
        angles: floats or expressions.
    """

    name: str
    qubits: tuple[int, ...]
    angles: tuple[Any, ...] = ()

    @property
    def key(self) -> tuple:
        """The gate as plain, comparable data."""
        # Adding 0.0 makes -0.0 and 0.0, which are equal, look the same in a hash.
        return ("gate", self.name, self.qubits, tuple(a if isinstance(a, Expression) else a + 0.0 for a in self.angles))

    def on(self, qubits: Sequence[int]) -> "Gate":
        """The same gate with qubit q moved to `qubits[q]`."""
        return Gate(self.name, tuple(qubits[q] for q in self.qubits), self.angles)

    def inverse(self) -> "Gate | Unitary":
        """The inverse, by name where it has one and as a matrix otherwise."""
        spec = GATES[self.name]
        if spec.inverse is None:
            return Unitary(spec.matrix(np).conj().T, self.qubits, f"{self.name}_dg")
        name, angles = spec.inverse(self.angles)
        return Gate(name, self.qubits, angles)


@dataclass(frozen=True, eq=False)
class Unitary:
    """A constant unitary matrix on some qubits.

    Attributes:
        matrix: (2**k, 2**k) complex128, first qubit most significant.
        qubits: the k qubits.
        label: name in drawings.
    """

    matrix: np.ndarray
    qubits: tuple[int, ...]
    label: str = "unitary"

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("unitary", self.qubits, self.label, hashlib.sha256((self.matrix + 0.0).tobytes()).hexdigest())

    def on(self, qubits: Sequence[int]) -> "Unitary":
        """The same matrix with qubit q moved to `qubits[q]`."""
        return Unitary(self.matrix, tuple(qubits[q] for q in self.qubits), self.label)

    def inverse(self) -> "Unitary":
        """The conjugate transpose."""
        label = self.label[:-3] if self.label.endswith("_dg") else f"{self.label}_dg"
        return Unitary(self.matrix.conj().T.copy(), self.qubits, label)


@dataclass(frozen=True)
class Projection:
    """Projection of one qubit on an outcome, followed by normalisation of the state."""

    qubit: int
    outcome: int

    @property
    def qubits(self) -> tuple[int, ...]:
        """The one qubit, as a tuple like any operation's."""
        return (self.qubit,)

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("project", self.qubit, self.outcome)

    def on(self, qubits: Sequence[int]) -> "Projection":
        """The same projection on `qubits[self.qubit]`."""
        return Projection(qubits[self.qubit], self.outcome)

    def inverse(self) -> "Projection":
        """There is none."""
        raise ValueError(f"A projection has no inverse (qubit {self.qubit}, outcome {self.outcome}).")


@dataclass(frozen=True, eq=False)
class Repeat:
    """A circuit run several times, each time with its own slice of the parameters.

    Attributes:
        circuit: the layer, as wide as the circuit it stands in.
        times: number of repetitions.
        shared: names of parameters that all repetitions share; the others gain a leading axis of length `times`.
        reverse: run the slices from last to first.
    """

    circuit: "Circuit"
    times: int
    shared: frozenset[str] = frozenset()
    reverse: bool = False

    @property
    def qubits(self) -> tuple[int, ...]:
        """The qubits that the layer touches."""
        return tuple(sorted({q for op in self.circuit.operations for q in op.qubits}))

    @property
    def key(self) -> tuple:
        """The operation as plain, comparable data."""
        return ("repeat", self.circuit.key, self.times, tuple(sorted(self.shared)), self.reverse)

    def on(self, qubits: Sequence[int], n_qubits: int) -> "Repeat":
        """The same repetition inside a circuit of `n_qubits`, qubit q moved to `qubits[q]`."""
        return Repeat(self.circuit.on(qubits, n_qubits), self.times, self.shared, self.reverse)

    def inverse(self) -> "Repeat":
        """The inverse layers in the opposite order."""
        return Repeat(self.circuit.inverse(), self.times, self.shared, not self.reverse)

    def outer_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that a parameter of the layer has in the surrounding circuit."""
        return shape if name in self.shared else (self.times, *shape)


Operation = Gate | Unitary | Projection | Repeat


def used_parameters(operation: Operation) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every parameter an operation uses, with repetitions, as the surrounding circuit sees it."""
    if isinstance(operation, Repeat):
        return [(name, operation.outer_shape(name, shape)) for name, shape in operation.circuit.parameters.items()]
    if isinstance(operation, Gate):
        angles = [angle for angle in operation.angles if isinstance(angle, Expression)]
        return [(element.name, element.shape) for angle in angles for element in angle.elements()]
    return []


def has_free_matrix(operations: "Iterable[Operation]") -> bool:
    """Whether one of these operations, or of a layer that one repeats, is a matrix given by a parameter."""
    return any(
        has_free_matrix(op.circuit.operations)
        if isinstance(op, Repeat)
        else isinstance(op, Gate) and GATES[op.name].is_free
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


def constant_matrix(matrix: Any) -> np.ndarray:
    """What a user gave as a matrix, complex128; what makes none is refused."""
    try:
        return np.array(matrix, dtype=complex)
    except (TypeError, ValueError) as error:
        if type(error).__name__ == "TracerArrayConversionError":  # JAX's, which is not imported here
            raise TypeError(
                "Argument `matrix` must be known when the circuit is built, but is traced by JAX (in jit, grad or "
                "vmap); build the circuit outside, with a parameter of shape (2, d, d), or with gates whose angles are "
                "parameters for what changes."
            ) from None
        raise TypeError(
            f"Argument `matrix` must be a square array of numbers, but is a {type(matrix).__name__} that makes none."
        ) from None
