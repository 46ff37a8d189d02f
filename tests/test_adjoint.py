"""The adjoint sweep: exact in every order and mode, memory that does not grow with depth, the choice, the refusal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import adjoint
from qjaxsim.plan import make_plan
from qjaxsim.steps import Dense, Loop

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


CHOICES = [{}, {"collapse": True, "unroll": 2}, {"collapse": False, "max_block": 2}]


@pytest.mark.parametrize("options", CHOICES, ids=str)
def test_gradients_and_hessian_products_equal_backpropagation(options):
    circuit = rich_circuit()
    params = parameters(circuit)
    swept, kept = losses(circuit, **options)
    tangent = jax.tree.map(lambda p: jnp.cos(3 * p), params)

    @functools.partial(jax.jit, static_argnums=0)
    def derivatives(loss, params):
        products = jax.jvp(jax.grad(loss), (params,), (tangent,))[1]
        return jax.value_and_grad(loss)(params), products, jax.jvp(loss, (params,), (tangent,))

    assert_equal(*(derivatives(loss, params) for loss in (swept, kept)))


def test_the_gradient_is_that_of_finite_differences():
    circuit = rich_circuit()
    params = parameters(circuit)
    swept, _ = losses(circuit)
    direction = jax.tree.map(lambda p: jnp.sin(5 * p), params)

    def along(step):
        return swept(jax.tree.map(lambda p, d: p + step * d, params, direction))

    slope = sum(
        jnp.vdot(g, d) for g, d in zip(*map(jax.tree.leaves, (jax.grad(swept)(params), direction)), strict=True)
    )
    h = 1e-5
    np.testing.assert_allclose(slope, (along(h) - along(-h)) / (2 * h), rtol=1e-6, atol=1e-8)


def test_every_mode_and_order():
    circuit = rich_circuit()
    params = parameters(circuit, batch=2)
    swept, kept = losses(circuit)

    def twice_reversed(loss):
        inner = jax.grad(loss)
        return jax.jit(jax.grad(lambda p: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(inner(p)))))(params)

    assert_equal(twice_reversed(swept), twice_reversed(kept))
    of_v = [lambda v, f=f: f({**params, "v": v}) for f in (swept, kept)]
    for transform in (jax.hessian, lambda f: jax.jacfwd(jax.jacfwd(f))):
        assert_equal(*(jax.jit(transform(f))(params["v"]) for f in of_v))


@pytest.mark.parametrize(
    "mapped", ["x", pytest.param("w", marks=pytest.mark.slow), pytest.param("v", marks=pytest.mark.slow), "all"]
)
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
        assert_equal(way(swept), way(kept))


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-12)])
def test_precisions(dtype, tolerance):
    circuit = rich_circuit()
    params = parameters(circuit, dtype)
    swept, kept = losses(circuit)
    got, want = jax.grad(swept)(params), jax.grad(kept)(params)
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
    assert_equal(jax.grad(swept)(params), jax.grad(kept)(params))
    small = qj.Circuit(3).repeat(qj.Circuit(3).ry(w[0], 0).crz(w[1], 0, 1).cx(1, 2), 4)
    values = jnp.linspace(0, 1, 4 * 14).reshape(4, 14)

    def weighted(gradient):
        matrix = qj.unitary(small, options=qj.PlanOptions(gradient=gradient))
        return jax.grad(lambda w: (matrix({"w": w}).real * jnp.arange(64.0).reshape(8, 8)).sum())(values)

    assert_equal(weighted("adjoint"), weighted("backprop"))


# --- mechanism --------------------------------------------------------------------------------------------------------


def layered(n, depth):
    w, layer = qj.Parameter("w", (n, 3)), qj.Circuit(n)
    for q in range(n):
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
    for q in range(n):
        layer.cx(q, (q + 1) % n)
    return qj.Circuit(n).repeat(layer, depth)


def scratch(depth, gradient, second_order):
    """Temporary bytes of a compiled gradient or Hessian-vector product of 10 qubits, in states."""
    values = qj.expectation(layered(10, depth), qj.Z(0) @ qj.Z(1), options=qj.PlanOptions(gradient=gradient))

    def derivative(w, v):
        slope = jax.grad(lambda w: values({"w": w}))
        return jax.jvp(slope, (w,), (v,))[1] if second_order else slope(w)

    w = jax.ShapeDtypeStruct((depth, 10, 3), np.float64)
    return jax.jit(derivative).lower(w, w).compile().memory_analysis().temp_size_in_bytes / (16 * 2**10)


@pytest.mark.parametrize("second_order", [False, True])
def test_compiled_memory_does_not_grow_with_depth(second_order):
    shallow, deep = scratch(16, "adjoint", second_order), scratch(256, "adjoint", second_order)
    assert deep <= 1.05 * shallow
    assert deep < 40
    assert scratch(64, "backprop", second_order) > 10 * deep


def test_programs_do_not_grow_with_depth():
    def length(depth):
        values = qj.expectation(layered(4, depth), qj.Z(0), options=qj.PlanOptions(gradient="adjoint"))
        w = jax.ShapeDtypeStruct((depth, 4, 3), np.float64)
        slope = jax.grad(lambda w: values({"w": w}))
        return len(str(jax.make_jaxpr(lambda w: jax.jvp(slope, (w,), (w,)))(w)).splitlines())

    assert length(8) == length(80)


def test_the_choice_follows_the_states_that_backpropagation_would_keep():
    options = qj.PlanOptions()

    def chosen(depth, n=10, columns=1):
        return adjoint.uses_adjoint(make_plan(layered(n, depth)), columns, 8, options)

    depths = [2**i for i in range(1, 14)]
    decisions = [chosen(depth) for depth in depths]
    assert decisions == sorted(decisions) and {True, False} == set(decisions)
    assert chosen(64, columns=512) and not chosen(64)
    few, many = (adjoint.kept_bytes(make_plan(layered(10, d)).steps, 10, 1, 8) for d in (10, 30))
    assert many == 3 * few
    state = 16 * 2**10
    (loop,) = [step for step in make_plan(layered(10, 10)).steps if isinstance(step, Loop)]
    products = sum(isinstance(step, Dense) for step in loop.body.steps)
    assert few == 10 * products * state
    plan = make_plan(layered(10, 2**13))
    assert not adjoint.uses_adjoint(plan, 1, 8, qj.PlanOptions(gradient="backprop"))


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
