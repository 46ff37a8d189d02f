"""The one place where the order of bits is turned round.

Qubit q is qubit q on both sides. Here it is bit n - 1 - q of a state's index, in Qiskit bit q; and the first qubit of a
gate is the most significant bit of its matrix here, the least in Qiskit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np


def reverse_state(values: Any, n_qubits: int) -> np.ndarray:
    """The last axis, over the states of a register, in the other order of bits.

    Args:
        values: (..., 2**n_qubits) amplitudes, probabilities or counts; either order, since it is its own inverse.
        n_qubits: qubits of the register.
    """
    array = np.asarray(values)
    bits = array.reshape(*array.shape[:-1], *(2,) * n_qubits)
    leading = array.ndim - 1
    return bits.transpose(*range(leading), *reversed(range(leading, bits.ndim))).reshape(array.shape)


def reverse_matrix(matrix: Any) -> np.ndarray:
    """A matrix over the states of a register, on the same qubits, in the other order of bits; its own inverse."""
    array = np.asarray(matrix)
    n = len(array).bit_length() - 1
    return reverse_state(reverse_state(array, n).T, n).T


def matrix_qubits(qubits: Sequence[int]) -> tuple[int, ...]:
    """The qubits of a state or channel in the other side's order, which leaves its numbers as they are."""
    return tuple(reversed(qubits))
