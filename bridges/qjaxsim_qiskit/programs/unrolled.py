"""OpenQASM 3 programs with constants put in, and fixed loops, branches on constants and subroutines written out.

Qiskit's reader takes none of constants, subroutines, functions and register indices that a loop counts.
"""

import contextlib
import dataclasses
import io
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

_MOST_STATEMENTS = 200_000
_DEEPEST_CALL = 50
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
_TYPES: dict[str, Callable[[Any], Any]] = {
    "IntType": int, "UintType": int, "FloatType": float, "AngleType": float, "BoolType": bool,
}  # fmt: skip
_NUMBERS = {"pi": math.pi, "π": math.pi, "tau": math.tau, "τ": math.tau, "euler": math.e, "ℇ": math.e}


class RefusedError(Exception):
    """Why a program cannot be written out, with its line."""


class _NotConstant(Exception):
    """An expression depends on the running program."""


class _BreakLoop(Exception):
    pass


class _NextTurn(Exception):
    pass


def written_out(code: str) -> str:
    """The program in what Qiskit's reader takes, as far as it is decided before the run.

    Args:
        code: an OpenQASM 3 program.

    Raises:
        RefusedError: for loops that are too long, calls that do not fit, functions of what is not constant, and
            subroutines that return something.
        Exception: whatever the parser raises for a program that does not parse.
        ImportError: if the parser is missing.
    """
    try:
        import openqasm3
    except ImportError:
        return code  # the reader says what to install
    with contextlib.redirect_stderr(io.StringIO()):  # the parser prints what it then raises
        program = openqasm3.parse(code)
    try:
        writer = _Writer()
        program.statements = list(writer.statements(program.statements, {}))
        return str(openqasm3.dumps(program))
    except (_BreakLoop, _NextTurn) as error:
        raise RefusedError("`break` and `continue` stand in loops alone.") from error
    except RecursionError as error:
        raise RefusedError("it is nested too deeply.") from error


