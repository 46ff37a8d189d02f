"""Given states of a problem's variables, matched by label where they have labels."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dimod
import numpy as np

from qjaxsim_dimod.options import check_count


def ordered_states(
    name: str, states: Any, labels: Sequence[Hashable], kind: str = "Argument", rows: str = "R"
) -> np.ndarray:
    """States (R, n) with columns in the order of `labels`.

    Args:
        name: of the argument, for messages.
        states: an array (R, n) or (n,) whose columns are in that order already; or with labels: a `dimod.SampleSet`, a
            dict, a list of dicts, a pair (array, labels), or one of a SampleSet's rows, such as its `first`.
        labels: the problem's variables in order.
        kind: "Argument" or "Option", for messages.
        rows: how messages call the number of states.

    Raises:
        ValueError: if a variable is missing or unknown, or the shape does not fit.
    """
    own = getattr(states, "sample", None)
    if isinstance(states, tuple) and isinstance(own, Mapping):  # `SampleSet.first`
        states = own
    if _is_labelled(name, states, labels, kind):
        return _matched(name, states, labels, kind)
    try:
        array = np.atleast_2d(np.asarray(states))
    except ValueError as error:
        raise ValueError(f"{kind} `{name}` must be an array, but its rows differ in length.") from error
    if array.ndim != 2 or array.shape[1] != len(labels):
        raise ValueError(f"{kind} `{name}` must have shape ({rows}, {len(labels)}), but has shape {array.shape}.")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{kind} `{name}` must hold real numbers, but has dtype {array.dtype}.")
    return array


def bits_of(
    name: str, states: Any, labels: Sequence[Hashable], vartype: str, kind: str = "Argument", rows: str = "R"
) -> np.ndarray:
    """States as (R, n) int8, zeros and ones, in the order of `labels`.

    A `dimod.SampleSet` may be over the other kind of variables; anything else is in the problem's own.

    Args:
        name: as in `ordered_states`, like the next two.
        states: see there.
        labels: see there.
        vartype: the problem's, "BINARY" or "SPIN".
        kind: as in `ordered_states`.
        rows: see there.

    Raises:
        ValueError: as `ordered_states`, and for other values than the two.
    """
    array = ordered_states(name, states, labels, kind, rows)
    if isinstance(states, dimod.SampleSet):
        vartype = states.vartype.name
    low = 0 if vartype == "BINARY" else -1
    if not np.isin(array, (low, 1)).all():
        raise ValueError(f"{kind} `{name}` must hold {low} and 1 only.")
    return (array == 1).astype(np.int8)


def initial_bits(states: Any, labels: Sequence[Hashable], vartype: str, reads: int | None = None) -> np.ndarray:
    """The option `initial_states` as (R, n) int8, zeros and ones, in the order of `labels`.

    Args:
        states: as in `bits_of`.
        labels: the problem's variables in order.
        vartype: the problem's, "BINARY" or "SPIN".
        reads: how many rows there must be.

    Raises:
        ValueError: as `bits_of`.
    """
    bits = bits_of("initial_states", states, labels, vartype, "Option", "reads" if reads is None else str(reads))
    if not len(bits):
        raise ValueError("Option `initial_states` must hold at least one state, but is empty.")
    if reads is not None and len(bits) != reads:
        raise ValueError(
            f"Option `initial_states` must have shape ({reads}, {len(labels)}), but has shape {bits.shape}."
        )
    return bits


def offset_alone(bqm: Any, num_reads: Any) -> Any:
    """A `dimod.SampleSet` of a model without variables, which dimod's samplers answer with its offset."""
    reads = check_count("num_reads", num_reads or 1, 1)
    return dimod.SampleSet.from_samples_bqm((np.empty((reads, 0), np.int8), []), bqm)


def _is_labelled(name: str, states: Any, labels: Sequence[Hashable], kind: str) -> bool:
    if isinstance(states, (dimod.SampleSet, Mapping)):
        return True
    if isinstance(states, tuple) and len(states) == 2 and not np.isscalar(states[1]):
        # (array, labels), not two rows of numbers: rows have equal lengths and hold numbers.
        if any(isinstance(label, str) for label in states[1]) or np.ndim(states[0]) == 2:
            return True
        hashable = all(isinstance(label, Hashable) for label in states[1])
        named = hashable and np.ndim(states[0]) == 1 and set(states[1]) == set(labels)
        if named and len(labels) == 2 and all(label in (-1, 0, 1) for label in labels):
            raise ValueError(
                f"{kind} `{name}` may be two states, or one with its labels; give a dict, or an array of two rows."
            )
        return named
    return isinstance(states, Sequence) and len(states) > 0 and isinstance(states[0], Mapping)


def _matched(name: str, states: Any, labels: Sequence[Hashable], kind: str) -> np.ndarray:
    try:
        array, given = dimod.as_samples(states)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{kind} `{name}` cannot be read as samples ({error}).") from error
    place = {label: column for column, label in enumerate(given)}
    missing = [label for label in labels if label not in place]
    unknown = place.keys() - set(labels)
    if missing or unknown:
        what = f"lacks {missing[0]!r}" if missing else f"has {unknown.pop()!r}, which the problem has not"
        raise ValueError(f"{kind} `{name}` must name the problem's {len(labels)} variables, but {what}.")
    return np.asarray(array)[:, [place[label] for label in labels]]
