"""Angles of Qiskit gates as numbers or as expressions of our parameters."""

import cmath
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add, mul
from typing import TYPE_CHECKING, Any

from qjaxsim.circuits.expressions import Expression
from qjaxsim.common.extras import missing_extra

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.circuit import Parameter, ParameterExpression

# Elementary functions by the name of their class in sympy; ours have NumPy's names. Parameters are real here, so that
# conjugates and real parts are what they are taken of.
_SYMPY_FUNCTIONS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    "exp": "exp", "log": "log", "Abs": "abs", "sign": "sign",
}  # fmt: skip
_REAL = ("conjugate", "re")


def angle_of(value: Any, symbols: Mapping[Any, Expression], where: str) -> float | Expression:
    """One angle.

    Args:
        value: a number or a Qiskit ParameterExpression.
        symbols: our element for every Qiskit parameter.
        where: the gate and its place, for messages.

    Raises:
        ValueError: for complex or infinite numbers, complex expressions, functions that have no counterpart,
            parameters without an element, or expressions that are nested too deeply.
        ImportError: for an expression that is not affine where sympy is missing.
    """
    if not getattr(value, "parameters", ()):
        return _number(value, where)
    if unknown := sorted(parameter.name for parameter in value.parameters if parameter not in symbols):
        raise ValueError(
            f"Angles must be made of the circuit's parameters, but {where} has {', '.join(unknown)} too, which Qiskit "
            "lists once gates are taken apart; give `circuit.decompose()`."
        )
    try:
        affine = _affine(value, symbols, where)
        return _from_sympy(value, symbols, where) if affine is None else affine
    except RecursionError as error:  # of sympy's or ours
        raise ValueError(
            f"The angle of {where} is nested too deeply to be imported; make its inner part a parameter and bind that."
        ) from error


def require_angles(circuit: "QuantumCircuit", values: Sequence[Mapping["Parameter", float]]) -> None:
    """Refuse values at which an angle is no finite real number, as the logarithm of a negative one is none.

    Args:
        circuit: in gates without definitions.
        values: a number for every parameter, once for each run.

    Raises:
        ValueError: naming the angle and the values.
    """
    # Parameters alone are checked where they are given.
    made = [one for one in _angles(circuit) if getattr(one, "parameters", ()) and not _is_bare(one)]
    for angle, each in itertools.product(made, values):
        own = {parameter: each[parameter] for parameter in angle.parameters}
        try:
            number = complex(angle.bind(own))
        # For infinity, NaN, and what Qiskit cannot convert.
        except (ZeroDivisionError, RuntimeError, TypeError):
            number = complex("nan")
        if not cmath.isfinite(number) or number.imag:
            at = ", ".join(f"{parameter.name} = {value:.6g}" for parameter, value in own.items())
            raise ValueError(f"Angles must be finite real numbers, but {angle} is none at {at}.")


def _angles(circuit: "QuantumCircuit") -> Iterator[Any]:
    """What a circuit's gates are turned by, those of its branches included."""
    yield circuit.global_phase
    for instruction in circuit.data:
        if instruction.is_control_flow():
            for block in instruction.operation.blocks:
                yield from _angles(block)
        else:
            yield from instruction.operation.params


def with_constants(circuit: "QuantumCircuit") -> "QuantumCircuit":
    """The circuit with numbers for angles that have parameters and depend on none, as `0 * a - 0.3`.

    Qiskit and Aer cannot hash or copy some of these.

    Args:
        circuit: in gates without definitions.
    """
    out = circuit.copy_empty_like()
    out.global_phase = _constant(circuit.global_phase)
    for instruction in circuit.data:
        if instruction.is_control_flow():
            blocks = [with_constants(block) for block in instruction.operation.blocks]
            instruction = instruction.replace(operation=instruction.operation.replace_blocks(blocks))
        elif instruction.is_parameterized():
            operation = instruction.operation.to_mutable()
            operation.params = [_constant(angle) for angle in operation.params]
            instruction = instruction.replace(operation=operation, params=operation.params)
        out.append(instruction)
    return out


