"""Zeros of a Hessian sorted by what explains them."""

import math
from typing import NamedTuple

from qjaxsim.report.row import Row
from qjaxsim.report.spectra import NEAR_ZERO


class NullCounts(NamedTuple):
    """Directions of weight space of one row; the four add up to its parameters.

    Attributes:
        unused: weights outside the light cone of the readout.
        redundant: directions of first blocks beyond the dimension of the state that they move: the numerical count,
            or the predicted one where there is none.
        other: near-zero eigenvalues that neither explains.
        rest: all others.
    """

    unused: int
    redundant: int
    other: int
    rest: int

    @property
    def explained(self) -> float | None:
        """Share of the near-zero count that unused and redundant weights are; None without zeros."""
        known = self.unused + self.redundant
        return known / (known + self.other) if known + self.other else None


def null_counts(row: Row) -> NullCounts | None:
    """The counts of one row, or None where a column is missing.

    The near-zero count is that of H (magnitude up to 1e-6 lambda_max), or that of G below rounding where it is larger:
    redundant directions leave H singular at exactly stationary points only, but G everywhere. In single precision that
    count is of rounding alone and is left out.

    >>> null_counts({"parameters": 100, "null_weights_predicted": 8, "redundant_predicted": 12, "gn_null": 30})
    NullCounts(unused=8, redundant=12, other=10, rest=70)
    """
    size, unused = _count(row, "parameters"), _count(row, "null_weights_predicted")
    redundant = _count(row, "redundant_found")
    redundant = _count(row, "redundant_predicted") if redundant is None else redundant
    fraction, singular = row.get("near_zero_fraction"), _count(row, "gn_null")
    if (row.get("rounding") or 0.0) > NEAR_ZERO * (row.get("lambda_max") or math.inf):
        singular = None
    if size is None or unused is None or redundant is None or (fraction is None and singular is None):
        return None
    near = max(round((fraction or 0.0) * size), singular or 0)
    other = max(near - unused - redundant, 0)
    return NullCounts(unused, redundant, other, size - unused - redundant - other)


def _count(row: Row, name: str) -> int | None:
    value = row.get(name)
    return None if value is None or not math.isfinite(value) else int(value)