class _Writer:
    """Statements with values in place of names."""

    def __init__(self) -> None:
        self.subroutines: dict[str, Any] = {}
        self.bits: set[str] = set()  # names of one bit each
        self.count = self.calls = 0

    def statements(self, given: Sequence[Any], names: dict[str, Any]) -> Iterator[Any]:
        """The statements of a block; its constants are added to `names`."""
        for statement in given:
            self.count += 1
            if self.count > _MOST_STATEMENTS:
                raise RefusedError(f"{_line(statement)}its loops write out more than {_MOST_STATEMENTS} statements.")
            yield from self.statement(statement, names)

    def statement(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        """What one statement becomes."""
        kind = type(node).__name__
        if kind == "ConstantDeclaration":
            value = _put_in(node.init_expression, names)
            names[node.identifier.name] = _of_type(value, node.type, node, f"constant {node.identifier.name!r}")
        elif kind == "SubroutineDefinition":
            self.subroutines[node.name.name] = node
        elif kind == "ForInLoop":
            yield from self.loop(node, names)
        elif kind == "BranchingStatement":
            yield from self.branch(node, names)
        elif kind == "CompoundStatement":
            yield from self.statements(node.statements, dict(names))
        elif kind == "BreakStatement":
            raise _BreakLoop
        elif kind == "ContinueStatement":
            raise _NextTurn
        elif kind == "ReturnStatement":
            raise RefusedError(f"{_line(node)}subroutines that return something are not read; write out what it does.")
        elif kind == "ExpressionStatement" and type(node.expression).__name__ == "FunctionCall":
            yield from self.call(node.expression, names)
        elif kind == "Box":
            yield dataclasses.replace(node, body=list(self.statements(node.body, dict(names))))
        elif kind == "QuantumGateDefinition":
            hidden = {each.name for each in (*node.arguments, *node.qubits)}
            yield _put_in(node, {name: value for name, value in names.items() if name not in hidden})
        else:
            if kind == "ClassicalDeclaration" and _kind(node.type) == "BitType" and node.type.size is None:
                self.bits.add(node.identifier.name)
            yield _put_in(node, names)

    def loop(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        try:
            values = list(_values(_put_in(node.set_declaration, names), node, _TYPES.get(_kind(node.type), int)))
        except _NotConstant as error:
            raise RefusedError(f"{_line(node)}the values of a loop must be constants; write it out.") from error
        for value in values:
            made: list[Any] = []
            self.count += 1
            try:
                for one in self.statements(node.block, {**names, node.identifier.name: _literal(value)}):
                    made.append(one)
            except _BreakLoop:
                yield from made
                return
            except _NextTurn:
                pass
            yield from made

    def branch(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        condition = _put_in(node.condition, names)
        try:
            chosen = node.if_block if _number(condition) else node.else_block
        except _NotConstant:
            yield dataclasses.replace(
                node,
                condition=self.of_bit(condition),
                if_block=list(self.statements(node.if_block, dict(names))),
                else_block=list(self.statements(node.else_block, dict(names))),
            )
            return
        yield from self.statements(chosen, dict(names))

    def of_bit(self, condition: Any) -> Any:
        """A comparison of one bit with a number as that bit or its negation; any other condition as it is."""
        from openqasm3 import ast

        if _kind(condition) != "BinaryExpression" or condition.op.name not in ("==", "!="):
            return condition
        for bit, value in ((condition.lhs, condition.rhs), (condition.rhs, condition.lhs)):
            if self.is_bit(bit) and getattr(value, "value", None) in (0, 1):
                wanted = (value.value == 1) == (condition.op.name == "==")
                return bit if wanted else ast.UnaryExpression(ast.UnaryOperator["!"], bit)
        return condition

    def is_bit(self, node: Any) -> bool:
        """Whether it names one bit: by a name of its own, or by its number in a register."""
        if _kind(node) != "IndexExpression":
            return getattr(node, "name", None) in self.bits
        several = ("RangeDefinition", "DiscreteSet")
        return isinstance(node.index, list) and len(node.index) == 1 and _kind(node.index[0]) not in several

    def call(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        subroutine = self.subroutines.get(node.name.name)
        if subroutine is None:
            raise RefusedError(f"{_line(node)}{node.name.name!r} is not defined.")
        if subroutine.return_type is not None:
            raise RefusedError(f"{_line(node)}subroutines that return something are not read; write out what it does.")
        if len(node.arguments) != len(subroutine.arguments):
            raise RefusedError(
                f"{_line(node)}{node.name.name!r} takes {len(subroutine.arguments)} arguments, but is given "
                f"{len(node.arguments)}."
            )
        if self.calls >= _DEEPEST_CALL:
            raise RefusedError(f"{_line(node)}{node.name.name!r} calls itself too often.")
        given = [_put_in(argument, names) for argument in node.arguments]
        # What stands outside and is constant is seen inside, if no argument hides it.
        own = {name: value for name, value in names.items() if type(value).__name__ != "_Qubits"}
        for argument, value in zip(subroutine.arguments, given, strict=True):
            name = argument.name.name
            if _kind(argument) == "QuantumArgument":
                own[name] = _qubits(value, names)
            else:
                own[name] = _of_type(value, argument.type, node, f"argument {name!r}")
        self.calls += 1
        yield from self.statements(subroutine.body, own)
        self.calls -= 1


@dataclasses.dataclass(frozen=True)
class _Qubits:
    """What a name of qubits in a subroutine stands for: a register, or some places of it; one place is one qubit."""

    register: Any
    places: tuple[int, ...] | int | None

    def node(self, picked: "tuple[int, ...] | int | None" = None) -> Any:
        """The qubits, or those of these numbers, as the program names them."""
        from openqasm3 import ast

        places = self.places
        if picked is not None:
            if isinstance(places, int):
                raise RefusedError("a single qubit has no numbers.")
            try:
                places = _picked(places, picked)
            except IndexError as error:
                raise RefusedError(f"number {picked} is beyond the qubits that a subroutine was given.") from error
        if places is None:
            return self.register
        index: Any = [_literal(places)] if isinstance(places, int) else ast.DiscreteSet([_literal(p) for p in places])
        return ast.IndexedIdentifier(self.register, [index])


def _picked(places: tuple[int, ...] | None, picked: tuple[int, ...] | int) -> tuple[int, ...] | int:
    if places is None:
        return picked
    return places[picked] if isinstance(picked, int) else tuple(places[number] for number in picked)


def _qubits(value: Any, names: Mapping[str, Any]) -> _Qubits:
    """The qubits that an argument of a call names."""
    kind = type(value).__name__
    if isinstance(value, _Qubits):
        return value
    if kind == "Identifier":
        return _Qubits(value, None)
    if kind == "IndexedIdentifier" and len(value.indices) == 1:
        return _Qubits(value.name, _numbers(value.indices[0], value))
    if kind == "IndexExpression" and type(value.collection).__name__ == "Identifier":
        return _Qubits(value.collection, _numbers(value.index, value))
    raise RefusedError(f"{_line(value)}qubits of a call must be a register or places of one.")


def _numbers(index: Any, node: Any) -> tuple[int, ...] | int:
    try:
        if isinstance(index, list) and len(index) == 1:
            if type(index[0]).__name__ != "RangeDefinition":
                return int(_number(index[0]))
            return tuple(_values(index[0], node))
        return tuple(_values(index, node))
    except _NotConstant as error:
        raise RefusedError(f"{_line(node)}places of qubits must be constants.") from error


def _of_type(value: Any, declared: Any, node: Any, what: str) -> Any:
    """A value as one of a declared type, in which 3 is 3.0 for a float; floats made of inputs stay as written."""
    cast = _TYPES.get(_kind(declared))
    if cast is None:
        return value
    try:
        return _literal(cast(_number(value)))
    except _NotConstant as error:
        if cast is float:
            return value
        raise RefusedError(f"{_line(node)}{what} has no constant value.") from error


def _put_in(node: Any, names: Mapping[str, Any]) -> Any:
    """A node with values in place of names, in which what is constant is worked out."""
    from openqasm3 import ast

    if isinstance(node, list):
        return [_put_in(each, names) for each in node]
    if isinstance(node, ast.Identifier):
        value = names.get(node.name, node)
        return value.node() if isinstance(value, _Qubits) else value
    if isinstance(node, ast.IndexedIdentifier | ast.IndexExpression):
        name = node.name if isinstance(node, ast.IndexedIdentifier) else node.collection
        own = names.get(name.name) if isinstance(name, ast.Identifier) else None
        if isinstance(own, _Qubits):
            indices = node.indices if isinstance(node, ast.IndexedIdentifier) else [node.index]
            if len(indices) != 1:
                raise RefusedError(f"{_line(node)}qubits of a subroutine must have one index.")
            return own.node(_numbers(_put_in(indices[0], names), node))
    if not isinstance(node, ast.QASMNode):
        return node
    changed = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if not field.init or field.name == "span" or isinstance(value, str | ast.Span):
            continue
        # The names that a declaration makes stay.
        if field.name in ("identifier", "qubit") and isinstance(node, ast.Statement) and "Declaration" in _kind(node):
            continue
        if field.name == "name" and isinstance(value, ast.Identifier):
            continue
        changed[field.name] = _put_in(value, names)
    made = dataclasses.replace(node, **changed)
    made.span = node.span
    return _worked_out(made)


def _worked_out(node: Any) -> Any:
    """A constant expression as a number; anything else as it is."""
    from openqasm3 import ast

    if not isinstance(node, ast.BinaryExpression | ast.UnaryExpression | ast.FunctionCall | ast.Cast):
        return node
    try:
        return _literal(_number(node))
    except _NotConstant as error:
        if isinstance(node, ast.FunctionCall):
            raise RefusedError(f"{_line(node)}{node.name.name!r} is read of constants alone.") from error
        return node


def _kind(node: Any) -> str:
    return type(node).__name__


def _number(node: Any) -> Any:
    """The value of a constant expression."""
    kind = _kind(node)
    if kind in ("IntegerLiteral", "FloatLiteral", "BooleanLiteral"):
        return node.value
    if kind == "Identifier" and node.name in _NUMBERS:
        return _NUMBERS[node.name]
    if kind == "Cast":
        value = _number(node.argument)
        if (cast := _TYPES.get(_kind(node.type))) is not None:
            return cast(value)
    if kind == "UnaryExpression":
        value = _number(node.expression)
        if node.op.name in ("-", "!"):
            return -value if node.op.name == "-" else not value
    if kind == "BinaryExpression" and node.op.name in _OPERATIONS:
        return _result(node.op.name, _OPERATIONS, [_number(node.lhs), _number(node.rhs)])
    if kind == "FunctionCall" and node.name.name in _FUNCTIONS:
        return _result(node.name.name, _FUNCTIONS, [_number(argument) for argument in node.arguments])
    raise _NotConstant


def _result(name: str, known: Mapping[str, Callable[..., Any]], values: list[Any]) -> Any:
    """What an operation or a function makes of numbers."""
    if name in ("**", "<<") and (abs(values[1]) > 512 or abs(values[0]) > 2**64):
        raise _NotConstant
    try:
        found = known[name](*values)
        finite = math.isfinite(found)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise _NotConstant from error
    if not finite:
        raise _NotConstant
    return found


def _values(node: Any, where: Any, cast: Callable[[Any], Any] = int) -> Iterator[Any]:
    """The numbers of a range, both ends included, or of a set, as those of a type."""
    kind = _kind(node)
    if kind == "DiscreteSet":
        yield from (cast(_number(each)) for each in node.values)
        return
    if kind != "RangeDefinition" or node.start is None or node.end is None:
        raise _NotConstant
    start, end = int(_number(node.start)), int(_number(node.end))
    step = 1 if node.step is None else int(_number(node.step))
    if step == 0 or abs(end - start) // abs(step) > _MOST_STATEMENTS:
        raise RefusedError(f"{_line(where)}its range must have from 0 to {_MOST_STATEMENTS} steps.")
    yield from map(cast, range(start, end + (1 if step > 0 else -1), step))


def _literal(value: Any) -> Any:
    from openqasm3 import ast

    if isinstance(value, bool):
        return ast.BooleanLiteral(value)
    size = ast.IntegerLiteral(abs(value)) if isinstance(value, int) else ast.FloatLiteral(abs(value))
    return size if value >= 0 else ast.UnaryExpression(ast.UnaryOperator["-"], size)


def _line(node: Any) -> str:
    span = getattr(node, "span", None)
    return "" if span is None else f"line {span.start_line}: "
