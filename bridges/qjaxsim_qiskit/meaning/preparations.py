"""States that Qiskit's circuits begin in."""

from typing import Any

import numpy as np


def prepared_state(operation: Any) -> np.ndarray | None:
    """The amplitudes, in Qiskit's order of bits, that an operation gives fresh qubits; None for other operations."""
    from qiskit.circuit.library import Initialize, StatePreparation

    if sets_state(operation):
        return np.asarray(operation.params[0], complex)
    if not isinstance(operation, Initialize | StatePreparation):
        return None
    if getattr(operation, "_inverse", False):
        return None
    try:
        state = np.asarray(operation.params, complex)
    except (TypeError, ValueError):  # free parameters; a label, which is a few gates
        return None
    return state if len(state) == 2**operation.num_qubits else None  # or a number whose bits are meant


def sets_state(operation: Any) -> bool:
    """Whether it is Aer's instruction that sets a state vector; Aer need not be installed."""
    kinds = type(operation).__mro__
    return any(k.__module__ == "qiskit_aer.library.set_instructions.set_statevector" for k in kinds)
