"""Operators on many qubits: matrices, diagonals, projectors, sparse matrices. Records without arrays of a device."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DenseOperator:
    """A Hermitian matrix on some qubits.

    Attributes:
        matrix: (2**k, 2**k) complex128.
        qubits: the k qubits, most significant bit of its index first.
    """

    matrix: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return self.matrix


@dataclass(frozen=True, eq=False)
class DiagonalOperator:
    """Real values of the basis states of some qubits.

    Attributes:
        values: (2**k,) float64.
        qubits: the k qubits, most significant bit of the index first.
    """

    values: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return np.diag(self.values).astype(complex)


@dataclass(frozen=True, eq=False)
class ProjectorOperator:
    """The projector on one state of some qubits.

    Attributes:
        state: (2**k,) complex128, of norm 1.
        qubits: the k qubits, most significant bit of the index first.
    """

    state: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        return np.outer(self.state, self.state.conj())


@dataclass(frozen=True, eq=False)
class SparseOperator:
    """A Hermitian matrix by its entries, each place once.

    Attributes:
        rows: (entries,) int64, ascending.
        columns: (entries,) int64.
        values: (entries,) complex128.
        qubits: the k qubits, most significant bit of the index first.
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    qubits: tuple[int, ...]

    def dense(self) -> np.ndarray:
        """The matrix on its qubits."""
        matrix = np.zeros((2 ** len(self.qubits),) * 2, dtype=complex)
        matrix[self.rows, self.columns] = self.values
        return matrix


WideOperator = DenseOperator | DiagonalOperator | ProjectorOperator | SparseOperator
