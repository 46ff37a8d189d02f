"""Derivatives inside and around `jax.shard_map` on four devices: equal to those of one device."""

import json
import os
import subprocess
import sys

import pytest

from tests.cases import mostly_slow

# What tests/devices finds in every run, by more ways and models.
pytestmark = pytest.mark.slow

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np, qjaxsim as qj
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from qjaxsim.curvature import (CircuitOutputs, PartSum, StagedCircuit, curvature_operators, gauss_newton_product,
    hessian_product, residual_product, plan_split, split_hessian)
from qjaxsim.models.hybrid import HybridModel

mesh = Mesh(np.array(jax.devices()), ("d",))
found = {}
ALL = sys.argv[1] == "all"

def note(name, got, want):
    errors = jax.tree.map(lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), got, want)
    found[name] = max(jax.tree.leaves(errors))

def mapped(f, specs, check=True):
    return jax.jit(jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check))

def mean(tree):
    return jax.lax.pmean(tree, "d")

def chain(n, repeats):
    x, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    layer = qj.Circuit(n)
    for q in range(n):
        layer.ry(x, q).rx(w[q % 3], q)
    for q in range(n - 1):
        layer.cx(q, q + 1)
    return layer if repeats == 1 else qj.Circuit(n).repeat(layer.rzz(w[0], 0, n - 1), repeats, shared=["x"])

def gradients(n, repeats, observables, **options):
    circuit = chain(n, repeats)
    f = qj.expectation(circuit, observables, options=qj.PlanOptions(**options))
    loss = lambda w, x: (f({"x": x, "w": w}) ** 2).mean()
    w = jnp.asarray(np.random.default_rng(0).normal(size=circuit.parameters["w"]))
    v, x = jnp.cos(w), jnp.linspace(0, 1, 8)
    slope = lambda w: jax.grad(loss)(w, x)
    want = jax.jit(lambda w: (slope(w), jax.jvp(slope, (w,), (v,))[1]))(w)
    name = f"{n} qubits, {repeats} layers, {len(observables)} observables, {options}"
    whole = repeats == 1 and n == 4  # compiling takes the time: all ways of one circuit, two of each other plan
    for check in (True, False) if whole else (True,):
        outside = jax.grad(mapped(lambda w, x: mean(loss(w, x)), (P(), P("d")), check))
        got = jax.jit(lambda w: (outside(w, x), jax.jvp(lambda w: outside(w, x), (w,), (v,))[1]))(w)
        note(f"{name}, outside, {check}", got, want)
    inside = jax.grad(lambda w, x: mean(loss(w, x)))
    both = lambda w, x, v: (inside(w, x), jax.jvp(lambda w: inside(w, x), (w,), (v,))[1])
    note(f"{name}, inside", mapped(both, (P(), P("d"), P()))(w, x, v), want)
    if not whole:
        return
    own = lambda w, x: mean(jax.grad(loss)(jax.lax.pcast(w, "d", to="varying"), x))
    note(f"{name}, own share", mapped(own, (P(), P("d")))(w, x), want[0])
    one = lambda w, x: mean(jax.vmap(loss, (None, 0))(w, x).mean())
    note(f"{name}, vmap", jax.jit(jax.grad(mapped(one, (P(), P("d")))))(w, x), want[0])
    ensemble = jnp.stack([w, -w, v, 2 * w])
    each = jax.jit(jax.grad(mapped(lambda w, x: mean(loss(w[0], x)), (P("d"), P()))))(ensemble, x)
    note(f"{name}, ensemble", each, jax.jit(jax.vmap(lambda w: slope(w) / 4))(ensemble))

few = [qj.Z(1), qj.X(0) @ qj.Y(2)]
gradients(4, 1, few)
gradients(4, 3, few, gradient="adjoint", collapse=True)
if ALL:
    gradients(4, 3, few, gradient="backprop")
    labels = [a + b + c for a in "XYZ" for b in "XYZ" for c in "XYI"]
    gradients(3, 1, [sum(qj.PauliSum.from_label(label, 0.1) for label in labels), qj.Z(0)], gradient="adjoint")

def reported():
    x, w = qj.Parameter("x"), qj.Parameter("w", (3,))
    f = qj.expectation(chain(6, 1), qj.Z(1))
    loss = lambda w, x: (f({"x": x, "w": w}) ** 2).mean()
    w, x = jnp.array([0.3, 0.7, 0.2]), jnp.linspace(0, 1, 8)
    note("reported", jax.jit(jax.grad(mapped(lambda w, x: mean(loss(w, x)), (P(), P("d")))))(w, x),
        jnp.array([-0.18939, -0.515689, 0.0]))

reported()

def second_order(name, outputs, params, x, y, products=True):
    loss = lambda z, y: jnp.log1p(jnp.exp(z)).sum(1) - z[:, 0] * y
    v = jax.tree.map(jnp.cos, params)
    def every(params, x, y, v):
        arguments = outputs, loss, params, x, y
        if not products:
            return split_hessian(*arguments)
        kinds = (hessian_product, gauss_newton_product, residual_product)[: 3 if ALL else 1]
        images = [product(*arguments, v) for product in kinds]
        return split_hessian(*arguments), images, curvature_operators(*arguments).hessian.dense()
    for check in (True, False) if ALL and name == "pushed" else (True,):
        got = mapped(lambda *a: mean(every(*a)), (P(), P("d"), P("d"), P()), check)(params, x, y, v)
        note(f"{name}, {check}", got, every(params, x, y, v))

made = qj.Circuit(3)
for q in range(3):
    made.ry(qj.Parameter("x"), q).rx(qj.Parameter("w", (3,))[q], q)
