"""Rotations by data as phases between constant gates: plans, and states against the reference."""

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.phased import with_phased_data
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Dense, Diagonal, Loop
from tests.cases import mostly_slow


def reuploading(n_qubits, layers, gate, looped):
    """The same data before every layer of weights."""
    x, w = qj.Parameter("x", (n_qubits,)), qj.Parameter("w", (n_qubits, 2) if looped else (layers, n_qubits, 2))
    out = qj.Circuit(n_qubits)
    for i in range(1 if looped else layers):
        layer, own = qj.Circuit(n_qubits), w if looped else w[i]
        for q in range(n_qubits):
            layer.append(gate, [q], [x[q]]).ry(own[q, 0], q).rz(own[q, 1], q)
        for q in range(n_qubits):
            layer.cx(q, (q + 1) % n_qubits)
        if looped:
            out.repeat(layer, layers, shared=["x"])
        else:
            out.compose(layer)
    return out


@pytest.mark.parametrize("gate", ["rx", "ry"])
@pytest.mark.parametrize("n_qubits", [4, 8, 10])
def test_data_inside_a_loop_is_one_diagonal(gate, n_qubits):
    plan = make_plan(reuploading(n_qubits, 5, gate, True), {"x"}, 100)
    (loop,) = [step for step in plan.steps if isinstance(step, Loop)]
    assert [type(step) for step in loop.body.steps if step.data] == [Diagonal]


def test_the_first_data_make_a_product_state_and_later_ones_phases():
    steps = make_plan(reuploading(8, 3, "rx", False), {"x"}, 100).steps
    kinds = [type(step) for step in steps if step.data and isinstance(step, Dense | Diagonal)]
    assert kinds == [Dense, Dense, Diagonal, Diagonal]


def test_nothing_changes_without_a_batch():
    leaves = [item for item in normal_form(reuploading(4, 2, "rz", False), {"x"}) if item.data]
    assert with_phased_data(leaves, False) is None
    assert not any(isinstance(step, Diagonal) for step in make_plan(reuploading(4, 2, "rx", False)).steps)


def test_matrices_that_meet_are_one():
    circuit = qj.Circuit(1).t(0).rx(qj.Parameter("x"), 0).ry(qj.Parameter("w"), 0)
    leaves = with_phased_data(normal_form(circuit, {"x"}), False)
    assert [len(leaf.factors) for leaf in leaves] == [1, 1, 2]
    hadamard = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    np.testing.assert_allclose(leaves[0].factors[0], hadamard @ np.diag([1, np.exp(0.25j * np.pi)]), atol=1e-15)
    np.testing.assert_allclose(leaves[2].factors[0], hadamard, atol=1e-15)


@pytest.mark.parametrize("looped", [True, False])
@pytest.mark.parametrize(
    ("gate", "n_qubits", "dtype"), mostly_slow([("rx", 3, np.float64), ("ry", 4, np.float32), ("ry", 5, np.float64)])
)
def test_states_and_gradients_equal_the_reference(looped, gate, n_qubits, dtype):
    circuit = reuploading(n_qubits, 3, gate, looped)
    rng = np.random.default_rng(n_qubits)
    x, w = rng.normal(size=(5, n_qubits)).astype(dtype), rng.normal(size=(3, n_qubits, 2)).astype(dtype)
    got = qj.statevector(circuit)({"x": x, "w": w})
    exact = np.stack([reference.statevector(circuit, {"x": row.astype(float), "w": w.astype(float)}) for row in x])
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    np.testing.assert_allclose(got, exact, atol=tolerance)
    energy = qj.expectation(circuit, qj.Z(0) @ qj.Z(1))
    slope = jax.jit(jax.grad(lambda x: energy({"x": x, "w": w}).sum()))
    batched, single = slope(x), np.stack([slope(row) for row in x])
    np.testing.assert_allclose(batched, single, atol=10 * tolerance)


# Layers with data at their beginning, at their end, in between, at both ends, in runs, and in layers inside of them.
def mixed(place):
    x, w, layer = qj.Parameter("x", (3,)), qj.Parameter("w", (3,)), qj.Circuit(3)
    rotations = qj.Circuit(3).rx(x[0], 0).ry(2 * x[1], 1).rz(x[2], 2)
    weights = qj.Circuit(3).ry(w[0], 0).rx(w[1], 1).rz(w[2], 1).cx(0, 1).ry(w[2], 2).cz(1, 2)
    if place in ("first", "both"):
        layer.compose(rotations)
    if place == "inside":
        layer.ry(w[1], 0).cx(2, 1).compose(rotations)
    if place == "runs":
        layer.rx(x[0], 0).ry(x[1], 0).rx(x[1] * w[0], 2).cry(x[2], 1, 0)
    if place == "nested":
        layer.repeat(qj.Circuit(3).compose(rotations).compose(weights), 2, shared=["x"])
    else:
        layer.compose(weights)
    if place in ("last", "both"):
        layer.compose(rotations)
    return layer


@pytest.mark.parametrize("turn", [lambda c: c, qj.Circuit.inverse], ids=["as it is", "inverse"])
@pytest.mark.parametrize("place", ["first", "last", "both", "inside", "runs", "nested"])
def test_layers_with_data_anywhere_equal_the_reference(place, turn):
    circuit = turn(qj.Circuit(3).h(1).repeat(mixed(place), 3, shared=["x"]).ry(0.3, 2))
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(5, 3)), rng.normal(size=circuit.parameters["w"])
    got = qj.statevector(circuit)({"x": x, "w": w})
    exact = np.stack([reference.statevector(circuit, {"x": row, "w": w}) for row in x])
    np.testing.assert_allclose(got, exact, atol=1e-12)


def test_one_gate_that_stands_twice_in_a_layer_is_turned_once():
    gate = qj.Circuit(2).rx(qj.Parameter("x"), 0).operations[0]
    layer = qj.Circuit(2).extend([gate]).ry(qj.Parameter("w"), 0).cx(0, 1).extend([gate])
    circuit, x = qj.Circuit(2).repeat(layer, 3, shared=["x"]), np.array([0.3, 0.7, -1.1])
    w = np.array([0.2, 0.5, 1.9])
    exact = np.stack([reference.statevector(circuit, {"x": one, "w": w}) for one in x])
    np.testing.assert_allclose(qj.statevector(circuit)({"x": x, "w": w}), exact, atol=1e-12)


@pytest.mark.parametrize("place", ["first", "last"])
def test_data_at_an_end_of_a_layer_leave_no_gate_of_their_own_inside(place):
    plan = make_plan(qj.Circuit(3).repeat(mixed(place), 3, shared=["x"]), {"x"}, 8)
    (loop,) = [step for step in plan.steps if isinstance(step, Loop)]
    assert sorted(type(step).__name__ for step in loop.body.steps) == ["Dense", "Diagonal"]
