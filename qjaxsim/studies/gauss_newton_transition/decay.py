"""How an error falls with the steps of gradient descent: exponentially, or as a power of them."""

from typing import NamedTuple

import numpy as np

# The error is looked at from where it falls below the first to where it falls below the second.
BEGIN, FLOOR = 1e-2, 1e-9
_LEAST_POINTS = 10


class Decay(NamedTuple):
    """Two fits to the logarithm of an error.

    Attributes:
        rate: what the logarithm loses in a step, of the exponential; a step takes away the share 1 - exp(-rate).
        exponent: of the power law, -1 for 1/t.
        exponential_misfit: root mean square of what the exponential leaves of the logarithm.
        power_misfit: the same of the power law.
    """

    rate: float
    exponent: float
    exponential_misfit: float
    power_misfit: float

    @property
    def is_exponential(self) -> bool:
        """Whether that fits better."""
        return self.exponential_misfit < self.power_misfit


def fit_decay(errors: np.ndarray) -> Decay | None:
    """The fits to errors (steps + 1,) between 1e-2 and 1e-9, or to the end; None where these are no ten points.

    >>> steps = np.arange(4000)
    >>> found = fit_decay(np.exp(-0.01 * steps))
    >>> round(found.rate, 6), found.is_exponential
    (0.01, True)
    >>> round(float(1 - np.exp(-fit_decay(0.5**steps).rate)), 6)
    0.5
    >>> found = fit_decay(1 / (1 + steps))
    >>> round(found.exponent, 2), found.is_exponential
    (-1.0, False)
    """
    begin, end = _first_below(errors, BEGIN), _first_below(errors, FLOOR)
    if end - begin < _LEAST_POINTS:
        return None
    steps, logs = np.arange(begin, end), np.log(np.maximum(errors[begin:end], FLOOR / 100))
    slope, exponential = _line(steps, logs)
    exponent, power = _line(np.log(np.maximum(steps, 1)), logs)
    return Decay(-slope, exponent, exponential, power)


def _first_below(errors: np.ndarray, limit: float) -> int:
    below = np.flatnonzero(errors < limit)
    return int(below[0]) if below.size else errors.size


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a line through points, and the root mean square of what it leaves."""
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(np.sqrt(np.mean((y - slope * x - offset) ** 2)))
