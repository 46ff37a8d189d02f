"""The Hessian of one state's expectation value in one sweep: against products, differences, and by what is compiled."""

import functools
import itertools
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from qjaxsim.curvature import one_state
from qjaxsim.planning.layers import layered_plan
from qjaxsim.running.tangents import Sweep
from qjaxsim.running.turns import generator, variables_of
from tests.cases import mostly_slow
from tests.random_circuits import CHOICES, parameters_for, random_circuit


def ising(n):
    """Two kinds of terms that do not commute, and one with Y on two qubits."""
    total = 0.3 * qj.Y(0) @ qj.Y(n - 1)
    for q in range(n):
        total = total + 0.7 * qj.X(q) + qj.Z(q) @ qj.Z((q + 1) % n)
    return total


def layered(n=3, layers=2):
    """Rotations and entangling gates with one parameter an angle, as in eigensolvers."""
    w, circuit = qj.Parameter("w", (layers, n, 2)), qj.Circuit(n)
    for layer, q in itertools.product(range(layers), range(n)):
        circuit.ry(w[layer, q, 0], q).rz(w[layer, q, 1], q)
        if q == n - 1:
            circuit.cx(0, 1).cx(1, 2)
    return circuit


def alternating(n=4, depth=2):
    """One angle for all edges, one for all qubits, as in QAOA."""
    g, b = qj.Parameter("g", (depth,)), qj.Parameter("b", (depth,))
    circuit = qj.Circuit(n).h(list(range(n)))
    for layer in range(depth):
        for a, c in itertools.combinations(range(n), 2):
            circuit.rzz(g[layer] * (1 + 0.25 * a), a, c)
        for q in range(n):
            circuit.rx(2 * b[layer], q)
    return circuit


def drawn(circuit, dtype=np.float64):
    rng = np.random.default_rng(4)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in circuit.parameters.items()}


def is_found(f, flat):
    """Whether the one sweep is taken; traced, as in `qj.hessian`, so that nothing is compiled for the answer."""
    found = []
    jax.eval_shape(lambda at: found.append(one_state.without_circuits(f, at)), flat)
    return found[0] is not None


def assert_is_the_hessian_by_products(f, params, tolerance=1e-12):
    """The one sweep is taken, and agrees with products of the whole function (which `batch_size` asks for)."""
    flat, unravel = ravel_pytree(params)
    assert is_found(lambda w: f(unravel(w)), flat)
    found, expected = qj.hessian(f, params), qj.hessian(f, params, batch_size=flat.size)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, float(jnp.abs(expected).max())), rtol=0)


@pytest.mark.parametrize(("circuit", "dtype"), mostly_slow([(alternating(), np.float32), (layered(), np.float64)]))
def test_hessian_of_an_energy(circuit, dtype):
    energy = qj.expectation(circuit, ising(circuit.n_qubits))
    assert_is_the_hessian_by_products(energy, drawn(circuit, dtype), 1e-12 if dtype == np.float64 else 2e-5)


def one_sample(seed):
    """A random circuit with values for one state, and two observables with weights."""
    circuit, rng = random_circuit(seed)
    params, tolerance = parameters_for(circuit, rng, seed)
    params = {name: value.reshape(-1, *circuit.parameters[name])[0] for name, value in params.items()}
    options = qj.PlanOptions(**{**CHOICES[seed % len(CHOICES)], "gradient": None, "scan": None})
    energy = qj.expectation(circuit, [ising(circuit.n_qubits), qj.Z(0)], options=options)
    return circuit, params, lambda p: energy(p)[0] + 0.5 * energy(p)[1], tolerance


@pytest.mark.parametrize("seed", mostly_slow([4, 5, 11]))  # either precision, repeats in repeats, equal layers
def test_random_circuits(seed):
    _, params, f, tolerance = one_sample(seed)
    assert_is_the_hessian_by_products(f, params, tolerance)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", mostly_slow([1, 7, 13, 9, 17, 19]))
def test_random_circuits_by_differences_of_dense_matrices(seed):
    circuit, params, f, _ = one_sample(seed)
    flat, unravel = ravel_pytree(params)
    observable = ising(circuit.n_qubits) + 0.5 * qj.Z(0)
    value = lambda w: reference.expectation(circuit, observable, unravel(jnp.asarray(w)))  # noqa: E731
    expected = second_differences(value, np.asarray(flat))
    np.testing.assert_allclose(qj.hessian(f, params), expected, atol=2e-6 * max(1, np.abs(expected).max()))


def second_differences(f, at, step=2e-3):
    """The Hessian by differences of fourth order."""
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    unit, size = step * np.eye(len(at)), len(at)
    out = np.zeros((size, size))
    for i, j in itertools.combinations_with_replacement(range(size), 2):
        terms = itertools.product(weights.items(), repeat=2)
        total = sum(a * b * f(at + m * unit[i] + n * unit[j]) for (m, a), (n, b) in terms)
        out[i, j] = out[j, i] = total / step**2
    return out


