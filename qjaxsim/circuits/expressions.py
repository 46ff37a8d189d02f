"""Array parameters and the scalar expressions of them that gates take as angles."""

import functools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Union

import numpy as np

from qjaxsim.common.checks import as_integer, as_number, shown

Number = int | float
Angle = Union[Number, "Expression", "Parameter"]
Lookup = Callable[[str, int], Any]

# Walks through deeper ones would end at Python's limit of calls within calls.
_DEEPEST = 400
_UNARY = ("neg", "abs", "sign", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log")
_SYMBOLS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}


class _Arithmetic:
    """Operators and elementary functions shared by expressions and scalar parameters."""

    def __add__(self, other: Angle) -> "Expression":
        return _combine("add", self, other)

    def __radd__(self, other: Angle) -> "Expression":
        return _combine("add", other, self)

    def __sub__(self, other: Angle) -> "Expression":
        return _combine("sub", self, other)

    def __rsub__(self, other: Angle) -> "Expression":
        return _combine("sub", other, self)

    def __mul__(self, other: Angle) -> "Expression":
        return _combine("mul", self, other)

    def __rmul__(self, other: Angle) -> "Expression":
        return _combine("mul", other, self)

    def __truediv__(self, other: Angle) -> "Expression":
        return _combine("div", self, other)

    def __rtruediv__(self, other: Angle) -> "Expression":
        return _combine("div", other, self)

    def __pow__(self, other: Angle) -> "Expression":
        return _combine("pow", self, other)

    def __rpow__(self, other: Angle) -> "Expression":
        return _combine("pow", other, self)

    def __neg__(self) -> "Expression":
        inner = as_expression(self)
        # -(-a) is a, so that inverting a circuit twice gives the circuit back.
        return inner.args[0] if isinstance(inner, Expression) and inner.op == "neg" else Expression("neg", (inner,))

    def __abs__(self) -> "Expression":
        return self.abs()

    def abs(self) -> "Expression":
        """Absolute value."""
        return Expression("abs", (as_expression(self),))

    def sign(self) -> "Expression":
        """Sign: -1, 0 or 1."""
        return Expression("sign", (as_expression(self),))

    def sqrt(self) -> "Expression":
        """Square root."""
        return _combine("pow", self, 0.5)

    def sin(self) -> "Expression":
        """Sine."""
        return Expression("sin", (as_expression(self),))

    def cos(self) -> "Expression":
        """Cosine."""
        return Expression("cos", (as_expression(self),))

    def tan(self) -> "Expression":
        """Tangent."""
        return Expression("tan", (as_expression(self),))

    def arcsin(self) -> "Expression":
        """Inverse sine."""
        return Expression("arcsin", (as_expression(self),))

    def arccos(self) -> "Expression":
        """Inverse cosine."""
        return Expression("arccos", (as_expression(self),))

    def arctan(self) -> "Expression":
        """Inverse tangent."""
        return Expression("arctan", (as_expression(self),))

    def exp(self) -> "Expression":
        """Exponential."""
        return Expression("exp", (as_expression(self),))

    def log(self) -> "Expression":
        """Natural logarithm."""
        return Expression("log", (as_expression(self),))


