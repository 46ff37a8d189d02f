"""Permutations of rows: one JAX primitive that gathers, and whose transpose gathers by the inverse permutation.

JAX would differentiate a gather into a scatter, which CPUs run one row after the other; and XLA's transpose of many
index bits costs several times more than a gather of the same rows from a table of places (measured with JAX 0.10).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import jet
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from qjaxsim.running.varying import rest, spread_by_xla

# Columns from which on a CPU permutes in two halves.
LEAST_COLUMNS = 16


@dataclass(frozen=True)
class Permutation:
    """A permutation of the rows of an array: row (a, b) of the result is row `high[a] ^ low[b]` of the operand.

    Two tables of half the index bits keep wide registers cheap: the program computes the places as it goes.

    Attributes:
        high: by leading index bits, part of the source.
        low: by trailing index bits, the other part.
        inverse_high, inverse_low: the same of the inverse.
    """

    high: tuple[int, ...]
    low: tuple[int, ...]
    inverse_high: tuple[int, ...]
    inverse_low: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(self.high) * len(self.low)

    @cached_property
    def is_identity(self) -> bool:
        """Whether nothing moves."""
        step = len(self.low)
        return self.low == tuple(range(step)) and self.high == tuple(range(0, self.size, step))

    @property
    def inverse(self) -> "Permutation":
        """The permutation that undoes this one."""
        return Permutation(self.inverse_high, self.inverse_low, self.high, self.low)


def of_rows(source: np.ndarray) -> Permutation:
    """The permutation with out[i] = rows[source[i]]."""
    return Permutation(tuple(source.tolist()), (0,), tuple(np.argsort(source).tolist()), (0,))


def of_bits(places: Sequence[int]) -> Permutation:
    """The permutation that makes index bit `places[i]` (0 the most significant) the bit i."""
    return Permutation(*_tables(_weights(places)), *_tables(_weights(np.argsort(places).tolist())))


def _weights(places: Sequence[int]) -> list[int]:
    return [1 << (len(places) - 1 - place) for place in places]


def _tables(weights: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The sums of weights over the set bits of every index of the first half of the bits, and of the second."""
    half = len(weights) // 2
    return _sums(weights[:half]), _sums(weights[half:])


def _sums(weights: Sequence[int]) -> tuple[int, ...]:
    total = np.zeros(1, np.int64)
    for weight in weights:
        total = np.add.outer(total, [0, weight]).reshape(-1)
    return tuple(total.tolist())


def permute(permutation: Permutation, array: jax.Array) -> jax.Array:
    """Permute the rows of an array.

    Args:
        permutation: of `size` rows.
        array: (lead, rows, ...); where it has more than `size` rows, leading index bits are permuted.

    Returns:
        An array of the same shape. Linear: derivatives of every order and mode, `vmap` and `jit` go through it.
    """
    if permutation.is_identity:
        return array
    blocks = array.reshape(array.shape[0], permutation.size, *rest(array))
    return permute_p.bind(blocks, permutation=permutation).reshape(array.shape)


class Tables(NamedTuple):
    """A permutation of rows that may be known only when the program runs: `high` and `low` as in `Permutation`.

    Attributes:
        high: (groups, 2**(bits of the first half)) uint32, one permutation for each group.
        low: (groups, 2**(bits of the second)) uint32.
        inverse_high, inverse_low: the same of the inverse.
    """

    high: jax.Array | np.ndarray
    low: jax.Array | np.ndarray
    inverse_high: jax.Array | np.ndarray
    inverse_low: jax.Array | np.ndarray

    @property
    def inverse(self) -> "Tables":
        """The permutation that undoes this one."""
        return Tables(self.inverse_high, self.inverse_low, self.high, self.low)

    @classmethod
    def of_rows(cls, source: np.ndarray, inverse: np.ndarray) -> "Tables":
        """The permutation with out[i] = rows[source[i]], its inverse given, of one group."""
        nothing = np.zeros((1, 1), np.uint32)
        return cls(source.astype(np.uint32)[None], nothing, inverse.astype(np.uint32)[None], nothing)


