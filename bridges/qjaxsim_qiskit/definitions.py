"""Gates of a program's own, written out."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def inlined(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with every gate that is not a standard one replaced by its definition.

    The transpiler and Aer go by names: a program's own gate "rzz" would be run as Qiskit's.

    Args:
        circuit: Qiskit's; parameters, measurements and global phase stay.
    """
    from qiskit.circuit.library import UnitaryGate

    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        definition = getattr(operation, "definition", None)
        if instruction.is_standard_gate() or isinstance(operation, UnitaryGate) or definition is None:
            out.append(instruction)
        else:
            out.compose(inlined(definition), instruction.qubits, inplace=True)
    return out