@dataclass(frozen=True)
class Expression(_Arithmetic):
    """A scalar function of parameter elements: an operation and its arguments.

    Built by arithmetic on `Parameter` elements, never by hand. Two expressions are equal when they were written the
    same way; no algebra is done.

    Attributes:
        op: "add" (of two arguments or more), "sub", "mul", "div", "pow", "neg" or an elementary function.
        args: expressions or plain floats.
        depth: how many operations stand within one another.

    >>> angle = 2 * Parameter("theta") + 1
    >>> print(angle)
    2*theta+1
    >>> angle.affine()
    ({('theta', 0): 2.0}, 1.0)
    """

    op: str
    args: tuple[Any, ...]
    depth: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        depth = 1 + max((arg.depth for arg in self.args if isinstance(arg, Expression)), default=-1)
        if depth > _DEEPEST:
            raise ValueError(
                f"An expression must be nested at most {_DEEPEST} operations deep, but one is deeper; make its inner "
                "part a parameter and give that part's value on calling."
            )
        object.__setattr__(self, "depth", depth)

    def elements(self) -> Iterator["Element"]:
        """The parameter elements that occur, with repetitions."""
        for arg in self.args:
            if isinstance(arg, Expression):
                yield from arg.elements()

    def evaluate(self, lookup: Lookup, xp: ModuleType) -> Any:
        """The value, given `lookup(name, flat index)` and an array module (NumPy or jax.numpy)."""
        values = [arg.evaluate(lookup, xp) if isinstance(arg, Expression) else arg for arg in self.args]
        return _OPERATIONS[self.op](xp, *values)

    def affine(self) -> tuple[dict[tuple[str, int], float], float] | None:
        """Coefficients by (name, flat index) and offset if the expression is affine as written, else None."""
        parts = [arg.affine() if isinstance(arg, Expression) else ({}, float(arg)) for arg in self.args]
        if any(part is None for part in parts):
            return None
        return _affine(self.op, *parts)

    def __str__(self) -> str:
        if self.op in _SYMBOLS:
            return _SYMBOLS[self.op].join(_grouped(arg, self.op) for arg in self.args)
        if self.op == "neg":
            return f"-{_grouped(self.args[0], 'mul')}"
        return f"{self.op}({', '.join(str(arg) for arg in self.args)})"


@dataclass(frozen=True)
class Element(Expression):
    """One entry of an array parameter.

    Attributes:
        name: the parameter's name.
        shape: the whole parameter's shape, without batch axes.
        index: position in that shape.
    """

    op: str = "element"
    args: tuple[Any, ...] = ()
    name: str = ""
    shape: tuple[int, ...] = ()
    index: tuple[int, ...] = ()

    @property
    def flat_index(self) -> int:
        """Position in the row-major flattened parameter."""
        return int(np.ravel_multi_index(self.index, self.shape)) if self.shape else 0

    def elements(self) -> Iterator["Element"]:
        """The element itself."""
        yield self

    def evaluate(self, lookup: Lookup, xp: ModuleType) -> Any:
        """The element's value."""
        return lookup(self.name, self.flat_index)

    def affine(self) -> tuple[dict[tuple[str, int], float], float]:
        """One times itself."""
        return {(self.name, self.flat_index): 1.0}, 0.0

    def __str__(self) -> str:
        return self.name + (f"[{', '.join(map(str, self.index))}]" if self.shape else "")


