"""Registers of OpenQASM 3 programs, and places of them, which may be counted from the end."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from qjaxsim_qiskit.programs.values import (
    MOST_STATEMENTS,
    NotConstantError,
    RefusedError,
    kind_of,
    line_of,
    literal,
    number,
    values_of,
)


@dataclasses.dataclass(frozen=True)
class Register:
    """What a declared name of bits or qubits is.

    Attributes:
        name: as the parser's.
        size: how many; None for a single one without a number.
    """

    name: Any
    size: int | None

    def node(self) -> Any:
        """The name."""
        return self.name


@dataclasses.dataclass(frozen=True)
class Qubits:
    """What a name of qubits in a subroutine stands for: a register, or some places of it; one place is one qubit."""

    register: Any
    places: tuple[int, ...] | int | None
    size: int | None

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
        return ast.IndexedIdentifier(self.register, [[literal(places)] if isinstance(places, int) else _set(places)])


def _picked(places: tuple[int, ...] | None, picked: tuple[int, ...] | int) -> tuple[int, ...] | int:
    if places is None:
        return picked
    return places[picked] if isinstance(picked, int) else tuple(places[place] for place in picked)


def qubits_of(value: Any, names: Mapping[str, Any]) -> Qubits:
    """The qubits that an argument of a call names."""
    kind = kind_of(value)
    if isinstance(value, Qubits):
        return value
    if kind == "Identifier":
        return Qubits(value, None, _size_of(value, names))
    if kind == "IndexedIdentifier" and len(value.indices) == 1:
        return _placed(value.name, value.indices[0], value, names)
    if kind == "IndexExpression" and kind_of(value.collection) == "Identifier":
        return _placed(value.collection, value.index, value, names)
    raise RefusedError(f"{line_of(value)}qubits of a call must be a register or places of one.")


def _placed(register: Any, index: Any, node: Any, names: Mapping[str, Any]) -> Qubits:
    places = numbers_of(index, node, _size_of(register, names))
    return Qubits(register, places, None if isinstance(places, int) else len(places))


def _size_of(name: Any, names: Mapping[str, Any]) -> int | None:
    known = names.get(name.name)
    return known.size if isinstance(known, Register) else None


def numbers_of(index: Any, node: Any, size: int | None) -> tuple[int, ...] | int:
    """The places that an index names in a register of a size, None where that is unknown."""
    try:
        if isinstance(index, list) and len(index) == 1:
            if kind_of(index[0]) != "RangeDefinition":
                return int(number(index[0]))
            return _range(index[0], node, size)
        return tuple(values_of(index, node))
    except NotConstantError as error:
        raise RefusedError(f"{line_of(node)}places of qubits must be constants.") from error


def counted(index: Any, node: Any, size: int | None) -> Any:
    """An index of a declared register as Qiskit's reader takes it, which finds nothing in a range down or from the end.

    Args:
        index: constants put in.
        node: what has it.
        size: of the register.
    """
    if not isinstance(index, list) or len(index) != 1 or kind_of(index[0]) != "RangeDefinition":
        return index
    parts = (index[0].start, index[0].end, index[0].step)
    try:
        if all(part is None or number(part) >= 0 for part in parts):
            return index
        return _set(_range(index[0], node, size))
    except NotConstantError as error:
        raise RefusedError(f"{line_of(node)}places of a register must be constants.") from error


def _range(node: Any, where: Any, size: int | None) -> tuple[int, ...]:
    """The places of a range with both ends; negative ends are counted from the end, missing ones are the register's."""
    step = 1 if node.step is None else int(number(node.step))
    first, last = (0, -1) if step > 0 else (-1, 0)
    ends = [each if part is None else int(number(part)) for part, each in ((node.start, first), (node.end, last))]
    if min(ends) < 0:
        if size is None:
            raise RefusedError(f"{line_of(where)}places are counted from the end of registers alone.")
        ends = [end + size if end < 0 else end for end in ends]
    start, end = ends
    if step == 0 or abs(end - start) // abs(step) > MOST_STATEMENTS:
        raise RefusedError(f"{line_of(where)}its range must have from 0 to {MOST_STATEMENTS} steps.")
    return tuple(range(start, end + (1 if step > 0 else -1), step))


def joined(node: Any, names: Mapping[str, Any]) -> tuple[Any, int | None]:
    """What an alias names, with single places as registers of one, which alone Qiskit's reader joins, and its size.

    Raises:
        RefusedError: for a bit or qubit without a number beside others.
    """
    from openqasm3 import ast

    kind = kind_of(node)
    if kind == "Concatenation":
        sides = [_several(*joined(side, names), side) for side in (node.lhs, node.rhs)]
        (left, n_left), (right, n_right) = sides
        return ast.Concatenation(left, right), n_left + n_right
    if kind == "Identifier":
        return node, _size_of(node, names)
    if kind == "IndexExpression" and kind_of(node.collection) == "Identifier":
        places = numbers_of(node.index, node, _size_of(node.collection, names))
        return node, None if isinstance(places, int) else len(places)
    return node, None


def _several(node: Any, size: int | None, given: Any) -> tuple[Any, int]:
    """Part of what is joined, and how many it is."""
    from openqasm3 import ast

    if size is not None:
        return node, size
    if kind_of(node) == "IndexExpression":
        return ast.IndexExpression(node.collection, ast.DiscreteSet(node.index)), 1
    raise RefusedError(f"{line_of(given)}`++` joins registers and places of them; declare single ones as `qubit[1]`.")


def _set(places: Sequence[int]) -> Any:
    from openqasm3 import ast

    return ast.DiscreteSet([literal(place) for place in places])
