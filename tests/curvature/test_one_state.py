"""The Hessian of one state's expectation value in one sweep: against products, differences, and by what is compiled."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from tests.random_circuits import CHOICES, parameters_for, random_circuit

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from qjaxsim.curvature import one_state
from qjaxsim.planning.layers import layered_plan
from qjaxsim.running.tangents import Sweep
from qjaxsim.running.turns import generator


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


def assert_is_the_hessian_by_products(f, params, tolerance=1e-12):
    """The one sweep is taken, and agrees with products of the whole function (which `batch_size` asks for)."""
    flat, unravel = ravel_pytree(params)
    assert one_state.without_circuits(lambda w: f(unravel(w)), flat) is not None
    found, expected = qj.hessian(f, params), qj.hessian(f, params, batch_size=flat.size)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, float(jnp.abs(expected).max())), rtol=0)


@pytest.mark.parametrize("circuit", [layered(), alternating()], ids=["layered", "alternating"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
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


@pytest.mark.parametrize("seed", [0, 1, 4, 5, 11])  # single and double precision, repeats in repeats, equal layers
def test_random_circuits(seed):
    _, params, f, tolerance = one_sample(seed)
    assert_is_the_hessian_by_products(f, params, tolerance)


@pytest.mark.parametrize("seed", [1, 5, 7, 9, 11, 13, 17, 19])
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
