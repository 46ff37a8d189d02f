"""The operator of a dense matrix, which may lie in blocks on the devices of a mesh."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from qjaxsim.common.checks import integer_from, is_traced
from qjaxsim.common.precision import HIGHEST
from qjaxsim.curvature.hvp import as_array
from qjaxsim.curvature.operators import LinearOperator
from qjaxsim.curvature.outliers import check_square, check_symmetric, require_array
from qjaxsim.curvature.spreading import Spread, names_of, on_mesh

# Rows that are compared with their columns at a time.
_ROWS = 256


def matrix_operator(matrix: Any, size: int | None = None) -> LinearOperator:
    """The operator of a dense symmetric matrix, (P, P) of real floats.

    One in blocks over the devices of a mesh stays there: each multiplies its own, and only vectors travel.

    Args:
        matrix: the matrix.
        size: P, where it is filled up with zeros beyond, as by `split_hessian` with `columns`.

    Raises:
        TypeError: if it is not of a real float dtype.
        ValueError: if it is not square, has fewer rows than `size`, or is not symmetric, where that can be seen: one
            that JAX traces, or in blocks, is taken as it is.

    >>> print(matrix_operator(jnp.array([[2.0, 1.0], [1.0, 0.0]])) @ jnp.array([1.0, 3.0]))
    [5. 1.]
    """
    require_array(matrix)
    held = as_array(matrix, "matrix")
    check_square(held)
    if not is_traced(held) and blocks_of(held) is None:
        with jax.ensure_compile_time_eval():  # also where JAX traces something else
            check_symmetric(held.dtype, *map(float, _skew_and_largest(held)))
    size = len(held) if size is None else integer_from(1, "size", size, len(held))
    rows = functools.partial(_matrix_rows, blocks_of(held), held)
    return LinearOperator(size, held.dtype, rows, held if size == len(held) else None)


@jax.jit
def _skew_and_largest(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest difference of entries mirrored at the diagonal, and the largest entry, without a transposed copy."""
    size = len(matrix)
    some = min(size, _ROWS)
    starts = np.minimum(np.arange(0, size, some), size - some)  # the last slides back

    def skew(start: jax.Array) -> jax.Array:
        rows, columns = (jax.lax.dynamic_slice_in_dim(matrix, start, some, axis) for axis in (0, 1))
        return jnp.abs(rows - columns.T).max()

    return jax.lax.map(skew, starts).max(), jnp.abs(matrix).max()


def _matrix_rows(blocks: Spread | None, matrix: jax.Array, rows: jax.Array) -> jax.Array:
    return times_rows(blocks, matrix, rows)


@functools.partial(jax.jit, static_argnums=0)
def times_rows(blocks: Spread | None, matrix: jax.Array, rows: jax.Array) -> jax.Array:
    """Products of rows (m, P) with the first P rows and columns of a matrix."""
    size = rows.shape[1]
    if size < len(matrix):
        rows = jnp.pad(rows, ((0, 0), (0, len(matrix) - size)))
    if blocks is None:
        return jnp.matmul(rows, matrix, precision=HIGHEST)[:, :size]
    return _times_blocks(blocks, matrix, rows)[:, :size]


def blocks_of(matrix: Any) -> Spread | None:
    """How a matrix lies in blocks on an automatic mesh, its rows as parameters do; None if it does not."""
    sharding = on_mesh(matrix)
    if sharding is None or any(kind != AxisType.Auto for kind in sharding.mesh.axis_types):
        return None
    rows, columns = (names_of(axis) for axis in (*sharding.spec, None, None)[:2])
    return Spread(sharding.mesh, columns, rows)


def _times_blocks(blocks: Spread, matrix: jax.Array, rows: jax.Array) -> jax.Array:
    """The same for a matrix in blocks: every device multiplies its own, and vectors alone travel."""

    def own(block: jax.Array, rows: jax.Array) -> jax.Array:
        begin = jax.lax.axis_index(blocks.columns) * len(block)
        met = jax.lax.dynamic_slice_in_dim(rows, begin, len(block), axis=1)
        found = jax.lax.psum(jnp.matmul(met, block, precision=HIGHEST), blocks.columns)
        return jax.lax.all_gather(found, blocks.axes, axis=1, tiled=True)

    place = PartitionSpec(blocks.columns, blocks.axes)
    return blocks.mapped(own, (place, PartitionSpec()), PartitionSpec())(matrix, rows)
