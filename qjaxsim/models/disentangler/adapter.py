"""Small trainable maps behind a frozen layer: a unitary adapter, and a classical control of exactly its size.

Cayley unitary adapters: arXiv:2605.05914 and arXiv:2410.17397v2, where they lower a model's perplexity below the
original's. Any adapter trained on data may do that, hence the control: a unit triangular matrix, with the same numbers
in the same blocks, neither orthogonal nor unitary. Both start as the identity.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from qjaxsim.common.precision import HIGHEST
from qjaxsim.common.pytrees import pytree_dataclass
from qjaxsim.models.disentangler.gradient import cayley


@dataclass(frozen=True)
class _BlockAdapter:
    """Blocks of neighbouring features, each mixed by a matrix of its own; a pytree.

    Attributes:
        lower: (blocks, block (block - 1) / 2), entries below the diagonal, row by row.
        block: features in a block; 2**k is a gate of k qubits.
    """

    lower: jax.Array
    block: int

    @property
    def n_params(self) -> int:
        """Real numbers."""
        return self.lower.size

    def matrices(self) -> jax.Array:
        """(blocks, block, block)."""
        raise NotImplementedError

    @jax.jit
    def apply(self, x: jax.Array) -> jax.Array:
        """(..., features) -> (..., features)."""
        blocks = x.reshape(*x.shape[:-1], self.lower.shape[0], self.block)
        return jnp.einsum("nab,...nb->...na", self.matrices(), blocks, precision=HIGHEST).reshape(x.shape)

    def _triangles(self) -> jax.Array:
        """(blocks, block, block), strictly lower triangular."""
        rows, columns = jnp.tril_indices(self.block, -1)
        empty = jnp.zeros((self.lower.shape[0], self.block, self.block), self.lower.dtype)
        return empty.at[:, rows, columns].set(self.lower)


@pytree_dataclass(data=("lower",), meta=("block",))
@dataclass(frozen=True)
class CayleyAdapter(_BlockAdapter):
    """Rotations (I - A)(I + A)^-1 with A = L - L^T; attributes as `lower`, `block` of every block adapter."""

    def matrices(self) -> jax.Array:
        """(blocks, block, block), orthogonal."""
        triangles = self._triangles()
        return cayley(triangles - triangles.swapaxes(-1, -2))


@pytree_dataclass(data=("lower",), meta=("block",))
@dataclass(frozen=True)
class TriangularAdapter(_BlockAdapter):
    """The classical control: I + L, with as many numbers in the same blocks."""

    def matrices(self) -> jax.Array:
        """(blocks, block, block), unit lower triangular."""
        return self._triangles() + jnp.eye(self.block, dtype=self.lower.dtype)[None]


def identity_adapter(kind: str, features: int, block: int, dtype: Any = jnp.float32) -> _BlockAdapter:
    """An adapter that does nothing yet.

    Args:
        kind: "cayley", or "triangular" for the control.
        features: width of the activations.
        block: features in a block; divides `features`. n_params is features (block - 1) / 2.
        dtype: of its numbers.

    Raises:
        ValueError: for another kind, or a block that does not divide the features.
    """
    kinds = {"cayley": CayleyAdapter, "triangular": TriangularAdapter}
    if kind not in kinds:
        raise ValueError(f"Argument `kind` must be one of {', '.join(kinds)}, but is {kind!r}.")
    if block < 1 or features % block:
        raise ValueError(f"Argument `block` must divide the {features} features, but is {block}.")
    return kinds[kind](jnp.zeros((features // block, block * (block - 1) // 2), dtype), block)
