"""Conditions of Qiskit's circuits in a form that Aer evaluates rightly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def with_comparisons(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with `number != 0` wherever a condition takes a number for a truth value.

    Of such numbers, as the register in `logic_not(register)`, Aer 0.18 takes the contrary.
    """
    from qiskit.circuit import ControlFlowOp

    out = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, ControlFlowOp):
            instruction = instruction.replace(operation=_operation(operation))
        out.append(instruction)
    return out


def _operation(operation: Any) -> Any:
    from qiskit.circuit import IfElseOp
    from qiskit.circuit.classical.expr import Expr

    # Aer refuses expressions of a switch.
    out = operation.replace_blocks([with_comparisons(block) for block in operation.blocks])
    if isinstance(operation, IfElseOp) and isinstance(operation.condition, Expr):
        out.condition = _expression(operation.condition)
    return out


def _expression(node: Any) -> Any:
    from qiskit.circuit.classical import expr, types

    if isinstance(node, expr.Cast):
        operand = _expression(node.operand)
        if node.type.kind is types.Bool and operand.type.kind is types.Uint:
            return expr.not_equal(operand, 0)
        return expr.Cast(operand, node.type, node.implicit)
    if isinstance(node, expr.Unary):
        return expr.Unary(node.op, _expression(node.operand), node.type)
    if isinstance(node, expr.Binary):
        return expr.Binary(node.op, _expression(node.left), _expression(node.right), node.type)
    return node
