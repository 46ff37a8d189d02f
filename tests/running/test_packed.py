"""Loops over blocks and matrices made together: equal to the dense reference and to unrolled programs, and short."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning import packing, plan
from qjaxsim.planning.steps import Collapsed, Packed
from qjaxsim.running.simulate import apply_circuit
from tests.cases import equations, mostly_slow
from tests.random_circuits import add_gates

UNROLLED = qj.PlanOptions(scan=False)
OBSERVABLE = qj.Z(0) + 0.5 * qj.X(1) @ qj.Y(2)


def packed(patch, width=None):
    """Every stretch without data as a loop, of blocks of one width if given."""
    patch.setattr(plan, "LONG_STRETCH", 1)
    patch.setattr(plan, "MOST_GROUPS", 0)
    if width is not None:
        patch.setattr(packing, "WIDTHS", (width,))


def together(patch, _):
    """Matrices with angles made at once, steps written out."""
    patch.setattr(plan, "LONG_STRETCH", 10**9)
    patch.setattr(plan, "MANY_LAYERS", 1)


WAYS = {"packed 2": (packed, 2), "packed 3": (packed, 3), "packed 4": (packed, 4), "together": (together, None)}


@pytest.fixture(params=mostly_slow(list(WAYS)[1:], keep=[0, 2]))
def way(request, monkeypatch):
    force, width = WAYS[request.param]
    force(monkeypatch, width)
    return request.param


def weights_only(seed, n_qubits=4, n_gates=30):
    """Any gates, their angles numbers, elements and expressions of two parameters; values for those."""
    rng = np.random.default_rng(seed)
    w, s = qj.Parameter("w", (3,)), qj.Parameter("s", (1,))
    circuit = add_gates(rng, qj.Circuit(n_qubits).rx(w[0], 0).ry(s[0], 1), n_gates, [w, s])
    return circuit, {name: rng.normal(size=shape) for name, shape in circuit.parameters.items()}


def has(circuit, kind, **kwargs):
    return any(isinstance(step, kind) for step in plan.make_plan(circuit, **kwargs).steps)


@pytest.mark.parametrize(("seed", "dtype"), mostly_slow([(0, np.float32), (1, np.float64), (2, np.float64)], keep=2))
@pytest.mark.parametrize("way", mostly_slow(list(WAYS), keep=[1, 3]), indirect=True)
def test_states_are_those_of_the_reference(way, seed, dtype):
    circuit, params = weights_only(seed, 3 + seed)
    assert has(circuit, Packed) == way.startswith("packed")
    got = qj.statevector(circuit)({k: v.astype(dtype) for k, v in params.items()})
    want = reference.statevector(circuit, {k: v.astype(dtype).astype(float) for k, v in params.items()})
    assert got.dtype == np.result_type(dtype, np.complex64)
    np.testing.assert_allclose(got, want, atol=1e-12 if dtype == np.float64 else 1e-5)


def test_matrices_too(way):
    circuit, params = weights_only(3)
    np.testing.assert_allclose(qj.unitary(circuit)(params), reference.unitary(circuit, params), atol=1e-12)


def first_and_second(options):
    """The gradient at a point, and the Hessian times a direction."""
    circuit, params = weights_only(4, n_gates=20)
    direction = {"w": jnp.asarray([0.3, -1.0, 0.5]), "s": jnp.asarray([0.7])}
    gradient = jax.grad(qj.expectation(circuit, OBSERVABLE, options=options))
    return jax.jit(lambda p: jax.jvp(gradient, (p,), (direction,)))(params)


@pytest.fixture(scope="module")
def unrolled_derivatives():
    return first_and_second(UNROLLED)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("way", "gradient"),
    mostly_slow(
        [
            ("packed 3", "backprop"), ("together", "adjoint"), ("packed 3", "adjoint"), ("together", "backprop"),
            ("packed 4", "backprop"), ("packed 4", "adjoint"),
        ],
        keep=2,
    ),
    indirect=["way"],
)  # fmt: skip
def test_derivatives_are_those_of_unrolled_programs(way, gradient, unrolled_derivatives):
    found = first_and_second(qj.PlanOptions(gradient=gradient))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-11), found, unrolled_derivatives)


@pytest.mark.slow
def test_gradients_are_differences_of_the_reference(way):
    circuit, params = weights_only(5, 3, 20)
    gradient = jax.grad(qj.expectation(circuit, OBSERVABLE))(params)["w"]
    step = 1e-5
    for i, unit in enumerate(np.eye(3) * step):
        ends = [reference.expectation(circuit, OBSERVABLE, {**params, "w": params["w"] + s * unit}) for s in (1, -1)]
        assert abs(gradient[i] - (ends[0] - ends[1]) / (2 * step)) < 1e-8


def test_batches_of_data_between_loops_and_of_everything(way):
    rng = np.random.default_rng(6)
    x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (3,)), qj.Parameter("s", (1,))
    circuit = add_gates(rng, qj.Circuit(3), 12, [w, s])
    add_gates(rng, circuit.rx(x[0], 0).ry(x[1], 2), 12, [w, s])
    add_gates(rng, circuit.rzz(x[0], 0, 1), 12, [w, s])
    params = {"x": rng.normal(size=(4, 2)), "w": rng.normal(size=3), "s": rng.normal(size=1)}
    run = qj.expectation(circuit, OBSERVABLE)
    want = [reference.expectation(circuit, OBSERVABLE, {**params, "x": row}) for row in params["x"]]
    np.testing.assert_allclose(run(params), want, atol=1e-12)
    many = {**params, "w": rng.normal(size=(4, 3)), "s": rng.normal(size=(4, 1))}
    each = [reference.expectation(circuit, OBSERVABLE, {k: v[i] for k, v in many.items()}) for i in range(4)]
    np.testing.assert_allclose(run(many), each, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(run)(many), each, atol=1e-12)


def test_inside_repeats_collapsed_stretches_and_beside_projections(way):
    rng = np.random.default_rng(7)
    w, s, x = qj.Parameter("w", (3,)), qj.Parameter("s", (1,)), qj.Parameter("x", (1,))
    layer = add_gates(rng, qj.Circuit(3).rx(w[0], 0).ry(s[0], 1).rz(w[2], 2), 10, [w, s])
    circuit = qj.Circuit(3).h(range(3)).rx(x[0], 0).repeat(layer, 3, shared=["s"])
    circuit.project(1, 0)
    add_gates(rng, circuit, 10, [s])
    params = {n: rng.normal(size=shape) for n, shape in circuit.parameters.items()}
    want = reference.statevector(circuit, params)
    batch = {**params, "x": np.stack([params["x"]] * 2)}
    np.testing.assert_allclose(qj.statevector(circuit)(params), want, atol=1e-12)
    options = qj.PlanOptions(collapse=True)
    assert has(circuit, Collapsed, data={"x"}, batch=2, options=options)
    np.testing.assert_allclose(qj.statevector(circuit, options=options)(batch), [want, want], atol=1e-12)


@pytest.mark.thorough
def test_on_given_states_the_loop_knows_their_number(way):
    circuit, params = weights_only(8)
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, 16, 5))
    got = apply_circuit(circuit, params, jnp.asarray(states))
    want = reference.unitary(circuit, params) @ (states[0] + 1j * states[1])
    np.testing.assert_allclose(jax.lax.complex(*got), want, atol=1e-11)


def long_circuit(n_gates, free):
    rng, n = np.random.default_rng(2), 4
    w, circuit = qj.Parameter("w", (n_gates,)), qj.Circuit(n).h(range(n)).rx(qj.Parameter("w", (n_gates,))[0], 0)
    for i in range(n_gates):
        a, b = rng.permutation(n)[:2].tolist()
        name = ("rx", "ry", "rz", "cx")[int(rng.integers(4))]
        if name == "cx":
            circuit.cx(a, b)
        else:
            circuit.append(name, (a,), (w[i] if free else rng.normal(),))
    return circuit


def size(function, *arguments):
    return len(list(equations(jax.make_jaxpr(function)(*arguments).jaxpr)))


@pytest.mark.parametrize("free", [True, False])
def test_programs_do_not_grow_with_gates(monkeypatch, free):
    packed(monkeypatch)
    sizes = []
    for n_gates in (150, 600):
        energy = qj.expectation(long_circuit(n_gates, free), qj.Z(0))
        params = {"w": jnp.ones(n_gates)}
        sizes.append((size(energy, params), size(jax.grad(energy), params)))
    # Opened gadgets come in a few more kinds where there are more of them.
    assert all(more < 1.3 * few for few, more in zip(*sizes, strict=True))


def test_matrices_made_together_take_a_program_that_does_not_grow(monkeypatch):
    together(monkeypatch, None)
    few, many = (
        size(qj.statevector(long_circuit(n, True), options=qj.PlanOptions(max_block=4)), {"w": jnp.ones(n)})
        for n in (40, 160)
    )
    assert many < few + 10


def test_explain_shows_the_loop():
    plan_of = qj.explain(long_circuit(1200, True))
    (line,) = [line for line in plan_of.lines if line.kind.startswith("packed")]
    blocks = int(line.kind.split()[-1])
    (step,) = [step for step in plan_of.plan.steps if isinstance(step, Packed)]
    assert blocks == len(step.orders) and line.role == "weights" and f"{step.gates:,} gates" in str(plan_of)
    assert line.flops == blocks * 8 * 2**step.width * 2**4
    assert line.bytes == blocks * 2 * 2 * 8 * 2**4  # complex64, read and written to move rows and to apply the matrix
    constant = qj.explain(long_circuit(1200, False), dtype="complex128")
    assert "backprop" in constant.memory
