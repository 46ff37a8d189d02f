"""What Qiskit's control flow asks of classical bits: which values of which bits lead where."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qjaxsim_qiskit.meaning.constants import NotConstantError, constant

# Expressions of more bits have more values than anybody wants followed.
MOST_BITS = 10


@dataclass(frozen=True)
class Branch:
    """A block that is run for some values of some bits.

    Attributes:
        bits: Qiskit's.
        values: tuples of 0 and 1, those that lead here; None for all that lead to no other branch.
        block: Qiskit's circuit.
    """

    bits: tuple[Any, ...]
    values: tuple[tuple[int, ...], ...] | None
    block: Any


def branches(operation: Any) -> list[Branch]:
    """The blocks of a branch on classical bits.

    Raises:
        NotConstantError: for loops, for variables and for expressions of more than ten bits.
    """
    from qiskit.circuit import CASE_DEFAULT, IfElseOp, SwitchCaseOp

    if isinstance(operation, IfElseOp):
        bits, values = _true(operation.condition)
        blocks = operation.blocks
        return [Branch(bits, values, blocks[0]), *(Branch(bits, None, block) for block in blocks[1:])]
    if not isinstance(operation, SwitchCaseOp):
        raise NotConstantError
    bits = _bits_of(operation.target)
    by_value: dict[int, list[tuple[int, ...]]] = {}
    for each in itertools.product((0, 1), repeat=len(bits)):
        by_value.setdefault(int(_value(operation.target, dict(zip(bits, each, strict=True)))), []).append(each)
    out = []
    for labels, block in operation.cases_specifier():
        if any(label is CASE_DEFAULT for label in labels):
            out.append(Branch(bits, None, block))
        else:
            chosen = [values for label in labels for values in by_value.get(int(label), [])]
            out.append(Branch(bits, tuple(chosen), block))
    return out


def bits_asked(operation: Any) -> set[Any]:
    """The classical bits that a branch asks for; none for other operations."""
    try:
        return {bit for branch in branches(operation) for bit in branch.bits}
    except NotConstantError:
        return set()


def _true(condition: Any) -> tuple[tuple[Any, ...], tuple[tuple[int, ...], ...]]:
    """Bits, and their values for which a condition holds."""
    if isinstance(condition, tuple):
        target, wanted = condition
        bits = _bits_of(target)
        return bits, (tuple(int(wanted) >> k & 1 for k in range(len(bits))),)
    bits = _bits_of(condition)
    every = itertools.product((0, 1), repeat=len(bits))
    return bits, tuple(values for values in every if _value(condition, dict(zip(bits, values, strict=True))))


def _bits_of(target: Any) -> tuple[Any, ...]:
    from qiskit.circuit import ClassicalRegister, Clbit
    from qiskit.circuit.classical import expr

    if isinstance(target, Clbit):
        return (target,)
    if isinstance(target, ClassicalRegister):
        return tuple(target)
    found: dict[Any, None] = {}
    for variable in expr.iter_vars(target):
        if variable.standalone:
            raise NotConstantError
        found.update(dict.fromkeys(_bits_of(variable.var)))
    if len(found) > MOST_BITS or not found:
        raise NotConstantError
    return tuple(found)


def _value(target: Any, values: Mapping[Any, int]) -> Any:
    """The value of a bit, a register (its first bit least significant) or an expression."""
    from qiskit.circuit import ClassicalRegister, Clbit
    from qiskit.circuit.classical import expr

    if isinstance(target, Clbit):
        return values[target]
    if isinstance(target, ClassicalRegister):
        return sum(values[bit] << k for k, bit in enumerate(target))
    return constant(target, {variable: _value(variable.var, values) for variable in expr.iter_vars(target)})
