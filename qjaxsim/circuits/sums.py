"""Pauli sums: products with @, sums with +, scaling with *; and sums of operators of any kind."""

import cmath
import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Union

from qjaxsim.circuits.expressions import Expression, Parameter, as_expression
from qjaxsim.circuits.operators import WideOperator
from qjaxsim.circuits.pauli_terms import Term, check_term, nonzero, product, text_of
from qjaxsim.common.checks import as_number, shown

Coefficient = float | Expression
Operator = Union["PauliSum", WideOperator]
_Parts = tuple[tuple["PauliSum", complex], ...]

# Terms that `repr` shows; `str` and `print` show all.
SHOWN = 10
# Imaginary parts below this fraction of a sum's size are rounding: thousands of terms add up to some 1e-13.
ROUNDING = 1e-10

_CONSTANT = ("A coefficient of a Pauli sum", "make it a `Parameter` and give its value on calling")


class PauliSum:
    """A linear combination of products of Pauli operators.

    Made from `X(q)`, `Y(q)`, `Z(q)`, `I()` and arithmetic, or from labels. Sums are collected when their terms are
    first asked for: building one term by term, with `+=` or `sum`, takes time in proportion to the terms.

    Args:
        terms: coefficient by term; a term is a tuple of (qubit, "X" | "Y" | "Z"), each qubit once, () for the identity.

    Raises:
        ValueError: for an unknown letter, a repeated or negative qubit, or a coefficient that is not finite.

    >>> import qjaxsim as qj
    >>> energy = 0.5 * qj.Z(0) @ qj.Z(1) - qj.X(0)
    >>> print(energy)
    0.5 Z0 Z1 - 1 X0
    """

    __array_ufunc__ = None  # NumPy's numbers and arrays leave arithmetic to this class

    def __init__(self, terms: Mapping[Term, complex]):
        if not isinstance(terms, Mapping):
            raise TypeError(
                f"Argument `terms` must be a dictionary of terms with coefficients, but is {shown(terms)}; labels are "
                "read by `qj.PauliSum.from_label`."
            )
        total: dict[Term, complex] = {}
        for term, coefficient in terms.items():
            key = check_term(term)
            total[key] = total.get(key, 0) + _coefficient(coefficient)
        self._fill(nonzero(total))

    def _fill(self, terms: dict[Term, complex] | None, size: float = 0.0, parts: "_Parts" = ()) -> "PauliSum":
        """Set terms that are known to be right, or, for None, what they will be collected from.

        Args:
            terms: coefficient by term.
            size: of the numbers that they were computed from, if larger than theirs: their rounding is measured by it.
            parts: sums with factors, each of which has no other use before it is collected: so sums make a tree.
        """
        self._collected, self._size, self._parts, self._used = terms, size, parts, False
        return self

    @property
    def _terms(self) -> dict[Term, complex]:
        parts = self._parts  # before the question, or another thread might clear them in between
        if self._collected is None:
            total, largest = _collect(parts)
            self._size = max(self._size, largest)
            self._collected = nonzero(total)
            self._parts = ()
        return self._collected

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._terms, self._size)

    @classmethod
    def from_label(cls, label: str, coefficient: complex = 1.0) -> "PauliSum":
        """The product of a label such as "XIZ": first letter on qubit 0 (Qiskit's labels run the other way).

        >>> print(PauliSum.from_label("XIZ", 0.5))
        0.5 X0 Z2
        """
        if not isinstance(label, str) or not label or set(label) - set("IXYZ"):
            raise ValueError(f"Argument `label` must be made of the letters I, X, Y, Z, but is {label!r}.")
        return cls({tuple((q, letter) for q, letter in enumerate(label) if letter != "I"): coefficient})

    @property
    def terms(self) -> Mapping[Term, complex]:
        """Coefficient by term, terms with qubits in ascending order."""
        return MappingProxyType(self._terms)

    @property
    def n_qubits(self) -> int:
        """The least number of qubits that holds it."""
        return max((qubit + 1 for term in self._terms for qubit, _ in term), default=0)

    @property
    def is_hermitian(self) -> bool:
        """Whether every coefficient is real, up to rounding.

        Rounding is 1e-10 of the largest number that the sum was computed from: the square of a Hermitian sum is
        Hermitian, although its imaginary parts cancel to some 1e-16 only.
        """
        return largest_imaginary(self) is None

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Parameter | Expression):
            return _general(self) + other
        if (number := _number(other)) is not None:
            other = PauliSum({(): number})
        return _total((self, 1), (other, 1)) if isinstance(other, PauliSum) else NotImplemented

    __radd__ = __add__

    def __neg__(self) -> "PauliSum":
        return self * -1

    def __sub__(self, other: Any) -> Any:
        return _total((self, 1), (other, -1)) if isinstance(other, PauliSum) else -(-self + other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, factor: Any) -> Any:
        if isinstance(factor, Parameter | Expression):
            return _general(self) * factor
        if isinstance(factor, PauliSum):
            raise TypeError("Two Pauli sums are multiplied with @; * is for scaling by a number.")
        if (number := _number(factor)) is None:
            return NotImplemented
        if not cmath.isfinite(number):
            raise ValueError(f"The factor of a Pauli sum must be finite, but is {factor!r}.")
        return _total((self, number))

    __rmul__ = __mul__

    def __pow__(self, power: Any) -> Any:
        raise TypeError("A Pauli sum has no powers by **; multiply it with itself by @.")

    def __truediv__(self, divisor: Any) -> Any:
        if isinstance(divisor, Parameter | Expression):
            return _general(self) / divisor
        if (number := _number(divisor)) is None:
            return NotImplemented
        if number == 0:
            raise ZeroDivisionError("The divisor of a Pauli sum must not be zero, but is.")
        return self * (1 / number)

    def __matmul__(self, other: "PauliSum") -> "PauliSum":
        if not isinstance(other, PauliSum):
            return NotImplemented
        total = product(self._terms, other._terms)
        return _made(nonzero(total), _size_of(self) * _size_of(other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PauliSum) and self._terms == other._terms

    def __hash__(self) -> int:
        return hash(frozenset(self._terms.items()))

    def __repr__(self) -> str:
        if len(self._terms) <= SHOWN:
            return f"<PauliSum: {self}>"
        first = PauliSum(dict(itertools.islice(self._terms.items(), SHOWN)))
        return f"<PauliSum: {first} and {len(self._terms) - SHOWN:,} more terms>"

    def __str__(self) -> str:
        text = ""
        for term, value in self._terms.items():
            number = f"{value.real:.6g}" if value.imag == 0 else f"({value:.6g})"
            sign = " - " if number.startswith("-") else " + "
            text += sign + number.lstrip("-") + text_of(term)
        return "0" if not text else ("-" + text[3:] if text.startswith(" - ") else text[3:])


def _number(value: Any) -> complex | None:
    """A number that scales a sum or is added to it; None for what is none. Arrays are refused."""
    found = as_number(value, *_CONSTANT)
    if found is None and (shape := getattr(value, "shape", ())):
        raise TypeError(
            f"A coefficient of a Pauli sum must be one number, but is an array of shape {shape}; make a sum for "
            "each number, and pass the list of them to `expectation`."
        )
    return found


def _coefficient(value: Any) -> complex:
    if isinstance(value, Parameter | Expression):
        raise TypeError(
            f"Coefficients of a Pauli sum must be numbers where it is made, but one is {as_expression(value)}; "
            "multiply by it."
        )
    if (number := _number(value)) is None:
        raise TypeError(f"Coefficients of a Pauli sum must be numbers, but got {value!r}.")
    return number


def _made(terms: dict[Term, complex], size: float) -> PauliSum:
    """A sum of terms that are known to be right."""
    return object.__new__(PauliSum)._fill(terms, size)


def _total(*parts: tuple[PauliSum, complex]) -> PauliSum:
    """A sum of sums with factors, which is collected later."""
    for part, _ in parts:
        if part._used:
            _ = part._terms
        part._used = True
    return object.__new__(PauliSum)._fill(None, max(part._size * abs(factor) for part, factor in parts), parts)


def _collect(parts: _Parts) -> tuple[dict[Term, complex], float]:
    """The terms of a tree of sums, added up in the order in which they were written; the largest number met."""
    total: dict[Term, complex] = {}
    largest = 0.0
    stack = list(reversed(parts))
    while stack:
        part, factor = stack.pop()
        inner = part._parts
        if part._collected is None:
            stack.extend((each, factor * its_own) for each, its_own in reversed(inner))
            continue
        for term, value in part._collected.items():
            total[term] = total.get(term, 0) + factor * value
            largest = max(largest, abs(factor * value))
    return total, largest


def _size_of(observable: PauliSum) -> float:
    return max(observable._size, max(map(abs, observable._terms.values()), default=0.0))


def largest_imaginary(observable: PauliSum) -> Term | None:
    """The term with the largest imaginary part, if that is more than rounding."""
    terms = observable._terms
    term = max(terms, key=lambda term: abs(terms[term].imag), default=None)
    return None if term is None or abs(terms[term].imag) <= ROUNDING * _size_of(observable) else term


def real_part(observable: PauliSum) -> PauliSum:
    """The sum without the rounding in its imaginary parts."""
    terms = observable._terms
    if all(value.imag == 0 for value in terms.values()):
        return observable
    return _made(nonzero({term: complex(value.real) for term, value in terms.items()}), observable._size)


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
        return OperatorSum(_scaled(value, *part) for part in self.parts)

    __rmul__, __pow__ = __mul__, PauliSum.__pow__

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
    return _real_number(value)


def _as_parts(value: Any) -> tuple[tuple[Coefficient, Operator], ...] | None:
    if isinstance(value, OperatorSum):
        return value.parts
    if isinstance(value, PauliSum):
        return ((1.0, value),)
    coefficient = _as_coefficient(value)
    return None if coefficient is None else (_scaled(coefficient, 1.0, PauliSum({(): 1})),)


def _times(left: Coefficient, right: Coefficient) -> Coefficient:
    """The product, without factors of 1."""
    if isinstance(left, float) and left == 1:
        return right
    return left if isinstance(right, float) and right == 1 else left * right


def _scaled(factor: Coefficient, own: Coefficient, operator: Operator) -> tuple[Coefficient, Operator]:
    """A part times a factor; numbers go into Pauli sums."""
    if isinstance(operator, PauliSum) and not isinstance(factor, Expression):
        return own, operator * factor
    return _times(factor, own), operator


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


def _real_number(value: Any) -> float | None:
    """A number that scales operators, None for what is none.

    Raises:
        ValueError: for a number that is not real and finite.
    """
    if (number := _number(value)) is None:
        return None
    if number.imag or not cmath.isfinite(number):
        raise ValueError(f"A coefficient of an operator must be real and finite, but is {shown(value)}.")
    return number.real


def _general(observable: PauliSum) -> OperatorSum:
    """The same as a sum whose coefficients may be parameters."""
    return OperatorSum([(1.0, observable)])
