"""Symmetric linear operators on flat parameter vectors: products compiled once, whatever asks for them.

Lanczos, power iteration and trace estimate in `spectrum.py` and the spectral density in `density.py` take one.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checks import as_integer, positive_integer, shown
from qjaxsim.common.loops import each
from qjaxsim.curvature.hvp import as_array, flatten_real, require_dense, require_no_sum, symmetrised, type_of
from qjaxsim.curvature.objective import Loss, Outputs, check_model
from qjaxsim.curvature.products import gauss_newton_product, hessian_product, residual_product
from qjaxsim.curvature.spreading import Spread, spread_of
from qjaxsim.running.array_types import check_tree, taken, to_jax
from qjaxsim.running.compiled import Compiled
from qjaxsim.running.varying import vary_alike

# Vectors multiplied at once by `matmat`: they share the model's own states, and hold one tangent of each.
COLUMNS_AT_ONCE = 8


@dataclass(frozen=True, eq=False)
class LinearOperator:
    """A symmetric linear map of P numbers, known by its products.

    Build one with `curvature_operators`, `hessian_operator`, `linear_operator` or `matrix_operator`. `operator @ v` is
    `matvec` or `matmat` by the shape of v. For use outside `jax.jit`; a product is compiled at its first call and never
    again. SciPy's `eigsh`, `cg` and the like take it as it is.

    Attributes:
        size: P.
        dtype: of vectors and images.
        rows: maps vectors as rows (m, P) to their images (m, P), compiled for the m that it meets.
        matrix: where it is known, (P, P).

    >>> operator = linear_operator(lambda v: 2 * v, 3)
    >>> print(operator @ jnp.array([1.0, 2.0, 3.0]))
    [2. 4. 6.]
    >>> print(operator.dense().trace())
    6.0
    """

    size: int
    dtype: Any
    rows: Callable[[jax.Array], jax.Array]
    matrix: jax.Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(P, P)."""
        return self.size, self.size

    def matvec(self, v: Any) -> jax.Array:
        """The image of one vector, (P,) to (P,)."""
        return self.rows(self._checked(v, (self.size,))[None])[0]

    def matmat(self, vectors: Any) -> jax.Array:
        """The images of m vectors, (P, m) to (P, m), as in SciPy; eight at once, the last ones filled up with zeros."""
        given = as_array(vectors, "v")
        columns = self._checked(given, (self.size, given.shape[-1] if given.ndim else 0))
        return self._images(columns, across=True)

    def dense(self) -> jax.Array:
        """The matrix, (P, P): the one known, or made from P products and exactly symmetric.

        Raises:
            MemoryError: if it and its work copies exceed the free main memory.
        """
        if self.matrix is not None:
            return self.matrix
        require_precision(self)
        require_dense(self.size, 3, np.dtype(self.dtype).itemsize, "The operator as a matrix")
        return symmetrised(self._images(_identity(self.size, self.dtype)))

    def block(self, places: Any) -> "LinearOperator":
        """The diagonal block of some parameters, by products of the whole.

        Args:
            places: where they stand in the flat vector, (m,) integers, none twice; or a mask (P,).

        Raises:
            ValueError: for places out of range or repeated, or none.

        >>> from qjaxsim.curvature import matrix_operator
        >>> operator = matrix_operator(jnp.array([[2.0, 1.0], [1.0, 3.0]]))
        >>> print(operator.block([1]).dense())
        [[3.]]
        """
        own = checked_places(places, self.size)

        def rows(vectors: jax.Array) -> jax.Array:
            whole = _placed(vectors, own, self.size)
            # Few one by one, as the whole runs them: any other number of them would be a program of its own.
            width = len(vectors) if len(vectors) >= COLUMNS_AT_ONCE else 1
            images = _joined([self.rows(block) for block in _in_blocks(whole, width)], len(vectors))
            return taken(images, own, 1)

        matrix = None if self.matrix is None else self.matrix[np.ix_(own, own)]
        return LinearOperator(own.size, self.dtype, rows, matrix)

    def __matmul__(self, other: Any) -> jax.Array:
        given = as_array(other, "v")
        return self.matvec(given) if given.ndim == 1 else self.matmat(given)

    def __neg__(self) -> "LinearOperator":
        return LinearOperator(self.size, self.dtype, functools.partial(_negated, self.rows))

    def __repr__(self) -> str:
        return f"<LinearOperator: {self.size} x {self.size}, {np.dtype(self.dtype)}>"

    def _images(self, vectors: jax.Array, across: bool = False) -> jax.Array:
        """Images of any number of rows, or columns, a fixed number at once so that one program serves."""
        count, width = vectors.shape[1 if across else 0], min(COLUMNS_AT_ONCE, self.size)
        return _joined([self.rows(block) for block in _in_blocks(vectors, width, across)], count, across)

    def _checked(self, v: Any, shape: tuple[int, ...]) -> jax.Array:
        require_precision(self)
        given = as_array(v, "v")
        if given.shape != shape or 0 in shape:
            raise ValueError(
                f"Argument `v` must have shape ({self.size},) or ({self.size}, m), but it has {given.shape}."
            )
        if given.dtype != self.dtype:
            raise TypeError(f"Argument `v` must have dtype {self.dtype}, but it has {given.dtype}; cast it.")
        return given


