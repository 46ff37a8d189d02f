"""Classical expressions of Qiskit circuits that hold constants alone, as Python values."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}


class NotConstantError(Exception):
    """An expression depends on a bit or variable of the running circuit."""


# Names of Qiskit's operations; the shifts are as wide as what they shift.
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "BIT_AND": operator.and_, "BIT_OR": operator.or_, "BIT_XOR": operator.xor,
    "LOGIC_AND": lambda a, b: bool(a) and bool(b), "LOGIC_OR": lambda a, b: bool(a) or bool(b),
    "EQUAL": operator.eq, "NOT_EQUAL": operator.ne, "LESS": operator.lt, "LESS_EQUAL": operator.le,
    "GREATER": operator.gt, "GREATER_EQUAL": operator.ge,
    "SHIFT_LEFT": lambda a, b: a << min(b, 4096), "SHIFT_RIGHT": operator.rshift,
    "ADD": operator.add, "SUB": operator.sub, "MUL": operator.mul,
    "DIV": lambda a, b: a // b if isinstance(a, int) and isinstance(b, int) else a / b,
}  # fmt: skip


def constant(expression: Any, variables: Mapping[Any, int]) -> Any:
    """The value of an expression: bool, int or float.

    Args:
        expression: a `qiskit.circuit.classical.expr.Expr`, or the pair of bits and value of a condition.
        variables: values of the variables of loops that are being written out.

    Raises:
        NotConstantError: for bits, registers, other variables, and what has no value, such as a division by zero.
    """
    from qiskit.circuit.classical import expr

    if isinstance(expression, expr.Value):
        return _fitted(expression.value, expression.type)
    if isinstance(expression, expr.Var) and expression in variables:
        return _fitted(variables[expression], expression.type)
    if isinstance(expression, expr.Cast):
        return _fitted(constant(expression.operand, variables), expression.type)
    if isinstance(expression, expr.Unary):
        value = constant(expression.operand, variables)
        name = expression.op.name
        result = not value if name == "LOGIC_NOT" else -value if name == "NEGATE" else ~int(value)
        return _fitted(result, expression.type)
    if isinstance(expression, expr.Binary):
        left, right = constant(expression.left, variables), constant(expression.right, variables)
        try:
            return _fitted(_BINARY[expression.op.name](left, right), expression.type)
        except (ArithmeticError, TypeError) as error:
            raise NotConstantError from error
    if isinstance(expression, expr.Index):
        return bool(constant(expression.target, variables) >> constant(expression.index, variables) & 1)
    raise NotConstantError


def duration(expression: Any) -> tuple[float, float]:
    """The value of an expression that is a time: seconds, and units of a device beside them.

    Raises:
        NotConstantError: for a stretch, which a schedule is to find, and for variables.
    """
    from qiskit.circuit.classical import expr, types

    if isinstance(expression, expr.Value):
        amount, unit = expression.value.value(), expression.value.unit()
        return (0.0, amount) if unit == "dt" else (amount * SECONDS[unit], 0.0)
    if not isinstance(expression, expr.Binary):
        raise NotConstantError
    left, right = expression.left, expression.right
    if expression.op.name in ("ADD", "SUB"):
        sign = 1 if expression.op.name == "ADD" else -1
        (seconds, units), (more, more_units) = duration(left), duration(right)
        return seconds + sign * more, units + sign * more_units
    if isinstance(right.type, types.Duration):
        left, right = right, left
    factor = constant(right, {})
    if expression.op.name == "DIV":
        if not factor:
            raise NotConstantError
        factor = 1 / factor
    seconds, units = duration(left)
    return seconds * factor, units * factor


def _fitted(value: Any, kind: Any) -> Any:
    """A value in the range of its type: unsigned integers wrap."""
    from qiskit.circuit.classical import types

    if isinstance(kind, types.Bool):
        return bool(value & 1) if isinstance(value, int) and value < 0 else bool(value)
    if isinstance(kind, types.Uint):
        return int(value) % 2**kind.width
    if isinstance(kind, types.Float):
        return float(value)
    raise NotConstantError  # durations
