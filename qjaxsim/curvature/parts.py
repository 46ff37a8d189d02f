"""The split H = G + R of a model whose outputs are a sum over parts, as of circuits with weights of their own.

A direction in one part's weights changes that part's outputs alone. The same direction is therefore pushed through all
parts at once, each on its own outputs, and R is assembled from one small block a part: U directions instead of P.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from qjaxsim.common.checks import shown
from qjaxsim.curvature import stage_sweep
from qjaxsim.curvature.hvp import unit_vector
from qjaxsim.curvature.stages import StagedCircuit
from qjaxsim.running.array_types import taken


@dataclass(frozen=True, eq=False)
class PartSum:
    """Outputs of the form z = scale * sum_p part(theta[index[p]], inputs(x)[:, p]).

    Callable like any model's outputs; pass it to `split_hessian` in their place.

    Attributes:
        part: maps (u, x_p), a part's own parameters of shape (U,) and its inputs (B, ...), to outputs (B, K). Sample
            b's outputs may depend on sample b alone.
        index: (parts, U) integers: where a part's parameters stand in the flat parameters, in `ravel_pytree` order. A
            parameter may serve several parts (a shared bias), and each part once.
        inputs: maps the model's inputs x to (B, parts, ...).
        scale: a constant factor.
        shapes: of the arrays that params holds, by name: then other params are refused. Default: any pytree.

    >>> part = lambda u, x: jnp.cos(u[0] * x)  # one number a part, one output
    >>> outputs = PartSum(part, np.array([[0], [1]]), lambda x: x[:, :, None], scale=0.5)
    >>> print(np.asarray(outputs(jnp.array([jnp.pi / 3, 0.0]), jnp.ones((1, 2)))).round(3))
    [[0.75]]
    """

    part: Callable[[jax.Array, jax.Array], jax.Array]
    index: np.ndarray
    inputs: Callable[[Any], jax.Array]
    scale: float
    shapes: Mapping[str, tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        if not np.issubdtype(self.index.dtype, np.integer) or (self.index < 0).any():
            raise ValueError(
                "Argument `index` must hold integers from 0 on, places in the flat parameters, but its "
                f"dtype is {self.index.dtype} and {np.count_nonzero(self.index < 0)} are below 0."
            )
        rows = np.sort(self.index, axis=1)
        if self.index.ndim != 2 or (rows[:, 1:] == rows[:, :-1]).any():
            raise ValueError(
                "Argument `index` must have shape (parts, U) with different parameters in each row, "
                f"but it has shape {self.index.shape}{' and repeats some' if self.index.ndim == 2 else ''}."
            )

    def __call__(self, params: Any, x: Any) -> jax.Array:
        """The outputs, shape (B, K)."""
        each = jax.vmap(self.part, in_axes=(0, 1))(self.own(self.flat(params)), self.inputs(x))
        return self.scale * each.sum(axis=0)

    def flat(self, params: Any) -> jax.Array:
        """The flat parameters, (P,); places in them mean nothing where params are not those of `shapes`."""
        if self.shapes is not None:
            named = isinstance(params, Mapping)
            found = {name: np.shape(leaf) for name, leaf in params.items()} if named else shown(params)
            if found != dict(self.shapes):
                raise ValueError(f"Argument `params` must hold arrays {dict(self.shapes)}, but holds {found}.")
        flat: jax.Array = ravel_pytree(params)[0]
        return flat

    def own(self, flat: jax.Array) -> jax.Array:
        """The parameters of each part, (parts, U), of the flat ones."""
        if self.index.max(initial=-1) >= flat.size:
            raise ValueError(
                f"Argument `index` must hold places from 0 to {flat.size - 1} for {flat.size} parameters, but holds "
                f"{self.index.max()}."
            )
        return taken(flat, self.index)

    def in_turn(self, params: Any, x: Any) -> jax.Array:
        """The outputs, one part after the other: its states stay in cache, which pays without derivatives."""
        own = (self.own(self.flat(params)), jnp.moveaxis(self.inputs(x), 1, 0))
        return self.scale * jax.lax.map(lambda given: self.part(*given), own).sum(axis=0)

    def two_phases(self) -> "tuple[Callable[[Any], Any], Callable[[Any, Any, Any], jax.Array]] | None":
        """The matrices of all stages of weights from the parameters, and the outputs from them; None without stages."""
        part = self.part
        if not isinstance(part, StagedCircuit) or part.stages is None:
            return None
        circuit = part

        def before(params: Any) -> Any:
            return jax.vmap(lambda u: stage_sweep.matrices(circuit, u))(self.own(self.flat(params)))

        def after(fixed: Any, params: Any, x: Any) -> jax.Array:
            # One part after the other: its states stay in cache, and the program is that of one part.
            own = (fixed, self.own(self.flat(params)), jnp.moveaxis(self.inputs(x), 1, 0))
            each = jax.lax.map(lambda given: stage_sweep.values(circuit, *given), own)
            return self.scale * each.sum(axis=0)

        return before, after


def for_values(outputs: Callable[[Any, Any], jax.Array]) -> Callable[[Any, Any], jax.Array]:
    """The same outputs in the way that is quickest without derivatives."""
    return outputs.in_turn if isinstance(outputs, PartSum) and jax.default_backend() == "cpu" else outputs


def values(outputs: Callable[[Any, Any], jax.Array], params: Any, x: Any) -> jax.Array:
    """The outputs (B, K), of a sum over parts by a program of one part."""
    if not isinstance(outputs, PartSum):
        return _values(outputs, params, x)
    flat = outputs.flat(params)
    given = zip(outputs.index, _inputs(outputs, x), strict=True)
    # One compiled function serves every part, and every model with the same `part`.
    return _total(outputs, [_values(outputs.part, taken(flat, index), own) for index, own in given])


@functools.partial(jax.jit, static_argnums=0)
def _values(outputs: Callable[[Any, Any], jax.Array], params: Any, x: Any) -> jax.Array:
    return outputs(params, x)


def pulled_back(outputs: Callable[[Any, Any], jax.Array], params: Any, x: Any, cotangents: jax.Array) -> jax.Array:
    """Cotangents (m, B, K) of the outputs brought to the flat parameters, (m, P)."""
    if not isinstance(outputs, PartSum):
        return _pulled(outputs, params, x, cotangents)
    flat = outputs.flat(params)
    given = zip(outputs.index, _inputs(outputs, x), strict=True)
    each = [_pulled(outputs.part, taken(flat, index), own, outputs.scale * cotangents) for index, own in given]
    return _scattered(outputs, flat, each)


@functools.partial(jax.jit, static_argnums=0)
def _pulled(outputs: Callable[[Any, Any], jax.Array], params: Any, x: Any, cotangents: jax.Array) -> jax.Array:
    flat, unravel = ravel_pytree(params)
    pull = jax.vjp(lambda w: outputs(unravel(w), x), flat)[1]
    # One after the other: the states stay in cache, which takes a third of the time.
    return jax.lax.map(lambda cotangent: pull(cotangent)[0], cotangents)


@functools.partial(jax.jit, static_argnums=0)
def _scattered(model: PartSum, flat: jax.Array, each: Sequence[jax.Array]) -> jax.Array:
    """Rows (m, P) from those of the parts, (m, U)."""
    total = jnp.zeros((len(each[0]), flat.size), flat.dtype)
    for index, own in zip(model.index, each, strict=True):
        total = total.at[:, index].add(own)
    return total


class StagedParts:
    """The same for a sum over circuits of one structure, `StagedCircuit`s, from what their stages have in common.

    What takes long to compile is a program of one circuit: it serves all of them, in models of any number of parts.
    """

    def __init__(self, model: PartSum, part: StagedCircuit, params: Any):
        self.model, self.part = model, part
        self.flat = model.flat(params)
        self.own = [taken(self.flat, index) for index in model.index]

    @functools.cached_property
    def found(self) -> list[Any]:
        """Matrices of the stages and their derivatives, by part; made when the first sample needs them."""
        return [stage_sweep.with_derivatives(self.part, u) for u in self.own]

    def start(self) -> list[Any]:
        """What is carried from chunk to chunk, for no samples."""
        return [stage_sweep.start(self.part, u) for u in self.own]

    def outputs(self, x: Any) -> jax.Array:
        """The outputs (B, K)."""
        matrices = [[pair and pair[0] for pair in found] for found in self.found]
        given = zip(matrices, self.own, _inputs(self.model, x), strict=True)
        return _total(self.model, [stage_sweep.values(self.part, *one) for one in given])

    def chunk(self, carried: list[Any], x: Any, slope: jax.Array) -> tuple[list[Any], jax.Array, jax.Array]:
        """What is carried on, the Jacobian (P, B, K), and the gradient of sum(slope * z) (P,)."""
        own_slope = self.model.scale * slope
        given = zip(self.found, self.own, _inputs(self.model, x), carried, strict=True)
        each = [stage_sweep.add_samples(self.part, found, u, own, own_slope, now) for found, u, own, now in given]
        after, columns, slopes = zip(*each, strict=True)
        return list(after), *_assembled(self.model, self.flat, columns, slopes)

    def residual(self, carried: list[Any]) -> jax.Array:
        """R (P, P)."""
        blocks = [stage_sweep.finish(self.part, u, now) for u, now in zip(self.own, carried, strict=True)]
        return _with_blocks(self.model, jnp.zeros((self.flat.size, self.flat.size), self.flat.dtype), blocks)


@functools.partial(jax.jit, static_argnums=0)
def _inputs(model: PartSum, x: Any) -> list[jax.Array]:
    """The inputs of each part."""
    return list(jnp.moveaxis(model.inputs(x), 1, 0))


@functools.partial(jax.jit, static_argnums=0)
def _total(model: PartSum, each: list[jax.Array]) -> jax.Array:
    """The outputs from those of the parts."""
    return model.scale * sum(each[1:], each[0])


@functools.partial(jax.jit, static_argnums=0)
def _assembled(
    model: PartSum, flat: jax.Array, columns: Sequence[jax.Array], slopes: Sequence[jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The Jacobian (P, B, K) and the gradient (P,) from those of the parts."""
    jacobian = jnp.zeros((flat.size, *columns[0].shape[1:]), columns[0].dtype)
    gradient = jnp.zeros_like(flat)
    for index, own, slope in zip(model.index, columns, slopes, strict=True):
        jacobian = jacobian.at[index].add(model.scale * own)
        gradient = gradient.at[index].add(slope)
    return jacobian, gradient


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _with_blocks(model: PartSum, total: jax.Array, blocks: Sequence[jax.Array]) -> jax.Array:
    """A matrix (P, P) with the blocks of the parts added."""
    for index, block in zip(model.index, blocks, strict=True):
        total = total.at[np.ix_(index, index)].add(block)
    return total


