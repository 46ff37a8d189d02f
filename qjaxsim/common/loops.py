"""Loops whose bodies call a model, with its convolutions in an order of axes that is fast on CPUs.

XLA turns the axes of a convolution into the one order that its kernels for CPUs take, but not inside loops
(jax-ml/jax#12868). Derivatives of convolutions, and models that have their channels first, take up to twenty times as
long there. So the body of a loop is traced here, and a convolution of another order written with its axes turned.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend import core
from jax.extend.core.primitives import conv_general_dilated_p

Body = Callable[..., Any]


def fori_loop(lower: Any, upper: Any, body: Body, start: Any) -> Any:
    """`jax.lax.fori_loop` whose body may hold convolutions."""
    return lax.fori_loop(lower, upper, turned(body), start)


def scan(body: Body, start: Any, xs: Any) -> Any:
    """`jax.lax.scan` whose body may hold convolutions."""
    return lax.scan(turned(body), start, xs)


def each(body: Body, xs: Any, batch_size: int | None = None) -> Any:
    """`jax.lax.map` whose body may hold convolutions."""
    return lax.map(turned(body), xs, batch_size=batch_size)


def turned(function: Body) -> Body:
    """The function with the axes of its convolutions turned; as it is where it has none to turn, or runs by steps."""
    if jax.default_backend() != "cpu" or jax.config.jax_disable_jit:  # type: ignore[attr-defined]
        return function

    @functools.wraps(function)
    def in_order(*args: Any) -> Any:
        traced, out = jax.make_jaxpr(function, return_shape=True)(*args)
        if not _has_some(traced.jaxpr):
            return function(*args)
        return jax.tree.unflatten(jax.tree.structure(out), _run(traced.jaxpr, traced.consts, *jax.tree.leaves(args)))

    return in_order


def _has_some(jaxpr: core.Jaxpr) -> bool:
    """Whether there is a convolution to turn."""
    return any(
        (equation.primitive is conv_general_dilated_p and not _is_in_order(equation))
        or any(map(_has_some, _inside(equation.params.values())))
        for equation in jaxpr.eqns
    )


def _inside(values: Any) -> Iterator[core.Jaxpr]:
    """Programs among an operation's parameters."""
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, core.Jaxpr):
            yield value
        elif isinstance(value, tuple):
            yield from _inside(value)


def _run(jaxpr: core.Jaxpr, consts: Sequence[Any], *args: Any) -> list[Any]:
    """What a program gives, with convolutions turned."""
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else known[variable]

    for equation in jaxpr.eqns:
        values = [read(variable) for variable in equation.invars]
        if equation.primitive is conv_general_dilated_p:
            found = [_convolved(equation, *values)]
        else:
            params = {name: _with_turned(value) for name, value in equation.params.items()}
            with equation.ctx.manager:
                found = equation.primitive.bind(*values, **equation.primitive.get_bind_params(params))
            found = found if equation.primitive.multiple_results else [found]
        known.update(zip(equation.outvars, found, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _with_turned(value: Any) -> Any:
    """A parameter of an operation, a program with its convolutions turned."""
    if not any(map(_has_some, _inside((value,)))):
        return value
    if isinstance(value, tuple):
        return tuple(map(_with_turned, value))
    if not isinstance(value, core.ClosedJaxpr):
        return _with_turned(core.ClosedJaxpr(value, ())).jaxpr
    return jax.make_jaxpr(functools.partial(_run, value.jaxpr, value.consts))(*value.in_avals)


# --- one convolution -------------------------------------------------------------------------------------------------


def _is_in_order(equation: Any) -> bool:
    """Whether its axes stand as XLA's kernels for CPUs take them."""
    numbers = equation.params["dimension_numbers"]
    return tuple(map(tuple, numbers)) == _order(len(numbers.lhs_spec))


def _order(rank: int) -> tuple[tuple[int, ...], ...]:
    """Places of samples, channels and space; of the kernel of outputs, inputs and space; and again of the first."""
    inner = tuple(range(1, rank - 1))
    outside = (0, rank - 1, *inner)
    return outside, (rank - 1, rank - 2, *range(rank - 2)), outside


def _convolved(equation: Any, images: jax.Array, kernel: jax.Array) -> jax.Array:
    """What a convolution gives, with samples first and channels last while it is computed."""
    lhs, rhs, out = equation.params["dimension_numbers"]
    order = lax.ConvDimensionNumbers(*_order(images.ndim))
    images = images.transpose(lhs[0], *lhs[2:], lhs[1])
    kernel = kernel.transpose(*rhs[2:], rhs[1], rhs[0])
    found: jax.Array = conv_general_dilated_p.bind(images, kernel, **equation.params | {"dimension_numbers": order})
    return found.transpose([order.out_spec[out.index(axis)] for axis in range(images.ndim)])
