"""Pauli sums: products with @, sums with +, scaling with *."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from qjaxsim.numbers_given import as_integer, as_number

Term = tuple[tuple[int, str], ...]

# The product of two different Pauli letters: letter and phase.
_PRODUCT = {
    ("X", "Y"): ("Z", 1j), ("Y", "Z"): ("X", 1j), ("Z", "X"): ("Y", 1j),
    ("Y", "X"): ("Z", -1j), ("Z", "Y"): ("X", -1j), ("X", "Z"): ("Y", -1j),
}  # fmt: skip

_CONSTANT = ("A coefficient of a Pauli sum", "measure the terms apart with `expectation` and weigh their values")


class PauliSum:
    """A linear combination of products of Pauli operators.

    Made from `X(q)`, `Y(q)`, `Z(q)`, `I()` and arithmetic, or from labels.

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
            key = _check_term(term)
            if not np.isfinite(coefficient):
                raise ValueError(f"Coefficients of a Pauli sum must be finite, but {key} has {coefficient!r}.")
            total[key] = total.get(key, 0) + complex(coefficient)
        self._terms = {term: value for term, value in total.items() if value != 0}

    @classmethod
    def from_label(cls, label: str, coefficient: complex = 1.0) -> "PauliSum":
        """The product of a label such as "XIZ": first letter on qubit 0 (Qiskit's labels run the other way)."""
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
        """Whether every coefficient is real."""
        return all(value.imag == 0 for value in self._terms.values())

    def __add__(self, other: Any) -> "PauliSum":
        if (number := as_number(other, *_CONSTANT)) is not None:
            other = I() * number
        if not isinstance(other, PauliSum):
            return NotImplemented
        total = dict(self._terms)
        for term, value in other._terms.items():
            total[term] = total.get(term, 0) + value
        return PauliSum(total)

    __radd__ = __add__

    def __neg__(self) -> "PauliSum":
        return self * -1

    def __sub__(self, other: Any) -> "PauliSum":
        return self + -1 * other if isinstance(other, PauliSum) else -(-self + other)

    def __rsub__(self, other: Any) -> "PauliSum":
        return -self + other

    def __mul__(self, factor: Any) -> "PauliSum":
        if isinstance(factor, PauliSum):
            raise TypeError("Two Pauli sums are multiplied with @; * is for scaling by a number.")
        if (number := as_number(factor, *_CONSTANT)) is None:
            return NotImplemented
        return PauliSum({term: value * number for term, value in self._terms.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "PauliSum":
        if (number := as_number(divisor, *_CONSTANT)) is None:
            return NotImplemented
        return self * (1 / number)

    def __matmul__(self, other: "PauliSum") -> "PauliSum":
        if not isinstance(other, PauliSum):
            return NotImplemented
        total: dict[Term, complex] = {}
        for a, left in self._terms.items():
            for b, right in other._terms.items():
                term, phase = _multiply(a, b)
                total[term] = total.get(term, 0) + left * right * phase
        return PauliSum(total)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PauliSum) and self._terms == other._terms

    def __hash__(self) -> int:
        return hash(frozenset(self._terms.items()))

    def __repr__(self) -> str:
        return f"<PauliSum: {self}>"

    def __str__(self) -> str:
        text = ""
        for term, value in self._terms.items():
            number = f"{value.real:.6g}" if value.imag == 0 else f"({value:.6g})"
            sign = " - " if number.startswith("-") else " + "
            text += sign + number.lstrip("-") + "".join(f" {letter}{qubit}" for qubit, letter in term)
        return "0" if not text else ("-" + text[3:] if text.startswith(" - ") else text[3:])


def _one_letter(letter: str, qubit: Any) -> PauliSum:
    return PauliSum({_check_term(((qubit, letter),)): 1})  # checked first: a key must be hashable


def X(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli X on one qubit."""
    return _one_letter("X", qubit)


def Y(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli Y on one qubit."""
    return _one_letter("Y", qubit)


def Z(qubit: int) -> PauliSum:  # noqa: N802
    """Pauli Z on one qubit."""
    return _one_letter("Z", qubit)


def I() -> PauliSum:  # noqa: N802, E743
    """The identity."""
    return PauliSum({(): 1})


def pauli_sums(observables: PauliSum | Iterable[PauliSum], n_qubits: int) -> tuple[PauliSum, ...]:
    """Check observables against a width and return them as a tuple.

    Raises:
        TypeError: for anything but Pauli sums.
        ValueError: for an empty list, a qubit out of range, or a coefficient that is not real.
    """
    if not isinstance(observables, Iterable | PauliSum):
        raise TypeError(
            f"Argument `observables` must be a PauliSum or several, but is {observables!r} "
            f"({type(observables).__name__})."
        )
    sums = (observables,) if isinstance(observables, PauliSum) else tuple(observables)
    if not sums:
        raise ValueError("Argument `observables` must hold at least one PauliSum, but is empty.")
    for position, observable in enumerate(sums):
        if not isinstance(observable, PauliSum):
            raise TypeError(f"Observable {position} must be a PauliSum, but is {type(observable).__name__}.")
        if observable.n_qubits > n_qubits:
            raise ValueError(
                f"Observable {position} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits."
            )
        if not observable.is_hermitian:
            raise ValueError(f"Observable {position} must have real coefficients, but is {observable}.")
    return sums


def _check_term(term: Term) -> Term:
    for qubit, letter in term:
        if (number := as_integer(qubit)) is None or number < 0:
            raise ValueError(f"Qubits of a Pauli term must be integers from 0 on, but got {qubit!r}.")
        if letter not in ("X", "Y", "Z"):
            raise ValueError(f"Pauli letters are X, Y and Z, but got {letter!r}.")
    qubits = [as_integer(qubit) for qubit, _ in term]
    if len(set(qubits)) != len(qubits):
        raise ValueError(f"A Pauli term must name each qubit once, but is {term}; use @ for products.")
    return tuple(sorted((as_integer(qubit) or 0, letter) for qubit, letter in term))


def _multiply(left: Term, right: Term) -> tuple[Term, complex]:
    """The product of two terms: term and phase."""
    letters, phase = dict(left), 1 + 0j
    for qubit, letter in right:
        mine = letters.pop(qubit, None)
        if mine is None:
            letters[qubit] = letter
        elif mine != letter:
            letters[qubit], factor = _PRODUCT[mine, letter]
            phase *= factor
    return tuple(sorted(letters.items())), phase
