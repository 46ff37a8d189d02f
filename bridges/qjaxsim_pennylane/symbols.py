"""How angles depend on parameters: NumPy's calls are followed by autograd, with our expressions beside the numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from autograd.core import VJPNode
from autograd.extend import register_notrace
from autograd.tracer import Node, getval, isbox, notrace_primitives, trace


class _Symbolic(Node):
    """A number or array with the expressions of its entries; None where they cannot be written."""

    __slots__ = ["symbols"]

    def __init__(self, value: Any, fun: Callable[..., Any], args: Any, kwargs: Any, argnums: Any, parents: Any):
        arguments = list(args)
        for argnum, parent in zip(argnums, parents, strict=True):
            arguments[argnum] = parent.symbols
        self.symbols: Any = None
        if all(parent.symbols is not None for parent in parents):
            # NumPy's functions on arrays of objects call the methods of that name; not all are there, and not every
            # number that is computed on the way ends in an angle.
            try:
                self.symbols = fun(*arguments, **kwargs)
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
