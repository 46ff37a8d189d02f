"""Which Pauli letters a leaf commutes with, against dense products."""

import numpy as np

from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.circuits.gates import GATES
from qjaxsim.planning.factors import find_axes


def expected(matrix):
    """By qubit the first letter of Z, X, Y whose dense matrix commutes."""
    k = len(matrix).bit_length() - 1
    letters = {(q, a): pauli_matrix("I" * q + a + "I" * (k - q - 1)) for q in range(k) for a in "ZXY"}
    return tuple(
        next((a for a in "ZXY" if np.abs(letters[q, a] @ matrix - matrix @ letters[q, a]).max() < 1e-14), None)
        for q in range(k)
    )


def test_axes_are_those_of_dense_commutators():
    rng = np.random.default_rng(0)
    matrices = [
        spec.matrix(np, *(np.float64(angle) for angle in rng.normal(size=spec.n_angles)))
        for spec in GATES.values()
        if spec.n_qubits
    ]
    unitary, _ = np.linalg.qr(rng.normal(size=(8, 8)) + 1j * rng.normal(size=(8, 8)))
    y_axis = np.kron(np.eye(4), np.cos(0.3) * np.eye(2)) - 1j * np.sin(0.3) * pauli_matrix("ZXY")
    matrices += [unitary, y_axis, np.kron(np.eye(2), unitary[:4, :4])]
    found = [find_axes(np.asarray(matrix, complex)) for matrix in matrices]
    assert found == [expected(matrix) for matrix in matrices]
    assert {letter for axes in found for letter in axes} == {"X", "Y", "Z", None}