def _constant(angle: Any) -> Any:
    """The number that an angle is at all values of its parameters; the angle where it depends on one."""
    if not getattr(angle, "parameters", ()):
        return angle
    try:
        return complex(angle.bind(dict.fromkeys(angle.parameters, math.nan))).real
    except (RuntimeError, ValueError, ZeroDivisionError):  # Qiskit refuses NaN, which it would come to
        return angle


def _is_bare(angle: Any) -> bool:
    from qiskit.circuit import Parameter

    return isinstance(angle, Parameter)


def _number(value: Any, where: str) -> float:
    try:
        number = complex(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Angles must be real numbers, but {where} has {value!r}.") from error
    if not cmath.isfinite(number) or number.imag:
        raise ValueError(f"Angles must be finite real numbers, but {where} has {value}.")
    return number.real


def _affine(value: "ParameterExpression", symbols: Mapping[Any, Expression], where: str) -> Expression | None:
    """A sum of multiples of parameters and a constant; None if the expression is none.

    Multiples of 0 stay, so that our circuit has the parameters that Qiskit's has.
    """
    terms: list[Any] = []
    for parameter in sorted(value.parameters, key=lambda p: p.name):
        try:
            slope = value.gradient(parameter)
        except RuntimeError:  # Qiskit has no derivative of some functions
            return None
        if getattr(slope, "parameters", ()):
            return None
        factor = _number(slope, f"{where}, with the complex angle {value},")
        terms.append(symbols[parameter] if factor == 1 else factor * symbols[parameter])
    try:
        offset = _number(value.bind(dict.fromkeys(value.parameters, 0.0)), where)
    except (RuntimeError, ZeroDivisionError):  # as of 0.5 - 1 / a + 1 / a
        return None
    if offset:
        terms.append(offset)
    return reduce(add, terms)


def _from_sympy(value: "ParameterExpression", symbols: Mapping[Any, Expression], where: str) -> Expression | float:
    try:
        tree = value.sympify()
    except ImportError as error:
        raise missing_extra(
            f"The angle {value} of {where} is not affine in its parameters, which needs sympy", "qiskit", error.name
        ) from error
    # Qiskit has no sympy form of a number to the power of a parameter, and stumbles over one within an expression.
    except (AttributeError, TypeError, ValueError):
        tree = NotImplemented
    if tree is NotImplemented:
        raise ValueError(
            f"The angle {value} of {where} cannot be imported: Qiskit does not translate it; "
            "write c**a as exp(a*log(c))."
        )
    # What sympy takes apart for complex symbols, as the absolute value of an exponential, comes together for real ones.
    tree = tree.subs({symbol: type(symbol)(symbol.name, real=True) for symbol in tree.free_symbols})
    names = {parameter.name: symbols[parameter] for parameter in value.parameters}
    return _walk(tree, names, lambda part: ValueError(f"The angle {value} of {where} cannot be imported: {part}."))


def _walk(tree: Any, names: Mapping[str, Expression], refuse: Callable[[str], ValueError]) -> Any:
    """A sympy expression as ours."""
    kind = type(tree).__name__
    if tree.is_Symbol:
        return names[tree.name]
    if tree.is_number:
        number = complex(tree)
        if number.imag or not cmath.isfinite(number):
            raise refuse(f"it holds the complex or infinite number {tree}")
        return number.real
    arguments = [_walk(argument, names, refuse) for argument in tree.args]
    if tree.is_Add or tree.is_Mul:
        return reduce(add if tree.is_Add else mul, arguments)
    if tree.is_Pow:
        base, exponent = arguments
        return 1.0 / base if exponent == -1 else base**exponent
    if kind in _REAL:
        return arguments[0]
    if kind not in _SYMPY_FUNCTIONS:
        raise refuse(f"{kind} has no counterpart here")
    (argument,) = arguments
    return getattr(argument, _SYMPY_FUNCTIONS[kind])()
