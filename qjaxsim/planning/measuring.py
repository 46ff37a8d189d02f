"""How observables are measured with shots: groups of Pauli terms in one basis each. NumPy only, no JAX."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qjaxsim.circuits.operators import DiagonalOperator
from qjaxsim.circuits.pauli_terms import Term
from qjaxsim.circuits.sums import Operator, PauliSum
from qjaxsim.planning.bases import commuting, rotation_of
from qjaxsim.planning.steps import Plan


@dataclass(frozen=True, eq=False)
class Group:
    """What is read from the same shots.

    Attributes:
        rotation: the plan that turns the letters of the terms into Z; None where they are.
        qubits: those measured, the first the most significant bit of an outcome.
        signs: by term, places among these qubits whose bits give its sign; for a diagonal none.
        values: of a diagonal, by outcome.
    """

    rotation: Plan | None
    qubits: tuple[int, ...]
    signs: tuple[frozenset[int], ...] = ()
    values: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Measured:
    """Operators as sums of what groups give.

    Attributes:
        groups: each is given its own shots.
        entries: (operator, place among the values of all groups, weight) of each summand.
        constants: (B,) what needs no measurement.
    """

    groups: tuple[Group, ...]
    entries: tuple[tuple[int, int, float], ...]
    constants: np.ndarray


def plan_measurements(operators: Sequence[Operator], n_qubits: int) -> Measured:
    """Groups of terms that commute qubit by qubit, largest terms first, and a group for each diagonal on many qubits.

    Raises:
        ValueError: for operators that are neither Pauli sums nor diagonals.
    """
    terms = dict.fromkeys(t for each in operators if isinstance(each, PauliSum) for t in each.terms if t)
    constants = np.zeros(len(operators))
    places: dict[Term, int] = {}
    groups, entries = [], []
    for members in commuting(terms, len(terms)):
        places |= {term: len(places) + i for i, term in enumerate(members)}
        groups.append(_group(members, n_qubits))
    place = len(places)
    for b, operator in enumerate(operators):
        if isinstance(operator, PauliSum):
            constants[b] = operator.terms.get((), 0.0).real
            entries += [(b, places[term], value.real) for term, value in operator.terms.items() if term]
        elif isinstance(operator, DiagonalOperator):
            groups.append(Group(None, operator.qubits, values=operator.values))
            entries.append((b, place, 1.0))
            place += 1
        else:
            raise ValueError(
                "Argument `observables` must hold Pauli sums and diagonals with `shots`, but has a "
                f"{type(operator).__name__} on {len(operator.qubits)} qubits, which no rotation of single qubits "
                "measures."
            )
    return Measured(tuple(groups), tuple(entries), constants)


def _group(members: Sequence[Term], n_qubits: int) -> Group:
    letters = {q: letter for term in members for q, letter in term}
    turned = {q: letter for q, letter in letters.items() if letter != "Z"}
    qubits = tuple(sorted(letters))
    signs = tuple(frozenset(qubits.index(q) for q, _ in term) for term in members)
    return Group(rotation_of(turned, n_qubits) if turned else None, qubits, signs)
