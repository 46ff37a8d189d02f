"""Channels of Qiskit's and of Aer's as ours."""

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from qjaxsim.circuits.channels import kraus_matrices
from qjaxsim.circuits.operations import Kraus
from qjaxsim_qiskit.ordering import matrix_qubits

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

# Kraus matrices smaller than this come from rounding.
LEAST = 1e-13
# Names of instructions that are channels; a gate of such a name may be anything.
_CHANNELS = ("kraus", "superop", "quantum_channel")


def channel_of(operation: Any) -> Kraus | None:
    """The channel that an instruction is, on qubits 0, 1, ... as Qiskit counts them; None for other operations."""
    if not _is_channel(operation):
        return None
    return as_kraus(getattr(operation, "_quantum_error", operation), operation.label or operation.name)


def has_channels(circuit: "QuantumCircuit") -> bool:
    """Whether an operation of a circuit's, or of a branch's, is a channel."""
    operations = (instruction.operation for instruction in circuit.data)
    return any(_is_channel(each) or any(map(has_channels, getattr(each, "blocks", ()))) for each in operations)


def _is_channel(operation: Any) -> bool:
    from qiskit.circuit import Gate

    return operation.name in _CHANNELS and not isinstance(operation, Gate)


def as_kraus(channel: Any, label: str) -> Kraus:
    """A channel of Qiskit's, or an error of Aer's, on qubits 0, 1, ... as Qiskit counts them."""
    from qiskit.quantum_info import SuperOp

    width = channel.num_qubits
    return Kraus(_kraus(SuperOp(channel).data.tobytes(), 2**width), matrix_qubits(range(width)), label)


@functools.lru_cache(maxsize=512)
def _kraus(data: bytes, size: int) -> np.ndarray:
    """Kraus matrices of a superoperator of Qiskit's, which acts on a density matrix's columns one under another."""
    stacked = np.frombuffer(data, complex).reshape(size, size, size, size)
    return kraus_matrices(stacked.transpose(1, 0, 3, 2).reshape(size * size, size * size), LEAST)
