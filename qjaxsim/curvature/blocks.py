"""The split H = G + R of more parameters than one device holds, in blocks over a mesh of samples x parameters.

Every device pushes its own parameter directions through its own samples: rows of R and a part of the Jacobian, of which
one all-gather a chunk makes the whole that its rows of G need. So it carries rows of both sums, and at the end one sum
over the devices that share them leaves each with one block of H, G and R.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec

from qjaxsim.curvature import stage_sweep
from qjaxsim.curvature.objective import Loss, Outputs, gauss_newton_block, loss_derivatives
from qjaxsim.curvature.parts import PartSum, for_values, one_part
from qjaxsim.curvature.programs import compiled_once
from qjaxsim.curvature.split_plan import SplitPlan, staged
from qjaxsim.curvature.spreading import Share, Spread
from qjaxsim.curvature.ways import Split, Way, push_directions
from qjaxsim.running.array_types import to_jax

Tree = Any
Pushed = tuple[Tree, jax.Array]
"""What a device carries on, and the Jacobian (P', B, K) in all parameters."""


class Directions(NamedTuple):
    """What a device does for its own parameters, traced inside `jax.shard_map`.

    Attributes:
        fixed: makes what no sample enters.
        start: makes what is carried, for no samples.
        push: from what is fixed, what is carried, inputs and slopes to `Pushed`.
        finish: from what is carried to rows (P' / parts, P') of R and the gradient (P,), of this device's samples.
    """

    fixed: Callable[[], Tree]
    start: Callable[[], Tree]
    push: Callable[[Tree, Tree, Any, jax.Array], Pushed]
    finish: Callable[[Tree], tuple[jax.Array, jax.Array]]


def by_columns(planned: SplitPlan, outputs: Outputs, loss: Loss, params: Any, spread: Spread) -> Way:
    """The split on all devices of a mesh, its matrices (P', P') in blocks."""
    flat = ravel_pytree(params)[0]
    share = Share(spread, flat.size)
    # Built where it is traced, from parameters that are arguments: those from outside may be of another mesh's type.
    directions = lambda params: DIRECTIONS[planned.structure](outputs, params, planned.rows, share)  # noqa: E731
    sums = PartitionSpec(spread.axes, spread.columns)  # leading axes of what devices carry
    alike, samples, common = PartitionSpec(None, spread.columns), PartitionSpec(spread.axes), PartitionSpec()

    def start(params: Any) -> Tree:
        return _held((directions(params).start(), jnp.zeros((share.n_own, share.filled), flat.dtype)))

    def prepare(params: Any) -> Tree:
        return _held(directions(params).fixed())

    def add(carried: Tree, fixed: Tree, params: Any, x: Any, y: Any, weights: jax.Array) -> Tree:
        (inner, total), fixed, (x, y) = _mine(carried), _mine(fixed), jax.tree.map(lambda leaf: leaf[0], (x, y))
        slope, curvature = loss_derivatives(loss, for_values(outputs)(params, x), y, weights)
        inner, jacobian = directions(params).push(fixed, inner, x, slope)
        by_sample, rows = (jnp.moveaxis(each, 0, 2) for each in (jacobian, share.own(jacobian)))
        return _held((inner, total + gauss_newton_block(by_sample, curvature, rows).astype(total.dtype)))

    def end(carried: Tree, params: Any) -> Split:
        inner, total = _mine(carried)
        rows, gradient = directions(params).finish(inner)
        gauss_newton, residual = share.block(total), share.block(rows)
        return gauss_newton + residual, gauss_newton, residual, jax.lax.psum(gradient, spread.axes)

    @functools.cache
    def fixed() -> Tree:
        return compiled_once(spread.mapped(prepare, common, alike), params)

    def chunk(carried: Tree, x: Any, y: Any, weights: jax.Array) -> Tree:
        mapped = spread.mapped(add, (sums, alike, common, samples, samples, common), sums)
        return compiled_once(mapped, carried, fixed(), params, x, y, weights, donate=True)

    def finish(carried: Tree) -> Split:
        block = PartitionSpec(spread.columns, spread.axes)
        mapped = spread.mapped(end, (sums, common), (block, block, block, common))
        return compiled_once(mapped, carried, params, donate=True)

    begun = compiled_once(spread.mapped(start, common, sums), params)
    return Way(begun, chunk, finish)


def _held(tree: Tree) -> Tree:
    """What one device holds, as its part of arrays with two leading axes: of shares of samples and of parameters."""
    return jax.tree.map(lambda leaf: leaf[None, None], tree)


def _mine(tree: Tree) -> Tree:
    return jax.tree.map(lambda leaf: leaf[0, 0], tree)


# --- each direction through the whole model --------------------------------------------------------------------------


def _by_directions(outputs: Outputs, params: Any, rows: int, share: Share) -> Directions:
    """The device's directions through the whole model; those beyond P give zeros."""
    flat = ravel_pytree(params)[0]

    def start() -> Tree:
        return jnp.zeros((share.n_own, flat.size), flat.dtype), jnp.zeros_like(flat)

    def push(fixed: Tree, carried: Tree, x: Any, slope: jax.Array) -> Pushed:
        residual, gradient = carried
        at_once = min(rows, share.n_own)
        residual, columns, own = push_directions(outputs, params, x, slope, residual, at_once, share.first())
        return (residual, gradient + own), share.whole(columns)

    def finish(carried: Tree) -> tuple[jax.Array, jax.Array]:
        residual, gradient = carried
        return jnp.pad(residual, ((0, 0), (0, share.filled - flat.size))), gradient

    return Directions(lambda: (), start, push, finish)


# --- sums over parts -------------------------------------------------------------------------------------------------


class _Parts(NamedTuple):
    """A sum over parts, as many on each device of the columns; where they do not share out, the last comes again."""

    model: PartSum
    flat: jax.Array
    share: Share

    @property
    def n_own(self) -> int:
        """Parts on one device."""
        return -(-len(self.model.index) // self.share.spread.parts)

    def numbers(self) -> jax.Array:
        """Which ones this device has."""
        each = jax.lax.axis_index(self.share.spread.columns) * self.n_own + jnp.arange(self.n_own)
        return jnp.minimum(each, len(self.model.index) - 1)

    def params(self) -> jax.Array:
        """Their parameters (parts, U)."""
        return self.flat[to_jax(self.model.index)[self.numbers()]]

    def inputs(self, x: Any) -> jax.Array:
        """Their inputs (parts, B, ...)."""
        return jnp.moveaxis(self.model.inputs(x), 1, 0)[self.numbers()]

    def jacobian(self, columns: jax.Array) -> jax.Array:
        """The Jacobian (P', B, K) from the columns of this device's parts, (parts, U, B, K)."""
        every = self.share.whole(columns)[: len(self.model.index)]
        empty = jnp.zeros((self.share.filled, *columns.shape[2:]), columns.dtype)
        return empty.at[self.model.index].add(self.model.scale * every)

    def rows(self, blocks: jax.Array, slopes: jax.Array) -> tuple[jax.Array, jax.Array]:
        """This device's rows of R and the gradient (P,), from the blocks (parts, U, U) and gradients of its parts."""
        index = to_jax(self.model.index)
        every, slopes = (self.share.whole(each)[: len(index)] for each in (blocks, slopes))
        row = index - self.share.first()
        row = jnp.where(row < 0, self.share.n_own, row)  # a place that is dropped, as those beyond the last are
        empty = jnp.zeros((self.share.n_own, self.share.filled), blocks.dtype)
        matrix = empty.at[row[:, :, None], index[:, None, :]].add(every, mode="drop")
        return matrix, jnp.zeros_like(self.flat).at[index].add(slopes)


def _by_parts(outputs: PartSum, params: Any, rows: int, share: Share) -> Directions:
    """The device's parts, each direction through all of them at once."""
    flat = ravel_pytree(params)[0]
    parts = _Parts(outputs, flat, share)

    def start() -> Tree:
        blocks = jnp.zeros((parts.n_own, *(outputs.index.shape[1],) * 2), flat.dtype)
        return blocks, jnp.zeros((parts.n_own, outputs.index.shape[1]), flat.dtype)

    def push(fixed: Tree, carried: Tree, x: Any, slope: jax.Array) -> Pushed:
        one = lambda given: one_part(outputs.part, *given, outputs.scale * slope, rows)  # noqa: E731
        blocks, columns, slopes = jax.lax.map(one, (parts.params(), parts.inputs(x)))
        return jax.tree.map(jnp.add, carried, (blocks, slopes)), parts.jacobian(columns)

    return Directions(lambda: (), start, push, lambda carried: parts.rows(*carried))


def _by_stages(outputs: PartSum, params: Any, rows: int, share: Share) -> Directions:
    """The device's parts, stage by stage."""
    flat = ravel_pytree(params)[0]
    parts, part = _Parts(outputs, flat, share), staged(outputs)
    assert part is not None

    def fixed() -> Tree:
        return jax.lax.map(functools.partial(stage_sweep.with_derivatives, part), parts.params())

    def start() -> Tree:
        own = jax.vmap(functools.partial(stage_sweep.start, part))(parts.params())
        return own, jnp.zeros((parts.n_own, outputs.index.shape[1]), flat.dtype)

    def push(fixed: Tree, carried: Tree, x: Any, slope: jax.Array) -> Pushed:
        sums, gradients = carried

        def one(given: Tree) -> Tree:
            found, u, inputs, before = given
            return stage_sweep.add_samples(part, found, u, inputs, outputs.scale * slope, before)

        sums, columns, slopes = jax.lax.map(one, (fixed, parts.params(), parts.inputs(x), sums))
        return (sums, gradients + slopes), parts.jacobian(columns)

    def finish(carried: Tree) -> tuple[jax.Array, jax.Array]:
        sums, gradients = carried
        blocks = jax.lax.map(lambda given: stage_sweep.finish(part, *given), (parts.params(), sums))
        return parts.rows(blocks, gradients)

    return Directions(fixed, start, push, finish)


DIRECTIONS: dict[str, Callable[..., Directions]] = {
    "stages": _by_stages,
    "parts": _by_parts,
    "pushed": _by_directions,
}
"""By `SplitPlan.structure`, from outputs, parameters, directions pushed at once, and the share."""
