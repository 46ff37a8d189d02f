"""Observables taken apart into what is read from a state and the weights that make values of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qjaxsim.circuits.expressions import Expression
from qjaxsim.circuits.observables import Observable
from qjaxsim.circuits.operators import DenseOperator, DiagonalOperator, SparseOperator
from qjaxsim.circuits.sums import Coefficient, Operator, OperatorSum, PauliSum


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


def centred(observable: Observable) -> OperatorSum:
    """The observable less multiples of the identity, which change no variance but what is left of it by rounding."""
    parts = observable.parts if isinstance(observable, OperatorSum) else ((1.0, observable),)
    return OperatorSum((coefficient, _centred(operator)) for coefficient, operator in parts)


def _centred(operator: Operator) -> Operator:
    """The operator less its share of the identity: of a Pauli sum that term, of others the mean of the diagonal."""
    match operator:
        case PauliSum():
            return operator - operator.terms.get((), 0)
        case DenseOperator():
            mean = (operator.matrix.diagonal() / len(operator.matrix)).sum()
            return replace(operator, matrix=operator.matrix - mean * np.eye(len(operator.matrix)))
        case DiagonalOperator():
            return replace(operator, values=operator.values - (operator.values / len(operator.values)).sum())
        case SparseOperator():
            on_diagonal = operator.rows == operator.columns
            if on_diagonal.sum() < 2 ** len(operator.qubits):  # of zeros among them none would be left
                return operator
            return replace(operator, values=operator.values - on_diagonal * operator.values[on_diagonal].mean())
    return operator
