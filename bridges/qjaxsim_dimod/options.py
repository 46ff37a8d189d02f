"""Checks of samplers' options, which dimod's samplers partly skip."""

import numbers
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from qjaxsim.common.checks import shown
from qjaxsim.common.suggestions import did_you_mean

# dwave-samplers refuses 2^31, although its message names a larger limit.
LARGEST_SEED = 2**31 - 1


def check_seed(seed: Any) -> int | None:
    """The seed as an int, or None.

    Raises:
        ValueError: if it is not an integer in 0 .. 2^31 - 1.
    """
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or not 0 <= int(seed) <= LARGEST_SEED:
        raise ValueError(f"Argument `seed` must be an integer in 0..{LARGEST_SEED}, but is {seed!r}.")
    return int(seed)


def drawn_seed(seed: Any) -> int:
    """The seed as an int, or a random one for None. Errors as in `check_seed`."""
    found = check_seed(seed)
    return int(np.random.default_rng().integers(LARGEST_SEED + 1)) if found is None else found


def check_count(name: str, value: Any, least: int, most: int = LARGEST_SEED) -> int:
    """The value as Python's int; refuse what is no integer of at least `least`, or too large for samplers' counters."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or int(value) < least:
        raise ValueError(f"Option `{name}` must be an integer of at least {least}, but is {value!r}.")
    if int(value) > most:
        raise ValueError(f"Option `{name}` must be at most {most}, but is {value}.")
    return int(value)


def check_switch(name: str, value: Any) -> bool:
    """The value; refuse what is neither True nor False, such as a "no" of a command line, which counts as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"Option `{name}` must be True or False, but is {value!r}.")
    return bool(value)


def check_seconds(name: str, value: Any) -> float:
    """The value as a float; refuse what is no positive finite number of seconds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 < float(value) < float("inf"):
        raise ValueError(f"Option `{name}` must be a positive number of seconds, but is {value!r}.")
    return float(value)


def check_names(sampler: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that a sampler would drop without a word.

    Raises:
        ValueError: naming the option, the nearest known one and all of them.
    """
    known = sorted(known)
    for name in options:
        if name not in known:
            hint, listed = did_you_mean(name, known), ", ".join(known) if known else "none"
            raise ValueError(f"Sampler {sampler!r} has no option `{name}`{hint}; its options: {listed}.")


def checked_strength(strength: Any, labels: Sequence[Hashable]) -> Any:
    """The option `chain_strength`, a function of it with its answers checked.

    Args:
        strength: a number, one for each variable by its label, or a function of the model and its embedding that gives
            either; None for the default.
        labels: the problem's variables.

    Raises:
        ValueError: for other values, such as NaN and negative numbers, which spoil chains without a word.
    """
    if strength is None:
        return None
    if callable(strength):
        chosen: Callable[..., Any] = strength
        return lambda model, embedding: checked_strength(chosen(model, embedding), labels)
    each = strength if isinstance(strength, Mapping) else dict.fromkeys(labels, strength)
    if missing := [label for label in labels if label not in each]:
        raise ValueError(f"Option `chain_strength` must name the problem's variables, but lacks {missing[0]!r}.")
    for value in (each[label] for label in labels):
        if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < float("inf"):
            raise ValueError(
                "Option `chain_strength` must be a number that is not negative, one for each variable, or a function "
                f"of the model and its embedding, but is {shown(value)}."
            )
    return strength


def check_chain_break_method(method: Any) -> None:
    """Refuse what is no function, nor several, such as the name of one."""
    each = method if isinstance(method, (list, tuple)) else [method]
    if method is not None and not (len(each) and all(map(callable, each))):
        raise ValueError(
            "Option `chain_break_method` must be a function, such as dwave.embedding.chain_breaks.majority_vote, but "
            f"is {shown(method)}."
        )
