"""Numbers of problems: real, finite, and small enough that energies do not overflow."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from scipy import sparse


def real_array(name: str, values: Any) -> Any:
    """The values as float64; arrays of `scipy.sparse` stay sparse.

    Raises:
        ValueError: if they are complex, masked or no numbers.
    """
    if np.ma.is_masked(values):
        raise ValueError(f"Argument `{name}` must be whole, but has masked entries; fill them, by zeros if so meant.")
    array = values if sparse.issparse(values) else _as_array(name, values)
    if array.dtype.kind == "c":
        raise ValueError(f"Argument `{name}` must be real, but is {array.dtype}; give its real part, if that is meant.")
    if array.dtype.kind not in "biufO":
        raise ValueError(f"Argument `{name}` must hold numbers, but has dtype {array.dtype}.")
    try:
        return array.astype(float)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"Argument `{name}` must hold real numbers, but one is not ({error}).") from error


def real_number(name: str, value: Any) -> float:
    """The value as a float, of a single number or an array of one.

    Raises:
        ValueError: if it is complex or no number.
    """
    array = real_array(name, value)
    if array.size != 1:
        raise ValueError(f"Argument `{name}` must be one number, but has shape {array.shape}.")
    return float(array.reshape(()))


def require_finite(linear: np.ndarray, pairs: Any, offset: float, labels: tuple[Hashable, ...]) -> None:
    """Refuse NaN and infinities.

    Args:
        linear: (n,).
        pairs: (n, n) in the COO form of `scipy.sparse`.
        offset: constant.
        labels: names of the variables.

    Raises:
        ValueError: naming the bias.
    """
    if not np.isfinite(linear).all():
        i = int(np.flatnonzero(~np.isfinite(linear))[0])
        raise ValueError(f"Biases must be finite, but the linear one of variable {labels[i]!r} is {linear[i]}.")
    if not np.isfinite(pairs.data).all():
        place = int(np.flatnonzero(~np.isfinite(pairs.data))[0])
        i, j = (int(coordinates[place]) for coordinates in pairs.coords)
        raise ValueError(
            f"Biases must be finite, but that of the pair ({labels[i]!r}, {labels[j]!r}) is {pairs.data[place]}."
        )
    if not np.isfinite(offset):
        raise ValueError(f"Argument `offset` must be finite, but is {offset}.")


def require_range(linear: np.ndarray, pairs: np.ndarray, offset: float) -> None:
    """Refuse biases whose sums overflow, over spins or over binary variables.

    Raises:
        ValueError: saying by how much they are too large.
    """
    with np.errstate(over="ignore"):
        # Over binary variables a pair of spins counts four times.
        size = 4 * (np.abs(linear).sum() + np.abs(pairs).sum() + abs(offset))
    if not np.isfinite(size):
        largest = max(float(np.abs(part).max(initial=0.0)) for part in (linear, pairs, np.array([offset])))
        raise ValueError(
            f"Energies overflow: the problem has numbers up to {largest:.3g} in size, and four times the sum of all "
            "must stay below 1.8e308; divide it by a constant."
        )


def _as_array(name: str, values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"Argument `{name}` must be an array, but its rows differ in length.") from error
    except (RuntimeError, TypeError) as error:  # of a tensor of PyTorch's that has a gradient, or is on a GPU
        raise ValueError(f"Argument `{name}` must be an array that NumPy can read, but is not ({error}).") from error
