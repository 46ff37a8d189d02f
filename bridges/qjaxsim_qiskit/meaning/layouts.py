"""Transpiled circuits back on the qubits they were written for, and circuits on some of their qubits."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.unrolling import Item

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

QUBITS = ("auto", "all", "used")


def chosen_qubits(circuit: "QuantumCircuit", items: Sequence[Item], qubits: str) -> list[int]:
    """The qubits of a circuit that are imported, in our order.

    Args:
        circuit: Qiskit's.
        items: its operations.
        qubits: "all"; "used", those that an operation acts on; or "auto", "used" for transpiled circuits only.
            Of transpiled circuits the qubits that they were written for come first, at their places at the end of the
            circuit, used or not; then others that the transpiler made use of.

    Raises:
        ValueError: for another word.
    """
    if qubits not in QUBITS:
        raise ValueError(f"Argument `qubits` must be one of {', '.join(map(repr, QUBITS))}, but is {qubits!r}.")
    first = final_places(circuit)
    if qubits == "all" or (qubits == "auto" and first is None):
        return list(range(circuit.num_qubits))
    used = used_qubits((item.operation, item.qubits) for item in items)
    return [*(first or ()), *sorted(used.difference(first or ()))]


def final_places(circuit: "QuantumCircuit") -> list[int] | None:
    """Where the qubits that a transpiled circuit was written for are at its end; None if it was not laid out."""
    from qiskit.exceptions import QiskitError

    layout = circuit.layout
    if layout is None:
        return None
    try:
        places = layout.final_index_layout(filter_ancillas=True)
    # A circuit that was put together of laid-out ones may carry the layout of another.
    except (QiskitError, KeyError, IndexError, AttributeError):
        return None
    fits = len(set(places)) == len(places) and all(0 <= place < circuit.num_qubits for place in places)
    return [int(place) for place in places] if fits else None


def used_qubits(operations: Iterable[tuple[Any, Sequence[int]]]) -> set[int]:
    """The qubits that are measured or whose state something may change."""
    return {qubit for operation, qubits in operations if not has_no_effect(operation) for qubit in qubits}


def has_no_effect(operation: Any) -> bool:
    """Whether a state passes through unchanged: barriers and delays."""
    # By name first: a gate of that name may be anything.
    if operation.name not in ("barrier", "delay"):
        return False
    from qiskit.circuit import Barrier, Delay

    return isinstance(operation, Barrier | Delay)


def on_qubits(circuit: "QuantumCircuit", items: Iterable[Item], qubits: Sequence[int]) -> "QuantumCircuit":
    """Operations on some of a circuit's qubits alone, with its name, classical bits and metadata; no layout.

    Args:
        circuit: whose.
        items: operations; barriers are cut to the qubits, delays of others left out.
        qubits: those that stay, in their new order.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import Barrier, CircuitInstruction

    if list(qubits) == list(range(circuit.num_qubits)) and circuit.layout is None:
        out = circuit.copy_empty_like()
    else:
        out = QuantumCircuit(len(qubits), name=circuit.name, metadata=circuit.metadata)
        out.add_bits(circuit.clbits)
        out.add_register(*circuit.cregs)
    bits = dict(zip(qubits, out.qubits, strict=True))
    for item in items:
        operation, own = item.operation, [bits[qubit] for qubit in item.qubits if qubit in bits]
        if len(own) < len(item.qubits):
            if not own:
                continue
            operation = Barrier(len(own))
        instruction = CircuitInstruction(operation, own, [out.clbits[bit] for bit in item.clbits])
        if instruction.is_standard_gate():
            out._append(instruction)  # of a circuit of ours and bits of its own, as Qiskit asks of this quick way
        else:
            out.append(instruction)
    return out


def without_delays(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit without its delays, which do nothing to a state without noise.

    Aer does not take durations that are free parameters, and the transpiler no two units without a device.
    """
    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.name != "delay":
            out.append(instruction)
    return out
