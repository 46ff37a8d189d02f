"""Integers that users give: Python's, NumPy's and arrays of one integer."""

import operator
from typing import Any


def as_integer(value: Any) -> int | None:
    """The integer that a value stands for; None for anything else, booleans among it."""
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def positive_integer(name: str, value: Any) -> int:
    """The integer that an argument stands for.

    Raises:
        ValueError: for anything but an integer from 1 on.
    """
    found = as_integer(value)
    if found is None or found < 1:
        raise ValueError(f"Argument `{name}` must be a positive integer, but is {value!r}.")
    return found