def tables_of_orders(orders: np.ndarray) -> Tables:
    """Permutations from one order of qubits to the next.

    Args:
        orders: (times + 1, ..., n) int, the qubits that the index bits stand for.

    Returns:
        Tables with leading axes (times, ...).
    """
    places = np.take_along_axis(np.argsort(orders[:-1], axis=-1), orders[1:], axis=-1)
    return Tables(*_halves(places), *_halves(np.argsort(places, axis=-1)))


def _halves(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For permutations of bits, (..., n), what `_tables` gives for one."""
    n = places.shape[-1]
    weights = 1 << (n - 1 - places)
    return _all_sums(weights[..., : n // 2]), _all_sums(weights[..., n // 2 :])


def _all_sums(weights: np.ndarray) -> np.ndarray:
    k = weights.shape[-1]
    bits = np.arange(2**k)[:, None] >> np.arange(k)[::-1] & 1
    return (weights @ bits.T).astype(np.uint32)


def move_rows(array: jax.Array, tables: Tables) -> jax.Array:
    """Permute rows by tables; linear like `permute`.

    Args:
        array: (groups, lead, size, columns).
        tables: (groups, ...), a permutation for each group.
    """
    return move_p.bind(array, *map(jnp.asarray, tables))


def flip_rows(array: jax.Array, mask: jax.Array) -> jax.Array:
    """Exchange rows whose places differ by the set bits of a mask.

    Args:
        array: (lead, 2**n, columns).
        mask: uint32 scalar, below 2**n; unlike a `Permutation` it may be known only when the program runs.

    Returns:
        An array of the same shape: row i is row `i ^ mask` of the operand.
    """
    return flip_p.bind(array, mask)


def _permute(array: jax.Array, *, permutation: Permutation) -> jax.Array:
    lead, size, *others = array.shape
    if lead != 1 and spread_by_xla():  # over devices, the axes in front
        high, low = (jnp.asarray(np.array(table, np.uint32)) for table in (permutation.high, permutation.low))
        places = (high[:, None] ^ low[None]).reshape(-1)
        return array.at[:, places].get(unique_indices=True, mode="promise_in_bounds")
    # Unsigned places: none is checked for being negative.
    leads = np.arange(lead, dtype=np.uint32) if isinstance(lead, int) else lax.iota(jnp.uint32, lead)
    first = leads[:, None] * np.uint32(size) + np.array(permutation.high, np.uint32)[None]
    places = jnp.asarray(first.reshape(-1, 1)) ^ jnp.asarray(np.array(permutation.low, np.uint32)[None])
    rows = array.reshape(lead * size, *others)
    return rows.at[places.reshape(-1)].get(unique_indices=True, mode="promise_in_bounds").reshape(array.shape)


def _permute_on_cpu(array: jax.Array, *, permutation: Permutation) -> jax.Array:
    """As `_permute`, the leading axis in two halves.

    XLA computes a single gather in the shape of the matrix product behind it, place by place, and takes what stands in
    front of it along; two that are joined it copies row by row. Measured with JAX 0.10 for 8 qubits and 256 columns, a
    product with its permutation takes half the time, and with a diagonal before that a third. Rows of few columns gain
    nothing.
    """
    lead, _, *others = array.shape
    known = all(isinstance(size, int) for size in array.shape)  # others stand for any size in exported programs
    if not known or lead == 1 or math.prod(others) < LEAST_COLUMNS or spread_by_xla():
        return _permute(array, permutation=permutation)
    half = lead // 2
    return jnp.concatenate([_permute(part, permutation=permutation) for part in (array[:half], array[half:])])


def _move(array: jax.Array, high: jax.Array, low: jax.Array, *_: jax.Array) -> jax.Array:
    groups, lead, size, columns = array.shape
    places = (high[:, :, None] ^ low[:, None, :]).reshape(groups, 1, size)
    first = np.arange(groups * lead, dtype=np.uint32).reshape(groups, lead, 1) * np.uint32(size)
    rows = array.reshape(groups * lead * size, columns)
    absolute = (jnp.asarray(first) + places).reshape(-1)
    return rows.at[absolute].get(unique_indices=True, mode="promise_in_bounds").reshape(array.shape)


def _batch_move(args: Sequence[Any], dims: Sequence[Any]) -> tuple[jax.Array, int]:
    """The mapped axis of the array joins the one that all rows of a group share."""
    assert all(dim is None for dim in dims[1:])
    array = jnp.moveaxis(args[0], dims[0], 1)
    merged = array.reshape(len(array), -1, *array.shape[3:])
    return move_p.bind(merged, *args[1:]).reshape(array.shape), 1


def _flip(array: jax.Array, mask: jax.Array) -> jax.Array:
    places = jnp.arange(array.shape[1], dtype=jnp.uint32) ^ mask
    return array.at[:, places].get(unique_indices=True, mode="promise_in_bounds")


def _batch(primitive: Primitive, args: Sequence[Any], dims: Sequence[Any], **params: Any) -> tuple[jax.Array, int]:
    """The mapped axis of the array joins the leading one."""
    assert all(dim is None for dim in dims[1:])
    array = jnp.moveaxis(args[0], dims[0], 0)
    merged = array.reshape(-1, *array.shape[2:])
    return primitive.bind(merged, *args[1:], **params).reshape(array.shape), 0


def linear_primitive(
    name: str,
    gather: Callable,
    inverse: Callable[[dict[str, Any]], dict[str, Any]] = lambda params: params,
    static: Sequence[str] = (),
    inverse_operands: Callable[[tuple], tuple] = lambda operands: operands,
) -> Primitive:
    """A primitive that is linear in its first operand, transposed by itself with other parameters and operands."""
    primitive = Primitive(name)

    def forward(args: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
        first = tangents[0]
        tangent = first if type(first) is ad.Zero else primitive.bind(first, *args[1:], **params)
        return primitive.bind(*args, **params), tangent

    def series(primals: Sequence[Any], terms: Sequence[Sequence[Any]], **params: Any) -> tuple[Any, list[Any]]:
        """Taylor coefficients of the first operand go through one by one."""
        move = lambda array: primitive.bind(array, *primals[1:], **params)  # noqa: E731
        return move(primals[0]), [move(term) for term in terms[0]]

    def transpose(ct: Any, *args: Any, **params: Any) -> list[Any]:
        back = ct if type(ct) is ad.Zero else primitive.bind(ct, *inverse_operands(args[1:]), **inverse(params))
        return [back, *(None for _ in args[1:])]

    primitive.def_impl(jax.jit(gather, static_argnames=static))
    # The operand's type as it is: it says how an array inside `jax.shard_map` varies over devices too.
    primitive.def_abstract_eval(lambda array, *_, **__: array)
    ad.primitive_jvps[primitive] = forward
    rules: dict[Primitive, Callable[..., Any]] = jet.jet_rules
    rules[primitive] = series
    ad.primitive_transposes[primitive] = transpose
    batching.primitive_batchers[primitive] = partial(_batch, primitive)
    mlir.register_lowering(primitive, mlir.lower_fun(gather, multiple_results=False))
    return primitive


permute_p = linear_primitive(
    "permute", _permute, lambda params: {"permutation": params["permutation"].inverse}, ["permutation"]
)
mlir.register_lowering(permute_p, mlir.lower_fun(_permute_on_cpu, multiple_results=False), platform="cpu")
flip_p = linear_primitive("flip", _flip)
move_p = linear_primitive("move", _move, inverse_operands=lambda tables: (*tables[2:], *tables[:2]))
batching.primitive_batchers[move_p] = _batch_move
