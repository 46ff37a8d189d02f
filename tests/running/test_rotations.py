"""Rotations about Pauli strings as a loop, against dense matrices; circuits rich in gadgets against the reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.dense import pauli_matrix
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Rotations
from qjaxsim.running.rotations import apply_rotations, reverse_rotations, undo_rotations
from tests.cases import mostly_slow
from tests.circuits_with_gadgets import random_gadgets, string_rotation
from tests.random_circuits import CHOICES


def strings(rng, n_qubits, count):
    return ["".join(rng.choice(list("IXYZ"), n_qubits)) for _ in range(count)]


def step_of(labels):
    masks = [
        [sum(1 << (len(a) - 1 - q) for q, c in enumerate(a) if c in wanted) for wanted in ("XY", "YZ")] for a in labels
    ]
    flips, signs = np.array(masks, np.uint32).T
    return Rotations(flips, signs, tuple(range(len(labels))), tuple(labels), False)


def dense(labels, angles):
    turns = (
        np.cos(a / 2) * np.eye(2 ** len(label)) - 1j * np.sin(a / 2) * pauli_matrix(label)
        for label, a in zip(labels, angles, strict=True)
    )
    return functools.reduce(lambda total, turn: turn @ total, turns)


def parts(matrix):
    return np.stack([matrix.real, matrix.imag])


@pytest.mark.parametrize("n_qubits", [3, 5, 8])
def test_a_loop_is_the_product_of_its_rotations(n_qubits):
    rng = np.random.default_rng(n_qubits)
    labels, angles = strings(rng, n_qubits, 7), rng.normal(size=7)
    state = rng.normal(size=(2**n_qubits, 3)) + 1j * rng.normal(size=(2**n_qubits, 3))
    halves = np.stack([np.cos(angles / 2), np.sin(angles / 2)], axis=1)
    out = apply_rotations(step_of(labels), jnp.asarray(halves), jnp.asarray(parts(state)))
    np.testing.assert_allclose(out, parts(dense(labels, angles) @ state), atol=1e-12)
    np.testing.assert_allclose(undo_rotations(step_of(labels), jnp.asarray(halves), out), parts(state), atol=1e-12)


@pytest.mark.parametrize("columns", [1, 3])
def test_angles_that_differ_from_column_to_column(columns):
    rng = np.random.default_rng(columns)
    labels, angles = strings(rng, 4, 5), rng.normal(size=(5, columns))
    state = rng.normal(size=(16, columns)) + 1j * rng.normal(size=(16, columns))
    halves = np.stack([np.cos(angles / 2), np.sin(angles / 2)], axis=1)
    out = apply_rotations(step_of(labels), jnp.asarray(halves), jnp.asarray(parts(state)))
    for z in range(columns):
        np.testing.assert_allclose(out[:, :, z], parts(dense(labels, angles[:, z]) @ state[:, z]), atol=1e-12)


@pytest.mark.parametrize("shape", mostly_slow([[5, 2, 3], [5, 2]]))
def test_reverse_mode_is_that_of_dense_products(shape):
    rng = np.random.default_rng(len(shape))
    labels = strings(rng, 3, 5)
    step, halves = step_of(labels), jnp.asarray(rng.normal(size=shape))
    state, ct = jnp.asarray(rng.normal(size=(2, 8, 3))), jnp.asarray(rng.normal(size=(2, 8, 3)))
    halves = halves / jnp.sqrt((halves**2).sum(axis=1, keepdims=True))  # cosines and sines

    def plain(halves, state):
        for label, (c, s) in zip(labels, halves, strict=True):
            turn = -1j * pauli_matrix(label)
            (re, im), (a, b) = state, (jnp.asarray(turn.real), jnp.asarray(turn.imag))
            turned = jnp.stack([a @ re - b @ im, a @ im + b @ re])
            state = c.reshape(1, 1, -1) * state + s.reshape(1, 1, -1) * turned
        return state

    def pulled(f):
        return jax.jit(lambda *args: jax.vjp(f, *args)[1](ct))(halves, state)

    for got, wanted in zip(pulled(lambda h, x: apply_rotations(step, h, x)), pulled(plain), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12)


def test_the_state_before_comes_back_with_the_derivative():
    rng = np.random.default_rng(0)
    step, angles = step_of(strings(rng, 4, 6)), rng.normal(size=6)
    halves = jnp.asarray(np.stack([np.cos(angles / 2), np.sin(angles / 2)], axis=1))
    state = jnp.asarray(rng.normal(size=(2, 16, 2)))
    before, _, _ = reverse_rotations(step, halves, apply_rotations(step, halves, state), state)
    np.testing.assert_allclose(before, state, atol=1e-12)


def long_strings(n_qubits, n_strings, seed=0):
    rng = np.random.default_rng(seed)
    theta = qj.Parameter("theta", (n_strings,))
    circuit = qj.Circuit(n_qubits).h(range(n_qubits))
    for k in range(n_strings):
        qubits = np.sort(rng.permutation(n_qubits)[: int(rng.integers(4, n_qubits + 1))]).tolist()
        string_rotation(circuit, {q: "XYZ"[rng.integers(3)] for q in qubits}, theta[k])
    return circuit


def n_equations(jaxpr):
    inner = [getattr(v, "jaxpr", None) for e in jaxpr.eqns for v in e.params.values()]
    return len(jaxpr.eqns) + sum(n_equations(getattr(j, "jaxpr", j)) for j in inner if j is not None)


def test_the_program_does_not_grow_with_the_strings():
    sizes = []
    for n_strings in (20, 200):
        circuit = long_strings(8, n_strings)
        assert any(isinstance(step, Rotations) for step in make_plan(circuit).steps)
        gradient = jax.grad(qj.expectation(circuit, qj.Z(0)))
        sizes.append(n_equations(jax.make_jaxpr(gradient)({"theta": np.zeros(n_strings)}).jaxpr))
    assert sizes[1] < 1.3 * sizes[0]


def test_reverse_mode_keeps_no_state_of_the_loop():
    def temporary(n_strings):
        gradient = jax.grad(qj.expectation(long_strings(10, n_strings), qj.Z(0)))
        compiled = jax.jit(gradient).lower({"theta": np.zeros(n_strings)}).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    one_state = 2 * 8 * 2**10
    assert temporary(30) - temporary(10) < 4 * one_state


def second_derivatives(circuit, observable, params):
    energy = qj.expectation(circuit, observable)
    return jax.jit(jax.hessian(lambda p: energy(p).sum()))(params)


@pytest.mark.slow
def test_second_derivatives_are_those_of_the_matrices():
    circuit = long_strings(5, 6)
    at = np.random.default_rng(1).normal(size=6)
    observable = qj.Z(0) @ qj.X(1) + 0.5 * qj.Y(4)
    hessian = second_derivatives(circuit, observable, {"theta": at})["theta"]["theta"]
    energy = lambda theta: reference.expectation(circuit, observable, {"theta": theta})  # noqa: E731
    # Every angle turns one Pauli string, so derivatives are exact differences at a quarter turn.
    shift = np.pi / 2 * np.eye(6)
    for i in range(6):
        for j in range(6):
            values = [energy(at + a * shift[i] + b * shift[j]) for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
            assert abs(hessian[i, j] - (values[0] - values[1] - values[2] + values[3]) / 4) < 1e-12


def each(function, params):
    """The reference sample by sample."""
    if np.ndim(params.get("x", 0)) < 2:
        return function(params)
    return np.stack([function({**params, "x": x}) for x in params["x"]])


def check_circuit(seed, derivatives):
    circuit, rng = random_gadgets(seed)
    options = qj.PlanOptions(**CHOICES[seed % len(CHOICES)])
    params = {k: rng.normal(size=(2, *s) if k == "x" and seed % 2 else s) for k, s in circuit.parameters.items()}
    got = qj.statevector(circuit, options=options)(params)
    np.testing.assert_allclose(got, each(lambda p: reference.statevector(circuit, p), params), atol=1e-12)
    if not (derivatives and params):
        return
    observable = qj.Z(0) @ qj.Y(1) + 0.5 * qj.X(circuit.n_qubits - 1)
    direction = {k: rng.normal(size=v.shape) for k, v in params.items()}
    energy = qj.expectation(circuit, observable, options=options)
    moved = lambda t: {k: v + t * direction[k] for k, v in params.items()}  # noqa: E731
    along = lambda t: energy(moved(t)).sum()  # noqa: E731
    exact = lambda t: np.sum(each(lambda p: reference.expectation(circuit, observable, p), moved(t)))  # noqa: E731
    # A sum of sines of frequencies up to a few times the direction's length: over a stretch that is short for
    # them, a polynomial of degree 16 is exact to rounding, and its derivatives in the middle are, too.
    reach = 0.5 / sum(np.abs(d).sum() for d in direction.values())
    line = np.polynomial.Chebyshev.interpolate(np.vectorize(exact), 16, domain=[-reach, reach])
    gradient = jax.jit(jax.grad(lambda p: energy(p).sum()))(params)
    slope = sum(np.sum(gradient[k] * direction[k]) for k in params)
    assert abs(slope - line.deriv(1)(0.0)) < 1e-11 / reach
    assert abs(jax.jit(jax.grad(jax.grad(along)))(0.0) - line.deriv(2)(0.0)) < 1e-10 / reach**2


@pytest.mark.parametrize("seed", mostly_slow(range(12), keep=4))
def test_circuits_rich_in_gadgets_equal_the_reference(seed):
    check_circuit(seed, derivatives=seed % 8 == 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12, 524))
def test_many_circuits_rich_in_gadgets_equal_the_reference(seed):
    check_circuit(seed, derivatives=True)


def test_single_precision():
    circuit = long_strings(8, 9)
    at = np.random.default_rng(2).normal(size=9).astype(np.float32)
    got = qj.statevector(circuit)({"theta": at})
    assert got.dtype == np.complex64
    np.testing.assert_allclose(got, reference.statevector(circuit, {"theta": at.astype(float)}), atol=3e-6)


def test_mapped_and_batched_alike():
    circuit = long_strings(5, 6)
    at = np.random.default_rng(3).normal(size=(4, 6))
    state = qj.statevector(circuit)
    one_by_one = np.stack([reference.statevector(circuit, {"theta": row}) for row in at])
    np.testing.assert_allclose(state({"theta": at}), one_by_one, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(lambda row: state({"theta": row}))(at), one_by_one, atol=1e-12)
    unitary = qj.unitary(circuit)({"theta": at[0]})
    np.testing.assert_allclose(unitary, reference.unitary(circuit, {"theta": at[0]}), atol=1e-12)
