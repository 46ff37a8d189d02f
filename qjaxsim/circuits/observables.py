"""Pauli sums: products with @, sums with +, scaling with *."""

import cmath
import itertools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.expressions import Expression, Parameter
from qjaxsim.circuits.pauli_terms import Term, check_term, product
from qjaxsim.circuits.qiskit_operators import is_qiskit_operator, terms_of
from qjaxsim.common.checks import as_number, shown

if TYPE_CHECKING:
    from qjaxsim.circuits.operators import OperatorSum

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

    >>> energy = 0.5 * Z(0) @ Z(1) - X(0)
    >>> print(energy)
    0.5 Z0 Z1 - 1 X0
    """

    __array_ufunc__ = None  # NumPy's numbers and arrays leave arithmetic to this class

    def __init__(self, terms: Mapping[Term, complex]):
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
        return _largest_imaginary(self) is None

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Parameter | Expression):
            return _with_parameters(self) + other
        if (number := _number(other)) is not None:
            other = I() * number
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
            return _with_parameters(self) * factor
        if isinstance(factor, PauliSum):
            raise TypeError("Two Pauli sums are multiplied with @; * is for scaling by a number.")
        if (number := _number(factor)) is None:
            return NotImplemented
        if not cmath.isfinite(number):
            raise ValueError(f"The factor of a Pauli sum must be finite, but is {factor!r}.")
        return _total((self, number))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Any:
        if isinstance(divisor, Parameter | Expression):
            return _with_parameters(self) / divisor
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
            text += sign + number.lstrip("-") + _text(term)
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


def _with_parameters(observable: PauliSum) -> "OperatorSum":
    """The same as a sum whose coefficients may be parameters."""
    from qjaxsim.circuits.operators import OperatorSum  # made of Pauli sums, so that each names the other

    return OperatorSum([(1.0, observable)])


def real_number(value: Any) -> float | None:
    """A number that scales operators, None for what is none.

    Raises:
        ValueError: for a number that is not real and finite.
    """
    if (number := _number(value)) is None:
        return None
    if number.imag or not cmath.isfinite(number):
        raise ValueError(f"A coefficient of an operator must be real and finite, but is {shown(value)}.")
    return number.real


def _coefficient(value: Any) -> complex:
    if isinstance(value, Parameter | Expression):
        raise TypeError(
            f"Coefficients of a Pauli sum must be numbers where it is made, but one is {value}; multiply by it."
        )
    if (number := _number(value)) is None:
        raise TypeError(f"Coefficients of a Pauli sum must be numbers, but got {value!r}.")
    return number


def _one_letter(letter: str, qubit: Any) -> PauliSum:
    return PauliSum({check_term(((qubit, letter),)): 1})  # checked first: a key must be hashable


def X(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli X on one qubit.

    >>> import qjaxsim as qj
    >>> plus = qj.Circuit(1).h(0)
    >>> round(float(qj.expectation(plus, qj.X(0))()), 3)
    1.0
    """
    return _one_letter("X", qubit)


