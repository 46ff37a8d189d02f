"""What a gate does: its matrix or its definition, and circuits with all definitions written out.

Some gates have both and they differ, as evolutions by product formulas and a program's own gates may. The definition
counts, at every width: it is what simulators and devices run.
"""

import functools
from typing import TYPE_CHECKING, Any

from qjaxsim_qiskit.meaning.controlled import by_phases
from qjaxsim_qiskit.meaning.preparations import prepared_state

if TYPE_CHECKING:
    import numpy as np
    from qiskit import QuantumCircuit

# Matrices of wider gates are not asked for, unless they are all there is; their definitions are smaller.
_MATRIX_QUBITS = 6


def definition_of(operation: Any, where: str) -> "QuantumCircuit | None":
    """The operation's definition; None where it has none.

    Raises:
        ValueError: if it cannot be made, as for a parameter that must be bound first.
    """
    from qiskit import QuantumCircuit

    try:
        definition = getattr(operation, "definition", None)
    # A definition is anybody's code.
    except Exception as error:
        raise ValueError(f"The circuit's {where} cannot be taken apart: {reason_of(operation, error)}.") from error
    if isinstance(definition, QuantumCircuit):
        return _controls_of_own(operation, where) or _with_phase(operation, definition)
    return None


def _with_phase(operation: Any, definition: "QuantumCircuit") -> "QuantumCircuit":
    """The definition; that of a rotation about the identity, which Qiskit leaves empty, with its phase."""
    if type(operation).__name__ != "PauliProductRotationGate" or definition.data or definition.global_phase:
        return definition
    out = definition.copy()
    out.global_phase = operation.params[0] * (operation.pauli().phase - 1) / 2
    return out


def matrix_of(instruction: Any, where: str) -> "np.ndarray | None":
    """The matrix of an instruction that is taken over as one, in Qiskit's order of bits; None for all others.

    Raises:
        ValueError: if there is nothing else and it cannot be made, or is not unitary.
    """
    from qiskit.circuit.library import UnitaryGate

    operation = instruction.operation
    if isinstance(operation, UnitaryGate):
        return instruction.matrix
    if len(instruction.qubits) <= _MATRIX_QUBITS and _is_exact(operation):
        return instruction.matrix
    if getattr(operation, "definition", None) is None and hasattr(operation, "to_matrix"):
        return _only_matrix(operation, where)
    return None


def _only_matrix(operation: Any, where: str) -> "np.ndarray | None":
    import numpy as np
    from qiskit.circuit import Gate
    from qiskit.quantum_info.operators.predicates import is_unitary_matrix

    if not isinstance(operation, Gate) or not hasattr(operation, "__array__"):
        return None
    try:
        matrix = np.asarray(operation.to_matrix(), complex)
    except Exception as error:
        raise ValueError(
            f"The circuit's {where} has a matrix alone, and none now: {reason_of(operation, error)}."
        ) from error
    size = 2**operation.num_qubits
    if matrix.shape != (size, size) or not is_unitary_matrix(matrix):
        raise ValueError(f"The circuit's {where} must have a unitary matrix of {size} rows, but has another.")
    return matrix


def reason_of(operation: Any, error: Exception) -> str:
    """What an operation's own code says; it is about angles without a value where there are any."""
    free = {parameter.name for angle in operation.params for parameter in getattr(angle, "parameters", ())}
    if free:
        return f"bind its parameters first ({', '.join(sorted(free))})"
    return " ".join(str(getattr(error, "message", error)).split()).rstrip(".") or type(error).__name__


def lowered(operation: Any, where: str) -> "QuantumCircuit":
    """A gate without definition in standard gates, by Qiskit's transpiler.

    Raises:
        ValueError: if it cannot be taken apart.
    """
    from qiskit import QuantumCircuit, transpile
    from qiskit.exceptions import QiskitError

    alone = QuantumCircuit(operation.num_qubits)
    # By its name the transpiler would take an opaque "h" for Qiskit's.
    if not operation.num_clbits and not _has_anothers_name(operation):
        alone.append(operation, range(operation.num_qubits))
        basis = ["u", "p", "rx", "ry", "rz", "cx"]
        try:
            # Where the gate stands its qubits are in any state, and not spare ones in zero.
            found = transpile(alone, basis_gates=basis, optimization_level=0, qubits_initially_zero=False)
            if all(item.operation.name != operation.name for item in found.data):
                return found
        except QiskitError as error:
            if hasattr(operation, "modifiers"):  # as a power of a free angle
                raise ValueError(
                    f"The circuit's {where} cannot be taken apart: {reason_of(operation, error)}."
                ) from error
    raise _unknown(where)


