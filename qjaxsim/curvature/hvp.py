"""Hessian-vector products and the dense exact Hessian of a real scalar function."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec

from qjaxsim.common.checks import positive_integer, shown
from qjaxsim.common.loops import fori_loop
from qjaxsim.common.memory import require_memory
from qjaxsim.curvature.chunks import window
from qjaxsim.curvature.one_state import without_circuits
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.spreading import Share, spread_columns
from qjaxsim.running.array_types import check_tree, no_array, require_known_shape, require_unsharded, to_jax
from qjaxsim.running.varying import in_unchecked_region, vary_alike

# Tangents pushed through the function at once when the caller does not say. More of them fill the cores
# better but hold one copy of every intermediate result each; past a few dozen the gain is gone on a CPU.
ROWS_AT_ONCE = 32
# What there is, in messages, where a matrix does not fit.
NO_MATRIX = "Lanczos (`top_eigenpairs`, `spectral_density`)"


def hvp(f: Callable[[Any], jax.Array], params: Any, v: Any) -> Any:
    """Exact Hessian-vector product of a real scalar function.

    Args:
        f: maps params to a real scalar, shape ().
        params: pytree of real float arrays.
        v: pytree like params, same shapes and dtypes.

    Returns:
        Pytree like params: the Hessian of f at params applied to v.

    Raises:
        TypeError: if a leaf of params is not a real float array, a leaf of v has another dtype than its
            partner in params, or f does not return a real scalar.
        ValueError: if v differs from params in structure or in the shape of a leaf.

    Cost: two to four gradients in time, about two in memory. Forward over reverse, Pearlmutter 1994,
    doi:10.1162/neco.1994.6.1.147. f must allow forward mode through its gradient. Outside `jax.jit` compiled once, as
    `hessian`.

    >>> import qjaxsim as qj
    >>> w = qj.Parameter("w", (2,))
    >>> energy = qj.expectation(qj.Circuit(2).ry(w[0], 0).ry(w[1], 1), qj.Z(0) @ qj.Z(1))  # cos(w0) cos(w1)
    >>> image = qj.hvp(lambda w: energy({"w": w}), jnp.full(2, jnp.pi / 3), jnp.array([1.0, 0.0]))
    >>> print(np.asarray(image).round(3))
    [-0.25  0.75]
    """
    params, v = as_arrays(params), as_arrays(v, "v")
    check_real(params)
    check_like(params, v)
    v = vary_alike(v, params)
    slope = jax.grad(_real_scalar(f))
    return compiled_once(lambda at, along: jax.jvp(slope, (at,), (along,))[1], params, v)


def hessian(
    f: Callable[[Any], jax.Array],
    params: Any,
    batch_size: int | None = None,
    *,
    columns: str | Sequence[str] | None = None,
) -> jax.Array:
    """Dense exact Hessian of a real scalar function, in `ravel_pytree` order.

    Row i is the Hessian-vector product with unit vector i. The rows agree with the columns up to rounding
    only, so the mean of the matrix and its transpose is returned: the result is exactly symmetric.

    Args:
        f: maps params to a real scalar, shape ().
        params: pytree of real float arrays of one dtype, P numbers in all.
        batch_size: rows computed at once, as products of f alone. Any value gives the same matrix up to rounding; a
            smaller one takes less memory. Default: all of them up to 32, else 32, and expectation values of one
            state in one sweep, below.
        columns: axes of an automatic mesh whose devices share the rows out, all of them products of f alone; the mesh
            is that of params, or the one set by `jax.set_mesh`. Samples that f reads stay spread over its other axes.
            Default: none.

    Returns:
        Array of shape (P, P), the dtype of params. With `columns` its rows lie on their devices, and P is rounded up
        to a multiple of their number, with zeros beyond; `matrix_operator(matrix, P)` takes them.

    Raises:
        TypeError: if a leaf of params is not a real float array, the leaves differ in dtype, or f does not return a
            real scalar.
        ValueError: if params is empty, batch_size is not a positive integer, or columns are no axes of a mesh of type
            Auto.
        MemoryError: if the matrix and its work copies exceed the free main memory. Checked before anything
            is allocated (under `jax.jit`, when tracing); the memory of an accelerator is not looked at.

    Where f calls functions of `qj.expectation` with parameters that move and no batch (an eigensolver, QAOA; wrapped,
    scaled and added to other terms as one likes), their second derivatives come from the tangents of the state in all
    angles, carried through the circuit once and multiplied by each other: far fewer operations than products take.
    Memory: several times P states. Products are taken where those do not fit, for circuits with projections, of more
    than 2,000 gates or 300 steps, and with the options `gradient="adjoint"` or `scan=True`. `jax.hessian` knows nothing
    of this.

    Cost else: P Hessian-vector products; memory 3 P^2 numbers plus `batch_size` tangents of f. May be used inside
    `jax.jit`. Outside, f is traced at every call (milliseconds), since what it reads beside params may have changed,
    and compiled once for all calls of the same operations on the same shapes, as in a loop over training steps or
    batches, also where f is a lambda made anew. A Python number that f closes over is part of its operations: another
    value compiles anew. The 32 programs met last are kept, and nothing that f closes over.

    >>> hessian(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 3.0])).tolist()
    [[6.0, 2.0], [2.0, 0.0]]

    >>> import qjaxsim as qj
    >>> w = qj.Parameter("w", (2,))
    >>> energy = qj.expectation(qj.Circuit(2).ry(w[0], 0).ry(w[1], 1), qj.Z(0) @ qj.Z(1))  # cos(w0) cos(w1)
    >>> print(np.asarray(hessian(energy, {"w": jnp.full(2, jnp.pi / 3)})).round(3))
    [[-0.25  0.75]
     [ 0.75 -0.25]]
    """
    require_unsharded("Argument `params`", params)
    flat, unravel = flatten_real(params)
    require_known_shape("Argument `params`", flat)
    size = flat.size
    rows = chunk_size("batch_size", batch_size, size, ROWS_AT_ONCE)
    if columns is not None:
        share = Share(spread_columns(columns, params), size)
        require_dense(size, 3, flat.dtype.itemsize, "The dense Hessian", share.spread.parts)
        return compiled_once(_on_columns(lambda w: _real_scalar(f)(unravel(w)), rows, share), flat)
    require_dense(size, 3, flat.dtype.itemsize, "The dense Hessian")

    def found(at: jax.Array) -> jax.Array:
        scalar = lambda w: _real_scalar(f)(unravel(w))  # noqa: E731
        short = without_circuits(scalar, at) if batch_size is None else None
        return symmetrised(_by_rows(short or scalar, at, rows))

    return compiled_once(found, flat)


def _on_columns(f: Callable[[jax.Array], jax.Array], rows: int, share: Share) -> Callable[[jax.Array], jax.Array]:
    """The Hessian of a function of a flat vector, each device's own rows on it."""

    def own(flat: jax.Array) -> jax.Array:
        found = _by_rows(f, flat, min(rows, share.n_own), share.first(), share.n_own)
        return share.block(jnp.pad(found, ((0, 0), (0, share.filled - flat.size))))

    columns = share.spread.columns
    # The other axes are left to XLA, which keeps what f reads spread over them.
    return share.spread.mapped(own, PartitionSpec(), PartitionSpec(columns), frozenset(columns))


