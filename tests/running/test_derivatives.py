"""Derivatives of the engine against shift rules, differences and each other, under every transformation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from tests.cases import mostly_slow

N, DEPTH, BATCH = 4, 2, 3
OBSERVABLES = [qj.Z(0), qj.X(1) @ qj.Y(3), 0.5 * qj.Z(2) @ qj.Z(3) - qj.X(0)]
OPTIONS = {"collapse": qj.PlanOptions(collapse=True), "blocks": qj.PlanOptions(max_block=2, unroll=2)}


def model():
    """Data, a loop of weights, data again inside a loop; every weight is one Pauli rotation."""
    x, w, v = qj.Parameter("x", (N,)), qj.Parameter("w", (N,)), qj.Parameter("v", (2,))
    layer = qj.Circuit(N).rx(w[0], 0).ry(w[1], 1).rz(w[2], 2).rxx(w[3], 3, 1).cx(0, 1).cx(3, 2).h([1, 2])
    upload = qj.Circuit(N).ry(x[0], 0).rzz(v[0], 0, 2).rx(x[1], 1).rzx(v[1], 3, 0).cx(1, 3)
    circuit = qj.Circuit(N).h(2)
    for q in range(N):
        circuit.ry(x[q], q).p(x[q] * 0.5, q)
    return circuit.repeat(layer, DEPTH).repeat(upload, 2, shared=("x",)).cx(2, 0)


def model_params(dtype=np.float64):
    rng = np.random.default_rng(6)
    shapes = {"x": (BATCH, N), "w": (DEPTH, N), "v": (2, 2)}
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def split(params):
    """The weights as one vector, and how to put a vector (or many, shape (..., P)) back."""
    size = DEPTH * N
    flat = np.concatenate([np.ravel(params["w"]), np.ravel(params["v"])])

    def join(vectors):
        lead = np.shape(vectors)[:-1] + (1,) * (np.ndim(vectors) > 1)
        w, v = vectors[..., :size].reshape(*lead, DEPTH, N), vectors[..., size:].reshape(*lead, 2, 2)
        return {"x": params["x"], "w": w, "v": v}

    return flat, join


@pytest.mark.parametrize("options", mostly_slow(OPTIONS, keep=1))
def test_gradients_are_those_of_the_shift_rules(options):
    run = qj.expectation(model(), OBSERVABLES, options=OPTIONS[options])
    flat, join = split(model_params())
    size, half = len(flat), np.pi / 2 * np.eye(len(flat))

    def f(vector):
        return run(join(vector))

    jacobian = jax.jit(jax.jacrev(f))(flat)
    shifted = run(join(np.concatenate([flat + half, flat - half])))  # (2 P, batch, observables)
    assert jacobian.shape == (BATCH, 3, size)
    np.testing.assert_allclose(jacobian, np.moveaxis(shifted[:size] - shifted[size:], 0, -1) / 2, atol=1e-12)


@pytest.mark.parametrize("options", mostly_slow(OPTIONS))
def test_hessians_are_those_of_the_rule_twice(options):
    """On some pairs of weights from both loops."""
    run = qj.expectation(model(), OBSERVABLES, options=OPTIONS[options])
    flat, join = split(model_params())
    size, half = len(flat), np.pi / 2 * np.eye(len(flat))

    def f(vector):
        return run(join(vector))

    hessian = jax.jit(jax.jacfwd(jax.jacrev(f)))(flat)
    np.testing.assert_allclose(hessian, np.swapaxes(hessian, -1, -2), atol=1e-12)
    pairs = [(i, j) for i in (0, 3, 5, size - 4, size - 1) for j in (1, 3, 4, size - 1)]
    signs = list(itertools.product((1, -1), repeat=2))
    points = np.stack([flat + a * half[i] + b * half[j] for i, j in pairs for a, b in signs])
    values = np.asarray(run(join(points))).reshape(len(pairs), 4, BATCH, 3)
    by_rule = np.einsum("s,psbo->pbo", [a * b for a, b in signs], values) / 4
    got = np.stack([hessian[:, :, i, j] for i, j in pairs])
    np.testing.assert_allclose(got, by_rule, atol=1e-12)
    assert np.abs(by_rule).max() > 0.1


def loss(run):
    def value(params):
        out = run(params)
        return jnp.sum(jnp.tanh(out) * jnp.arange(1.0, 1 + out.size, dtype=out.dtype).reshape(out.shape))

    return value


def central(f, flat, index, step=1e-5):
    up, down = flat.at[index].add(step), flat.at[index].add(-step)
    return (f(up) - f(down)) / (2 * step)


def every_kind():
    """Expressions, projections, nested loops run backwards, gates without a two-term rule, weights times data."""
    x, w, v, s = qj.Parameter("x", (N,)), qj.Parameter("w", (2,)), qj.Parameter("v"), qj.Parameter("s")
    inner = qj.Circuit(N).crx(w[0] * x[0], 3, 1).u(w[1], x[1], s, 2).cx(2, 0)
    outer = qj.Circuit(N).repeat(inner, 2, shared=("x", "s")).cu(s, v, 0.3, x[2] ** 2, 1, 0)
    there = qj.Circuit(N).repeat(outer, 2, shared=("x", "s"))
    circuit = qj.Circuit(N).h([0, 1]).compose(there).ry(0.3, range(4)).compose(there.inverse())
    circuit.ry(s.exp(), 3).xx_plus_yy(s, x[3].sin(), 0, 3).project(1, 0).rx(s * s, 1).ry(0.9, 0).project(0, 1)
    return circuit.repeat(qj.Circuit(N).ry(s, 0).cx(0, 2).h(1).project(1, 1), 2, shared="s")


def test_gradients_of_everything_else_are_those_of_differences():
    circuit = every_kind()
    rng = np.random.default_rng(1)
    params = {k: rng.normal(size=((2,) if k == "x" else ()) + shape) for k, shape in circuit.parameters.items()}
    flat, unravel = ravel_pytree(params)
    f = jax.jit(lambda vector: loss(qj.expectation(circuit, OBSERVABLES))(unravel(vector)))
    gradient = jax.jit(jax.grad(f))(flat)
    by_difference = [central(f, flat, i) for i in range(len(flat))]
    np.testing.assert_allclose(gradient, by_difference, atol=1e-7)
    assert np.abs(gradient).min() > 1e-4  # nothing is trivially zero


def test_forward_and_reverse_agree_on_states():
    run = qj.statevector(model())
    params = model_params()
    rng = np.random.default_rng(9)
    tangent = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
    state, moved = jax.jit(lambda p, t: jax.jvp(run, (p,), (t,)))(params, tangent)
    np.testing.assert_allclose(state, run(params), atol=1e-14)
    step = 1e-6
    ends = (run(jax.tree.map(lambda p, t, s=s: p + s * t, params, tangent)) for s in (step, -step))
    np.testing.assert_allclose(moved, next(ends) / (2 * step) - next(ends) / (2 * step), atol=1e-8)
    # <cotangent, J tangent> = <J^T cotangent, tangent>, real and imaginary parts apart.
    cotangent = jnp.asarray(rng.normal(size=state.shape) + 1j * rng.normal(size=state.shape))
    back = jax.jit(jax.grad(lambda p: jnp.sum(cotangent.real * run(p).real + cotangent.imag * run(p).imag)))(params)
    left = jnp.sum(cotangent.real * moved.real + cotangent.imag * moved.imag)
    right = sum(jnp.sum(back[k] * tangent[k]) for k in params)
    np.testing.assert_allclose(left, right, rtol=1e-12)
    # A unit vector moves at right angles to itself.
    np.testing.assert_allclose(jnp.sum(state.conj() * moved, -1).real, 0, atol=1e-12)


def test_transformations_compose():
    """jit, vmap, grad and hessian in several orders give one Hessian."""
    run = qj.expectation(model(), OBSERVABLES)
    params = model_params()
    flat, join = split(params)
    size = len(flat)

    def single(vector, row):
        return jnp.sum(run({**join(vector), "x": row}) ** 2)

    def total(vector):
        return jnp.sum(run(join(vector)) ** 2)

    whole = jax.jit(jax.hessian(total))(flat)
    assert whole.shape == (size, size)
    parts = jax.jit(jax.vmap(jax.hessian(single), in_axes=(None, 0)))(flat, params["x"])
    np.testing.assert_allclose(parts.sum(0), whole, atol=1e-11)
    np.testing.assert_allclose(whole, whole.T, atol=1e-12)
    direction = np.random.default_rng(0).normal(size=size)
    reverse_over_forward = jax.jit(jax.grad(lambda v: jax.jvp(total, (v,), (direction,))[1]))(flat)
    np.testing.assert_allclose(reverse_over_forward, whole @ direction, atol=1e-11)


@pytest.mark.slow
def test_vmap_is_the_batch():
    run = qj.expectation(model(), OBSERVABLES)
    params = model_params()
    want = run(params)
    by_vmap = jax.vmap(run, in_axes=({"x": 0, "w": None, "v": None},))(params)
    np.testing.assert_allclose(by_vmap, want, atol=1e-13)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), params)
    both = jax.vmap(run)(stacked)  # vmap around a batch
    ensemble = {k: v if k == "x" else v[:, None] for k, v in stacked.items()}
    np.testing.assert_allclose(both, run(ensemble), atol=1e-13)
    np.testing.assert_allclose(both[0], want, atol=1e-13)


@pytest.mark.slow
def test_gradients_in_batches_are_sums_over_samples():
    run = qj.expectation(model(), OBSERVABLES, options=qj.PlanOptions(collapse=True))
    params = model_params()
    one = jax.jit(jax.grad(lambda p: jnp.sum(jnp.sin(run(p)))))
    whole = one(params)
    rows = [one({**params, "x": row}) for row in params["x"]]
    for name in ("w", "v"):
        np.testing.assert_allclose(whole[name], sum(row[name] for row in rows), atol=1e-12)
    np.testing.assert_allclose(whole["x"], np.stack([row["x"] for row in rows]), atol=1e-12)


def test_single_precision_is_close_to_double():
    circuit = model()

    def gradient(params):
        return jax.jit(jax.grad(loss(qj.expectation(circuit, OBSERVABLES))))(params)

    double, single = gradient(model_params()), gradient(model_params(np.float32))
    for name, value in single.items():
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, double[name], atol=2e-4)


def test_a_landscape_of_two_parameters_on_paper():
    """RX(a) on qubit 0, CX, RY(b) on qubit 2: <Z0> = cos a, <Z1> = cos a, <X2> = sin b."""
    a, b = qj.Parameter("a"), qj.Parameter("b")
    run = qj.expectation(qj.Circuit(3).rx(a, 0).cx(0, 1).ry(b, 2), qj.Z(1) @ qj.X(2) + qj.Z(0))
    values = {"a": 0.7, "b": -0.4}
    np.testing.assert_allclose(run(values), np.cos(0.7) * np.sin(-0.4) + np.cos(0.7), atol=1e-14)
    gradient, hessian = jax.jit(lambda v: (jax.grad(run)(v), jax.hessian(run)(v)))(values)
    sa, ca, sb, cb = np.sin(0.7), np.cos(0.7), np.sin(-0.4), np.cos(-0.4)
    np.testing.assert_allclose([gradient["a"], gradient["b"]], [-sa * sb - sa, ca * cb], atol=1e-14)
    matrix = [[hessian[i][j] for j in "ab"] for i in "ab"]
    np.testing.assert_allclose(matrix, [[-ca * sb - ca, -sa * cb], [-sa * cb, -ca * sb]], atol=1e-14)
