"""Numbers that users give: Python's, NumPy's, JAX's and arrays of one number. JAX is not imported for that."""

import math
import operator
import os
import sys
from collections.abc import Iterable, Mapping
from numbers import Complex
from pathlib import Path
from typing import Any

import numpy as np

from qjaxsim.common.paths import at_home
from qjaxsim.common.suggestions import did_you_mean


def as_integer(value: Any) -> int | None:
    """The integer that a value stands for; None for anything else, booleans among it."""
    if type(value) is int:  # what nearly every qubit of a long circuit is
        return value
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return None
    try:
        return operator.index(value)
    except TypeError:  # JAX's own, for what it traces, among them
        return None


def shown(value: Any) -> str:
    """A value in a message: in one line, and short."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def integer_from(least: int, name: str, value: Any, most: int | None = None) -> int:
    """The integer that an argument stands for.

    Raises:
        ValueError: for anything but an integer from `least` to `most`, or from `least` on.
    """
    found = as_integer(value)
    if found is None or found < least or (most is not None and found > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"Argument `{name}` must be an integer {bounds}, but is {shown(value)}.")
    return found


def integer_among(name: str, value: Any, known: Iterable[int], what: str = "") -> int:
    """The integer of some known ones that an argument stands for; `what` says more of them.

    Raises:
        ValueError: for anything else, booleans among it, which Python takes for 0 and 1.
    """
    choices, found = list(known), as_integer(value)
    if found not in choices:
        raise ValueError(f"Argument `{name}` must be one of {choices}{what}, but is {shown(value)}.")
    return found


def positive_integer(name: str, value: Any) -> int:
    """The integer from 1 on that an argument stands for.

    Raises:
        ValueError: for anything else.
    """
    found = as_integer(value)
    if found is None or found < 1:
        raise ValueError(f"Argument `{name}` must be a positive integer, but is {shown(value)}.")
    return found


def as_path(name: str, value: Any) -> Path:
    """The file or folder that an argument names; text with a leading ~ names one in the home folder, as in a shell.

    Raises:
        ValueError: for an empty text, which Python would take for the folder where it runs.
        TypeError: for what is no path.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"Argument `{name}` must be a path, as text or a `pathlib.Path`, but is {shown(value)}.")
    if not os.fspath(value):
        raise ValueError(f"Argument `{name}` must name a file or a folder, but is empty; '.' is the folder here.")
    return Path(at_home(value) if isinstance(value, str) else value)


def require_switch(name: str, value: Any) -> None:
    """Raise a ValueError for what is neither True nor False, such as a "no", which would count as true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"Argument `{name}` must be True or False, but is {shown(value)}.")


def hold_integers(instance: Any, least: Mapping[str, int]) -> None:
    """Replace fields of a frozen dataclass by the integers from `least` on that they stand for.

    Raises:
        ValueError: naming the field, for anything else.
    """
    for name, smallest in least.items():
        object.__setattr__(instance, name, integer_from(smallest, name, getattr(instance, name)))


def require_one_of(name: str, value: Any, known: Iterable[Any], others: str = "") -> None:
    """Refuse what is none of the known choices; `others` says what else it may be.

    Raises:
        ValueError: naming the nearest one where one is near.
    """
    choices = list(known)
    # Python takes booleans for 0 and 1, and asks an array for each of its numbers.
    if isinstance(value, bool | np.bool_ | np.ndarray) or value not in choices:
        near = did_you_mean(value, choices)
        raise ValueError(f"Argument `{name}` must be one of {choices}{others}, but is {shown(value)}{near}.")


def require_positive(name: str, value: float) -> None:
    """Raise a ValueError for what is no finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"Argument `{name}` must be a positive number, but is {value}.")


def require_not_negative(name: str, value: float) -> None:
    """Raise a ValueError for what is no finite number from zero on."""
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"Argument `{name}` must be finite and not negative, but is {value}.")


def not_negative(name: str, value: Any, others: str = "") -> float:
    """The finite number from zero on that an argument stands for; `others` says what else it may be.

    Raises:
        ValueError: for anything else.
    """
    number = as_number(value, f"Argument `{name}`", "give a number")
    if number is None or number.imag or not 0 <= number.real < math.inf:
        raise ValueError(f"Argument `{name}` must be a finite number from 0 on{others}, but is {shown(value)}.")
    return number.real


def require_unmasked(what: str, value: Any) -> None:
    """Raise a TypeError for an array with a mask, which would be read through it; `what` begins the sentence."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{what} must be whole, but is a masked array; fill it, as by `.filled(0)`.")


def is_traced(value: Any) -> bool:
    """Whether JAX traces a value; nothing is where nobody has imported JAX."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def as_number(value: Any, what: str, way_out: str) -> complex | None:
    """The number that a value stands for, an array of no axes among them; None for anything else.

    Raises:
        TypeError: for one that JAX traces, where `what` begins the sentence and `way_out` ends it, and a masked one.
    """
    if is_traced(value):
        raise TypeError(
            f"{what} must be a number known when it is written, but is traced by JAX (in jit, grad or vmap); {way_out}."
        )
    dtype = getattr(value, "dtype", None)
    # "V" are JAX's narrow floats; the types of its random keys are no types of NumPy.
    numeric = isinstance(dtype, np.dtype) and dtype.kind in "iufcV" and getattr(value, "ndim", None) == 0
    if numeric:
        require_unmasked(what, value)
    return complex(value) if isinstance(value, Complex) or numeric else None