# --- what is found ---------------------------------------------------------------------------------------------------


def sample_circuit():
    """Data in products, expressions that are not affine, one weight in several gates of a qubit, a repeated layer."""
    x, w, s = qj.Parameter("x", (2,)), qj.Parameter("w", (2, 2)), qj.Parameter("s")
    own = qj.Parameter("w", (2,))
    layer = qj.Circuit(3).u(own[0], own[1] * 0.5, own[0], 2).crx(own[1], 2, 0).rx(own[0] - own[1], 1).cx(0, 1)
    circuit = qj.Circuit(3).ry(x[0] * s, 0).rx(s, 1).rz(s.sin() + w[1, 1], 1).ry(x[1], 1)
    return circuit.repeat(layer, 2).rxx(s * s - x[0], 0, 2).ry(x[1] * x[0], 2)


SAMPLE = {"x": jnp.asarray([0.4, -0.9]), "w": jnp.asarray([[0.3, 1.1], [-0.7, 0.2]]), "s": jnp.asarray(0.6)}
SEVERAL = [ising(3), qj.Z(1), qj.X(0) @ qj.Y(2)]


@functools.cache
def several():
    return qj.expectation(sample_circuit(), SEVERAL)


def loss(weights):
    """A function of several expectation values, of other things, with data held fixed."""
    energies = several()({**weights, "x": SAMPLE["x"]})
    return jnp.sin(energies[0]) * energies[1] + energies[2] + 0.1 * jnp.sum(weights["w"] ** 4)


WEIGHTS = {name: SAMPLE[name] for name in ("w", "s")}


@pytest.mark.thorough
def test_functions_of_several_expectation_values_with_data_held_fixed():
    assert_is_the_hessian_by_products(loss, WEIGHTS)


def test_one_state_is_found_inside_jit_and_vmap():
    flat, unravel = ravel_pytree(WEIGHTS)
    points = jnp.stack([flat, 2 * flat])
    found = jax.jit(jax.vmap(lambda w: qj.hessian(jax.jit(loss), unravel(w))))(points)
    for point, matrix in zip(points, found, strict=True):
        np.testing.assert_allclose(matrix, qj.hessian(loss, unravel(point)), atol=1e-12)


def on_weights(energy):
    """A function of the layered circuit's weights as one vector."""
    return lambda w: energy({"w": w.reshape(2, 3, 2)})


def forced(**options):
    return on_weights(qj.expectation(layered(), ising(3), options=qj.PlanOptions(**options)))


@pytest.mark.parametrize(
    "given", [lambda a, b: OrderedDict(b=b, a=a), lambda a, b: {"a": [a[0]], "b": [b[0]]}], ids=["ordered", "lists"]
)
def test_parameters_come_in_any_order_and_make(given):
    a, b = qj.Parameter("a", (1,)), qj.Parameter("b", (1,))
    energy = qj.expectation(qj.Circuit(1).rx(a[0], 0).ry(2 * b[0], 0), qj.Z(0))  # cos(a) cos(2 b)
    found = qj.hessian(lambda w: energy(given(w[:1], w[1:])), jnp.array([0.3, 0.8]))
    own, mixed = np.cos(0.3) * np.cos(1.6), 2 * np.sin(0.3) * np.sin(1.6)
    np.testing.assert_allclose(found, [[-own, mixed], [mixed, -4 * own]], atol=1e-12)


def test_what_is_left_to_products():
    energy = qj.expectation(layered(), ising(3))
    f, flat = on_weights(energy), jnp.linspace(0, 1, 12)
    assert is_found(f, flat)
    assert not is_found(lambda w: jnp.sum(energy({"w": jnp.stack([w, 2 * w]).reshape(2, 2, 3, 2)})), flat)  # a batch
    assert not is_found(lambda w: jnp.sum(w) + energy({"w": jnp.ones((2, 3, 2))}), flat)  # nothing in it moves
    assert not is_found(lambda w: energy({"w": list(w.reshape(2, 3, 2))}), flat)  # an array in two pieces
    assert not is_found(lambda w: jnp.sum(w**2), flat)
    vanishing = qj.expectation(qj.Circuit(3).ry(qj.Parameter("a"), 0).ry(-qj.Parameter("a"), 0), ising(3))
    assert not is_found(lambda w: vanishing({"a": w[0]}), flat)
    assert not is_found(lambda w: f(f(w) * w), flat)  # one in the parameters of another
    assert not is_found(lambda w: jnp.sum(jax.grad(f)(w)), flat)
    assert not is_found(on_weights(qj.expectation(layered().project(0, 0), ising(3))), flat)
    assert not is_found(forced(gradient="adjoint"), flat)
    assert not is_found(forced(scan=True), flat)


def test_tangents_that_do_not_fit_and_long_circuits_are_left_to_products(monkeypatch):
    flat = jnp.linspace(0, 1, 12)
    monkeypatch.setattr(one_state, "available_bytes", lambda: 1000)
    assert not is_found(forced(), flat)
    monkeypatch.undo()
    for limit in ("MOST_GATES", "MOST_STEPS"):
        monkeypatch.setattr(one_state, limit, 3)
        assert not is_found(forced(), flat)
        monkeypatch.undo()