def as_gate(circuit: "QuantumCircuit", where: str) -> Any:
    """The circuit as one gate, which may stand under modifiers.

    Qiskit takes no instruction that is not a gate, as some of its own definitions hold, and no modifiers in it.

    Raises:
        ValueError: if it holds something that is not unitary.
    """
    from qiskit.exceptions import QiskitError

    try:
        return _of_gates(circuit, where).to_gate()
    except QiskitError as error:
        reason = reason_of(circuit.to_instruction(), error)
        raise ValueError(f"The circuit's {where} cannot be taken apart: {reason}.") from error


def _of_gates(circuit: "QuantumCircuit", where: str) -> "QuantumCircuit":
    from qiskit.circuit import AnnotatedOperation

    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation, qubits = instruction.operation, instruction.qubits
        if isinstance(operation, AnnotatedOperation):
            out.compose(lowered(operation, where), qubits, inplace=True)
        elif _has_anothers_name(operation):
            out.compose(_of_gates(_meaning_of(operation, where), where), qubits, inplace=True)
        elif _is_known(instruction) or (definition := definition_of(operation, where)) is None:
            out.append(instruction)
        else:
            out.compose(_of_gates(definition, where), qubits, instruction.clbits, inplace=True)
    return out


def _is_known(instruction: Any) -> bool:
    """Whether it is a gate of Qiskit's library; by its name Qiskit would put modifiers on a program's own gate "h"."""
    from qiskit.circuit import Gate

    kind = getattr(instruction.operation, "base_class", type(instruction.operation))
    own = not instruction.is_standard_gate() and not str(kind.__module__).startswith("qiskit.circuit.library")
    return isinstance(instruction.operation, Gate) and not own


def _is_exact(operation: Any) -> bool:
    """Whether the matrix is the operation for certain: of Qiskit's own gates all but evolutions."""
    from qiskit.circuit import AnnotatedOperation
    from qiskit.circuit.library import PauliEvolutionGate

    if isinstance(operation, AnnotatedOperation):
        return _is_exact(operation.base_op) or getattr(operation.base_op, "definition", None) is not None
    # Qiskit makes classes without a module for gates without angles.
    kind = getattr(operation, "base_class", type(operation))
    return str(kind.__module__).startswith("qiskit.") and not isinstance(operation, PauliEvolutionGate)


def _controls_of_own(operation: Any, where: str) -> "QuantumCircuit | None":
    """What controls of a gate do whose base is, or holds, a program's own gate "h"; None for all other operations.

    Qiskit makes controls by names: its definition has controls of Qiskit's gate "h".

    Raises:
        ValueError: if such a gate has neither a definition nor a matrix.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit import ControlledGate

    if type(operation) is not ControlledGate or not _misleads(operation.base_gate, where):
        return None
    base = operation.base_gate
    plain = QuantumCircuit(base.num_qubits, name=f"{base.name} as defined")
    plain.compose(_meaning_of(base, where), inplace=True)
    gate = as_gate(plain, where).control(operation.num_ctrl_qubits, ctrl_state=operation.ctrl_state)
    out = QuantumCircuit(operation.num_qubits)
    out.append(gate, range(operation.num_qubits))
    return out


def _misleads(operation: Any, where: str) -> bool:
    """Whether it only has the name of one of Qiskit's gates, or holds a gate of that kind."""
    if _has_anothers_name(operation):
        return True
    if _is_in_library(operation) or (definition := definition_of(operation, where)) is None:
        return False
    return any(_misleads(each.operation, where) for each in definition.data if not each.is_standard_gate())


def _has_anothers_name(operation: Any) -> bool:
    return operation.name in _names_of_gates() and not _is_in_library(operation)


def _is_in_library(operation: Any) -> bool:
    kind = getattr(operation, "base_class", type(operation))
    standard = getattr(operation, "_standard_gate", None) is not None  # of subclasses, too
    return standard or str(kind.__module__).startswith("qiskit.circuit.library")


@functools.cache
def _names_of_gates() -> "frozenset[str]":
    """Those that Qiskit's synthesis goes by."""
    from qiskit.circuit import Gate
    from qiskit.circuit.library import get_standard_gate_name_mapping

    return frozenset(name for name, gate in get_standard_gate_name_mapping().items() if isinstance(gate, Gate))


def _meaning_of(operation: Any, where: str) -> "QuantumCircuit":
    """The definition, or the matrix where there is nothing else.

    Raises:
        ValueError: if there is neither.
    """
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import UnitaryGate

    if (definition := definition_of(operation, where)) is not None:
        return definition
    matrix = _only_matrix(operation, where) if hasattr(operation, "to_matrix") else None
    if matrix is None:
        raise _unknown(where)
    out = QuantumCircuit(operation.num_qubits)
    out.append(UnitaryGate(matrix), range(operation.num_qubits))
    return out


def _unknown(where: str) -> ValueError:
    return ValueError(
        f"The circuit's {where} has neither a matrix nor a definition, so that nobody knows what it does; define it, "
        "or transpile the circuit first where it needs spare qubits."
    )


