"""Channels of Qiskit's and of Aer's as ours."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
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
    whole = _mixed(channel) if hasattr(channel, "probabilities") else SuperOp(channel).data
    return Kraus(_kraus(whole.tobytes(), 2**width), matrix_qubits(range(width)), label)


@dataclass(frozen=True)
class _Part:
    """An instruction on some of a channel's qubits; equal ones do the same.

    Attributes:
        what: name and numbers, or an object of its own where the name does not say what it does.
        qubits: that it acts on.
        width: of the channel.
        operation: Qiskit's.
    """

    what: tuple[Any, ...]
    qubits: tuple[int, ...]
    width: int
    operation: Any = field(compare=False)


def _mixed(error: Any) -> np.ndarray:
    """The superoperator of an error of Aer's: circuits, each with its probability.

    A device's errors have up to 144 circuits of the same few instructions, so each of these is made a matrix once.
    """
    size = 4**error.num_qubits
    whole = np.zeros((size, size), complex)
    for circuit, probability in zip(error.circuits, error.probabilities, strict=True):
        product = np.eye(size, dtype=complex)
        for part in _parts(circuit):
            product = _superoperator(part) @ product
        whole += probability * product
    return whole


def _parts(circuit: "QuantumCircuit") -> Iterator[_Part]:
    from qiskit.circuit.library import PauliGate

    for instruction in circuit.data:
        operation = instruction.operation
        # Names that Qiskit itself goes by, and classes; a gate of another class may have any name.
        told = operation.name in ("kraus", "superop", "reset") or type(operation) is PauliGate
        if told or instruction.is_standard_gate():
            numbers = (each.tobytes() if isinstance(each, np.ndarray) else each for each in operation.params)
            what = (operation.name, *numbers)
        else:
            what = (object(),)
        yield _Part(what, tuple(circuit.find_bit(q).index for q in instruction.qubits), circuit.num_qubits, operation)


@functools.lru_cache(maxsize=512)
def _superoperator(part: _Part) -> np.ndarray:
    """Of one instruction, on all qubits of its channel."""
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SuperOp

    alone = QuantumCircuit(part.width)
    alone.append(part.operation, part.qubits)
    return np.asarray(SuperOp(alone).data)


@functools.lru_cache(maxsize=512)
def _kraus(data: bytes, size: int) -> np.ndarray:
    """Kraus matrices of a superoperator of Qiskit's, which acts on a density matrix's columns one under another."""
    stacked = np.frombuffer(data, complex).reshape(size, size, size, size)
    return kraus_matrices(stacked.transpose(1, 0, 3, 2).reshape(size * size, size * size), LEAST)
