"""Products of Pauli operators as terms: what is in order, what two of them make."""

import cmath
from collections.abc import Mapping

from qjaxsim.common.checks import as_integer, shown

Term = tuple[tuple[int, str], ...]
"""(qubit, letter) for each qubit of a product, in ascending order; () for the identity."""

# By whether a qubit's X and Z occur in a product.
_LETTERS = {(True, False): "X", (True, True): "Y", (False, True): "Z"}
_POWERS = (1, 1j, -1, -1j)


def check_term(term: Term) -> Term:
    """A term in order.

    Raises:
        ValueError: for what is no tuple of pairs, an unknown letter, and a qubit that is repeated, negative or no
            integer.
    """
    if not isinstance(term, tuple) or not all(isinstance(factor, tuple) and len(factor) == 2 for factor in term):
        raise ValueError(
            "A Pauli term must be a tuple of pairs (qubit, letter), such as ((0, 'X'), (2, 'Z')), but is "
            f"{shown(term)}; labels are read by `qj.PauliSum.from_label`."
        )
    for qubit, letter in term:
        if (number := as_integer(qubit)) is None or number < 0:
            raise ValueError(f"Qubits of a Pauli term must be integers from 0 on, but got {qubit!r}.")
        if letter not in ("X", "Y", "Z"):
            raise ValueError(f"Pauli letters are X, Y and Z, but got {letter!r}.")
    qubits = [as_integer(qubit) for qubit, _ in term]
    if len(set(qubits)) != len(qubits):
        raise ValueError(f"A Pauli term must name each qubit once, but is {term}; use @ for products.")
    return tuple(sorted((as_integer(qubit) or 0, letter) for qubit, letter in term))


def product(left: dict[Term, complex], right: dict[Term, complex]) -> dict[Term, complex]:
    """All products of two terms, added up.

    A term is i**|x & z| X**x Z**z for masks x and z of its qubits, so that a product takes an exclusive or of the masks
    and a power of i: Z**z X**x = (-1)**|z & x| X**x Z**z.
    """
    places = {q: 1 << i for i, q in enumerate(sorted({q for term in (*left, *right) for q, _ in term}))}
    masked = [(*_masks(term, places), value) for term, value in right.items()]
    total: dict[tuple[int, int], complex] = {}
    for term, value in left.items():
        x, z, n_y = _masks(term, places)
        for other_x, other_z, other_y, other in masked:
            key = (x ^ other_x, z ^ other_z)
            power = n_y + other_y - (key[0] & key[1]).bit_count() + 2 * (z & other_x).bit_count()
            total[key] = total.get(key, 0) + value * other * _POWERS[power % 4]
    return {_unmasked(*key, places): value for key, value in total.items()}


def _masks(term: Term, places: Mapping[int, int]) -> tuple[int, int, int]:
    """Masks of the qubits with X or Y and with Z or Y, and the number of those with Y."""
    x = sum(places[q] for q, letter in term if letter != "Z")
    z = sum(places[q] for q, letter in term if letter != "X")
    return x, z, (x & z).bit_count()


def _unmasked(x: int, z: int, places: Mapping[int, int]) -> Term:
    return tuple((q, _LETTERS[bool(x & bit), bool(z & bit)]) for q, bit in places.items() if (x | z) & bit)


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


def text_of(term: Term) -> str:
    """A term with a space in front of each letter."""
    return "".join(f" {letter}{qubit}" for qubit, letter in term)
