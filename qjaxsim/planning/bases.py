"""Which terms of Pauli sums are read in a basis of their own. NumPy only, no JAX.

Terms that agree on every qubit that they share commute qubit by qubit: after one rotation of each qubit all of them are
made of Z, and one pass over the probabilities serves them. The alternative is one pass for each set of flipped qubits,
without any rotation (`measurement`). Which costs less depends on how many sets a basis replaces.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qjaxsim.circuits.circuit import Circuit
from qjaxsim.circuits.observables import PauliSum
from qjaxsim.circuits.pauli_terms import Term
from qjaxsim.planning import cost
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Plan

# Rotations are priced in blocks of so many qubits. Each basis lengthens the program: more than this are not looked for.
BLOCK, MOST_BASES = 5, 8

Flip = tuple[tuple[int, ...], bool]
"""The qubits that a term flips, and whether it has an odd number of Y."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Terms that are read together.

    Attributes:
        rotation: the plan that turns their letters into Z.
        observables: what they become, one sum for each observable.
    """

    rotation: Plan
    observables: tuple[PauliSum, ...]


def flip_of(term: Term) -> Flip:
    """The set of flipped qubits that a term belongs to."""
    return tuple(q for q, letter in term if letter in "XY"), sum(letter == "Y" for _, letter in term) % 2 == 1


def choose_bases(
    observables: Sequence[PauliSum], n_qubits: int, columns: int
) -> tuple[list[Basis], tuple[PauliSum, ...]]:
    """Split Pauli sums into terms that are rotated and terms that are not, by estimated cost.

    Args:
        observables: the sums.
        n_qubits: width of the register.
        columns: states that are read together.

    Returns:
        Bases, and the observables without the terms in them. Cost: terms times `MOST_BASES`.
    """
    terms = dict.fromkeys(term for observable in observables for term in observable.terms)
    groups = commuting([term for term in terms if flip_of(term)[0]], MOST_BASES)
    chosen = _worthwhile(groups, float(columns) * 2**n_qubits)
    bases = []
    for group in chosen:
        letters = {q: letter for term in group for q, letter in term if letter != "Z"}
        members = set(group)
        sums = tuple(_only(observable, members) for observable in observables)
        bases.append(Basis(rotation_of(letters, n_qubits), tuple(map(_diagonal, sums))))
    if not bases:
        return [], tuple(observables)
    left = terms.keys() - {term for group in chosen for term in group}
    return bases, tuple(_only(observable, left) for observable in observables)


def commuting(terms: Iterable[Term], most: int) -> list[list[Term]]:
    """Up to so many groups of terms that commute qubit by qubit, long terms first; what fits in none is left out."""
    groups: list[tuple[dict[int, str], list[Term]]] = []
    for term in sorted(terms, key=len, reverse=True):
        fitting = (g for g in groups if all(g[0].get(q, letter) == letter for q, letter in term))
        group = next(fitting, None)
        if group is None and len(groups) < most:
            group = ({}, [])
            groups.append(group)
        if group is not None:
            group[0].update(term)
            group[1].append(term)
    return [members for _, members in groups]


def _worthwhile(groups: Sequence[list[Term]], amplitudes: float) -> list[list[Term]]:
    """The groups whose rotation costs less than the passes that it saves: small ones are given up first."""
    overlap = cost.monomial(amplitudes)
    kept, needed, price = [], Counter[Flip](), 0.0
    for group in sorted(groups, key=len):
        flips = Counter(flip_of(term) for term in group)
        rotation = rotation_price(group, amplitudes)
        if len(flips.keys() - needed.keys()) * overlap <= rotation:
            needed += flips
        else:
            kept.append(group)
            price += rotation
    saved = {flip_of(term) for group in kept for term in group} - needed.keys()
    return kept if price < len(saved) * overlap else []


def rotation_price(group: Sequence[Term], amplitudes: float) -> float:
    """Cost of one rotation of all qubits with X or Y, which makes new copies of the state as it goes.

    Twice that of its products and transposes: so measured on 16 and 20 qubits, where 14 to 27 passes were its equal.
    """
    rotated = len({q for term in group for q, letter in term if letter != "Z"})
    block = cost.product(min(BLOCK, rotated), amplitudes) + cost.transpose(amplitudes)
    return -(-rotated // BLOCK) * 2 * block


def _only(observable: PauliSum, wanted: Iterable[Term]) -> PauliSum:
    return PauliSum({term: observable.terms[term] for term in observable.terms if term in wanted})


def _diagonal(observable: PauliSum) -> PauliSum:
    """Z in place of every letter."""
    return PauliSum({tuple((q, "Z") for q, _ in term): value for term, value in observable.terms.items()})


def rotation_of(letters: Mapping[int, str], n_qubits: int) -> Plan:
    """The plan that turns a letter on each of some qubits into Z."""
    circuit = Circuit(n_qubits)
    for qubit, letter in letters.items():
        if letter == "Y":
            circuit.sdg(qubit)
        circuit.h(qubit)
    return make_plan(circuit, from_zero=False)
