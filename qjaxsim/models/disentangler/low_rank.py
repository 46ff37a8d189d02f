"""The baseline of every compression: a matrix of low rank by SVD."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.pytrees import pytree_dataclass
from qjaxsim.models.disentangler.mpo import check_matrix


@pytree_dataclass(data=("left", "right"))
@dataclass(frozen=True)
class LowRankLayer:
    """A product of two thin matrices; a pytree.

    Attributes:
        left: (d_out, rank).
        right: (rank, d_in).
    """

    left: jax.Array
    right: jax.Array

    @property
    def n_params(self) -> int:
        """Numbers stored."""
        return self.left.size + self.right.size

    def apply(self, x: jax.Array) -> jax.Array:
        """(..., d_in) -> (..., d_out)."""
        return jnp.matmul(jnp.matmul(x, self.right.T, precision=HIGHEST), self.left.T, precision=HIGHEST)

    def to_dense(self) -> jax.Array:
        """The (d_out, d_in) matrix."""
        return jnp.matmul(self.left, self.right, precision=HIGHEST)


def svd_rank_at(d_out: int, d_in: int, n_params: int) -> int:
    """The largest rank whose two factors hold at most n_params numbers; 0 if none does.

    >>> svd_rank_at(576, 192, 2356)
    3
    """
    return min(max(n_params, 0) // (d_out + d_in), d_out, d_in)


class Svd(NamedTuple):
    """The singular value decomposition of a weight, in double precision, for layers of any rank.

    Attributes:
        left: (d_out, min(d_out, d_in)).
        values: singular values, falling.
        right: (min(d_out, d_in), d_in).
        dtype: of the weight.
    """

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray
    dtype: np.dtype

    def layer(self, rank: int) -> LowRankLayer:
        """The best approximation of that rank in the Frobenius norm, both factors scaled alike.

        Args:
            rank: 0 (the zero matrix) to min(d_out, d_in); more is taken as that.

        Raises:
            ValueError: if the rank is negative.
        """
        if rank < 0:
            raise ValueError(f"Argument `rank` must not be negative, but is {rank}.")
        roots = np.sqrt(self.values[:rank])
        return LowRankLayer(
            jax.device_put((self.left[:, :rank] * roots).astype(self.dtype)),
            jax.device_put((roots[:, None] * self.right[:rank]).astype(self.dtype)),
        )


def svd(weight: Any) -> Svd:
    """The decomposition of a real (d_out, d_in) weight.

    Raises:
        ValueError: if it is no finite matrix.
    """
    matrix = check_matrix(weight, "weight")
    return Svd(*np.linalg.svd(matrix.astype(np.float64), full_matrices=False), matrix.dtype)


def svd_layer(weight: Any, rank: int) -> LowRankLayer:
    """`Svd.layer` of a weight of which one rank is wanted. Errors as `svd` and `Svd.layer`."""
    return svd(weight).layer(rank)