def checked_places(places: Any, size: int, name: str = "places") -> np.ndarray:
    """Places in a flat vector, from them or from a mask.

    Raises:
        ValueError: for anything else.
    """
    found = np.asarray(places)
    if found.dtype == bool and found.shape == (size,):
        found = np.flatnonzero(found)
    good = found.ndim == 1 and found.size and np.issubdtype(found.dtype, np.integer)
    if not good or found.min() < 0 or found.max() >= size or np.unique(found).size != found.size:
        raise ValueError(
            f"Argument `{name}` must give places from 0 to {size - 1}, none twice, or a mask of {size}, but gives "
            f"{shown(places)}."
        )
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def _identity(size: int, dtype: Any) -> jax.Array:
    return jnp.eye(size, dtype=dtype)


# Slices at many places would be as many programs, and so would each step of these functions.


@functools.partial(jax.jit, static_argnums=(1, 2))
def _in_blocks(vectors: jax.Array, width: int, across: bool = False) -> tuple[jax.Array, ...]:
    """Rows (m, P), or columns, by so many, each block (width, P), the last one filled up with zeros."""
    rows = vectors.T if across else vectors
    return jnp.unstack(jnp.pad(rows, ((0, -len(rows) % width), (0, 0))).reshape(-1, width, rows.shape[1]))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _joined(blocks: list[jax.Array], count: int, across: bool = False) -> jax.Array:
    """The first rows of all blocks, (count, P), or with them as columns."""
    rows = jnp.concatenate(blocks)[:count]
    return rows.T if across else rows


@functools.partial(jax.jit, static_argnums=2)
def _placed(vectors: jax.Array, places: np.ndarray, size: int) -> jax.Array:
    """Rows (m, P) of so many numbers that are those of `vectors` in some places and zero elsewhere."""
    return jnp.zeros((len(vectors), size), vectors.dtype).at[:, places].set(vectors)


class CurvatureOperators(NamedTuple):
    """The Hessian of a mean loss and its two parts as `LinearOperator`s in `ravel_pytree` order, H = G + R.

    >>> outputs, loss = lambda w, x: x @ w[:, None], lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> found = curvature_operators(outputs, loss, jnp.ones(2), jnp.array([[3.0, 4.0]]), jnp.zeros((1, 1)))
    >>> print(found.hessian @ jnp.array([1.0, 0.0]))  # of a linear model x x^T, all of it Gauss-Newton
    [ 9. 12.]
    """

    hessian: LinearOperator
    gauss_newton: LinearOperator
    residual: LinearOperator


_PRODUCTS = {"hessian": hessian_product, "gauss_newton": gauss_newton_product, "residual": residual_product}


