"""Derivatives in constant memory as a JAX primitive of its own, `sweep`.

A linear map of tangents, given by one function that pushes tangents forwards and one that pulls cotangents back. Both
are made of ordinary operations, so derivatives of any order and mode, `vmap` and `jit` go through it exactly. (A
`jax.custom_vjp` would forbid forward mode; `jax.custom_derivatives.linear_call` drops derivatives of its residuals.)
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Tree = Any

sweep_p = Primitive("sweep")


def with_sweep(forward: Callable[[Tree], jax.Array], pull: Callable[[jax.Array, Tree, jax.Array], Tree]) -> Callable:
    """A function with a derivative of its own in reverse mode.

    Args:
        forward: from a pytree of real arrays to an array, made of differentiable operations.
        pull: from the result, the inputs and a cotangent of the result to cotangents of the inputs.

    Returns:
        `forward` with the same derivatives; only where reverse mode would keep intermediate values, it calls `pull`.
    """

    @jax.custom_jvp
    def run(inputs: Tree) -> jax.Array:
        return forward(inputs)

    @run.defjvp
    def rule(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
        # Not `run` again: derivatives of this result are those of `forward`, so that second order in forward mode
        # carries one tangent through the circuit and no more.
        out = forward(*primals)
        residuals, tree = jax.tree.flatten((out, primals[0]))
        flat = jax.tree.leaves(tangents[0])

        def push(residuals: Sequence[jax.Array], tangents: Sequence[jax.Array]) -> jax.Array:
            _, inputs = jax.tree.unflatten(tree, residuals)
            return jax.jvp(forward, (inputs,), (jax.tree.unflatten(jax.tree.structure(inputs), tangents),))[1]

        def transpose(residuals: Sequence[jax.Array], ct: jax.Array) -> list[jax.Array]:
            final, inputs = jax.tree.unflatten(tree, residuals)
            return jax.tree.leaves(pull(final, inputs, ct))

        tangent = sweep_p.bind(*residuals, *flat, n_residuals=len(residuals), push=push, transpose=transpose)
        return out, tangent

    return run


def _push(*args: jax.Array, n_residuals: int, push: Callable, transpose: Callable) -> jax.Array:
    return push(args[:n_residuals], args[n_residuals:])


def _shape(*args: Any, **params: Any) -> Any:
    # Not `jax.eval_shape`, which loses over which axes of a mesh the result varies where others are left to XLA.
    return jax.make_jaxpr(lambda *a: _push(*a, **params))(*args).out_avals[0]


def _forward_mode(primals: Sequence[Any], tangents: Sequence[Any], **params: Any) -> tuple[Any, Any]:
    """Second derivatives in forward mode are those of the function that pushes tangents."""
    full = [jnp.zeros_like(p) if type(t) is ad.Zero else t for p, t in zip(primals, tangents, strict=True)]
    return jax.jvp(lambda *a: _push(*a, **params), tuple(primals), tuple(full))


def _transpose(ct: Any, *args: Any, n_residuals: int, push: Callable, transpose: Callable) -> list[Any]:
    nothing = [None] * n_residuals
    if type(ct) is ad.Zero:
        return nothing + [None] * (len(args) - n_residuals)
    pulled = transpose(args[:n_residuals], ct)
    linear = [ad.is_undefined_primal(arg) for arg in args[n_residuals:]]
    return nothing + [p if wanted else None for p, wanted in zip(pulled, linear, strict=True)]


def _batch(args: Sequence[Any], dims: Sequence[Any], *, n_residuals: int, push: Callable, transpose: Callable) -> Any:
    """A mapped sweep is the sweep of the mapped functions; tangents that lack the axis are repeated along it."""
    (size,) = {arg.shape[dim] for arg, dim in zip(args, dims, strict=True) if dim is not None}
    axes = list(dims)
    tangents = [
        jnp.broadcast_to(arg, (size, *arg.shape)) if axis is None else jnp.moveaxis(arg, axis, 0)
        for arg, axis in zip(args[n_residuals:], axes[n_residuals:], strict=True)
    ]
    inner = (tuple(axes[:n_residuals]), 0)

    def push_all(residuals: Sequence[jax.Array], tangents: Sequence[jax.Array]) -> jax.Array:
        return jax.vmap(push, in_axes=inner)(tuple(residuals), list(tangents))

    def transpose_all(residuals: Sequence[jax.Array], ct: jax.Array) -> list[jax.Array]:
        return jax.vmap(transpose, in_axes=inner)(tuple(residuals), ct)

    out = sweep_p.bind(*args[:n_residuals], *tangents, n_residuals=n_residuals, push=push_all, transpose=transpose_all)
    return out, 0


sweep_p.def_impl(jax.jit(_push, static_argnames=("n_residuals", "push", "transpose")))
sweep_p.def_abstract_eval(_shape)
ad.primitive_jvps[sweep_p] = _forward_mode
ad.primitive_transposes[sweep_p] = _transpose
batching.primitive_batchers[sweep_p] = _batch
mlir.register_lowering(sweep_p, mlir.lower_fun(_push, multiple_results=False))
