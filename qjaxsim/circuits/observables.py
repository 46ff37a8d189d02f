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
    "checked_observable",
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
    given = _as_given(observables)
    return tuple(_pauli_sum(each, f"Observable {position}", n_qubits) for position, each in enumerate(given))


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
    if not isinstance(observables, Iterable) or _is_matrix(observables):
        value = f"of shape {observables.shape}" if _is_matrix(observables) else shown(observables)
        raise TypeError(
            f"Argument `observables` must be a PauliSum or several, but is {value} ({type(observables).__name__})"
            f"{_way_out(observables)}."
        )
    given = tuple(observables)
    if not given:
        raise ValueError("Argument `observables` must hold at least one PauliSum, but is empty.")
    return given


def _pauli_sum(observable: Any, what: str, n_qubits: int) -> PauliSum:
    """An observable as a Pauli sum with real coefficients; errors as of `pauli_sums`, about `what`."""
    if is_qiskit_operator(observable):
        if observable.num_qubits != n_qubits:
            way = "give it on the qubits that the circuit was written for, before any layout"
            if observable.num_qubits < n_qubits:
                way = f"`apply_layout(None, {n_qubits})` puts it on the first of them"
            raise ValueError(
                f"{what} must have the circuit's {n_qubits} qubits, but has {observable.num_qubits}; {way}."
            )
        observable = PauliSum(terms_of(observable))
    if not isinstance(observable, PauliSum):
        raise TypeError(f"{what} must be a PauliSum, but is {type(observable).__name__}{_way_out(observable)}.")
    if observable.n_qubits > n_qubits:
        raise ValueError(f"{what} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits.")
    if (term := largest_imaginary(observable)) is not None:
        value, count = observable.terms[term], len(observable.terms)
        raise ValueError(
            f"{what} must have real coefficients, but has ({value:.6g}){text_of(term)}"
            f"{f' among its {count:,} terms' if count > 1 else ''}."
        )
    return real_part(observable)


def _way_out(value: Any) -> str:
    """How to write as an observable what is none, as the end of a sentence."""
    if isinstance(value, OperatorSum):
        return "; `expectation` alone takes it"
    if isinstance(value, str) or (isinstance(value, list | tuple) and value and isinstance(value[0], str)):
        return "; write Z0 X1 as `qj.Z(0) @ qj.X(1)`, a label as `qj.PauliSum.from_label(label, coefficient)`"
    if hasattr(value, "tocoo"):
        return "; write a sparse matrix as `qj.SparseHermitian(matrix)`"
    return "; write a matrix as `qj.Hermitian(matrix, qubits)`" if _is_matrix(value) else way_out(value)


def _is_matrix(value: Any) -> bool:
    """Whether a value is an array of numbers with rows."""
    kind = getattr(getattr(value, "dtype", None), "kind", "O")
    return kind in "biufc" and getattr(value, "ndim", 0) >= 2


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
    return tuple(_checked(each, f"Observable {position}", n_qubits) for position, each in enumerate(given))


def checked_observable(name: str, observable: Any, n_qubits: int) -> Observable:
    """The same of the one observable that an argument takes."""
    return _checked(operators_in(observable), f"Argument `{name}`", n_qubits)


def _checked(observable: Any, what: str, n_qubits: int) -> Observable:
    if not isinstance(observable, OperatorSum):
        return _pauli_sum(observable, what, n_qubits)
    if observable.n_qubits > n_qubits:
        raise ValueError(f"{what} acts on qubit {observable.n_qubits - 1}, but the circuit has {n_qubits} qubits.")
    return OperatorSum(
        (value, _pauli_sum(operator, what, n_qubits) if isinstance(operator, PauliSum) else operator)
        for value, operator in observable.parts
    )