def test_a_function_of_the_same_name_is_not_taken_for_an_expectation_value():
    @jax.jit
    def expectation(w):
        return jnp.sum(w**3)

    flat = jnp.arange(3.0)
    assert not is_found(expectation, flat)
    np.testing.assert_allclose(qj.hessian(expectation, flat), jnp.diag(6 * flat))


# --- how -------------------------------------------------------------------------------------------------------------


def floating_point_operations(f, at):
    return jax.jit(f).lower(at).compile().cost_analysis()["flops"]


def test_the_sweep_takes_a_part_of_the_operations_that_products_take():
    energy, flat = qj.expectation(layered(4, 3), ising(4)), jnp.linspace(0, 1, 24)
    f = lambda w: energy({"w": w.reshape(3, 4, 2)})  # noqa: E731
    sweep = floating_point_operations(lambda w: qj.hessian(f, w), flat)
    products = floating_point_operations(lambda w: qj.hessian(f, w, batch_size=24), flat)
    assert sweep < products / 3


def by_one_program(circuit, columns, wanted, params):
    """What is `wanted` of a sweep, as NumPy arrays."""
    found = jax.jit(lambda env: wanted(Sweep(layered_plan(circuit, columns), env, np.float64)))(params)
    return jax.tree.map(np.asarray, found)


def test_parameters_shared_by_gates_have_one_tangent():
    circuit = alternating(4, 3)
    plan = layered_plan(circuit, 3)
    assert len(variables_of(plan)) == 6
    tangents = jax.eval_shape(lambda env: Sweep(plan, env, np.float64).tangents(), drawn(circuit))
    assert tangents.shape == (2, 16, 6)


def test_tangents_are_those_of_the_state():
    circuit = alternating()
    params = drawn(circuit)
    tangents, state = by_one_program(circuit, 2, lambda sweep: (sweep.tangents(), sweep.states[-1]), params)
    order = [f"{variable.name}{variable.flat_index}" for variable in variables_of(layered_plan(circuit, 2))]
    jacobian = jax.jit(jax.jacfwd(qj.statevector(circuit)))(params)
    columns = {f"{name}{i}": jacobian[name][:, i] for name in ("g", "b") for i in range(2)}
    expected = np.stack([columns[name] for name in order], axis=1)
    np.testing.assert_allclose(tangents[0] + 1j * tangents[1], expected, atol=1e-12)
    np.testing.assert_allclose((state[0] + 1j * state[1])[:, 0], qj.statevector(circuit)(params), atol=1e-12)


@pytest.mark.parametrize(
    "name", [name for name, spec in GATES.items() if spec.n_angles == 1 and not name.startswith("delay")]
)
def test_gates_of_one_angle_are_exponentials_of_their_generators(name):
    values, vectors = np.linalg.eig(generator(name))
    matrix = vectors @ np.diag(np.exp(0.7 * values)) @ np.linalg.inv(vectors)
    np.testing.assert_allclose(matrix, GATES[name].matrix(np, np.float64(0.7)), atol=1e-14)


def test_gates_of_several_angles_are_products_of_gates_of_one():
    names = [name for name, spec in GATES.items() if spec.n_angles > 1]
    angles, circuit = qj.Parameter("a", (len(names), 4)), qj.Circuit(2).h([0, 1])
    for row, name in enumerate(names):
        spec = GATES[name]
        circuit.append(name, list(range(spec.n_qubits)), [angles[row, i] for i in range(spec.n_angles)])
    values = np.linspace(0.1, 3, 4 * len(names)).reshape(-1, 4)
    state = by_one_program(circuit, 1, lambda sweep: sweep.states[-1], {"a": jnp.asarray(values.reshape(-1))})
    np.testing.assert_allclose(
        (state[0] + 1j * state[1])[:, 0], reference.statevector(circuit, {"a": values}), atol=1e-14
    )


def test_a_call_that_was_refused_is_not_met_again():
    """A refused call looked like any other with the same arrays, and was made again in search of the right function."""
    w, at = qj.Parameter("w", (2,)), np.array([0.4, 0.7])
    circuit = qj.Circuit(3).ry(w[0], 0).cx(0, 1).rx(w[1], 2).cx(1, 2)
    # Several: they are looked through in any order, until the right one is found.
    refused = [qj.expectation(circuit.copy().rx(qj.Parameter("x"), 0), qj.Z(0)) for _ in range(20)]
    for one in refused:
        with pytest.raises(TypeError, match="Parameter 'x' must be an array of real numbers, but is a NoneType"):
            one({"w": at, "x": None})
    hessian = qj.hessian(qj.expectation(circuit, qj.Z(1)), {"w": at})
    np.testing.assert_allclose(hessian, np.diag([-np.cos(0.4), 0]), atol=1e-12)
