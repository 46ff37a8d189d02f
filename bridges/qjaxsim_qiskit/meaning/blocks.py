"""Circuits and the blocks of their branches on measured bits, written out."""

from typing import TYPE_CHECKING

from qjaxsim_qiskit.meaning.layouts import on_qubits
from qjaxsim_qiskit.meaning.unrolling import Unrolled, unrolled

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def written_out(circuit: "QuantumCircuit", evolution: str) -> "QuantumCircuit":
    """A circuit without loops, boxes and evolutions, in its branches too.

    Args:
        circuit: Qiskit's.
        evolution: what a PauliEvolutionGate is, as in `from_qiskit`.

    Raises:
        ValueError: as `unrolled`.
    """
    plain, _ = written_block(circuit, evolution)
    return with_written_blocks(plain, evolution)[0]


def written_block(block: "QuantumCircuit", evolution: str, place: str = "") -> "tuple[QuantumCircuit, Unrolled]":
    """A block without loops, boxes and evolutions, and what was written out; its own branches stay as they are.

    Args:
        block: Qiskit's.
        evolution: what a PauliEvolutionGate is, as in `from_qiskit`.
        place: of the branch, for messages.

    Raises:
        ValueError: as `unrolled`.
    """
    written = unrolled(block, evolution, place)
    plain = on_qubits(block, written.items, range(block.num_qubits))
    plain.global_phase = written.phase
    return plain, written


def with_written_blocks(circuit: "QuantumCircuit", evolution: str) -> "tuple[QuantumCircuit, int]":
    """A circuit with the blocks of its branches written out, at any depth, and how many evolutions these held.

    Args:
        circuit: whose own operations are written out, so that its control flow is branches on measured bits. Returned
            itself where it has none.
        evolution: as of `written_block`.
    """
    if not circuit.has_control_flow_op():
        return circuit, 0
    evolutions = 0
    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        if not instruction.is_control_flow():
            out.append(instruction)
            continue
        blocks = []
        for block in instruction.operation.blocks:
            plain, written = written_block(block, evolution)
            plain, inner = with_written_blocks(plain, evolution)
            evolutions += written.evolutions + inner
            blocks.append(plain)
        out.append(instruction.operation.replace_blocks(blocks), instruction.qubits, instruction.clbits)
    return out, evolutions
