"""Readout errors: taken out of circuits, and what they make of observables. NumPy only, no JAX."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.measurements import ReadoutError
from qjaxsim.circuits.observables import I
from qjaxsim.circuits.operations import Conditional, Repeat
from qjaxsim.circuits.operators import DiagonalOperator
from qjaxsim.circuits.pauli_terms import Term
from qjaxsim.circuits.sums import Operator, PauliSum

Errors = Mapping[int, np.ndarray]
"""By qubit the probability of reading a bit (row) for an outcome (column), (2, 2)."""


def readout_errors(circuit: Circuit) -> Errors:
    """The readout errors of a circuit, several on one qubit multiplied.

    Raises:
        ValueError: for one under a condition.
    """
    errors: dict[int, np.ndarray] = {}
    for operation in _all(circuit):
        errors[operation.qubit] = operation.matrix() @ errors.get(operation.qubit, np.eye(2))
    return errors


def _all(circuit: Circuit) -> Iterator[ReadoutError]:
    for operation in circuit.operations:
        if isinstance(operation, ReadoutError):
            yield operation
        elif isinstance(operation, Repeat):
            for _ in range(operation.times):
                yield from _all(operation.circuit)
        elif isinstance(operation, Conditional) and any(_all(operation.circuit)):
            raise ValueError("Operation 'readout_error' cannot stand under a condition; put it before or behind.")


def with_readout(observable: PauliSum, errors: Errors) -> PauliSum:
    """The observable whose exact expectation value is that of what is read.

    A Pauli letter on a qubit that reads 1 for 0 with probability a and 0 for 1 with probability b becomes
    (1 - a - b) P + (b - a) 1.

    >>> from qjaxsim.circuits.observables import Z
    >>> print(with_readout(Z(0) @ Z(1), {0: np.array([[0.75, 0.25], [0.25, 0.75]])}))
    0.5 Z0 Z1
    """
    if not errors:
        return observable
    total = 0 * I()
    for term, coefficient in observable.terms.items():
        total = total + coefficient * _read(term, errors)
    return total


def operators_read(operators: Iterable[Operator], errors: Errors) -> tuple[Operator, ...]:
    """The same of several operators.

    Raises:
        ValueError: for operators on many qubits, which are not measured bit by bit.
    """
    found = tuple(operators)
    if errors and not all(isinstance(operator, PauliSum) for operator in found):
        raise ValueError("A circuit with readout errors takes Pauli sums, and operators on few qubits, as observables.")
    return tuple(with_readout(one, errors) if isinstance(one, PauliSum) else one for one in found)


def coherent_qubits(operators: Iterable[Operator]) -> set[int]:
    """The qubits of which operators read more than how often they are 0 or 1.

    >>> from qjaxsim.circuits.observables import X, Z
    >>> coherent_qubits([X(2) @ Z(0) + Z(1)])
    {2}
    """
    found: set[int] = set()
    for operator in operators:
        if isinstance(operator, PauliSum):
            found |= {qubit for term in operator.terms for qubit, letter in term if letter != "Z"}
        elif not isinstance(operator, DiagonalOperator):
            found.update(operator.qubits)
    return found


def _read(term: Term, errors: Errors) -> PauliSum:
    product = I()
    for qubit, letter in term:
        factor = PauliSum({((qubit, letter),): 1})
        if qubit in errors:
            (_, b), (a, _) = errors[qubit].tolist()
            factor = (1 - a - b) * factor + (b - a) * I()
        product = product @ factor
    return product
