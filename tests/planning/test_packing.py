"""Gates gathered in blocks: every leaf once, in an order that gives the same, whatever the blocks."""

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES
from qjaxsim.planning import packing, plan
from qjaxsim.planning.leaves import Leaf
from qjaxsim.planning.normal_form import normal_form
from qjaxsim.planning.steps import Packed


def constants(n_qubits, n_gates, seed=0):
    """Random gates on up to three qubits with numbers for angles."""
    rng, circuit = np.random.default_rng(seed), qj.Circuit(n_qubits)
    names = [name for name, spec in GATES.items() if 0 < spec.n_qubits <= 3]
    for name in rng.choice(names, n_gates).tolist():
        qubits = rng.permutation(n_qubits)[: GATES[name].n_qubits].tolist()
        circuit.append(name, qubits, rng.normal(size=GATES[name].n_angles).tolist())
    return circuit


@pytest.mark.parametrize("width", [3, 4, 5])
def test_blocks_in_turn_are_the_circuit(width):
    circuit = constants(5, 120)
    leaves = [leaf for leaf in normal_form(circuit, ()) if isinstance(leaf, Leaf)]
    blocks = packing.fused(leaves, width, 10**6)
    assert sorted(map(id, leaves)) == sorted(id(leaf) for block in blocks for leaf in block.leaves)
    assert max(len(block.qubits) for block in blocks) <= width and len(blocks) < len(leaves) / 2
    total, wanted = np.eye(32, dtype=complex), np.eye(32, dtype=complex)
    for block in blocks:
        total = reference.embed(packing.product(block.leaves, block.qubits), block.qubits, 5) @ total
    for leaf in leaves:
        for factor in leaf.factors:
            wanted = reference.embed(factor, leaf.qubits, 5) @ wanted
    np.testing.assert_allclose(total, wanted, atol=1e-13)


def test_blocks_hold_few_factors_and_long_runs_are_cut():
    w = qj.Parameter("w", (40,))
    circuit = qj.Circuit(2)
    for i in range(40):
        (circuit.rx if i % 2 else circuit.ry)(w[i], 0)
    leaves = normal_form(circuit.cx(0, 1), ())
    blocks = packing.fused(leaves, 2, 8)
    counts = [sum(len(leaf.factors) for leaf in block.leaves) for block in blocks]
    assert max(counts) <= 8 and sum(counts) == 41
    factors = [factor for block in blocks for leaf in block.leaves for factor in leaf.factors]
    angles = [factor.angles[0] for factor in factors if not isinstance(factor, np.ndarray)]
    assert angles == [w[i] for i in range(40)]


def test_matrices_of_a_loop_are_bounded():
    leaves = [leaf for leaf in normal_form(constants(7, 200), ()) if isinstance(leaf, Leaf)]
    found = packing.bundle(leaves, 7, 2.0**20)  # many amplitudes: few wide blocks are cheapest
    assert found.width > 3
    limit = len(found.blocks) * 4**found.width - 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "MOST_NUMBERS", limit)
        bounded = packing.bundle(leaves, 7, 2.0**20)
    assert len(bounded.blocks) * 4**bounded.width <= limit


@pytest.mark.parametrize("free", [True, False])
def test_many_gates_are_planned_in_one_pass_as_few_steps(monkeypatch, free):
    monkeypatch.setattr(plan, "schedule", lambda *_: pytest.fail("long circuits are not scheduled"))
    rng, n = np.random.default_rng(1), 6
    w, circuit = qj.Parameter("w", (plan.MOST_LEAVES,)), qj.Circuit(n)
    for i in range(plan.MOST_LEAVES):
        a, b = rng.permutation(n)[:2].tolist()
        circuit.rx(w[i] if free else rng.normal(), a).cx(a, b)
    steps = plan.make_plan(circuit, from_zero=False).steps
    assert len(steps) <= 3
    (step,) = [step for step in steps if isinstance(step, Packed)]
    assert 1.5 * plan.MOST_LEAVES < step.gates <= 2 * plan.MOST_LEAVES and (step.constant is None) == free


def test_short_stretches_and_unrolled_programs_have_none():
    circuit = constants(4, 3 * plan.LONG_STRETCH)
    assert not any(isinstance(s, Packed) for s in plan.make_plan(constants(4, 20), from_zero=False).steps)
    unrolled = plan.make_plan(circuit, options=qj.PlanOptions(scan=False), from_zero=False)
    assert not any(isinstance(step, Packed) for step in unrolled.steps)
