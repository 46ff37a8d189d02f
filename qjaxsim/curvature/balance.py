"""Operators and arrays brought to a moderate size, so that squares of their numbers stay in the dtype's range.

In single precision the norm of an image of 1e-20 is zero and that of one of 1e20 infinite. A product with a vector that
is scaled by a power of two has the same digits, and the image a moderate size.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qjaxsim.common.checks import is_traced
from qjaxsim.curvature.operators import LinearOperator
from qjaxsim.running.array_types import to_jax


class Balanced:
    """An operator A as scale * `operator`, the latter with images of moderate size.

    The scale is found at the first product, or at the first matrix, and is 1 where A's own images are moderate: nothing
    is then changed or computed twice. That product must be one with a random vector.

    Attributes:
        operator: A / scale.
        extra: products that were spent on finding the scale.
    """

    def __init__(self, operator: LinearOperator):
        range_of = jnp.finfo(operator.dtype)
        self._moderate, self._most = int(range_of.maxexp) // 4, 3 * int(range_of.maxexp) // 4
        self._exponent, self._settled, self.extra = 0, False, 0
        self._raw = LinearOperator(operator.size, operator.dtype, lambda rows: operator.rows(self._scaled(rows)))
        rows = lambda rows: self._settle(lambda: self._raw.rows(rows), 1)  # noqa: E731
        self.operator = LinearOperator(operator.size, operator.dtype, rows)

    @property
    def scale(self) -> float:
        """What the images of `operator` are to be multiplied by, as a double."""
        return 2.0**self._exponent

    def matrix(self) -> np.ndarray:
        """The matrix of `operator`, (P, P) in double precision."""
        return np.asarray(self._settle(self._raw.dense, self._raw.size), np.float64)

    def unbalanced(self, values: np.ndarray) -> jax.Array:
        """Eigenvalues or norms of A from those of `operator`, in A's dtype.

        Raises:
            ValueError: if one is beyond the range of the dtype.
        """
        dtype, full = self._raw.dtype, np.asarray(values, np.float64) * self.scale
        if (np.abs(full) > float(jnp.finfo(dtype).max)).any():
            raise ValueError(
                f"Argument `operator` has an eigenvalue of {full[np.abs(full).argmax()]:.3g}, beyond the range of "
                f"{dtype}; scale the function down or use double precision."
            )
        return jnp.asarray(full, dtype)

    def _scaled(self, rows: jax.Array) -> jax.Array:
        return rows * jnp.asarray(1 / self.scale, rows.dtype) if self._exponent else rows

    def _settle(self, image: Callable[[], jax.Array], products: int) -> jax.Array:
        """An image, after the scale was found by it if it was not known."""
        found = image()
        require_known(found)
        while not self._settled:
            wanted = self._wanted(float(_largest(found)))
            self._settled = wanted in (self._exponent, 0)  # back at 0: there is nothing at the other scale either
            if wanted != self._exponent:
                self._exponent = wanted
                self.extra += products
                found = image()
        return found

    def _wanted(self, size: float) -> int:
        """The exponent that the largest number of an image asks for."""
        if not math.isfinite(size):
            return self._most if self._exponent == 0 else 0
        if size == 0:
            return -self._most if self._exponent == 0 else 0
        exponent = self._exponent + math.frexp(size)[1]
        return 0 if abs(exponent) <= self._moderate else max(-self._most, min(self._most, exponent))


def require_known(images: jax.Array) -> None:
    """Refuse images that JAX traces, or vectors drawn where it does."""
    if is_traced(images):
        raise TypeError(
            "Argument `operator` must have images that are known, which decide how many products are taken, but they "
            "are traced by JAX (in jit, grad, vmap or shard_map); call this function outside, on samples that lie "
            "spread over devices."
        )


def magnitude(numbers: Any) -> np.float64:
    """The Euclidean norm of an array, also where squares of its numbers are beyond the range of its dtype.

    >>> print((magnitude(np.full(4, 1e30, np.float32)) / 1e30).round(6))
    2.0
    """
    size, norm = _moderate_norm(to_jax(numbers))
    return np.float64(size) * np.float64(norm)


def size_of(largest: jax.Array) -> jax.Array:
    """The power of two near magnitudes, 1 of zeros; numbers over it are moderate, and it has an inverse in range."""
    most = 3 * int(jnp.finfo(largest.dtype).maxexp) // 4
    exponents = jnp.where(largest > 0, jnp.frexp(largest)[1], 0)
    return jnp.ldexp(jnp.ones_like(largest), jnp.clip(exponents, -most, most))


@jax.jit
def _moderate_norm(numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A power of two and the norm of the numbers over it."""
    size = size_of(jnp.abs(numbers).max())
    return size, jnp.linalg.norm(numbers / size)


@jax.jit
def _largest(numbers: jax.Array) -> jax.Array:
    """The largest magnitude."""
    return jnp.abs(numbers).max()
