"""Loops that turn the axes of convolutions: values as outside loops, and every convolution in the fast order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr

from qjaxsim.common import loops
from qjaxsim.curvature import curvature_operators
from qjaxsim.models.losses import cross_entropy
from qjaxsim.training.config import TrainConfig, gradient_transformation
from qjaxsim.training.epoch import epoch_function, stacks_of

LAYOUTS = {  # specifications of images, kernels and results
    "channels last": ("NHWC", "HWIO", "NHWC"),
    "channels first": ("NCHW", "OIHW", "NCHW"),
    "one axis": ("NCH", "OIH", "NCH"),
    "three axes, mixed": ("CNHWD", "HWIDO", "HNWCD"),
}


def convolutions(jaxpr):
    """Places of axes of all convolutions in a program."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            found.append(tuple(map(tuple, equation.params["dimension_numbers"])))
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: isinstance(v, Jaxpr)):
            if isinstance(value, ClosedJaxpr | Jaxpr):
                found += convolutions(getattr(value, "jaxpr", value))
    return found


def are_in_order(found):
    """Whether samples come first and channels last, the kernel's outputs last and its inputs before them."""
    return all(
        (lhs[0], lhs[1], rhs[0], rhs[1], out[0], out[1]) == (0, rank - 1, rank - 1, rank - 2, 0, rank - 1)
        and lhs[2:] == out[2:] == tuple(range(1, rank - 1))
        and rhs[2:] == tuple(range(rank - 2))
        for lhs, rhs, out in found
        for rank in (len(lhs),)
    )