def linearised_parts(
    model: PartSum, params: Any, x: Any, slope: jax.Array, residual: jax.Array, rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """First and second derivatives of the outputs, part by part.

    Args:
        model: the structure.
        params: pytree of P real floats.
        x: inputs of one chunk of B samples.
        slope: (B, K), held constant.
        residual: (P, P), to which the second derivatives are added.
        rows: directions pushed at once.

    Returns:
        The residual plus the Hessian of sum(slope * z) in the parameters, (P, P), the Jacobian of z, (P, B, K), and the
        gradient of sum(slope * z), (P,).
    """
    flat = model.flat(params)
    own_slope = model.scale * slope
    given = zip(model.index, _inputs(model, x), strict=True)
    # One compiled function serves every part, and every model with the same `part`.
    each = [one_part(model.part, taken(flat, index), own, own_slope, rows) for index, own in given]
    blocks, columns, slopes = zip(*each, strict=True)
    return _with_blocks(model, residual, blocks), *_assembled(model, flat, columns, slopes)


@functools.partial(jax.jit, static_argnums=(0, 4))
def one_part(
    part: Callable[[jax.Array, jax.Array], jax.Array], u: jax.Array, x: jax.Array, slope: jax.Array, rows: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Hessian (U, U) of sum(slope * part) in its own parameters, Jacobian (U, B, K) of part, and the gradient (U,)."""

    def linearised(w: jax.Array) -> tuple[jax.Array, jax.Array]:
        out = part(w, x)
        return jnp.sum(slope * out), out

    def push(i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        (gradient, _), (row, column) = jax.jvp(jax.grad(linearised, has_aux=True), (u,), (unit_vector(i, u),))
        return row, column, gradient

    # Equal chunks, the last filled up with zero directions, so that the loop's body is compiled once.
    n_chunks = -(-u.size // rows)
    width = -(-u.size // n_chunks)
    index = jnp.arange(n_chunks * width).reshape(n_chunks, width)
    blocks, columns, gradients = jax.lax.map(jax.vmap(push, out_axes=(0, 0, None)), index)
    return blocks.reshape(-1, u.size)[: u.size], columns.reshape(-1, *slope.shape)[: u.size], gradients[0]
