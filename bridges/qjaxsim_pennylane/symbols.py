"""How angles depend on parameters: NumPy's calls are followed by autograd, with our expressions beside the numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from autograd.core import VJPNode
from autograd.extend import register_notrace
from autograd.tracer import Node, getval, isbox, notrace_primitives, trace


class _Complex:
    """A complex number whose parts are expressions, as operators are exponentiated with."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any = 0):
        self.real, self.imag = real, imag

    def __add__(self, other: Any) -> "_Complex":
        return _Complex(_sum(self.real, other.real), _sum(self.imag, other.imag))

    def __mul__(self, other: Any) -> "_Complex":
        a, b, c, d = self.real, self.imag, other.real, other.imag
        return _Complex(_sum(_product(a, c), -_product(b, d)), _sum(_product(a, d), _product(b, c)))

    def __truediv__(self, other: Any) -> "_Complex":
        return self * (1 / other)  # by a number: others have no inverse here

    def __sub__(self, other: Any) -> "_Complex":
        return self + (-other)

    def __rsub__(self, other: Any) -> "_Complex":
        return -self + other

    def __neg__(self) -> "_Complex":
        return _Complex(-self.real, -self.imag)

    __radd__, __rmul__ = __add__, __mul__


def _product(one: Any, other: Any) -> Any:
    return 0 if _is_number(one, 0) or _is_number(other, 0) else one * other


def _sum(one: Any, other: Any) -> Any:
    return other if _is_number(one, 0) else one if _is_number(other, 0) else one + other


def _is_number(value: Any, number: int) -> bool:
    return isinstance(value, int | float) and value == number


def _each(function: Callable[[Any], Any], symbols: Any) -> Any:
    """A function of one expression or of each of an array."""
    return np.frompyfunc(function, 1, 1)(symbols) if isinstance(symbols, np.ndarray) else function(symbols)


def _as_complex(symbol: Any) -> _Complex:
    return symbol if isinstance(symbol, _Complex) else _Complex(symbol)


# Functions of one number in terms of those that expressions have. Of arrays of objects, NumPy's own leave the first as
# it is and give zeros for the second.
_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "real": lambda symbol: _as_complex(symbol).real,
    "imag": lambda symbol: _as_complex(symbol).imag,
    "tanh": lambda symbol: 1 - 2 / ((2 * symbol).exp() + 1),
    "sinh": lambda symbol: (symbol.exp() - (-symbol).exp()) / 2,
    "cosh": lambda symbol: (symbol.exp() + (-symbol).exp()) / 2,
    "log1p": lambda symbol: (1 + symbol).log(),
    "expm1": lambda symbol: symbol.exp() - 1,
    "log2": lambda symbol: symbol.log() / math.log(2),
    "log10": lambda symbol: symbol.log() / math.log(10),
    "deg2rad": lambda symbol: symbol * (math.pi / 180),
    "rad2deg": lambda symbol: symbol * (180 / math.pi),
}
_WRITTEN |= {"radians": _WRITTEN["deg2rad"], "degrees": _WRITTEN["rad2deg"]}


def _followed(value: Any, function: Callable[..., Any], arguments: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a function of NumPy's, which gave this value, makes of expressions."""
    first, *rest = arguments
    if written := _WRITTEN.get(function.__name__):
        return _each(written, first)
    if function.__name__ == "_astype" and value.dtype.kind in "fc":
        return first
    if function.__name__ == "__getitem__":  # of a single number, too, as `stack` takes it
        first = np.asarray(first, object)
    return function(first, *rest, **kwargs)


def _as_real(symbol: Any) -> Any:
    if not isinstance(symbol, _Complex):
        return symbol
    if not _is_number(symbol.imag, 0):
        raise TypeError("an imaginary part is left")
    return symbol.real


class _Symbolic(Node):
    """A number or array with the expressions of its entries; None where they cannot be written."""

    __slots__ = ["symbols"]

    def __init__(self, value: Any, fun: Callable[..., Any], args: Any, kwargs: Any, argnums: Any, parents: Any):
        arguments, kind = list(args), _as_complex if np.iscomplexobj(value) else _as_real
        for argnum, parent in zip(argnums, parents, strict=True):
            arguments[argnum] = parent.symbols
            if kind is _as_complex:  # also for real numbers, which meet complex ones here
                arguments[argnum] = _each(_as_complex, parent.symbols)
        self.symbols: Any = None
        if all(parent.symbols is not None for parent in parents):
            # NumPy's functions on arrays of objects call the methods of that name; not all are there, and not every
            # number that is computed on the way ends in an angle.
            try:
                self.symbols = _each(kind, _followed(value, fun, arguments, kwargs))
            except (TypeError, ValueError, AttributeError):
                self.symbols = None

    def initialize_root(self, symbols: np.ndarray) -> None:
        self.symbols = symbols


# Functions that have no slope: those of shapes and comparisons are left alone, steps are followed, or angles would keep
# the value of the example.
_STEPS = ("floor", "ceil", "round", "rint", "around", "fix", "trunc", "sign", "floor_divide")
for _function in notrace_primitives[VJPNode]:
    if _function.__name__ not in _STEPS:
        register_notrace(_Symbolic, _function)


def traced(function: Callable[[Any], Sequence[Any]], values: np.ndarray, symbols: np.ndarray) -> Sequence[Any]:
    """What a function of numbers returns, with numbers that autograd follows.

    Args:
        function: of an array.
        values: the array.
        symbols: object array of the same shape, an expression for each number.
    """
    found: list[Any] = []

    def inner(box: Any) -> Any:
        found.extend(function(box))
        return box

    trace(_Symbolic.new_root(symbols), inner, values)
    return found


def symbol(angle: Any) -> Any:
    """The expression of a number that was followed, or the number itself; None where there is no expression."""
    if not isbox(angle):
        return angle
    found = angle._node.symbols
    return found.item() if isinstance(found, np.ndarray) else found


def plain(value: Any) -> np.ndarray:
    """A number or array of autograd, PyTorch or JAX as NumPy's."""
    value = getval(value)
    return np.asarray(value.detach() if hasattr(value, "detach") else value)
