"""Values of constant expressions in OpenQASM 3 programs, as the parser's nodes and as numbers."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_STATEMENTS = 200_000
"""What the loops of a program may write out."""

_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "**": operator.pow, "%": operator.mod,
    "/": lambda a, b: a // b if isinstance(a, int) and isinstance(b, int) else a / b,
    "<<": operator.lshift, ">>": operator.rshift, "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "&&": lambda a, b: bool(a) and bool(b), "||": lambda a, b: bool(a) or bool(b),
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "arccos": math.acos, "arcsin": math.asin, "arctan": math.atan, "cos": math.cos, "exp": math.exp, "log": math.log,
    "mod": operator.mod, "sin": math.sin, "sqrt": math.sqrt, "tan": math.tan,
    "ceiling": lambda a: float(math.ceil(a)), "floor": lambda a: float(math.floor(a)),
}  # fmt: skip
TYPES: dict[str, Callable[[Any], Any]] = {
    "IntType": int, "UintType": int, "FloatType": float, "AngleType": float, "BoolType": bool,
}  # fmt: skip
_NUMBERS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}


class RefusedError(Exception):
    """Why a program cannot be written out, with its line."""


class NotConstantError(Exception):
    """An expression depends on the running program."""


def kind_of(node: Any) -> str:
    """The name of a node's class."""
    return type(node).__name__


def number(node: Any) -> Any:
    """The value of a constant expression."""
    kind = kind_of(node)
    if kind in ("IntegerLiteral", "FloatLiteral", "BooleanLiteral"):
        return node.value
    if kind == "Identifier" and node.name in _NUMBERS:
        return _NUMBERS[node.name]
    if kind == "Cast":
        value = number(node.argument)
        if (cast := TYPES.get(kind_of(node.type))) is not None:
            return cast(value)
    if kind == "UnaryExpression":
        value = number(node.expression)
        if node.op.name in ("-", "!"):
            return -value if node.op.name == "-" else not value
    if kind == "BinaryExpression" and node.op.name in _OPERATIONS:
        return _result(node.op.name, _OPERATIONS, [number(node.lhs), number(node.rhs)])
    if kind == "FunctionCall" and node.name.name in _FUNCTIONS:
        return _result(node.name.name, _FUNCTIONS, [number(argument) for argument in node.arguments])
    raise NotConstantError


def _result(name: str, known: Mapping[str, Callable[..., Any]], values: list[Any]) -> Any:
    """What an operation or a function makes of numbers."""
    if name in ("**", "<<") and (abs(values[1]) > 512 or abs(values[0]) > 2**64):
        raise NotConstantError
    try:
        found = known[name](*values)
        finite = math.isfinite(found)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise NotConstantError from error
    if not finite:
        raise NotConstantError
    return found


def values_of(node: Any, where: Any, cast: Callable[[Any], Any] = int) -> Iterator[Any]:
    """The numbers of a range, both ends included, or of a set, as those of a type."""
    kind = kind_of(node)
    if kind == "DiscreteSet":
        yield from (cast(number(each)) for each in node.values)
        return
    if kind != "RangeDefinition" or node.start is None or node.end is None:
        raise NotConstantError
    start, end = int(number(node.start)), int(number(node.end))
    step = 1 if node.step is None else int(number(node.step))
    if step == 0 or abs(end - start) // abs(step) > MOST_STATEMENTS:
        raise RefusedError(f"{line_of(where)}its range must have from 0 to {MOST_STATEMENTS} steps.")
    yield from map(cast, range(start, end + (1 if step > 0 else -1), step))


def literal(value: Any) -> Any:
    """A number as the parser's node."""
    from openqasm3 import ast

    if isinstance(value, bool):
        return ast.BooleanLiteral(value)
    size = ast.IntegerLiteral(abs(value)) if isinstance(value, int) else ast.FloatLiteral(abs(value))
    return size if value >= 0 else ast.UnaryExpression(ast.UnaryOperator["-"], size)


def line_of(node: Any) -> str:
    """Where a node stands, as a message begins."""
    span = getattr(node, "span", None)
    return "" if span is None else f"line {span.start_line}: "