def Y(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli Y on one qubit.

    >>> import qjaxsim as qj
    >>> bell = qj.Circuit(2).h(0).cx(0, 1)
    >>> round(float(qj.expectation(bell, qj.Y(0) @ qj.Y(1))()), 3)
    -1.0
    """
    return _one_letter("Y", qubit)


def Z(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli Z on one qubit.

    >>> import qjaxsim as qj
    >>> one = qj.Circuit(1).x(0)
    >>> round(float(qj.expectation(one, qj.Z(0))()), 3)
    -1.0
    """
    return _one_letter("Z", qubit)


def I() -> PauliSum:  # noqa: N802, E743
    """The identity.

    >>> import qjaxsim as qj
    >>> number = (qj.I() - qj.Z(0)) / 2  # of excitations
    >>> round(float(qj.expectation(qj.Circuit(1).x(0), number)()), 3)
    1.0
    """
    return PauliSum({(): 1})


def pauli_sums(observables: Any, n_qubits: int) -> tuple[PauliSum, ...]:
    """Check observables against a width and return them as a tuple.

    Args:
        observables: one or several Pauli sums, or Qiskit's SparsePauliOp, Pauli and SparseObservable, whose qubit q is
            qubit q of the circuit.
        n_qubits: width of the circuit.

    Raises:
        TypeError: for anything else.
        ValueError: for an empty list, a qubit out of range, an operator of Qiskit's of another width, or a coefficient
            that is not real.
    """
    return tuple(check_pauli_sum(each, position, n_qubits) for position, each in enumerate(as_given(observables)))


def as_given(observables: Any, single: tuple[type, ...] = ()) -> tuple[Any, ...]:
    """One observable or several as a tuple, not checked themselves; `single` are further types of one.

    Raises:
        TypeError: for what is neither.
        ValueError: for an empty list.
    """
    if is_single(observables, single):
        return (observables,)
    if not isinstance(observables, Iterable):
        raise TypeError(
            f"Argument `observables` must be a PauliSum or several, but is {shown(observables)} "
            f"({type(observables).__name__})."
        )
    given = tuple(observables)
    if not given:
        raise ValueError("Argument `observables` must hold at least one PauliSum, but is empty.")
    return given


def is_single(observables: Any, single: tuple[type, ...] = ()) -> bool:
    """Whether this is one observable and no list of them; `single` are further types of one."""
    return isinstance(observables, (PauliSum, *single)) or is_qiskit_operator(observables)


def check_pauli_sum(observable: Any, position: int, n_qubits: int) -> PauliSum:
    """An observable as a Pauli sum with real coefficients; arguments and errors as of `pauli_sums`."""
    if is_qiskit_operator(observable):
        if observable.num_qubits != n_qubits:
            raise ValueError(
                f"Observable {position} must have the circuit's {n_qubits} qubits, but has {observable.num_qubits}; "
                "give it on the qubits that the circuit was written for, before any layout."
            )
        observable = PauliSum(terms_of(observable))
    if not isinstance(observable, PauliSum):
        only = "; `expectation` alone takes it" if type(observable).__name__ == "OperatorSum" else ""
        raise TypeError(f"Observable {position} must be a PauliSum, but is {type(observable).__name__}{only}.")
    if observable.n_qubits > n_qubits:
        raise ValueError(
            f"Observable {position} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits."
        )
    if (term := _largest_imaginary(observable)) is not None:
        value, count = observable.terms[term], len(observable.terms)
        raise ValueError(
            f"Observable {position} must have real coefficients, but has ({value:.6g}){_text(term)}"
            f"{f' among its {count:,} terms' if count > 1 else ''}."
        )
    return _real(observable)


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


def nonzero(terms: dict[Term, complex]) -> dict[Term, complex]:
    """The terms that do not vanish.

    Raises:
        ValueError: if a coefficient is not finite.
    """
    for term, value in terms.items():
        if not cmath.isfinite(value):
            raise ValueError(
                f"Coefficients of a Pauli sum must be finite, but {term} has {value if value.imag else value.real!r}."
            )
    return {term: value for term, value in terms.items() if value != 0}


def _size_of(observable: PauliSum) -> float:
    return max(observable._size, max(map(abs, observable._terms.values()), default=0.0))


def _largest_imaginary(observable: PauliSum) -> Term | None:
    """The term with the largest imaginary part, if that is more than rounding."""
    terms = observable._terms
    term = max(terms, key=lambda term: abs(terms[term].imag), default=None)
    return None if term is None or abs(terms[term].imag) <= ROUNDING * _size_of(observable) else term


def _real(observable: PauliSum) -> PauliSum:
    """The sum without the rounding in its imaginary parts."""
    terms = observable._terms
    if all(value.imag == 0 for value in terms.values()):
        return observable
    return _made(nonzero({term: complex(value.real) for term, value in terms.items()}), observable._size)


def _text(term: Term) -> str:
    return "".join(f" {letter}{qubit}" for qubit, letter in term)
