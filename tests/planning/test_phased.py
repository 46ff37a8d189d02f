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
