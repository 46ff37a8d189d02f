"""The adjoint sweep: exact in every order and mode, and its refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.plan import make_plan
from qjaxsim.running import adjoint
from tests.cases import mostly_slow

N, LAYERS, BATCH = 3, 2, 4


def rich_circuit(n=N, layers=LAYERS):
    """Data before, between and after loops, shared parameters, diagonals, permutations, swaps, a constant unitary."""
    x, w, v = qj.Parameter("x", (n,)), qj.Parameter("w", (n, 3)), qj.Parameter("v", (n,))
    layer = qj.Circuit(n)
    for q in range(n):
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
        layer.cx(q, (q + 1) % n)
    for q in range(n - 1):
        layer.rzz(w[q, 0] * v[q], q, q + 1)
    again = qj.Circuit(n).ry(x[0] * v[0], 0).repeat(qj.Circuit(n).crx(v[1], 0, 2).swap(1, 2), 2, shared=("v",))
    circuit = qj.Circuit(n)
    for q in range(n):
        circuit.ry(x[q], q)
    circuit.repeat(layer, layers, shared=("v",)).repeat(again, 2, shared=("v", "x"))
    for q in range(n):
        circuit.rx(x[q], q)
    rng = np.random.default_rng(5)
    matrix = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))[0]
    return circuit.h(0).cp(v[0], 0, 2).unitary(matrix, (1, n - 1)).iswap(0, n - 1)


def short_circuit(n=N):
    """Data, a loop with shared parameters, a diagonal and a swap: as much as third derivatives need."""
    x, w, v = qj.Parameter("x", (n,)), qj.Parameter("w", (n,)), qj.Parameter("v", (n,))
    layer = qj.Circuit(n)
    for q in range(n):
        layer.rx(w[q] * v[q], q).cx(q, (q + 1) % n)
    circuit = qj.Circuit(n).ry(x[0], 0).ry(x[2], 2).repeat(layer.rzz(v[0], 0, 1), 2, shared=("v",))
    return circuit.rx(x[1], 1).cp(v[1], 0, 2).swap(0, 1)


def parameters(circuit, dtype=np.float64, batch=BATCH):
    rng = np.random.default_rng(1)
    params = {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in circuit.parameters.items()}
    if batch:
        params["x"] = jnp.asarray(rng.normal(size=(batch, *circuit.parameters["x"])), dtype)
    return params


def losses(circuit, **options):
    """The same nonlinear loss by the sweep and by backpropagation."""

    def loss(gradient):
        values = qj.expectation(
            circuit, [qj.Z(0), qj.X(1) @ qj.Y(2)], options=qj.PlanOptions(gradient=gradient, **options)
        )
        return lambda params: (values(params) ** 3).sum()

    return loss("adjoint"), loss("backprop")


def assert_equal(a, b, tolerance=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=tolerance), a, b)


CHOICES = [
    {},
    {"collapse": True, "unroll": 2},
    {"collapse": False, "max_block": 2},
]


@functools.cache
def derivatives_both_ways(**options):
    """Value and gradient, Hessian product and push of the rich circuit, by the sweep and by backpropagation."""
    circuit = rich_circuit()
    params = parameters(circuit)
    tangent = jax.tree.map(lambda p: jnp.cos(3 * p), params)

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(loss, params):
        products = jax.jvp(jax.grad(loss), (params,), (tangent,))[1]
        return jax.value_and_grad(loss)(params), products, jax.jvp(loss, (params,), (tangent,))

    return [derivatives(loss, params) for loss in losses(circuit, **options)]


@pytest.mark.parametrize("options", mostly_slow(CHOICES), ids=str)
def test_gradients_and_hessian_products_equal_backpropagation(options):
    assert_equal(*derivatives_both_ways(**options))


def test_the_gradient_is_that_of_finite_differences():
    circuit = rich_circuit()
    params = parameters(circuit)
    swept, _ = losses(circuit)
    ((_, gradient), *_), _ = derivatives_both_ways()
    direction = jax.tree.map(lambda p: jnp.sin(5 * p), params)

    def along(step):
        return swept(jax.tree.map(lambda p, d: p + step * d, params, direction))

    slope = sum(jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
    h = 1e-5
    np.testing.assert_allclose(slope, (along(h) - along(-h)) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.thorough
def test_two_reversals():
    circuit = short_circuit()
    params = parameters(circuit, batch=2)

    def twice_reversed(loss):
        inner = jax.grad(loss)
        return jax.jit(jax.grad(lambda p: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(inner(p)))))(params)

    assert_equal(*map(twice_reversed, losses(circuit)))


@pytest.mark.parametrize("transform", mostly_slow([lambda f: jax.jacfwd(jax.jacfwd(f)), jax.hessian]))
def test_second_order_in_either_mode(transform):
    circuit = short_circuit()
    params = parameters(circuit, batch=2)
    of_v = [lambda v, f=f: f({**params, "v": v}) for f in losses(circuit)]
    assert_equal(*(jax.jit(transform(f))(params["v"]) for f in of_v))


@pytest.mark.parametrize("mapped", mostly_slow(["all", "x", "w", "v"]))
def test_mapped_inside_and_outside_the_derivative(mapped):
    circuit = rich_circuit()
    params = parameters(circuit, batch=2)
    swept, kept = losses(circuit, collapse=mapped in ("x", "all"))
    names = list(params) if mapped == "all" else [mapped]
    stacked = {name: jnp.stack([params[name], 2 * params[name], params[name] + 1]) for name in names}

    def inside(loss):
        def total(params):
            return jax.vmap(lambda some: loss({**params, **some}))(stacked).sum()

        return jax.grad(total)(params)

    def through(loss):
        return jax.grad(lambda some: jax.vmap(lambda one: loss({**params, **one}))(some).sum())(stacked)

    def outside(loss):
        return jax.vmap(lambda some: jax.grad(lambda p: loss({**p, **some}))(params))(stacked)

    for way in (inside, through) if mapped != "w" else (outside,):
        assert_equal(*(jax.jit(way, static_argnums=0)(loss) for loss in (swept, kept)))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_precisions(dtype, tolerance):
    """The sweep in either precision against backpropagation in double precision."""
    circuit = rich_circuit()
    swept, _ = losses(circuit)
    ((_, double), *_), ((_, want), *_) = derivatives_both_ways()
    got = jax.jit(jax.grad(swept))(parameters(circuit, dtype)) if dtype == np.float32 else double
    assert {leaf.dtype for leaf in jax.tree.leaves(got)} == {np.dtype(dtype)}
    assert_equal(got, want, tolerance)


def test_unitaries_and_wide_flat_circuits():
    w = qj.Parameter("w", (14,))
    circuit = qj.Circuit(14)
    for q in range(14):
        circuit.ry(w[q], q).cx(q, (q + 5) % 14).rzz(w[q], q, (q + 3) % 14)
    for q in range(14):
        circuit.rx(w[q], q)
    params = {"w": jnp.linspace(-1, 1, 14)}
    swept, kept = losses(circuit)
    assert_equal(*(jax.jit(jax.grad(loss))(params) for loss in (swept, kept)))
    small = qj.Circuit(3).repeat(qj.Circuit(3).ry(w[0], 0).crz(w[1], 0, 1).cx(1, 2), 4)
    values = jnp.linspace(0, 1, 4 * 14).reshape(4, 14)

    def weighted(gradient):
        matrix = qj.unitary(small, options=qj.PlanOptions(gradient=gradient))
        return jax.jit(jax.grad(lambda w: (matrix({"w": w}).real * jnp.arange(64.0).reshape(8, 8)).sum()))(values)

    assert_equal(weighted("adjoint"), weighted("backprop"))


@pytest.mark.parametrize("depth", mostly_slow([3, 2]))
def test_loops_in_loops_that_make_their_own_matrices(depth):
    circuit = qj.Circuit(3).rx(qj.Parameter("u", ()), 1).cx(0, 1).ry(qj.Parameter("v", (2,))[1], 0)
    for times in (5, 2, 3)[:depth]:
        circuit = qj.Circuit(3).repeat(circuit, times, shared=("v",) if times == 5 else ())
    circuit = qj.Circuit(3).h(0).repeat(circuit, 1)
    params = parameters(circuit, batch=0)
    swept, kept = losses(circuit)
    assert_equal(jax.jit(jax.grad(swept))(params), jax.jit(jax.grad(kept))(params))


def test_circuits_with_projections_take_the_other_path():
    w = qj.Parameter("w", (3,))
    circuit = qj.Circuit(3).ry(w[0], 0).cx(0, 1).ry(w[1], 1).project(0, 1).rx(w[2], 2)
    nested = qj.Circuit(3).repeat(qj.Circuit(3).ry(w[0], 0).project(1, 0), 10**6)
    for each in (circuit, nested):
        assert not adjoint.uses_adjoint(make_plan(each), 1, 8, qj.PlanOptions())
    refused = qj.expectation(circuit, qj.Z(1), options=qj.PlanOptions(gradient="adjoint"))
    with pytest.raises(ValueError, match="Option `gradient` must not be 'adjoint' for a circuit with projections.*use"):
        refused({"w": jnp.ones(3)})
    values = qj.expectation(circuit, qj.Z(1))
    assert np.isfinite(jax.grad(lambda w: values({"w": w}))(jnp.ones(3))).all()


def test_wrong_choice_is_refused():
    with pytest.raises(ValueError, match="Argument `gradient` must be 'adjoint', 'backprop' or None, but is 'shift'"):
        qj.PlanOptions(gradient="shift")
