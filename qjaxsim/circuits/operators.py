"""Observables that are no Pauli sums: matrices, diagonals, projectors, sparse matrices, and sums with weights.

On few qubits they become Pauli sums, which every function of observables takes; on more they stay what they are and are
read out directly. Records only, without arrays of a device.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.circuits.expressions import Expression, Parameter, as_expression
from qjaxsim.circuits.observables import I, PauliSum, as_given, check_pauli_sum, real_number
from qjaxsim.common.checks import shown

Coefficient = float | Expression


@dataclass(frozen=True, eq=False)
class DenseOperator:
    """A Hermitian matrix on some qubits.

    Attributes:
        matrix: (2**k, 2**k) complex128.
        qubits: the k qubits, most significant bit of its index first.
    """

    matrix: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return self.matrix


@dataclass(frozen=True, eq=False)
class DiagonalOperator:
    """Real values of the basis states of some qubits.

    Attributes:
        values: (2**k,) float64.
        qubits: the k qubits, most significant bit of the index first.
    """

    values: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return np.diag(self.values).astype(complex)


@dataclass(frozen=True, eq=False)
class ProjectorOperator:
    """The projector on one state of some qubits.

    Attributes:
        state: (2**k,) complex128, of norm 1.
        qubits: the k qubits, most significant bit of the index first.
    """

    state: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return np.outer(self.state, self.state.conj())


@dataclass(frozen=True, eq=False)
class SparseOperator:
    """A Hermitian matrix by its entries, each place once.

    Attributes:
        rows: (entries,) int64, ascending.
        columns: (entries,) int64.
        values: (entries,) complex128.
        qubits: the k qubits, most significant bit of the index first.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        matrix = np.zeros((2 ** len(self.qubits),) * 2, dtype=complex)
        matrix[self.rows, self.columns] = self.values
        return matrix


WideOperator = DenseOperator | DiagonalOperator | ProjectorOperator | SparseOperator
Operator = PauliSum | WideOperator


class OperatorSum:
    """A linear combination of Pauli sums and operators on many qubits, with numbers or parameters as coefficients.

    Made by arithmetic: `qj.Hermitian(matrix, range(6)) / 2 + qj.Z(0)`, `w[0] * qj.Z(0) + w[1] * qj.X(1)`. The
    parameters of coefficients belong to `params` of the function that `expectation` makes.

    Attributes:
        parts: coefficient and operator of each part.

    >>> import qjaxsim as qj
    >>> w = qj.Parameter("w", (2,))
    >>> print(w[0] * qj.Z(0) + w[1] * qj.X(1) @ qj.X(2) - 0.5)
    w[0] (1 Z0) + w[1] (1 X1 X2) + -0.5
    """

    __array_ufunc__ = None  # NumPy's numbers and arrays leave arithmetic to this class

    def __init__(self, parts: Iterable[tuple[Coefficient, Operator]]):
        self.parts = tuple(parts)

    @property
    def n_qubits(self) -> int:
        """The least number of qubits that holds it."""
        return max((_width(operator) for _, operator in self.parts), default=0)

    def __add__(self, other: Any) -> "OperatorSum":
        found = _as_parts(other)
        return NotImplemented if found is None else OperatorSum((*self.parts, *found))

    def __radd__(self, other: Any) -> "OperatorSum":
        found = _as_parts(other)
        return NotImplemented if found is None else OperatorSum((*found, *self.parts))

    def __neg__(self) -> "OperatorSum":
        return self * -1.0

    def __sub__(self, other: Any) -> "OperatorSum":
        found = _as_parts(other)
        return NotImplemented if found is None else self + -OperatorSum(found)

    def __rsub__(self, other: Any) -> "OperatorSum":
        return -self + other

    def __mul__(self, factor: Any) -> "OperatorSum":
        if isinstance(factor, PauliSum | OperatorSum):
            raise TypeError("Two Pauli sums are multiplied with @; * is for scaling by a number.")
        value = _as_coefficient(factor)
        if value is None:
            return NotImplemented
        return OperatorSum((_times(value, own), operator) for own, operator in self.parts)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "OperatorSum":
        value = _as_coefficient(divisor)
        if value is None:
            return NotImplemented
        if not isinstance(value, Expression) and value == 0:
            raise ZeroDivisionError("The divisor of a sum of operators must not be zero, but is.")
        return self * (1 / value)

    def __matmul__(self, other: Any) -> "OperatorSum":
        return _products(self, other)

    def __rmatmul__(self, other: Any) -> "OperatorSum":
        return _products(OperatorSum([(1.0, other)]), self) if isinstance(other, PauliSum) else NotImplemented

    def __str__(self) -> str:
        return " + ".join(_part_text(*part) for part in self.parts) or "0"

    def __repr__(self) -> str:
        return f"<OperatorSum: {shown(str(self))[1:-1]}>"


