"""Qiskit's reader of OpenQASM 3, with the gates that a program defines read anew at each call.

The reader itself puts angles into such gates in the order of the parameters' names, not of the definition; it refuses
products of two parameters as a type error, and fails at an angle of 0 times an input.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def read(code: str) -> "QuantumCircuit":
    """The program as Qiskit's circuit.

    Args:
        code: an OpenQASM 3 program.

    Raises:
        Exception: whatever the parser and Qiskit's reader raise for a program that they do not take.
        ImportError: if they are missing.
    """
    import openqasm3

    with contextlib.redirect_stderr(io.StringIO()):  # the parser prints what it then raises
        program = openqasm3.parse(code)
    return _reader().convert(program, source=code).circuit


def _reader() -> Any:
    from openqasm3 import ast
    from qiskit.circuit import Gate, Parameter, Qubit
    from qiskit_qasm3_import import types
    from qiskit_qasm3_import.converter import ConvertVisitor
    from qiskit_qasm3_import.data import Scope, Symbol
    from qiskit_qasm3_import.exceptions import ConversionError
    from qiskit_qasm3_import.state import GateScope, State

    class Reader(ConvertVisitor):
        def visit_QuantumGateDefinition(self, node: ast.QuantumGateDefinition, context: State) -> State:
            names = [argument.name for argument in node.arguments]
            # Once with parameters, so that a gate that is never called is checked as well.
            plain = self.body(node, context, [Parameter(name) for name in names])
            return self._define_gate(
                node.name.name, self.builder(node, context, plain), len(names), len(node.qubits), node, context
            )

        def builder(self, node: Any, context: Any, plain: "QuantumCircuit") -> Callable[..., Gate]:
            name = node.name.name

            def build(*angles: Any) -> Gate:
                if len(angles) != len(node.arguments):
                    raise ConversionError(f"{name!r} takes {len(node.arguments)} angles, but is given {len(angles)}.")
                gate = Gate(name, len(node.qubits), list(angles))
                gate.definition = self.body(node, context, angles) if angles else plain.copy()
                return gate

            return build

        def body(self, node: Any, context: Any, angles: Sequence[Any]) -> "QuantumCircuit":
            """What the gate does with these angles, which multiply as floats do."""
            with GateScope(context) as inner:
                for name, angle in zip(node.arguments, angles, strict=True):
                    inner.symbol_table.insert(Symbol(name.name, angle, types.Float(), Scope.GATE, node))
                bits = [Qubit() for _ in node.qubits]
                inner.circuit.add_bits(bits)
                for name, bit in zip(node.qubits, bits, strict=True):
                    inner.symbol_table.insert(Symbol(name.name, bit, types.Qubit(), Scope.GATE, node))
                for statement in node.body:
                    self.visit(statement, inner)
            return inner.circuit

        def visit_IODeclaration(self, node: ast.IODeclaration, context: State) -> State:
            if isinstance(node.type, ast.AngleType):
                node = replace(node, type=ast.FloatType(node.type.size))
            return super().visit_IODeclaration(node, context)

        def _apply_gate_modifier(self, modifier: ast.QuantumGateModifier, gate: Any, context: State) -> Any:
            try:
                return super()._apply_gate_modifier(modifier, gate, context)
            except TypeError:  # powers of matrices need numbers
                if modifier.modifier is not ast.GateModifierName.pow or modifier.argument is None:
                    raise
                return gate.power(self._resolve_constant_float(modifier.argument, context), annotated=True)

    return Reader()