def curvature_operators(
    outputs: Outputs, loss: Loss, params: Any, x: Any, y: Any, *, batch_size: int | None = None
) -> CurvatureOperators:
    """H, G and R of the mean of `loss(outputs(params, x), y)`, without a matrix.

    Samples that lie spread over a mesh are worked on by the devices that hold them, as in `split_hessian`.

    Args:
        outputs: maps (params, x) to real outputs of shape (B, K), one sample's from that sample alone.
        loss: maps (z, y) to one loss a sample, shape (B,).
        params: pytree of real float arrays of one dtype, P numbers in all.
        x: inputs, pytree of arrays with N samples along axis 0.
        y: targets, pytree of arrays with N samples along axis 0.
        batch_size: samples held at once; default at most 1,000.

    Returns:
        CurvatureOperators. What is compiled for `outputs` and `loss` (the same objects) and shapes serves other
        parameters and data too.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.
        ValueError: if x and y differ in their number of samples, outputs or loss return another shape, or batch_size
            is not a positive integer.

    Cost: a product of one vector takes two to four gradients; `matmat` shares the states of eight vectors and holds
    eight tangents of them.

    >>> outputs, loss = lambda w, x: jnp.cos(w[0] * x), lambda z, y: ((z - y) ** 2).sum(1) / 2
    >>> w, x, y = jnp.array([jnp.pi / 3]), jnp.ones((1, 1)), jnp.zeros((1, 1))
    >>> found = curvature_operators(outputs, loss, w, x, y)  # H = -cos(2 w), G = sin(w)^2, R = -cos(w)^2
    >>> [round(float((part @ jnp.ones(1))[0]), 3) for part in found]
    [0.5, 0.75, -0.25]
    """
    flat, unravel = flatten_real(params)
    check_model(outputs, loss, params, x, y)
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size)
    at, data, spread = unravel(flat), jax.tree.map(to_jax, (x, y)), spread_of(x, y)
    if spread is not None:
        at, data = spread.everywhere(at), spread.samples(data)

    def operator(kind: str) -> LinearOperator:
        rows = functools.partial(_images_of_rows, kind, outputs, loss, batch_size, spread, at, data)
        return LinearOperator(flat.size, flat.dtype, rows)

    return CurvatureOperators(*(operator(kind) for kind in CurvatureOperators._fields))


def _negated(images: Callable[[jax.Array], jax.Array], rows: jax.Array) -> jax.Array:
    return -images(rows)


def _images_of_rows(*arguments: Any) -> jax.Array:
    """What is jitted, by a name that it can be pickled by."""
    return curvature_rows(*arguments)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def curvature_rows(
    kind: str,
    outputs: Outputs,
    loss: Loss,
    batch_size: int | None,
    spread: Spread | None,
    params: Any,
    data: Any,
    rows: jax.Array,
) -> jax.Array:
    """Images of rows (n, P) under an operator, compiled once for all rows of one shape."""
    if spread is not None:

        def share(pair: tuple[Any, jax.Array], own: Any) -> jax.Array:
            return curvature_rows(kind, outputs, loss, batch_size, None, pair[0], own, pair[1])

        return spread.mean(share)((params, rows), data)
    _, unravel = ravel_pytree(params)

    def image(row: jax.Array) -> jax.Array:
        product = _PRODUCTS[kind](outputs, loss, params, data[0], data[1], unravel(row), batch_size=batch_size)
        return ravel_pytree(product)[0]

    # A single vector without a batch axis: contractions keep the shapes that they are quickest in.
    return image(rows[0])[None] if len(rows) == 1 else jax.vmap(image)(rows)


def hessian_operator(f: Callable[[Any], jax.Array], params: Any) -> LinearOperator:
    """The Hessian of a real scalar function, known by its products with vectors.

    Args:
        f: maps params to a real scalar, shape ().
        params: pytree of real float arrays of one dtype, P numbers in all.

    Returns:
        LinearOperator on flat vectors in `ravel_pytree` order.

    Raises:
        TypeError: if params holds anything but real floats of one dtype.

    Cost: a product of one vector takes two to four gradients, as `qj.hvp`; several at once share what f computes.

    >>> operator = hessian_operator(lambda w: w[0] ** 2 * w[1], jnp.array([1.0, 3.0]))
    >>> print(operator.dense())
    [[6. 2.]
     [2. 0.]]
    """
    flat, _ = flatten_real(params)
    return LinearOperator(flat.size, flat.dtype, Compiled(_hessian_rows, f, params))