model = CircuitOutputs(made.cx(0, 1).cx(1, 2).rx(qj.Parameter("w", (3,))[0], 2), few, ("x",))
first = CircuitOutputs(qj.Circuit(2).ry(qj.Parameter("x"), 0).h(1).cx(0, 1).rx(qj.Parameter("w", (3,))[2], 1)
    .ry(qj.Parameter("w", (3,))[1], 0).cz(0, 1).rx(qj.Parameter("w", (3,))[0], 1), [qj.Z(1), qj.X(0)], ("x",))
problem = {"w": jnp.array([0.3, 0.7, 0.2])}, {"x": jnp.linspace(0, 1, 8)}, jnp.arange(8.0) % 2
second_order("pushed", model, *problem)
if ALL:
    second_order("first", first, *problem)
    type(first).sees_little = lambda self, n: False
    type(first).collapses = lambda self, n, p: True
    second_order("collapsed", CircuitOutputs(first.circuit, first.observables, ("x",)), *problem)

x, w = qj.Parameter("x", (2,)), qj.Parameter("w", (4,))
part = qj.Circuit(2).rx(w[0], 0).crz(w[1], 0, 1).ry(x[0] + w[2], 0).rx(x[1], 1).cx(0, 1).ry(w[3], 1)
part = StagedCircuit(part, [qj.Z(1), qj.X(0)], {"w": np.arange(4)}, lambda x: {"x": x}, frozenset({"x"}))
pair = PartSum(part, np.array([[0, 1, 2, 3], [0, 4, 5, 6]]), lambda x: x, 2.0)  # two circuits that share a weight
staged = pair, jnp.linspace(0.3, 2, 7), jnp.linspace(0, 1, 32).reshape(8, 2, 2), jnp.arange(8.0) % 2
assert plan_split(pair, lambda z, y: z[:, 0], *staged[1:]).structure == "stages"
if ALL:
    second_order("staged", *staged, products=False)

images = jnp.linspace(0, 1, 32).reshape(8, 2, 2)

def drawn():
    model, key = HybridModel(2, 1, image_size=2, n_classes=2), jax.random.key(1)
    params = model.init(jax.random.key(0))
    loss = lambda p, x: (model.sampled_outputs(p, x, 50, key) ** 2).mean()
    slope = jax.jit(jax.grad(loss))
    shares = [slope(params, images[2 * i : 2 * i + 2]) for i in range(4)]
    want = jax.tree.map(lambda *each: sum(each) / 4, *shares)
    total = lambda p, x: mean(loss(p, x))
    spread = lambda check: jax.jit(jax.grad(mapped(total, (P(), P("d")), check)))(params, images)
    note("drawn", spread(False), want)
    try:
        spread(True)
    except ValueError as error:
        assert "map with `check_vma=False`" in str(error), error
        found["drawn, checked"] = 0.0
    draw = lambda x: qj.sample(qj.Circuit(2).ry(qj.Parameter("x"), 0).h(1), 20)({"x": x}, key)
    got = jax.shard_map(draw, mesh=mesh, in_specs=P("d"), out_specs=P("d"))(jnp.linspace(0, 3, 8))
    note("outcomes", got, jnp.concatenate([draw(x) for x in jnp.linspace(0, 3, 8).reshape(4, 2)]))

drawn()

def spread(f, w, x):
    want = jax.jit(jax.grad(lambda w: (f({"x": x, "w": w}) ** 2).mean()))(w)
    device = lambda w, x: (f({"x": x, "w": w}) ** 2).mean()
    by_device = jax.pmap(lambda w, x: mean(device(w, x)), "d", in_axes=(None, 0), out_axes=None)
    note("pmap", jax.grad(lambda w: by_device(w, x.reshape(4, 2)))(w), want)
    placed = jax.device_put(x, NamedSharding(mesh, P("d")))
    note("placed", jax.jit(jax.grad(device))(w, placed), want)

spread(qj.expectation(chain(3, 1), few), jnp.array([0.3, 0.7, 0.2]), jnp.linspace(0, 1, 8))
print(json.dumps(found))
"""

STRUCTURES = ("pushed", "first", "collapsed", "staged")


@pytest.fixture(scope="module", params=mostly_slow(["few", "all"]))
def cases(request):
    """A few cases, or every plan and structure: compiling them for four devices takes the time."""
    return request.param


@pytest.fixture(scope="module")
def errors(cases):
    """Largest differences by case, all from one process with four devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_X64": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM, cases], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_gradients_and_products_under_shard_map_are_those_of_one_device(errors, cases):
    first_order = {name: error for name, error in errors.items() if "qubits" in name}
    assert len(first_order) == 6 + {"few": 1, "all": 3}[cases] * 2
    assert {name: error for name, error in first_order.items() if not error < 1e-12} == {}


def test_the_split_of_every_structure_under_shard_map_is_that_of_one_device(errors, cases):
    split = {name: error for name, error in errors.items() if name.split(",")[0] in STRUCTURES}
    assert len(split) == {"few": 1, "all": 5}[cases]
    assert {name: error for name, error in split.items() if not error < 1e-12} == {}


@pytest.mark.parametrize("name", ["drawn", "drawn, checked", "outcomes", "pmap", "placed"])
def test_measurements_and_other_ways_to_spread_a_batch_give_what_one_device_gives(errors, name):
    assert errors[name] < 1e-12


def test_a_gradient_outside_shard_map_has_the_value_that_other_simulators_give(errors):
    assert errors["reported"] < 1e-6