@dataclass(frozen=True)
class Parameter(_Arithmetic):
    """A named array of angles, or a part of one.

    Indexing with as many integers as there are axes gives an element that can be used as an angle and in arithmetic; a
    parameter of shape () is used directly. Leading axes of the array given at run time are batch axes.

    Attributes:
        name: key of the parameter in the `params` dictionary.
        shape: shape of the whole parameter, without batch axes.
        prefix: leading indices already fixed; empty for the whole parameter.

    >>> weights = Parameter("weights", (2, 3))
    >>> print(2 * weights[1, 0] + 0.5)
    2*weights[1, 0]+0.5
    """

    name: str
    shape: tuple[int, ...] = ()
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Argument `name` must be a non-empty string, but is {self.name!r}.")
        single = not isinstance(self.shape, Iterable) or as_integer(self.shape) is not None
        shape: tuple[Any, ...] = (self.shape,) if single else tuple(self.shape)
        if not all((size := as_integer(one)) is not None and size > 0 for one in shape):
            raise ValueError(
                f"Argument `shape` of parameter {self.name!r} must hold positive integers, but is {shape}."
            )
        object.__setattr__(self, "shape", tuple(int(size) for size in shape))

    def __len__(self) -> int:
        rest = self.shape[len(self.prefix) :]
        if not rest:
            raise TypeError(f"Parameter {self.name!r} is a scalar and has no length.")
        return rest[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        full = self.prefix + (tuple(index) if isinstance(index, tuple) else (index,))
        if len(full) > len(self.shape):
            raise IndexError(f"Parameter {self.name!r} has shape {self.shape}, so index {full} has too many entries.")
        if not all(as_integer(i) is not None for i in full):
            raise TypeError(f"Parameter {self.name!r} takes integer indices, but got {index!r}.")
        if not all(-size <= i < size for i, size in zip(full, self.shape, strict=False)):
            raise IndexError(f"Parameter {self.name!r} has shape {self.shape}, so index {full} is out of range.")
        full = tuple(int(i) % size for i, size in zip(full, self.shape, strict=False))
        if len(full) == len(self.shape):
            return Element(name=self.name, shape=self.shape, index=full)
        return Parameter(self.name, self.shape, full)


def as_expression(value: Any, what: str = "An angle") -> Expression | float:
    """An angle as an expression, or as a float when it is a plain number; `what` begins sentences about it.

    Raises:
        TypeError: for anything but a real number, an expression or a parameter element.
        ValueError: for NaN, infinity, or a parameter array that is not indexed down to one element.
    """
    if isinstance(value, Expression):
        return value
    if isinstance(value, Parameter):
        if value.shape:
            raise ValueError(
                f"Parameter {value.name!r} has shape {value.shape}, but {what[0].lower()}{what[1:]} is one number; "
                "index it down to one entry."
            )
        return Element(name=value.name)
    number = as_number(value, what, "use a `Parameter` and give its value on calling")
    if number is None or isinstance(value, bool) or np.iscomplexobj(value):
        named = isinstance(value, str) and value.isidentifier() and value != "pi"
        hint = f"; write qj.Parameter({value!r})" if named else ""
        raise TypeError(
            f"{what} must be a real number or an expression of parameters, but is {shown(value)} "
            f"({type(value).__name__}){hint}."
        )
    if not math.isfinite(number.real):
        raise ValueError(f"{what} must be finite, but is {value!r}.")
    return number.real


def _combine(op: str, left: Any, right: Any) -> Any:
    if getattr(right, "__array_ufunc__", right) is None:
        return NotImplemented  # arithmetic is its own: a Pauli sum says that it takes numbers only
    left, right = as_expression(left), as_expression(right)
    if op == "div" and right == 0:
        raise ZeroDivisionError("The divisor of an expression must not be zero, but is.")
    if op == "add" and isinstance(left, Expression) and left.op == "add":
        return Expression(op, (*left.args, right))  # a long sum stays flat, or recursion would fail on it
    return Expression(op, (left, right))


def _grouped(arg: Any, op: str) -> str:
    """The argument as text, in parentheses unless it binds tighter than `op`."""
    text = f"{arg:.6g}" if isinstance(arg, float) else str(arg)
    if isinstance(arg, float):
        return f"({text})" if op == "pow" and arg < 0 else text
    loose = arg.op in (*_SYMBOLS, "neg") and not (op == "add" and arg.op != "neg")
    return f"({text})" if loose else text


def _affine(op: str, *parts: Any) -> tuple[dict[tuple[str, int], float], float] | None:
    """Combine affine parts (coefficients, offset); None where the result is not affine."""
    if op in ("neg", "add", "sub"):
        signs = {"neg": (-1.0,), "add": (1.0,) * len(parts), "sub": (1.0, -1.0)}[op]
        total: dict[tuple[str, int], float] = {}
        for sign, (coefficients, _) in zip(signs, parts, strict=True):
            for key, value in coefficients.items():
                total[key] = total.get(key, 0.0) + sign * value
        return total, sum(sign * offset for sign, (_, offset) in zip(signs, parts, strict=True))
    if op in ("mul", "div") and not parts[1][0]:
        factor = parts[1][1] if op == "mul" else 1 / parts[1][1]
        return {key: factor * value for key, value in parts[0][0].items()}, factor * parts[0][1]
    if op == "mul" and not parts[0][0]:
        return _affine("mul", parts[1], parts[0])
    return None


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda xp, *terms: functools.reduce(operator.add, terms),
    "sub": lambda xp, a, b: a - b,
    "mul": lambda xp, a, b: a * b,
    "div": lambda xp, a, b: a / b,
    # A whole exponent is given as an integer, for derivatives of s**2 that hold at s = 0 too.
    "pow": lambda xp, a, b: a ** (int(b) if isinstance(b, float) and b.is_integer() else b),
    "neg": lambda xp, a: -a,
    **{name: (lambda xp, a, name=name: getattr(xp, name)(a)) for name in _UNARY[1:]},
}