def _hessian_rows(f: Callable[[Any], jax.Array], params: Any) -> Callable[[jax.Array], jax.Array]:
    flat, unravel = flatten_real(params)
    require_no_sum(f, params)
    gradient = jax.grad(lambda w: f(unravel(w)))

    def image(row: jax.Array) -> jax.Array:
        return jax.jvp(gradient, (flat,), (vary_alike(row, flat),))[1]

    def rows(vectors: jax.Array) -> jax.Array:
        return image(vectors[0])[None] if len(vectors) == 1 else jax.vmap(image)(vectors)

    return rows


def linear_operator(matvec: Callable[[Any], Any], example: Any) -> LinearOperator:
    """The operator of a pure JAX function, such as `lambda v: qj.hvp(f, params, v)`.

    Args:
        matvec: linear, symmetric; maps a pytree like `example` to another one. Traced by JAX.
        example: pytree of float arrays of one dtype, or the dimension P as an integer for flat vectors of JAX's
            default float dtype.

    Returns:
        LinearOperator on flat vectors in `ravel_pytree` order.

    Raises:
        TypeError: if `example` holds anything but real floats of one dtype.
        ValueError: if `matvec` returns another number of numbers or another dtype.

    >>> import qjaxsim as qj
    >>> w = jnp.array([1.0, 3.0])
    >>> operator = linear_operator(lambda v: qj.hvp(lambda w: w[0] ** 2 * w[1], w, v), w)
    >>> print(operator.dense())
    [[6. 2.]
     [2. 0.]]
    """
    if as_integer(example) is not None:
        example = jnp.zeros(positive_integer("example", example))
    flat, _ = flatten_real(example, "example")
    image = jax.eval_shape(_flat_product(matvec, example), flat)
    if image.shape != flat.shape or image.dtype != flat.dtype:
        raise ValueError(
            f"Argument `matvec` must map {flat.size} numbers of dtype {flat.dtype} to as many, "
            f"but it returned {image.size} of dtype {image.dtype}."
        )
    return LinearOperator(flat.size, flat.dtype, Compiled(_mapped_rows, matvec, example))


def _flat_product(matvec: Callable[[Any], Any], example: Any) -> Callable[[jax.Array], jax.Array]:
    _, unravel = flatten_real(example, "example")

    def product(vector: jax.Array) -> jax.Array:
        # TF32 on recent GPUs would cost the digits that orthogonality and small eigenvalues live on.
        with jax.default_matmul_precision("highest"):
            image = matvec(unravel(vector))
        check_tree("Argument `matvec`", image)
        types = [type_of(leaf) for leaf in jax.tree.leaves(image)]
        if not all(found is not None and jnp.issubdtype(found.dtype, jnp.number) for found in types):
            raise TypeError(f"Argument `matvec` must return arrays of real floats, but it returned {shown(image)}.")
        return ravel_pytree(image)[0]

    return product


def _mapped_rows(matvec: Callable[[Any], Any], example: Any) -> Callable[[jax.Array], jax.Array]:
    product = _flat_product(matvec, example)

    def rows(vectors: jax.Array) -> jax.Array:
        images: jax.Array = each(product, vectors)
        return images

    return rows


def require_operator(value: Any) -> None:
    """Raise a TypeError for anything but a `LinearOperator`."""
    if not isinstance(value, LinearOperator):
        raise TypeError(
            f"Argument `operator` must be a LinearOperator, but is a {type(value).__name__}; make one with "
            "`linear_operator` from a function, `matrix_operator` from a matrix or `curvature_operators` from a model."
        )
    require_precision(value)


def require_precision(operator: LinearOperator) -> None:
    """Raise a TypeError for an operator in double precision where JAX computes in single precision."""
    if jax.dtypes.canonicalize_dtype(operator.dtype) != operator.dtype:
        raise TypeError(
            f"The operator has dtype {np.dtype(operator.dtype)}, but JAX's double precision is off here; use it under "
            "`with jax.enable_x64(True):`, as where it was made."
        )
