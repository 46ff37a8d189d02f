"""Which data run as a loop of one-qubit matrices, and which weights join them."""

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.singles import is_single, with_data_runs
from qjaxsim.planning.steps import Dense, Diagonal, Singles, Transpose, flat_steps


def kinds(circuit, samples=1000):
    return [type(step) for step in flat_steps(make_plan(circuit, {"x"}, samples).steps)]


def encoded(n_qubits):
    """Weights, entanglers, and runs W D W D W on each qubit between them."""
    x, w = qj.Parameter("x", (n_qubits, 2)), qj.Parameter("w", (3, n_qubits))
    out = qj.Circuit(n_qubits)
    for _ in range(2):
        for q in range(n_qubits):
            out.ry(w[0, q], q).rx(x[q, 0], q).ry(w[1, q], q).rx(x[q, 1], q).ry(w[2, q], q)
        for q in range(n_qubits):
            out.cx(q, (q + 1) % n_qubits)
    return out


@pytest.mark.parametrize("n_qubits", [4, 8])
def test_runs_of_data_take_the_weights_beside_them(n_qubits):
    plan = make_plan(encoded(n_qubits), {"x"}, 1000)
    (step,) = [step for step in plan.steps if isinstance(step, Singles)]
    assert sorted(step.qubits) == list(range(n_qubits))
    assert all(len(leaf.factors) == 5 for leaf in step.leaves)
    # Nothing else acts on single qubits but what makes the product state at first, and nothing is transposed for it.
    after = list(plan.steps[plan.steps.index(step) :])
    assert not any(isinstance(other, Dense) for other in after)


def test_few_samples_and_one_column_run_in_blocks():
    assert Singles not in kinds(encoded(8), samples=2)
    assert Singles not in [type(step) for step in make_plan(encoded(8)).steps]


def test_data_that_are_phases_stay_phases():
    x, w = qj.Parameter("x", (8,)), qj.Parameter("w", (2, 8))
    circuit = qj.Circuit(8)
    for i in range(2):
        for q in range(8):
            circuit.rx(x[q], q).ry(w[i, q], q)
        for q in range(8):
            circuit.cx(q, (q + 1) % 8)
    assert Diagonal in kinds(circuit)
    assert Singles not in kinds(circuit)


def test_all_qubits_in_turn_need_no_transpose():
    steps = make_plan(encoded(8), {"x"}, 1000, from_zero=False).steps
    place = next(i for i, step in enumerate(steps) if isinstance(step, Singles))
    assert not isinstance(steps[place - 1], Transpose)
    assert steps[place].qubits == tuple(range(8))


def test_matrices_that_may_not_be_unitary_stay_apart():
    x = qj.Parameter("x", (2,))
    free = qj.Circuit(1).rx(x[0], 0).unitary(qj.Parameter("u", (2, 2, 2)), [0]).rx(x[1], 0)
    (leaf,) = normal_form(free, {"x"})
    assert leaf.data
    assert not is_single(leaf)
    apart = qj.Circuit(1).rx(x[0], 0).unitary(qj.Parameter("u", (2, 2, 2)), [0])
    assert with_data_runs(normal_form(apart, {"x"})) is None
    constant = qj.Circuit(1).rx(x[0], 0).unitary(np.array([[0, 1], [1, 0]]), [0])
    (joined,) = with_data_runs(normal_form(constant, {"x"}))
    assert is_single(joined)
