"""Small dense matrices in NumPy, the first qubit the most significant bit of an index."""

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

PAULI = MappingProxyType(
    {
        "I": np.eye(2, dtype=complex),
        "X": np.array([[0, 1], [1, 0]], dtype=complex),
        "Y": np.array([[0, -1j], [1j, 0]], dtype=complex),
        "Z": np.array([[1, 0], [0, -1]], dtype=complex),
    }
)


def kron(*matrices: np.ndarray) -> np.ndarray:
    """Kronecker product of any number of matrices, the first one most significant."""
    product = np.eye(1, dtype=complex)
    for matrix in matrices:
        product = np.kron(product, matrix)
    return product


def pauli_matrix(label: str) -> np.ndarray:
    """The dense matrix of a Pauli string such as "XIZ", first letter on the most significant qubit."""
    return kron(*(PAULI[letter] for letter in label))


def index_of_bits(places: Sequence[int], k: int) -> np.ndarray:
    """For every index of k bits, the index that its bits at `places` spell (first most significant)."""
    index = np.arange(2**k)
    out = np.zeros_like(index)
    for place in places:
        out = 2 * out + (index >> (k - 1 - place) & 1)
    return out


def applied(matrix: np.ndarray, qubits: Sequence[int], to: np.ndarray) -> np.ndarray:
    """A matrix on some qubits (first most significant) times a (2**n,) or (2**n, columns) array."""
    k, n = len(qubits), len(to).bit_length() - 1
    product = np.tensordot(matrix.reshape((2,) * (2 * k)), to.reshape((2,) * n + (-1,)), (range(k, 2 * k), qubits))
    return np.moveaxis(product, range(k), qubits).reshape(to.shape)


def monomial(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Split a matrix with one unit entry per row into (source, phase): out[i] = phase[i] * state[source[i]].

    Returns:
        None if the matrix is not such a permutation with phases; else int and complex128 arrays of shape (d,).
    """
    nonzero = np.abs(matrix) > 1e-14
    if not (nonzero.sum(0) == 1).all() or not (nonzero.sum(1) == 1).all():
        return None
    source = nonzero.argmax(1)
    phase = matrix[np.arange(len(matrix)), source]
    # Entries that are 1 up to rounding are made exactly 1, so that pure permutations skip the multiplication.
    return source, np.where(np.abs(phase - 1) < 1e-15, 1, phase)


def controlled(matrix: np.ndarray, n_controls: int = 1) -> np.ndarray:
    """The constant matrix with `n_controls` controls in front."""
    size = len(matrix) << n_controls
    out = np.eye(size, dtype=complex)
    out[-len(matrix) :, -len(matrix) :] = matrix
    return out