def inlined(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with every gate that is not a standard one replaced by its definition.

    The transpiler and Aer go by names: a program's own gate "rzz" would be run as Qiskit's.

    Args:
        circuit: Qiskit's; parameters, measurements and global phase stay.
    """
    from qiskit.circuit import ControlFlowOp
    from qiskit.circuit.library import UnitaryGate

    out = circuit.copy_empty_like()
    for number, instruction in enumerate(circuit.data):
        operation = instruction.operation
        where = f"operation {number} ({operation.name})"
        if isinstance(operation, ControlFlowOp):
            blocks = [inlined(block) for block in operation.blocks]
            out.append(operation.replace_blocks(blocks), instruction.qubits, instruction.clbits)
        elif instruction.is_standard_gate() or isinstance(operation, UnitaryGate):
            out.append(instruction)
        elif (definition := definition_of(operation, where)) is not None:
            out.compose(inlined(definition), instruction.qubits, instruction.clbits, inplace=True)
        elif (matrix := matrix_of(instruction, where)) is not None:
            out.append(UnitaryGate(matrix), instruction.qubits)
        else:
            out.append(instruction)
    return out


def for_density_matrices(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit as Aer runs it on density matrices, every gate under the name that noise goes by.

    What is no standard gate is written out, as on import, or becomes a matrix with its label; open controls stand
    between X gates, and states that the circuit begins in are prepared by matrices, which no noise follows.

    Args:
        circuit: Qiskit's, its parameters bound.
    """
    from qiskit.circuit import ControlFlowOp
    from qiskit.circuit.library import MCPhaseGate, UnitaryGate
    from qiskit.quantum_info import Operator

    known, out = _known_on_density_matrices(), circuit.copy_empty_like()
    for number, instruction in enumerate(circuit.data):
        operation, qubits, clbits = instruction.operation, instruction.qubits, instruction.clbits
        where = f"operation {number} ({operation.name})"
        if isinstance(operation, ControlFlowOp):
            blocks = [for_density_matrices(block) for block in operation.blocks]
            out.append(operation.replace_blocks(blocks), qubits, clbits)
        elif (closed := _with_closed_controls(instruction)) is not None:
            out.compose(for_density_matrices(closed), qubits, inplace=True)
        elif _is_run(instruction, known):
            out.append(instruction)
        elif (state := prepared_state(operation)) is not None:
            out.append(UnitaryGate(_preparing(state), label=operation.name), qubits)
        elif instruction.is_standard_gate() or (isinstance(operation, MCPhaseGate) and operation.num_ctrl_qubits > 1):
            out.append(UnitaryGate(Operator(operation), label=operation.label or operation.name), qubits)
        elif (matrix := matrix_of(instruction, where)) is not None:
            out.append(UnitaryGate(matrix, label=operation.label or operation.name), qubits)
        elif (definition := by_phases(operation) or definition_of(operation, where)) is not None:
            out.compose(for_density_matrices(definition), qubits, clbits, inplace=True)
        else:
            out.append(instruction)
    return out


def _is_run(instruction: Any, known: "frozenset[str]") -> bool:
    """Whether Aer runs it as it is; by name it would run a program's own gate "rzz" as Qiskit's."""
    from qiskit.circuit import Gate

    if instruction.name not in known:
        return False
    own = isinstance(instruction.operation, Gate) and not instruction.is_standard_gate()
    return not own or instruction.name == "unitary"


def _with_closed_controls(instruction: Any) -> "QuantumCircuit | None":
    """A standard gate with open controls as one with closed ones between X gates; None for all others."""
    from qiskit import QuantumCircuit
    from qiskit.circuit import ControlledGate

    operation = instruction.operation
    if not isinstance(operation, ControlledGate) or operation.ctrl_state == 2**operation.num_ctrl_qubits - 1:
        return None
    if not str(getattr(operation, "base_class", type(operation)).__module__).startswith("qiskit."):
        return None
    flipped = [k for k in range(operation.num_ctrl_qubits) if not operation.ctrl_state >> k & 1]
    closed = operation.to_mutable()
    closed.ctrl_state = None
    out = QuantumCircuit(operation.num_qubits)
    out.x(flipped)
    out.append(closed, range(operation.num_qubits))
    out.x(flipped)
    return out


def _preparing(state: "np.ndarray") -> "np.ndarray":
    """A unitary matrix with a state as its first column."""
    import numpy as np

    matrix, _ = np.linalg.qr(np.column_stack([state, np.eye(len(state))[:, 1:]]))
    matrix[:, 0] = state
    return matrix


@functools.cache
def _known_on_density_matrices() -> "frozenset[str]":
    from qiskit_aer import AerSimulator

    return frozenset({*AerSimulator(method="density_matrix").operation_names, "quantum_channel"})