def case(layout, key, **options):
    """A convolution, and images and a kernel for it; every axis has a length of its own."""
    sizes = {"N": 4, "C": 6, "H": 9, "W": 8, "D": 7}
    groups = options.get("feature_group_count", 1)
    kernel_sizes = {"I": 6 // groups, "O": 8, "H": 3, "W": 2, "D": 2}
    images, kernel, _ = LAYOUTS[layout]
    keys = jax.random.split(key)
    x = jax.random.normal(keys[0], [sizes[axis] for axis in images])
    w = jax.random.normal(keys[1], [kernel_sizes[axis] for axis in kernel])
    strides = (2,) * (x.ndim - 2)
    settings = {"window_strides": strides, "padding": "SAME", "dimension_numbers": LAYOUTS[layout], **options}

    def convolve(x, w):
        return lax.conv_general_dilated(x, w, **settings)

    return convolve, x, w


@pytest.mark.parametrize("layout", LAYOUTS)
def test_values_and_derivatives_are_those_outside_and_all_convolutions_are_in_order(layout, key):
    convolve, x, w = case(layout, key)

    def slope(scale, w):
        return jax.grad(lambda w: jnp.sin(scale * convolve(x, w)).sum())(w)

    def looped(w):
        return loops.fori_loop(0, 2, lambda i, total: total + slope(1.0 + i, w), jnp.zeros_like(w))

    np.testing.assert_allclose(jax.jit(looped)(w), slope(1.0, w) + slope(2.0, w), rtol=1e-12, atol=1e-12)
    found = convolutions(jax.make_jaxpr(looped)(w).jaxpr)
    assert len(found) == 2 and are_in_order(found)
    plain = jax.make_jaxpr(lambda w: lax.fori_loop(0, 2, lambda i, t: t + slope(1.0 + i, w), jnp.zeros_like(w)))(w)
    assert not are_in_order(convolutions(plain.jaxpr))  # of JAX's own loop the test would say so


@pytest.mark.parametrize(
    "options",
    [
        {"feature_group_count": 2},
        {"batch_group_count": 2},
        {"rhs_dilation": (2, 1)},
        {"lhs_dilation": (1, 2), "padding": ((1, 2), (0, 1))},
    ],
    ids=str,
)
def test_groups_and_dilations_stay(options, key):
    convolve, x, w = case("channels first", key, **options)
    stack = jnp.stack([w, 2 * w, -w])
    found = jax.jit(lambda stack: loops.each(lambda w: convolve(x, w), stack))(stack)
    np.testing.assert_allclose(found, jnp.stack([convolve(x, each) for each in stack]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("within", ["jit", "checkpoint", "custom_jvp", "cond", "scan", "vmap"])
def test_convolutions_within_other_operations_are_turned(within, key):
    convolve, x, w = case("channels first", key)
    ruled = jax.custom_jvp(convolve)
    ruled.defjvp(lambda at, moved: jax.jvp(convolve, at, moved))
    inner = {
        "jit": jax.jit(convolve),
        "checkpoint": jax.checkpoint(convolve),
        "custom_jvp": ruled,
        "cond": lambda x, w: lax.cond(w.sum() > -1e9, convolve, lambda x, w: 0 * convolve(x, w), x, w),
        "scan": lambda x, w: lax.scan(lambda c, k: (c + convolve(x, k), None), 0 * convolve(x, w), w[None])[0],
        "vmap": lambda x, w: jax.vmap(convolve, (None, 0))(x, w[None])[0],
    }[within]

    def looped(stack):
        return loops.scan(lambda total, w: (total + inner(x, w).sum(), None), jnp.zeros(()), stack)[0]

    stack = jnp.stack([w, w**2])
    np.testing.assert_allclose(jax.jit(looped)(stack), convolve(x, w).sum() + convolve(x, w**2).sum(), rtol=1e-10)
    assert are_in_order(convolutions(jax.make_jaxpr(looped)(stack).jaxpr))
    expected = jax.grad(lambda stack: sum(convolve(x, each).sum() for each in stack))(stack)
    np.testing.assert_allclose(jax.grad(looped)(stack), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(jax.vmap(looped)(stack[:, None]).sum(), looped(stack), rtol=1e-10)


def test_other_bodies_are_as_they_are_and_so_is_everything_that_runs_by_steps():
    body = lambda i, total: total + jnp.cos(total)  # noqa: E731
    ours, jaxs = (str(jax.make_jaxpr(lambda x, f=f: f(0, 3, body, x))(1.0)) for f in (loops.fori_loop, lax.fori_loop))
    assert ours == jaxs
    with jax.disable_jit():
        assert loops.turned(body) is body


def outputs(params, x):
    """A small network with its channels first."""
    hidden = jnp.tanh(lax.conv(x, params["kernel"], (2, 2), "SAME"))
    return hidden.reshape(len(x), -1) @ params["head"]


def network(key):
    keys = jax.random.split(key, 3)
    params = {"kernel": jax.random.normal(keys[0], (2, 1, 3, 3)), "head": jax.random.normal(keys[1], (8, 3))}
    return params, jax.random.normal(keys[2], (6, 1, 4, 4)), jnp.arange(6) % 3


def test_products_of_a_convolutional_networks_curvature(key):
    params, x, y = network(key)
    operator = curvature_operators(outputs, cross_entropy, params, x, y, batch_size=4).hessian
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    vector = jax.random.normal(key, flat.shape)
    slope = jax.grad(lambda w: cross_entropy(outputs(unravel(w), x), y).mean())
    np.testing.assert_allclose(operator @ vector, jax.jvp(slope, (flat,), (vector,))[1], rtol=1e-9, atol=1e-10)
    found = convolutions(jax.make_jaxpr(operator.matvec)(vector).jaxpr)
    assert len(found) > 2 and are_in_order(found)


def test_an_epoch_of_a_convolutional_network(key):
    params, x, y = network(key)
    losses = lambda params, x, y: cross_entropy(outputs(params, x), y)  # noqa: E731
    config = TrainConfig(optimizer="sgd", batch_size=3, epochs=1)
    run, state = epoch_function(losses, config), gradient_transformation(config).init(params)
    stacks = stacks_of([np.array([0, 2, 4]), np.array([1, 3, 5])], None, together=True)
    trained, *_ = run(params, state, x, y, stacks, 0.1)
    by_hand = params
    for rows in (slice(0, None, 2), slice(1, None, 2)):
        slope = jax.grad(lambda p, rows: losses(p, x[rows], y[rows]).mean())(by_hand, rows)
        by_hand = jax.tree.map(lambda p, g: p - 0.1 * g, by_hand, slope)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), trained, by_hand)
    assert are_in_order(convolutions(jax.make_jaxpr(run)(params, state, x, y, stacks, 0.1).jaxpr))
