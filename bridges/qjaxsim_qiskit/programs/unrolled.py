"""OpenQASM 3 programs with constants put in, and fixed loops, branches on constants and subroutines written out.

Qiskit's reader takes none of constants, subroutines, functions and register indices that a loop counts.
"""

import contextlib
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qjaxsim_qiskit.programs.registers import Qubits, Register, counted, joined, numbers_of, qubits_of
from qjaxsim_qiskit.programs.values import (
    MOST_STATEMENTS,
    TYPES,
    NotConstantError,
    RefusedError,
    kind_of,
    line_of,
    literal,
    number,
    values_of,
)

_DEEPEST_CALL = 50


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
            if self.count > MOST_STATEMENTS:
                raise RefusedError(f"{line_of(statement)}its loops write out more than {MOST_STATEMENTS} statements.")
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
            raise RefusedError(
                f"{line_of(node)}subroutines that return something are not read; write out what it does."
            )
        elif kind == "ExpressionStatement" and type(node.expression).__name__ == "FunctionCall":
            yield from self.call(node.expression, names)
        elif kind == "Box":
            yield dataclasses.replace(node, body=list(self.statements(node.body, dict(names))))
        elif kind == "QuantumGateDefinition":
            hidden = {each.name for each in (*node.arguments, *node.qubits)}
            yield _put_in(node, {name: value for name, value in names.items() if name not in hidden})
        elif kind == "AliasStatement":
            value, size = joined(_put_in(node.value, names), names)
            names[node.target.name] = Register(node.target, size)
            yield dataclasses.replace(node, value=value)
        else:
            made = _put_in(node, names)
            self.declare(made, names)
            yield made

    def declare(self, node: Any, names: dict[str, Any]) -> None:
        """Add what a statement declares to `names`: bits and qubits."""
        kind = kind_of(node)
        if kind == "QubitDeclaration":
            names[node.qubit.name] = Register(node.qubit, _size(node.size))
        elif kind == "ClassicalDeclaration" and kind_of(node.type) == "BitType":
            names[node.identifier.name] = Register(node.identifier, _size(node.type.size))
            if node.type.size is None:
                self.bits.add(node.identifier.name)

    def loop(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        try:
            values = list(values_of(_put_in(node.set_declaration, names), node, TYPES.get(kind_of(node.type), int)))
        except NotConstantError as error:
            raise RefusedError(f"{line_of(node)}the values of a loop must be constants; write it out.") from error
        for value in values:
            made: list[Any] = []
            self.count += 1
            try:
                for one in self.statements(node.block, {**names, node.identifier.name: literal(value)}):
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
            chosen = node.if_block if number(condition) else node.else_block
        except NotConstantError:
            try:
                blocks = [list(self.statements(block, dict(names))) for block in (node.if_block, node.else_block)]
            except (_BreakLoop, _NextTurn) as error:
                raise RefusedError(
                    f"{line_of(node)}a loop, or a turn of it, ends depending on measured bits, which cannot be "
                    "followed; write the turns out with conditions."
                ) from error
            yield dataclasses.replace(node, condition=self.of_bit(condition), if_block=blocks[0], else_block=blocks[1])
            return
        yield from self.statements(chosen, dict(names))

    def of_bit(self, condition: Any) -> Any:
        """A comparison of one bit with a number as that bit or its negation; any other condition as it is."""
        from openqasm3 import ast

        if kind_of(condition) != "BinaryExpression" or condition.op.name not in ("==", "!="):
            return condition
        for bit, value in ((condition.lhs, condition.rhs), (condition.rhs, condition.lhs)):
            if self.is_bit(bit) and getattr(value, "value", None) in (0, 1):
                wanted = (value.value == 1) == (condition.op.name == "==")
                return bit if wanted else ast.UnaryExpression(ast.UnaryOperator["!"], bit)
        return condition

    def is_bit(self, node: Any) -> bool:
        """Whether it names one bit: by a name of its own, or by its number in a register."""
        if kind_of(node) != "IndexExpression":
            return getattr(node, "name", None) in self.bits
        several = ("RangeDefinition", "DiscreteSet")
        return isinstance(node.index, list) and len(node.index) == 1 and kind_of(node.index[0]) not in several

    def call(self, node: Any, names: dict[str, Any]) -> Iterator[Any]:
        subroutine = self.subroutines.get(node.name.name)
        if subroutine is None:
            raise RefusedError(f"{line_of(node)}{node.name.name!r} is not defined.")
        if subroutine.return_type is not None:
            raise RefusedError(
                f"{line_of(node)}subroutines that return something are not read; write out what it does."
            )
        if len(node.arguments) != len(subroutine.arguments):
            raise RefusedError(
                f"{line_of(node)}{node.name.name!r} takes {len(subroutine.arguments)} arguments, but is given "
                f"{len(node.arguments)}."
            )
        if self.calls >= _DEEPEST_CALL:
            raise RefusedError(f"{line_of(node)}{node.name.name!r} calls itself too often.")
        given = [_put_in(argument, names) for argument in node.arguments]
        # What stands outside and is constant is seen inside, if no argument hides it.
        own = {name: value for name, value in names.items() if not isinstance(value, Qubits)}
        for argument, value in zip(subroutine.arguments, given, strict=True):
            name = argument.name.name
            if kind_of(argument) == "QuantumArgument":
                own[name] = qubits_of(value, names)
            else:
                own[name] = _of_type(value, argument.type, node, f"argument {name!r}")
        self.calls += 1
        yield from self.statements(subroutine.body, own)
        self.calls -= 1


def _size(node: Any) -> int | None:
    """The declared size of a register; None for a single bit or qubit."""
    return None if node is None else int(number(node))


def _of_type(value: Any, declared: Any, node: Any, what: str) -> Any:
    """A value as one of a declared type, in which 3 is 3.0 for a float; floats made of inputs stay as written."""
    cast = TYPES.get(kind_of(declared))
    if cast is None:
        return value
    try:
        return literal(cast(number(value)))
    except NotConstantError as error:
        if cast is float:
            return value
        raise RefusedError(f"{line_of(node)}{what} has no constant value.") from error


def _put_in(node: Any, names: Mapping[str, Any]) -> Any:
    """A node with values in place of names, in which what is constant is worked out."""
    from openqasm3 import ast

    if isinstance(node, list):
        return [_put_in(each, names) for each in node]
    if isinstance(node, ast.Identifier):
        value = names.get(node.name, node)
        return value.node() if isinstance(value, Qubits | Register) else value
    if isinstance(node, ast.IndexedIdentifier | ast.IndexExpression):
        name = node.name if isinstance(node, ast.IndexedIdentifier) else node.collection
        own = names.get(name.name) if isinstance(name, ast.Identifier) else None
        if isinstance(own, Qubits):
            indices = node.indices if isinstance(node, ast.IndexedIdentifier) else [node.index]
            if len(indices) != 1:
                raise RefusedError(f"{line_of(node)}qubits of a subroutine must have one index.")
            return own.node(numbers_of(_put_in(indices[0], names), node, own.size))
        if isinstance(own, Register) and isinstance(node, ast.IndexExpression):
            return dataclasses.replace(node, index=counted(_put_in(node.index, names), node, own.size))
        if isinstance(own, Register) and isinstance(node, ast.IndexedIdentifier) and len(node.indices) == 1:
            return dataclasses.replace(node, indices=[counted(_put_in(node.indices[0], names), node, own.size)])
    if not isinstance(node, ast.QASMNode):
        return node
    changed = {}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if not field.init or field.name == "span" or isinstance(value, str | ast.Span):
            continue
        # The names that a declaration makes stay.
        if field.name in ("identifier", "qubit") and isinstance(node, ast.Statement) and "Declaration" in kind_of(node):
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
        return literal(number(node))
    except NotConstantError as error:
        if isinstance(node, ast.FunctionCall):
            raise RefusedError(f"{line_of(node)}{node.name.name!r} is read of constants alone.") from error
        return node
