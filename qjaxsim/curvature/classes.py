"""The Gauss-Newton matrix of softmax cross-entropy by classes: G = G0 + G1 + G2 + G3 (Papyan 2019, arXiv:1901.08244).

With p = softmax(z_i), sample i of class c has one vector for each class c', delta_{i,c'} = sqrt(p_c') J_i^T (e_c' - p),
and G is the mean over samples of their outer products, summed over c'. Averages over the samples of a class part it, as
in an analysis of variance: G0 is of the averages of c' = c, G1 of what those of c' != c have in common, G2 of what they
differ in, and G3 of what samples differ from their class in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import require_one_of
from qjaxsim.common.memory import require_memory
from qjaxsim.curvature.class_averages import averages
from qjaxsim.curvature.hvp import as_array
from qjaxsim.curvature.objective import Outputs
from qjaxsim.curvature.outliers import check_square

PARTS = ("g0", "g1", "g2")


class ClassParts(NamedTuple):
    """The four parts of G as matrices, each (P, P) in double precision, positive semi-definite up to rounding.

    Attributes:
        g0: sum_c pi_c delta_cc delta_cc^T, of rank K at most.
        g1: (K - 1) sum_c pi_c delta_c delta_c^T, of rank K at most.
        g2: sum_c pi_c sum_{c' != c} (delta_cc' - delta_c) (delta_cc' - delta_c)^T, of rank K (K - 2) at most.
        g3: the rest, the spread of samples about the averages of their class.

    >>> x, y = jnp.eye(2), jnp.array([0, 1])  # logits w x at w = 0: G is mean(x x^T) (kron) (diag p - p p^T)
    >>> found = class_decomposition(lambda w, x: x @ w, jnp.zeros((2, 2)), x, y)
    >>> gauss_newton = jnp.kron(jnp.eye(2) / 2, jnp.array([[0.25, -0.25], [-0.25, 0.25]]))
    >>> [round(abs(float(part.trace())), 3) for part in found.matrices(gauss_newton)]
    [0.25, 0.25, 0.0, 0.0]
    """

    g0: np.ndarray
    g1: np.ndarray
    g2: np.ndarray
    g3: np.ndarray


@dataclass(frozen=True, eq=False)
class ClassDecomposition:
    """What `class_decomposition` finds: the averages over classes, from which G0, G1 and G2 follow.

    Attributes:
        means: (K, K, P), delta_cc', the average of delta_{i,c'} over the samples of class c; zero for an empty class.
        shares: (K,), pi_c, the share of samples in class c.
        probabilities: (K, K), the average softmax over the samples of class c.

    >>> x, y = jnp.eye(2), jnp.array([0, 1])  # one sample a class, so that nothing is left for G3
    >>> found = class_decomposition(lambda w, x: x @ w, jnp.zeros((2, 2)), x, y)
    >>> [round(float(found.eigenvalues(part).sum()), 3) for part in ("g0", "g1", "g2")]  # of a trace of 1/2
    [0.25, 0.25, 0.0]
    """

    means: jax.Array
    shares: np.ndarray
    probabilities: np.ndarray

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.shares)

    @property
    def class_means(self) -> np.ndarray:
        """delta_c, the average of delta_cc' over c' != c, (K, P) in double precision."""
        same = np.eye(self.n_classes, dtype=bool)[:, :, None]
        return np.where(same, 0.0, np.asarray(self.means, np.float64)).sum(axis=1) / (self.n_classes - 1)

    def factor(self, part: str) -> np.ndarray:
        """Rows (m, P) of which a part is the sum of outer products, in double precision.

        Args:
            part: "g0" or "g1" (m = K), or "g2" (m = K (K - 1)).
        """
        require_one_of("part", part, PARTS)
        k, roots = self.n_classes, np.sqrt(self.shares)
        if part == "g1":
            return np.sqrt(k - 1) * roots[:, None] * self.class_means
        means, same = np.asarray(self.means, np.float64), np.eye(k, dtype=bool)
        if part == "g0":
            return roots[:, None] * means[same]
        return (roots[:, None, None] * (means - self.class_means[:, None]))[~same]

    def eigenvalues(self, part: str) -> np.ndarray:
        """The eigenvalues of a part that need not vanish, descending, (m,): those of its Gram matrix.

        Args:
            part: as in `factor`.
        """
        rows = self.factor(part)
        return np.maximum(np.linalg.eigvalsh(rows @ rows.T)[::-1], 0.0)

    def quotients(self, part: str, vectors: Any) -> np.ndarray:
        """v^T G_part v for each of the vectors (n, P), (n,): over the eigenvalue, its share in it.

        Args:
            part: as in `factor`.
            vectors: rows, of unit length for a share.
        """
        return ((np.asarray(vectors, np.float64) @ self.factor(part).T) ** 2).sum(axis=1)

    def directions(self, *parts: str) -> np.ndarray:
        """Orthonormal rows (r, P) that span the ranges of parts together; that of "g1" is the span of delta_c.

        Args:
            parts: each as in `factor`, one at least.
        """
        rows = np.concatenate([self.factor(part) for part in parts])
        _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
        # Averages carry the rounding of the dtype that they were computed in, also where they cancel in a part.
        largest = max(np.linalg.norm(self.factor(part), axis=1).max() for part in PARTS)
        floor = max(rows.shape) * float(jnp.finfo(self.means.dtype).eps) * largest
        return basis[sizes > floor]

    def matrices(self, gauss_newton: Any) -> ClassParts:
        """The four parts as matrices, the last as what is left of G.

        Args:
            gauss_newton: G (P, P), as `split_hessian` gives it.

        Raises:
            TypeError: if it is not of a real float dtype.
            ValueError: if it is of another size.
            MemoryError: if four matrices do not fit.
        """
        whole, size = np.asarray(as_array(gauss_newton, "gauss_newton")), self.means.shape[-1]
        check_square(whole)
        if len(whole) != size:
            raise ValueError(
                f"Argument `gauss_newton` must be of the {size} parameters of this decomposition, but is "
                f"{len(whole)} x {len(whole)}."
            )
        require_memory(4 * 8 * size**2, f"The four parts of G of {size} parameters", "use `eigenvalues`")
        g0, g1, g2 = (rows.T @ rows for rows in map(self.factor, PARTS))
        return ClassParts(g0, g1, g2, whole - g0 - g1 - g2)


def class_decomposition(
    outputs: Outputs,
    params: Any,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    checkpoint: str | Path | None = None,
) -> ClassDecomposition:
    """Averages over classes of what the Gauss-Newton matrix of softmax cross-entropy is made of.

    G = G0 + G1 + G2 + G3 exactly, unbalanced and empty classes included: each class enters with its share of the
    samples (Papyan's public code has 1 / K instead). y decides the averages alone, not G: with labels permuted there it
    is a control.

    Args:
        outputs: maps (params, x) to logits of shape (B, K), K at least 2. Sample b's logits may depend on sample b
            alone.
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree of arrays (NumPy or JAX) with N samples along axis 0.
        y: classes, (N,) integers from 0 to K - 1.
        batch_size: samples of one class in a chunk; default at most 256. The result is the same up to rounding.
        progress: called as progress(samples_done, N) after each chunk, and once before for what a checkpoint holds.
        checkpoint: file (.npz) to save the sums in and to go on from, K^2 P numbers, as in `split_hessian`. Default:
            nothing is saved.

    Returns:
        ClassDecomposition; `class_attribution` compares it with the eigenvalues of G or H.

    Raises:
        TypeError: if params holds anything but real floats of one dtype, or y no integers.
        ValueError: if y is not (N,) or has a class that there is no logit of, outputs returns another shape or a single
            logit, batch_size is not a positive integer, or the checkpoint is damaged or of another computation.
        MemoryError: if the averages do not fit in free memory.
        OSError: if the checkpoint cannot be written.

    Cost: K gradients of the data set; memory 3 K^2 P numbers.

    >>> x, y = jnp.array([[1.0, 0.0], [3.0, 0.0]]), jnp.array([1, 1])
    >>> found = class_decomposition(lambda w, x: x @ w, jnp.zeros((2, 2)), x, y)
    >>> print(found.shares, found.class_means[1].round(3))  # sqrt(1/2) (e_0 - p), at the average of x
    [0. 1.] [ 0.707 -0.707  0.     0.   ]
    """
    found = averages(outputs, params, x, y, batch_size, progress, checkpoint)
    return ClassDecomposition(found.rows, found.shares, np.asarray(found.probabilities, np.float64))