def _as_coefficient(value: Any) -> Coefficient | None:
    """A coefficient, None for what is none."""
    if isinstance(value, Parameter | Expression):
        return as_expression(value)
    return real_number(value)


def _as_parts(value: Any) -> tuple[tuple[Coefficient, Operator], ...] | None:
    if isinstance(value, OperatorSum):
        return value.parts
    if isinstance(value, PauliSum):
        return ((1.0, value),)
    coefficient = _as_coefficient(value)
    return None if coefficient is None else ((coefficient, I()),)


def _times(left: Coefficient, right: Coefficient) -> Coefficient:
    """The product, without factors of 1."""
    if isinstance(left, float) and left == 1:
        return right
    return left if isinstance(right, float) and right == 1 else left * right


def _products(left: OperatorSum, right: Any) -> OperatorSum:
    found = _as_parts(right) if isinstance(right, PauliSum | OperatorSum) else None
    if found is None:
        return NotImplemented
    if not all(isinstance(operator, PauliSum) for _, operator in (*left.parts, *found)):
        raise TypeError(
            "Operators on many qubits are added and scaled, but not multiplied with @; multiply their matrices first."
        )
    return OperatorSum((_times(a, b), one @ other) for a, one in left.parts for b, other in found)  # type: ignore[operator]


def _width(operator: Operator) -> int:
    return operator.n_qubits if isinstance(operator, PauliSum) else max(operator.qubits) + 1


def _part_text(coefficient: Coefficient, operator: Operator) -> str:
    factor = f"{coefficient:.6g}" if isinstance(coefficient, float) else str(coefficient)
    if isinstance(operator, PauliSum):
        text = str(operator)
        return factor if text == "1" else text if factor == "1" else f"{factor} ({text})"
    return f"{factor} {type(operator).__name__}{operator.qubits}"


Observable = PauliSum | OperatorSum


def checked_observables(observables: Any, n_qubits: int) -> tuple[Observable, ...]:
    """Check observables of any kind against a width and return them as a tuple.

    Args:
        observables: one or several Pauli sums, sums of operators, or operators of Qiskit's.
        n_qubits: width of the circuit.

    Raises:
        TypeError: for anything else.
        ValueError: for an empty list, a qubit out of range, or a coefficient that is not real.
    """
    given = as_given(observables, (OperatorSum,))
    return tuple(_checked(observable, position, n_qubits) for position, observable in enumerate(given))


def _checked(observable: Any, position: int, n_qubits: int) -> Observable:
    if not isinstance(observable, OperatorSum):
        return check_pauli_sum(observable, position, n_qubits)
    if observable.n_qubits > n_qubits:
        raise ValueError(
            f"Observable {position} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits."
        )
    return OperatorSum(
        (value, check_pauli_sum(operator, position, n_qubits) if isinstance(operator, PauliSum) else operator)
        for value, operator in observable.parts
    )


@dataclass(frozen=True, eq=False)
class Weighted:
    """Observables as weighted sums of operators that are read out.

    Attributes:
        operators: B operators.
        entries: (observable, operator, coefficient) of each summand.
        n_observables: K.
    """

    operators: tuple[Operator, ...]
    entries: tuple[tuple[int, int, Coefficient], ...]
    n_observables: int

    @property
    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every parameter in a coefficient."""
        return {element.name: element.shape for element in self._elements()}

    def _elements(self) -> Iterator[Any]:
        for _, _, coefficient in self.entries:
            if isinstance(coefficient, Expression):
                yield from coefficient.elements()

    @property
    def is_plain(self) -> bool:
        """Whether each observable is one of the operators, in their order."""
        places = [(observable, operator) for observable, operator, _ in self.entries]
        alone = all(not isinstance(value, Expression) and value == 1 for _, _, value in self.entries)
        return alone and places == [(k, k) for k in range(self.n_observables)]


def weighted(observables: Iterable[Observable]) -> Weighted:
    """Observables taken apart: of each the Pauli terms with numbers as one sum, and every other part.

    Operators that several observables hold, the same Pauli sum or the same object, are read once.
    """
    places: dict[Any, int] = {}
    entries = []
    given = list(observables)
    for position, observable in enumerate(given):
        parts = observable.parts if isinstance(observable, OperatorSum) else ((1.0, observable),)
        fixed = [c * o for c, o in parts if isinstance(o, PauliSum) and not isinstance(c, Expression)]
        rest = [(c, o) for c, o in parts if not isinstance(o, PauliSum) or isinstance(c, Expression)]
        if fixed or not rest:
            rest = [(1.0, sum(fixed[1:], fixed[0]) if fixed else PauliSum({})), *rest]
        entries += [(position, places.setdefault(operator, len(places)), value) for value, operator in rest]
    return Weighted(tuple(places), tuple(entries), len(given))
