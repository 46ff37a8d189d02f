"""Instructions of IBM's runtime, which have neither definition nor matrix, as Qiskit's own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def in_qiskits_terms(operation: Any) -> "QuantumCircuit | None":
    """What `MidCircuitMeasure`, `MidCircuitReset`, `MeasureReset` or `XSlowGate` do; None for all others.

    The X has the gate's name as its label, by which noise goes.
    """
    kind = type(operation)
    if not str(kind.__module__).startswith("qiskit_ibm_runtime.circuit."):
        return None
    from qiskit import QuantumCircuit
    from qiskit.circuit.library import XGate

    out = QuantumCircuit(operation.num_qubits, operation.num_clbits)
    if kind.__name__ in ("MidCircuitMeasure", "MeasureReset"):
        out.measure(0, 0)
    if kind.__name__ in ("MidCircuitReset", "MeasureReset"):
        out.reset(0)
    if kind.__name__ == "XSlowGate":
        out.append(XGate(label=operation.name), [0])
    return out if out.data else None
