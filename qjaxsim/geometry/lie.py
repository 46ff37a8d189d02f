"""Dynamical Lie algebras: what the generators of a circuit span under commutators, and purities with respect to it.

An element is i times a real combination of Pauli strings. A string is the pair of masks (x, z) of the qubits with X or
Y and with Z or Y; the product of two is a third up to a power of i (`circuits/pauli_terms.py`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from qjaxsim.circuits.observables import PauliSum, pauli_sums
from qjaxsim.common.checks import positive_integer, shown
from qjaxsim.common.words import counted

# What is left of an element outside the span of others, relative to its norm, below which it is rounding.
ROUNDING = 1e-9
# What is left of one coefficient, relative to what it is the difference of, below which its commutators are noise.
NOISE = 1e-13
# Masks are 63-bit integers.
WIDEST = 31


@dataclass(frozen=True, eq=False)
class LieAlgebra:
    """A Lie algebra of skew-Hermitian operators on n qubits, spanned by i times Pauli sums.

    Attributes:
        n_qubits: n.
        strings: masks (S, 2) of the Pauli strings that occur: qubits with X or Y, qubits with Z or Y; bit q is qubit q.
        basis: coefficients (dimension, S) of an orthonormal basis in these strings.

    >>> import qjaxsim as qj
    >>> lie_algebra([qj.X(0), qj.Z(0)]).dimension  # su(2)
    3
    """

    n_qubits: int
    strings: np.ndarray
    basis: np.ndarray

    @property
    def dimension(self) -> int:
        """The number of elements of a basis."""
        return len(self.basis)

    def purity(self, operator: Any) -> float:
        """The squared Hilbert-Schmidt norm of a Hermitian operator's part in the algebra (times i).

        sum over an orthonormal basis B of |tr(B^dagger A)|**2. With rho or O in the algebra, and the algebra simple,
        the variance of tr(U rho U^dagger O) over its group is purity(rho) purity(O) / dimension: Ragone et al. 2024,
        doi:10.1038/s41467-024-49909-3, theorem 1.

        Args:
            operator: a Pauli sum; or an array, a state (2**n,) that stands for its density matrix, or (2**n, 2**n).

        Raises:
            ValueError: for another shape, or a sum on more qubits.

        >>> import qjaxsim as qj
        >>> round(lie_algebra([qj.X(0), qj.Z(0)]).purity(qj.Z(0)), 12)  # tr(Z Z)
        2.0
        """
        traces = _traces(operator, self.strings, self.n_qubits) / 2 ** (self.n_qubits / 2)
        return float(((self.basis @ traces) ** 2).sum())

    @property
    def labels(self) -> list[str]:
        """The strings as labels, first letter on qubit 0.

        >>> import qjaxsim as qj
        >>> lie_algebra([qj.X(0), qj.Z(0)]).labels
        ['X', 'Z', 'Y']
        """
        letters = {(0, 0): "I", (1, 0): "X", (1, 1): "Y", (0, 1): "Z"}
        return [
            "".join(letters[x >> q & 1, z >> q & 1] for q in range(self.n_qubits)) for x, z in self.strings.tolist()
        ]

    def __repr__(self) -> str:
        return f"<LieAlgebra: dimension {self.dimension} on {counted(self.n_qubits, 'qubit')}>"


def lie_algebra(
    generators: Iterable[PauliSum], n_qubits: int | None = None, *, max_dimension: int = 4096
) -> LieAlgebra:
    """The dynamical Lie algebra of generators: the real span of their nested commutators, times i.

    Args:
        generators: Hermitian Pauli sums H of gates exp(-i angle H).
        n_qubits: width n; default the least that holds the generators.
        max_dimension: where to give up; 4**n - 1 is the most that traceless generators have.

    Returns:
        LieAlgebra.

    Raises:
        ValueError: for no generators, sums that are not Hermitian or zero or act on more qubits, or a dimension above
            `max_dimension`.
        TypeError: for generators that are no Pauli sums.

    Cost: dimension times generators commutators, and dimension**2 times the Pauli strings that occur for their
    orthogonalisation; memory dimension times strings.

    >>> import qjaxsim as qj
    >>> chain = sum(qj.Z(q) @ qj.Z(q + 1) for q in range(3))
    >>> lie_algebra([chain, sum(qj.X(q) for q in range(4))]).dimension  # n**2: Larocca et al. 2021, arXiv:2109.11676
    16
    """
    sums, width = _checked(generators, n_qubits)
    most = positive_integer("max_dimension", max_dimension)
    span = _Span(most)
    pairs = [(masks, values / np.abs(values).max()) for masks, values in map(_arrays, sums)]
    waiting = [element for pair in pairs if (element := span.add(*pair)) is not None]
    while waiting:
        element = waiting.pop()
        for pair in pairs:
            # Nested commutators of generators span the algebra (by Jacobi's identity), so that no others are needed.
            found = span.add(*_commutator(pair, element))
            if found is not None:
                waiting.append(found)
    return LieAlgebra(width, span.strings(), span.matrix())


def _checked(generators: Any, n_qubits: int | None) -> tuple[list[PauliSum], int]:
    """The generators as a list, and the width."""
    if isinstance(generators, PauliSum) or not isinstance(generators, Iterable):
        raise TypeError(f"Argument `generators` must be several Pauli sums, but is {shown(generators)}.")
    sums = list(generators)
    if not sums:
        raise ValueError("Argument `generators` must hold at least one Pauli sum, but is empty.")
    for one in sums:
        if not isinstance(one, PauliSum):
            raise TypeError(f"Argument `generators` must hold Pauli sums, but holds {shown(one)}.")
        if not one.terms or not one.is_hermitian:
            raise ValueError(
                f"Argument `generators` must hold Hermitian Pauli sums that are not zero, but holds {shown(one)}."
            )
    most = max(one.n_qubits for one in sums)
    width = most if n_qubits is None else positive_integer("n_qubits", n_qubits)
    if not most <= width <= WIDEST:
        raise ValueError(
            f"Argument `n_qubits` must be from {most}, which the generators act on, to {WIDEST}, but is {width}."
        )
    return sums, max(width, 1)


Element = tuple[np.ndarray, np.ndarray]
"""Masks of Pauli strings (m, 2) and their real coefficients (m,)."""


def _arrays(one: PauliSum) -> Element:
    masks = [
        (
            sum(1 << qubit for qubit, letter in term if letter != "Z"),
            sum(1 << qubit for qubit, letter in term if letter != "X"),
        )
        for term in one.terms
    ]
    return np.array(masks, np.int64).reshape(-1, 2), np.array([value.real for value in one.terms.values()])


def _commutator(left: Element, right: Element) -> Element:
    """[iA, iB] as i times a real combination, every product of two strings by itself."""
    (a, alpha), (b, beta) = left, right
    x, z = a[:, None, 0] ^ b[None, :, 0], a[:, None, 1] ^ b[None, :, 1]
    crossed = np.bitwise_count(a[:, None, 1] & b[None, :, 0]).astype(int)
    odd = (crossed + np.bitwise_count(a[:, None, 0] & b[None, :, 1])) % 2 == 1
    power = (_ys(a)[:, None] + _ys(b)[None, :] - np.bitwise_count(x & z).astype(int) + 2 * crossed) % 4
    # A product of strings that anticommute is i or -i times a string R; [iP, iQ] = -2 PQ.
    values = np.where(power == 1, -2.0, 2.0) * np.multiply.outer(alpha, beta)
    return np.stack([x[odd], z[odd]], axis=1), values[odd]


def _ys(masks: np.ndarray) -> np.ndarray:
    return np.bitwise_count(masks[:, 0] & masks[:, 1]).astype(int)


class _Span:
    """An orthonormal basis that grows, in coordinates of the strings met so far."""

    def __init__(self, most: int):
        self.most = most
        self.places: dict[tuple[int, int], int] = {}
        self.rows = np.zeros((8, 64))
        self.size = 0

    def add(self, masks: np.ndarray, values: np.ndarray) -> Element | None:
        """Add an element; what is new of it, as a unit vector, or None where nothing is."""
        vector = self._vector(masks, values)
        norm = np.linalg.norm(vector)
        if not norm:
            return None
        vector /= norm
        basis = self.rows[: self.size, : len(self.places)]
        sizes = np.abs(vector) + np.abs(basis @ vector) @ np.abs(basis)
        for _ in range(2):
            vector = vector - (basis @ vector) @ basis
        vector = np.where(np.abs(vector) > NOISE * sizes, vector, 0.0)
        left = np.linalg.norm(vector)
        if left <= ROUNDING:
            return None
        if self.size == self.most:
            raise ValueError(
                f"Argument `generators` make an algebra of more than {self.most} dimensions; raise `max_dimension`."
            )
        if self.size == len(self.rows):
            self.rows = np.pad(self.rows, ((0, self.size), (0, 0)))
        self.rows[self.size, : len(vector)] = vector / left
        self.size += 1
        kept = np.flatnonzero(vector)
        return self.strings()[kept], vector[kept] / left

    def _vector(self, masks: np.ndarray, values: np.ndarray) -> np.ndarray:
        index = [self.places.setdefault(key, len(self.places)) for key in map(tuple, masks.tolist())]
        if len(self.places) > self.rows.shape[1]:
            room = 2 * len(self.places) - self.rows.shape[1]
            self.rows = np.pad(self.rows, ((0, 0), (0, room)))
        vector, sizes = np.zeros((2, len(self.places)))
        np.add.at(vector, index, values)
        np.add.at(sizes, index, np.abs(values))
        # What cancels up to rounding would, normalised, be a direction of noise.
        return np.where(np.abs(vector) > ROUNDING * sizes, vector, 0.0)

    def strings(self) -> np.ndarray:
        """Masks (S, 2)."""
        return np.array(list(self.places), np.int64).reshape(-1, 2)

    def matrix(self) -> np.ndarray:
        """The basis (dimension, S)."""
        return self.rows[: self.size, : len(self.places)].copy()


def _traces(operator: Any, strings: np.ndarray, n_qubits: int) -> np.ndarray:
    """tr(P A) for every Pauli string P, real."""
    if isinstance(operator, PauliSum):
        masks, values = _arrays(*pauli_sums(operator, n_qubits))
        known = dict(zip(map(tuple, masks.tolist()), values.tolist(), strict=True))
        return 2.0**n_qubits * np.array([known.get(key, 0.0) for key in map(tuple, strings.tolist())])
    given = np.asarray(operator)
    d = 2**n_qubits
    if given.shape not in ((d,), (d, d)):
        raise ValueError(
            f"Argument `operator` must be a Pauli sum, or an array of shape ({d},) or ({d}, {d}) for {n_qubits} "
            f"qubits, but has shape {given.shape}."
        )
    return np.array([_trace(given, x, z, n_qubits) for x, z in strings.tolist()])


def _trace(given: np.ndarray, x: int, z: int, n_qubits: int) -> float:
    """tr(P A) for one string, in 2**n entries of A."""
    index = np.arange(2**n_qubits)
    flips, signs = _reversed(x, n_qubits), _reversed(z, n_qubits)
    # P|j> = i**|x & z| (-1)**|z & j| |j ^ x>, so that tr(P A) is the sum of these phases times A[j, j ^ x].
    entries = given[index] * given.conj()[index ^ flips] if given.ndim == 1 else given[index, index ^ flips]
    phases = 1 - 2 * (np.bitwise_count(index & signs).astype(int) % 2)
    return float((1j ** (x & z).bit_count() * phases * entries).sum().real)


def _reversed(mask: int, n_qubits: int) -> int:
    """The mask of index bits: qubit 0 is the most significant one."""
    return sum(1 << (n_qubits - 1 - q) for q in range(n_qubits) if mask >> q & 1)
