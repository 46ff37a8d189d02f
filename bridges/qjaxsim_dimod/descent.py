"""Descent to single-flip minima in exact arithmetic, which ends what the annealer leaves undecided in its precision."""

import math
from typing import Any

import numpy as np
from scipy import sparse

from qjaxsim_dimod.qubo import SPIN, Qubo

_ROUNDING = 2.0**-53
# From this share of couplings on, a dense matrix is quicker.
_DENSE = 0.2


class ExactDescent:
    """Flips of single variables that lower a problem's energy, decided without rounding.

    A local field h_i + sum_j J_ij v_j is a sum of the problem's own numbers. It is added up in double precision with a
    bound on what rounding may have done. All its values are whole multiples of some unit: the worth of its numbers'
    last bit, or their size where all have one. Where the bound is below the unit, what is within the bound is zero;
    elsewhere an exactly rounded sum decides such a field.
    """

    def __init__(self, qubo: Qubo) -> None:
        self._rows = sparse.csr_array(qubo.pairs + qubo.pairs.T)
        self._linear, self._spin = qubo.linear, qubo.vartype == SPIN
        sizes = abs(self._rows)
        # A sum of k terms is off by at most (k - 1) 2^-53 of their sizes' sum, to first order; doubled for the rest.
        terms = 1 + np.diff(self._rows.indptr)
        self._bounds = 2 * terms * _ROUNDING * (np.abs(self._linear) + sizes.sum(1))
        self._units = _units(self._linear, sizes)
        self._matrix = self._rows.toarray() if self._rows.nnz > _DENSE * qubo.n**2 else self._rows

    def __call__(self, bits: np.ndarray) -> tuple[np.ndarray, int]:
        """States (R, n) int8, zeros and ones, none with a flip that lowers its energy; and the number of flips taken.

        Args:
            bits: (R, n) int8, zeros and ones, where to begin.
        """
        values = (2.0 * bits - 1.0) if self._spin else bits.astype(float)
        fields = np.asarray((self._matrix @ values.T).T + self._linear)
        after, flips = bits.copy(), 0
        changes = self._directions(values) * fields
        for read in np.flatnonzero((changes < _limits(self._bounds, self._units)).any(1)):
            flips += self._descend(after[read], values[read], fields[read])
        return after, flips

    def _directions(self, values: np.ndarray) -> np.ndarray:
        """How each variable's flip changes its value, in halves for spins."""
        return -values if self._spin else 1.0 - 2.0 * values

    def _descend(self, bits: np.ndarray, values: np.ndarray, fields: np.ndarray) -> int:
        """Flip variables of one read in place; how many times."""
        bounds, flips = self._bounds.copy(), 0
        while True:
            changes = self._directions(values) * fields
            best = int((changes + bounds).argmin())
            if changes[best] + bounds[best] >= 0:
                best = self._decide(values, fields, bounds, changes)
                if best < 0:
                    return flips
            self._flip(best, bits, values, fields, bounds)
            flips += 1

    def _decide(self, values: np.ndarray, fields: np.ndarray, bounds: np.ndarray, changes: np.ndarray) -> int:
        """A variable whose flip lowers the energy by less than its bound, -1 if there is none."""
        for i in np.flatnonzero(changes < _limits(bounds, self._units)):
            row = slice(self._rows.indptr[i], self._rows.indptr[i + 1])
            terms = self._rows.data[row] * values[self._rows.indices[row]]
            # Rounded correctly, so its sign is exact.
            fields[i], bounds[i] = math.fsum([self._linear[i], *terms]), 0.0
            if self._directions(values[i]) * fields[i] < 0:
                return int(i)
        return -1

    def _flip(self, i: int, bits: np.ndarray, values: np.ndarray, fields: np.ndarray, bounds: np.ndarray) -> None:
        row = slice(self._rows.indptr[i], self._rows.indptr[i + 1])
        near = self._rows.indices[row]
        step = self._directions(values[i]) * (2.0 if self._spin else 1.0)
        values[i] += step
        bits[i] ^= 1
        fields[near] += step * self._rows.data[row]
        # One more rounding each, and that of a sum which was exact before it was rounded.
        bounds[near] += 3 * _ROUNDING * (np.abs(fields[near]) + np.abs(self._rows.data[row]))


def _limits(bounds: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Below these an energy's change is negative, or so small that its sign is open."""
    return np.where(bounds < units, -bounds, bounds)


def _units(linear: np.ndarray, sizes: Any) -> np.ndarray:
    """Units of which each field's numbers are whole multiples, (n,); infinite for fields without numbers."""
    own = np.where(linear == 0, np.inf, np.abs(linear))
    smallest = np.minimum(own, _row_minimum(sizes, sizes.data))
    largest = np.maximum(np.abs(linear), -_row_minimum(sizes, -sizes.data))
    last_bits = np.minimum(_last_bit(linear), _row_minimum(sizes, _last_bit(sizes.data)))
    return np.where(smallest == largest, smallest, last_bits)


def _last_bit(values: np.ndarray) -> np.ndarray:
    """The worth of each double's last bit that is set, infinite for zero."""
    mantissas, exponents = np.frexp(values)
    whole = (mantissas * 2.0**53).astype(np.int64)
    lowest = (whole & -whole).astype(float)
    return np.where(values == 0, np.inf, np.ldexp(lowest, exponents - 53))


def _row_minimum(matrix: Any, data: np.ndarray) -> np.ndarray:
    """The least of each row's data, infinite for empty rows."""
    found = np.full(matrix.shape[0], np.inf)
    filled = np.diff(matrix.indptr) > 0
    if filled.any():
        found[filled] = np.minimum.reduceat(data, matrix.indptr[:-1][filled])
    return found