def _by_rows(
    f: Callable[[jax.Array], jax.Array], flat: jax.Array, rows: int, first: Any = 0, count: int | None = None
) -> jax.Array:
    """Rows of the Hessian of a function of a flat vector (by default all), `rows` at once; zeros beyond the last."""
    count, gradient = flat.size if count is None else count, jax.grad(f)

    def row(index: jax.Array) -> jax.Array:
        return jax.jvp(gradient, (flat,), (unit_vector(index, flat),))[1]

    def fill(chunk: jax.Array, matrix: jax.Array) -> jax.Array:
        start, index, _ = window(chunk * rows, rows, count)
        return jax.lax.dynamic_update_slice_in_dim(matrix, jax.vmap(row)(first + index), start, axis=0)  # some again

    # Of the parameters' type and on their mesh, as zeros are not with every JAX; all rows are written over.
    matrix = jnp.broadcast_to(jax.lax.stop_gradient(flat), (count, flat.size))
    return fori_loop(0, -(-count // rows), fill, matrix)


def _real_scalar(f: Callable[[Any], jax.Array]) -> Callable[[Any], jax.Array]:
    """The function, checked when it is traced: JAX's own words would be about `grad`."""

    def checked(params: Any) -> jax.Array:
        require_no_sum(f, params)
        value = f(params)
        found = type_of(value)
        if found is None or found.shape != () or not jnp.issubdtype(found.dtype, jnp.floating):
            what = shown(value) if found is None else f"{found.dtype}{list(found.shape)}"
            raise TypeError(f"Argument `f` must return a real scalar, but it returned {what}.")
        return value

    return checked


def require_no_sum(f: Callable[[Any], jax.Array], params: Any) -> None:
    """Refuse sums over devices in a function that is differentiated inside `jax.shard_map` without its check.

    Their derivatives are wrong there: a sum over devices is transposed to one, whether or not its operand varies.
    """
    if in_unchecked_region() and _sums(jax.make_jaxpr(f)(params).jaxpr):
        raise ValueError(
            "Argument `f` must not sum over devices where `jax.shard_map` has `check_vma=False`, since its derivatives "
            "would be those of this device's share alone; leave `check_vma` as it is, or take the mean of what this "
            "function returns."
        )


def _sums(jaxpr: Any) -> bool:
    """Whether there is a sum over devices in a program."""
    programs = lambda value: getattr(value, "jaxpr", value)  # noqa: E731
    return any(
        equation.primitive.name.startswith("psum")
        or any(
            _sums(programs(value))
            for value in jax.tree.leaves(equation.params, is_leaf=lambda value: hasattr(value, "eqns"))
            if hasattr(programs(value), "eqns")
        )
        for equation in jaxpr.eqns
    )


def type_of(value: Any) -> Any:
    """Shape and dtype of an array or number; None for anything else."""
    try:
        return jax.typeof(value)
    except (TypeError, ValueError):
        return None


def as_array(value: Any, name: str) -> jax.Array:
    """An argument that is one array.

    Raises:
        TypeError: for anything that makes none.
    """
    try:
        found = to_jax(value)
        np.dtype(found.dtype)  # random keys have none
    except (TypeError, ValueError) as error:
        raise TypeError(f"Argument `{name}` must be an array of real floats, but is {shown(value)}.") from error
    return found


def as_arrays(params: Any, name: str = "params") -> Any:
    """The leaves as arrays.

    Raises:
        TypeError: for a leaf that makes none, such as a function inside a module.
        ValueError: for a dictionary whose keys cannot be sorted.
    """
    check_tree(f"Argument `{name}`", params)

    def array(leaf: Any) -> jax.Array:
        try:
            return to_jax(leaf)
        except (TypeError, ValueError) as error:
            raise no_array(f"Argument `{name}`", "real float arrays only", leaf) from error

    return jax.tree.map(array, params)


def check_real(params: Any, name: str = "params") -> None:
    """Raise unless params holds real float arrays only, and at least one number."""
    leaves = jax.tree.leaves(params)
    for leaf in leaves:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"Argument `{name}` must hold real float arrays only, but a leaf has dtype {leaf.dtype}; "
                "cast it, or close over what is not to be differentiated."
            )
        if leaf.dtype not in (jnp.float32, jnp.float64):
            raise TypeError(
                f"Argument `{name}` must hold float32 or float64, but a leaf has dtype {leaf.dtype}, too short for "
                "second derivatives; cast it, and cast down inside the function where that is meant."
            )
    if sum(leaf.size for leaf in leaves) == 0:
        raise ValueError(f"Argument `{name}` must hold at least one number, but it is empty.")


def check_like(params: Any, v: Any) -> None:
    """Raise unless v has the structure, shapes and dtypes of params."""
    expected: Any = jax.tree.structure(params)
    found: Any = jax.tree.structure(v)
    if expected != found:
        raise ValueError(f"Argument `v` must have the structure of `params`, {expected}, but it has {found}.")
    for leaf, tangent in zip(jax.tree.leaves(params), jax.tree.leaves(v), strict=True):
        if leaf.shape != tangent.shape:
            raise ValueError(
                f"Argument `v` must have the shapes of `params`, but a leaf of shape {leaf.shape} "
                f"meets one of shape {tangent.shape}."
            )
        if leaf.dtype != tangent.dtype:
            raise TypeError(
                f"Argument `v` must have the dtypes of `params`, but a leaf of dtype {leaf.dtype} "
                f"meets one of dtype {tangent.dtype}; cast `v`."
            )


def flatten_real(params: Any, name: str = "params") -> tuple[jax.Array, Callable[[jax.Array], Any]]:
    """Ravel params after checking that it holds real floats of one dtype."""
    params = as_arrays(params, name)
    check_real(params, name)
    dtypes = sorted({str(leaf.dtype) for leaf in jax.tree.leaves(params)})
    if len(dtypes) > 1:
        raise TypeError(f"Argument `{name}` must have one dtype, but it has {', '.join(dtypes)}; cast it.")
    return ravel_pytree(params)


def chunk_size(name: str, asked: int | None, size: int, default: int) -> int:
    """How many of `size` things to do at once: what was asked, or the default, never more than there are."""
    return min(size, default if asked is None else positive_integer(name, asked))


def require_dense(size: int, copies: int, itemsize: int, what: str, devices: int = 1) -> None:
    """Refuse `copies` matrices of shape (size, size) if they do not fit on so many devices."""
    require_memory(copies * size**2 * itemsize // devices, f"{what} of {size} parameters", f"use {NO_MATRIX}")


def unit_vector(index: jax.Array, like: jax.Array) -> jax.Array:
    """Unit vector number `index` with the shape and dtype of `like`, varying over devices as that does."""
    return vary_alike((jnp.arange(like.size) == index).astype(like.dtype), like)


@jax.jit
def symmetrised(matrix: jax.Array) -> jax.Array:
    """Mean of a matrix and its transpose."""
    return (matrix + matrix.T) / 2
