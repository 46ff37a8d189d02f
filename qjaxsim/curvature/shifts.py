"""The Hessian of an expectation value by shifts of angles, with the error bars of its evaluations.

In the angle a of a rotation exp(-i a P / 2), P a Pauli product, an expectation value is A + B cos a + C sin a, also
under noise that knows nothing of the angle. So with f(s, t) at angles i and j shifted by s and t,

    d2f / da_i da_j = [f(+, +) - f(+, -) - f(-, +) + f(-, -)] / 4    at pi/2,        d2f / da_i^2 = [f(pi) - f(0)] / 2,

and the chain rule goes from angles to parameters. The Hessian is a weighted sum of evaluations: those are independent,
its entries are not.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from qjaxsim.common.checks import integer_from, require_positive
from qjaxsim.common.memory import require_memory


class ShiftRule(NamedTuple):
    """The evaluations that a Hessian takes, and how it is made of them: H = sum_k f(angles + shifts[k]) weights[k].

    Attributes:
        shifts: (K, m) radians.
        weights: (K, d, d), symmetric.
    """

    shifts: np.ndarray
    weights: np.ndarray


def shift_rule(slopes: Any, bends: Any = None) -> ShiftRule:
    """The parameter-shift rule of second order for rotations by angles that depend on parameters.

    Args:
        slopes: (m, d) derivatives of the m angles in the d parameters.
        bends: (m, d, d) second derivatives of the angles; None where all are affine.

    Returns:
        At most 1 + m + 2 m (m - 1) evaluations, and 2 m more with `bends`; such of weight zero are left out.

    Raises:
        MemoryError: if the weights, d^2 numbers an evaluation, do not fit.

    >>> rule = shift_rule([[1.0], [1.0]])  # a parameter in two rotations
    >>> float(sum(w[0, 0] * math.cos(s[0]) * math.cos(s[1]) for s, w in zip(*rule)).round(6))  # of cos(a)^2 at 0
    -2.0
    """
    slopes = np.asarray(slopes, float)
    m, d = slopes.shape
    require_memory(16.0 * (1 + m + 2 * m * m) * d * d, f"The weights of {m} shifted angles", "choose fewer parameters")
    products = np.einsum("ip,jq->ijpq", slopes, slopes)
    units = (math.pi / 2) * np.eye(m)
    own = products[range(m), range(m)]
    shifts = [np.zeros(m), *(2 * units)]
    weights = [-own.sum(axis=0) / 2, *(own / 2)]
    for i in range(m):
        for j in range(i):
            both = (products[i, j] + products[j, i]) / 4
            shifts += [a * units[i] + b * units[j] for a in (1, -1) for b in (1, -1)]
            weights += [a * b * both for a in (1, -1) for b in (1, -1)]
    for unit, bend in zip(units, () if bends is None else np.asarray(bends, float), strict=False):
        shifts += [unit, -unit]
        weights += [bend / 2, -bend / 2]
    used = [k for k, weight in enumerate(weights) if weight.any()]
    return ShiftRule(np.array(shifts)[used].reshape(-1, m), np.array(weights)[used].reshape(-1, d, d))


class ShotsNeeded(NamedTuple):
    """Shots that make an eigenvalue's error bar small enough; of all evaluations together times their number.

    Attributes:
        value: shots of each evaluation for the relative error.
        sign: for an error bar of half its size, so that zero is two of them away; see `MeasuredHessian.edge`, too.
        evaluations: how many there are.
    """

    value: int
    sign: int
    evaluations: int


@dataclass(frozen=True, eq=False)
class MeasuredHessian:
    """A Hessian made of evaluations that have errors, with its eigenvalues and the errors of both.

    Attributes:
        values: (K,) the evaluations.
        stds: (K,) their standard errors, independent of each other.
        weights: (K, d, d) as of `ShiftRule`.
        shots: of each evaluation; None if unknown.

    >>> rule = shift_rule([[1.0]])
    >>> found = MeasuredHessian(np.array([1.0, -1.0]), np.array([0.1, 0.1]), rule.weights, shots=100)
    >>> found.mean, found.stds_of_entries.round(4)  # of cos a at 0: [f(pi) - f(0)] / 2
    (array([[-1.]]), array([[0.0707]]))
    >>> found.shots_needed(relative=0.01)
    ShotsNeeded(value=5000, sign=2, evaluations=2)
    """

    values: np.ndarray
    stds: np.ndarray
    weights: np.ndarray
    shots: float | None = None

    @cached_property
    def mean(self) -> np.ndarray:
        """The Hessian (d, d)."""
        return np.tensordot(self.values, self.weights, 1)

    @property
    def covariance(self) -> np.ndarray:
        """(d, d, d, d): of entry [i, j] with entry [k, l], which share evaluations."""
        scaled = self.stds[:, None, None] * self.weights
        return np.tensordot(scaled, scaled, (0, 0))

    @property
    def stds_of_entries(self) -> np.ndarray:
        """(d, d) standard error of each entry."""
        return np.sqrt(np.tensordot(self.stds**2, self.weights**2, 1))

    @property
    def eigenvalues(self) -> np.ndarray:
        """(d,) of the mean, ascending. Errors push the outer ones outwards: their mean is not that without errors."""
        return self._pairs[0]

    @property
    def eigenvalue_stds(self) -> np.ndarray:
        """(d,) standard errors to first order, of v^T dH v; of the order of a gap to its neighbour they mean little."""
        vectors = self._pairs[1]
        each = np.einsum("pe,kpq,qe->ke", vectors, self.weights, vectors, optimize=True)
        return np.sqrt(self.stds**2 @ each**2)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(np.linalg.eigh(self.mean))  # type: ignore[return-value]

    def bootstrap(self, samples: int = 1000, seed: int = 0) -> np.ndarray:
        """Eigenvalues of Hessians made of normal draws about the evaluations, (samples, d), ascending.

        Their standard deviations and quantiles are error bars beyond first order; their mean less `eigenvalues` is the
        push outwards that errors of this size give.
        """
        samples = integer_from(1, "samples", samples)
        rng = np.random.default_rng(integer_from(0, "seed", seed))
        drawn = rng.normal(self.values, self.stds, (samples, len(self.values)))
        return np.linalg.eigvalsh(np.tensordot(drawn, self.weights, 1))

    def edge(self, samples: int = 1000, seed: int = 0) -> float:
        """Mean size of the most negative eigenvalue that errors of this size make of a Hessian of zeros.

        A measured eigenvalue no larger says nothing, however far from zero its own error bar is.
        """
        return -float(replace(self, values=np.zeros_like(self.values)).bootstrap(samples, seed)[:, 0].mean())

    def at_shots(self, shots: float) -> "MeasuredHessian":
        """The same evaluations with the errors that another number of shots gives.

        Raises:
            ValueError: if the shots that gave these are unknown.
        """
        require_positive("shots", shots)
        if self.shots is None:
            raise ValueError("Argument `shots` needs evaluations by a known number of shots, but these have none.")
        return replace(self, stds=self.stds * math.sqrt(self.shots / shots), shots=shots)

    def shots_needed(self, relative: float = 0.1, place: int = -1) -> ShotsNeeded:
        """Shots of each evaluation that resolve an eigenvalue, from first order.

        Args:
            relative: standard error wanted, over the eigenvalue's size.
            place: which one in ascending order; default the largest.

        Raises:
            ValueError: for evaluations without error bars or a known number of shots, and an eigenvalue of zero.
        """
        require_positive("relative", relative)
        size, error = abs(self.eigenvalues[place]), self.eigenvalue_stds[place]
        if self.shots is None or not self.stds.any():
            raise ValueError("Shots needed are known from error bars, but these evaluations have none; give `shots`.")
        if not size:
            raise ValueError(f"Argument `place` must be that of an eigenvalue other than zero, but {place} is zero.")
        # Rounding must not add a shot.
        value, sign = (math.ceil(self.shots * (error / (part * size)) ** 2 * (1 - 1e-12)) for part in (relative, 0.5))
        return ShotsNeeded(value, sign, len(self.values))
