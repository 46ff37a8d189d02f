"""Observables: the Pauli letters, and what users give checked against the width of a circuit."""

from collections.abc import Iterable
from typing import Any

from qjaxsim.circuits.pauli_terms import check_term, text_of
from qjaxsim.circuits.qiskit_operators import is_qiskit_operator, operators_in, terms_of, way_out
from qjaxsim.circuits.sums import OperatorSum, PauliSum, largest_imaginary, real_part
from qjaxsim.common.checks import shown

__all__ = [
    "I",
    "Observable",
    "PauliSum",
    "X",
    "Y",
    "Z",
    "check_pauli_sum",
    "checked_observables",
    "is_single",
    "pauli_sums",
]

Observable = PauliSum | OperatorSum


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
            qubit q of the circuit; or a PauliList or ObservablesArray of them, with one axis or none.
        n_qubits: width of the circuit.

    Raises:
        TypeError: for anything else.
        ValueError: for an empty list, a qubit out of range, an operator of Qiskit's of another width, or a coefficient
            that is not real.
    """
    return tuple(check_pauli_sum(each, position, n_qubits) for position, each in enumerate(_as_given(observables)))


def is_single(observables: Any) -> bool:
    """Whether this is one observable and no list of them."""
    return isinstance(observables, PauliSum | OperatorSum) or is_qiskit_operator(operators_in(observables))


def _as_given(observables: Any) -> tuple[Any, ...]:
    """One observable or several as a tuple, not checked themselves.

    Raises:
        TypeError: for what is neither.
        ValueError: for an empty list.
    """
    observables = operators_in(observables)
    if is_single(observables):
        return (observables,)
    if not isinstance(observables, Iterable):
        raise TypeError(
            f"Argument `observables` must be a PauliSum or several, but is {shown(observables)} "
            f"({type(observables).__name__}){way_out(observables)}."
        )
    given = tuple(observables)
    if not given:
        raise ValueError("Argument `observables` must hold at least one PauliSum, but is empty.")
    return given


def check_pauli_sum(observable: Any, position: int, n_qubits: int) -> PauliSum:
    """An observable as a Pauli sum with real coefficients; arguments and errors as of `pauli_sums`."""
    if is_qiskit_operator(observable):
        if observable.num_qubits != n_qubits:
            way = "give it on the qubits that the circuit was written for, before any layout"
            if observable.num_qubits < n_qubits:
                way = f"`apply_layout(None, {n_qubits})` puts it on the first of them"
            raise ValueError(
                f"Observable {position} must have the circuit's {n_qubits} qubits, but has {observable.num_qubits}; "
                f"{way}."
            )
        observable = PauliSum(terms_of(observable))
    if not isinstance(observable, PauliSum):
        only = "; `expectation` alone takes it" if isinstance(observable, OperatorSum) else ""
        only = "; write Z0 X1 as `qj.Z(0) @ qj.X(1)`" if isinstance(observable, str) else only or way_out(observable)
        raise TypeError(f"Observable {position} must be a PauliSum, but is {type(observable).__name__}{only}.")
    if observable.n_qubits > n_qubits:
        raise ValueError(
            f"Observable {position} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits."
        )
    if (term := largest_imaginary(observable)) is not None:
        value, count = observable.terms[term], len(observable.terms)
        raise ValueError(
            f"Observable {position} must have real coefficients, but has ({value:.6g}){text_of(term)}"
            f"{f' among its {count:,} terms' if count > 1 else ''}."
        )
    return real_part(observable)


def checked_observables(observables: Any, n_qubits: int) -> tuple[Observable, ...]:
    """Check observables of any kind against a width and return them as a tuple.

    Args:
        observables: one or several Pauli sums, sums of operators, or operators of Qiskit's.
        n_qubits: width of the circuit.

    Raises:
        TypeError: for anything else.
        ValueError: for an empty list, a qubit out of range, or a coefficient that is not real.
    """
    given = _as_given(observables)
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
