"""Ranks of the quantum Fisher information of the study `overparametrisation`, for every number of angles at once."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from qjaxsim.curvature import numerical_rank
from qjaxsim.geometry import quantum_fisher
from qjaxsim.planning.options import PlanOptions
from qjaxsim.studies.overparametrisation.problems import PLUS, Problem


class Ranks(NamedTuple):
    """Ranks of leading blocks.

    Attributes:
        by_angles: (M,) the largest over draws, of the first 1, 2, ... M angles.
        weakest: (M,) likewise the eigenvalue in the place of that rank over the largest, median over draws.
        spectra: (draws, m) eigenvalues of the first m = 1, 2, ... M angles, ascending.
    """

    by_angles: np.ndarray
    weakest: np.ndarray
    spectra: list[np.ndarray]

    @property
    def eigenvalues(self) -> np.ndarray:
        """(draws, M) of the whole matrices, ascending."""
        return self.spectra[-1]

    @property
    def largest(self) -> int:
        """Over all numbers of angles."""
        return int(self.by_angles.max())

    def largest_at(self, tolerance: float) -> int:
        """The same with another tolerance."""
        return max(numerical_rank(one, tolerance) for spectrum in self.spectra for one in spectrum)


def fisher(
    problem: Problem, layers: int, *, start: str = PLUS, slip: bool = False, loop: bool = True
) -> Callable[[Any], jax.Array]:
    """Maps angles (..., M) to the matrices (..., M, M), in the order of the circuit.

    Args:
        problem: whose.
        layers: of the circuit.
        start: of a chain.
        slip: take the derivative that the public code takes for that in the angle of the ZZ.
        loop: over layers, quick to compile; written out, it takes a compiler up to ten seconds, and runs much faster.
    """
    options = PlanOptions(scan=True) if loop else None
    matrix = quantum_fisher(problem.circuit(layers, start=start, slip=slip), options=options)
    if not slip:
        return lambda angles: matrix(problem.params(angles))
    # Behind the angles come the slips, one a layer, each in the place of the angle of its ZZ.
    order = np.stack([2 * layers + np.arange(layers), 1 + 2 * np.arange(layers)], axis=1).ravel()

    def slipped(angles: Any) -> jax.Array:
        own = problem.params(angles)
        return matrix({**own, "slip": np.zeros_like(own["layers"][..., 0])})[..., order[:, None], order]

    return slipped


def ranks(matrices: Any, tolerance: float) -> Ranks:
    """Ranks of the matrices (draws, M, M) of all shorter circuits, too.

    What comes later in a circuit turns a state and its derivatives alike, so that the leading block of the matrix of a
    circuit is the matrix of its beginning.
    """
    matrices = np.asarray(matrices)
    spectra = [np.linalg.eigvalsh(matrices[:, :count, :count]) for count in range(1, matrices.shape[-1] + 1)]
    by_angles = [max(numerical_rank(one, tolerance) for one in spectrum) for spectrum in spectra]
    weakest = [
        np.median(spectrum[:, -rank] / spectrum[:, -1]) for spectrum, rank in zip(spectra, by_angles, strict=True)
    ]
    return Ranks(np.array(by_angles), np.array(weakest), spectra)


def rank_and_gap(eigenvalues: Any, tolerance: float) -> tuple[int, float]:
    """Rank, and the largest eigenvalue that does not count over the smallest that does; 0 where all count."""
    sizes = np.sort(np.abs(np.asarray(eigenvalues)))[::-1]
    rank = numerical_rank(sizes, tolerance)
    return rank, float(sizes[rank] / sizes[rank - 1]) if rank < len(sizes) else 0.0
