"""How the engine works, not only what it gives: plans, sharing of work, size of programs, refusals, imports."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.common import memory
from qjaxsim.planning.inspection import is_linear
from qjaxsim.planning.plan import make_plan
from qjaxsim.planning.steps import Collapsed, Dense, Diagonal, Enter, Loop, Monomial, Packed, Transpose
from tests.cases import layered, mostly_slow, program, written_out

BATCH = 37  # a size that nothing else has


def shapes(n_qubits, depth, batch=(BATCH,)):
    return {
        "x": jax.ShapeDtypeStruct((*batch, n_qubits), np.float64),
        "w": weights(depth, n_qubits),
    }


def weights(depth, n_qubits):
    return jax.ShapeDtypeStruct((depth, n_qubits, 3), np.float64)


def kinds(plan):
    return [type(step) for step in plan.steps]


# --- plans ------------------------------------------------------------------------------------------------------------


def body_kinds(plan):
    (loop,) = [step for step in plan.steps if isinstance(step, Loop)]
    return kinds(loop.body)


@pytest.mark.parametrize("n_qubits", [3, 5, 8, 12, 16, 20])
def test_a_layer_with_pairs_inside_blocks_is_one_product_per_block(n_qubits):
    plan = make_plan(layered(n_qubits, 3), {"x"}, 4, qj.PlanOptions(collapse=False, max_block=4))
    found = body_kinds(plan)
    assert set(found) <= {Dense, Transpose}
    assert found.count(Dense) == -(-n_qubits // 4)
    (loop,) = [step for step in plan.steps if isinstance(step, Loop)]
    assert sorted(q for step in loop.body.steps if isinstance(step, Dense) for q in step.qubits) == list(
        range(n_qubits)
    )
    before = plan.steps[: plan.steps.index(loop)]
    assert all(step.data for step in before if isinstance(step, Dense))


def test_the_width_of_blocks_is_chosen_by_cost():
    free = body_kinds(make_plan(layered(20, 3), {"x"}, 1, qj.PlanOptions(collapse=False)))
    narrow = body_kinds(make_plan(layered(20, 3), {"x"}, 1, qj.PlanOptions(collapse=False, max_block=2)))
    assert free.count(Dense) < narrow.count(Dense)


@pytest.mark.parametrize("n_qubits", [6, 8])
def test_matrices_are_too_dear_to_make_where_there_is_one_small_state_only(n_qubits):
    steps = make_plan(written_out(n_qubits, 8), options=qj.PlanOptions(scan=False)).steps
    assert max(len(step.qubits) for step in steps if isinstance(step, Dense)) < n_qubits


def test_permutations_between_blocks_are_one_step_however_many():
    ring = qj.Circuit(8)
    for _ in range(5):
        for q in range(8):
            ring.cx(q, (q + 3) % 8).cz(q, (q + 2) % 8)
    assert kinds(make_plan(ring)).count(Monomial) == 1
    assert set(kinds(make_plan(ring))) <= {Enter, Monomial}


def test_swaps_are_new_names_of_wires():
    circuit = qj.Circuit(6).h(0).swap(0, 5).swap(1, 4).rx(qj.Parameter("w"), 5)
    assert set(kinds(make_plan(circuit))) <= {Dense, Enter, Transpose}
    assert sum(k is Dense for k in kinds(make_plan(circuit))) == 1


def test_diagonal_gates_between_blocks_are_one_step_however_many():
    w = qj.Parameter("w", (8, 8))
    circuit = qj.Circuit(8).h(range(8))
    for i in range(8):
        for j in range(i):
            circuit.rzz(w[i, j], i, j).cp(w[j, i], j, i)
    plan = make_plan(circuit)
    assert kinds(plan).count(Diagonal) == 1
    assert set(kinds(plan)) <= {Dense, Diagonal, Transpose}


def test_constant_gates_are_multiplied_before_anything_runs():
    constant = qj.Circuit(4)
    for q in range(4):
        constant.h(q).t(q).sx(q).rx(0.3, q).y(q)
    plan = make_plan(constant.copy().compose(constant).compose(constant))
    assert all(step.constant is not None for step in plan.steps if isinstance(step, Dense))
    assert plan.stacks == {}


def test_gates_that_undo_each_other_vanish():
    w = qj.Parameter("w", (4,))
    circuit = qj.Circuit(4).cx(0, 1).rz(w[0], 0).cx(0, 1).rzz(w[1], 2, 3).cx(0, 2).rzz(-w[1], 2, 3)
    (gates,) = [leaves for leaves in [[leaf for group in groups(circuit) for leaf in group.leaves]]]
    names = sorted(getattr(leaf.factors[0], "name", "constant") for leaf in gates)
    # The CX pair goes, with RZ on its control between them; RZZ does not commute with a CX target.
    assert names == ["constant", "rz", "rzz", "rzz"]
    assert kinds(make_plan(qj.Circuit(3).x(2).x(2).cx(0, 1).cx(0, 1).h(0).h(0).swap(1, 2).swap(1, 2))) == [Enter]


def test_a_circuit_and_its_inverse_vanish_from_the_middle():
    rng = np.random.default_rng(5)
    w = qj.Parameter("w", (40,))
    circuit = qj.Circuit(5)
    for i in range(40):
        a, b, c = rng.permutation(5)[:3].tolist()
        circuit.rx(w[i], a).h(a).cx(a, b).t(b).crz(0.3 * i, b, c).swap(a, c)
    assert kinds(make_plan(circuit.copy().compose(circuit.inverse()))) == [Enter]
    # One gate in the middle stops it at the gates that it does not let meet.
    left = make_plan(circuit.copy().rx(w[0], 1).compose(circuit.inverse()))
    assert {Dense, Packed} & set(kinds(left))
    # A projection lets no pair meet across it.
    assert Dense in kinds(make_plan(qj.Circuit(2).h(0).cx(0, 1).project(1, 0).cx(0, 1).h(0)))


def test_phases_are_applied_after_the_transpose_that_follows_them():
    circuit, w = qj.Circuit(16), qj.Parameter("w", (16,))
    for i in range(16):
        circuit.ry(w[i], i)
        for j in range(i + 1, 16):
            circuit.cp(0.1 * (i + j + 1), j, i)
    order = kinds(make_plan(circuit))
    assert Diagonal in order and Transpose in order
    assert (Diagonal, Transpose) not in set(zip(order, order[1:], strict=False))


def groups(circuit):
    from qjaxsim.planning.normal_form import normal_form
    from qjaxsim.planning.schedule import Limits, schedule

    return schedule(normal_form(circuit, ()), Limits(circuit.n_qubits, 4, 2, 1))


def test_data_and_weights_in_turn_on_single_qubits_make_one_stretch_of_data():
    x, w = qj.Parameter("x", (6,)), qj.Parameter("w", (6, 2))
    circuit = qj.Circuit(6)
    for q in range(6):
        circuit.ry(w[q, 0], q).rx(x[q], q).ry(w[q, 1], q)
        circuit.cx(q, (q + 1) % 6)
    plan = make_plan(circuit, {"x"}, 64, qj.PlanOptions(max_block=2))
    marks = [step.data for step in plan.steps if isinstance(step, Dense | Monomial | Diagonal)]
    assert any(marks) and not all(marks)
    for step in plan.steps:
        if isinstance(step, Dense):
            leaves = [leaf for layer in step.layers if isinstance(layer, tuple) for leaf in layer]
            assert {leaf.data for leaf in leaves} <= {step.data}


@pytest.mark.parametrize("n_qubits", [13, 20, 28])
def test_no_table_spans_a_wide_register(n_qubits):
    circuit = qj.Circuit(n_qubits).h(range(n_qubits))
    for i in range(n_qubits):
        for j in range(i):
            circuit.cp(0.1 * (i + j), j, i)
    tables = [table for step in make_plan(circuit).steps if isinstance(step, Diagonal) for table in step.tables]
    assert tables and max(len(table.offset) for table in tables) <= 2**12


def test_planning_work_grows_linearly(monkeypatch):
    from qjaxsim.planning import schedule

    calls = []
    absorb = schedule.Graph.absorb
    monkeypatch.setattr(schedule.Graph, "absorb", lambda self, *a: (calls.append(1), absorb(self, *a))[1])
    counts = []
    for n_gates in (1000, 2000, 4000):
        rng = np.random.default_rng(3)
        circuit = qj.Circuit(20)
        for _ in range(n_gates):
            a, b = rng.permutation(20)[:2].tolist()
            circuit.rx(float(rng.uniform(0, 6)), a).cx(a, b)
        calls.clear()
        make_plan(circuit, options=qj.PlanOptions(scan=False))
        counts.append(len(calls))
    assert counts[1] < 2.3 * counts[0] and counts[2] < 2.3 * counts[1]


def test_transposes_follow_one_another():
    plan = make_plan(written_out(14, 3))
    order = ()
    for step in plan.steps:
        if isinstance(step, Transpose):
            assert step.before == order and sorted(step.before) == sorted(step.after)
            order = step.after
        elif isinstance(step, Enter):
            order = (*step.qubits, *order)
        elif isinstance(step, Dense):
            order = (*step.qubits[: step.entering], *order)
            assert order[: len(step.qubits)] == step.qubits
    assert order == tuple(range(14))


@pytest.mark.parametrize(("max_block", "widest"), [(1, 1), (2, 2), (3, 3), (4, 4)])
def test_no_block_is_wider_than_allowed(max_block, widest):
    plan = make_plan(layered(8, 1, "ecr"), options=qj.PlanOptions(max_block=max_block))
    widths = [len(step.qubits) for step in plan.steps[-1].body.steps if isinstance(step, Dense)]
    assert max(widths) == max(widest, 2)  # a gate is never cut


def last_kind(depth, batch, n_qubits=8, **options):
    steps = make_plan(layered(n_qubits, depth), {"x"}, batch, qj.PlanOptions(**options)).steps
    return next(type(step) for step in reversed(steps) if isinstance(step, Collapsed | Loop))


def test_a_stretch_is_collapsed_where_the_batch_and_the_depth_pay_for_it():
    by_batch = [last_kind(50, 2**i) is Collapsed for i in range(12)]
    by_depth = [last_kind(2**i, 1000) is Collapsed for i in range(8)]
    for decisions in (by_batch, by_depth):  # from no to yes once, at the border of the cost model
        assert decisions == sorted(decisions) and {True, False} == set(decisions)
    assert last_kind(1, 2, collapse=True) is Collapsed
    plan = make_plan(layered(8, 50), {"x"}, 1000, qj.PlanOptions(collapse=True))
    (stretch,) = [step for step in plan.steps if isinstance(step, Collapsed)]
    (loop,) = [step for step in stretch.steps if isinstance(step, Loop)]
    assert Collapsed not in kinds(loop.body)  # the loop is collapsed as a whole, not its layer within
    assert last_kind(50, 1000, collapse=False) is Loop
    # No square matrix of a wide register is ever formed.
    assert last_kind(2, 10**6, n_qubits=14, collapse=True) is Loop


def test_nothing_is_collapsed_before_the_first_data_or_over_a_projection():
    w, x = qj.Parameter("w", (3,)), qj.Parameter("x", (3,))
    weights = qj.Circuit(3).repeat(qj.Circuit(3).rx(w[0], 0).cx(0, 1).ry(w[1], 2).cx(2, 0), 4)
    data = qj.Circuit(3).ry(x[0], 0).ry(x[1], 1).ry(x[2], 2)
    options = qj.PlanOptions(collapse=True)
    plan = make_plan(qj.Circuit(3).compose(weights).compose(data).compose(weights), {"x"}, 50, options)
    assert kinds(plan).count(Collapsed) == 1 and kinds(plan).index(Collapsed) > kinds(plan).index(Loop)
    assert Collapsed not in kinds(make_plan(weights, (), 1, options))
    measured = qj.Circuit(3).compose(data).repeat(qj.Circuit(3).ry(w[2], [0, 2]).cx(0, 1).project(1, 0), 2)
    plan = make_plan(measured, {"x"}, 50, options)
    (loop,) = [step for step in plan.steps if isinstance(step, Loop)]
    assert not is_linear(loop)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_block": 0}, ValueError, "Argument `max_block` must be at least 1, but is 0"),
        ({"max_block": 2.5}, TypeError, "Argument `max_block` must be an integer, but is 2.5"),
        ({"unroll": True}, TypeError, "Argument `unroll` must be an integer, but is True"),
        ({"unroll": None}, TypeError, "Argument `unroll` must be an integer, but is None"),
        ({"collapse": "yes"}, TypeError, "Argument `collapse` must be True, False or None, but is 'yes'"),
        ({"scan": 2}, TypeError, "Argument `scan` must be True, False or None, but is 2"),
        ({"collapse": np.zeros(2)}, TypeError, r"Argument `collapse` must be True, False or None, but is array\("),
    ],
)
def test_wrong_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        qj.PlanOptions(**options)


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collapse", mostly_slow([True, False], keep=[1]))
def test_programs_do_not_grow_with_depth(collapse):
    def lengths(depth):
        run = qj.expectation(layered(6, depth), [qj.Z(q) for q in range(6)], options=qj.PlanOptions(collapse=collapse))

        def loss(params):
            return run(params).sum()

        def hvp(params, tangent):
            return jax.jvp(jax.grad(loss), (params,), (tangent,))[1]

        params = shapes(6, depth)
        return [len(program(run, params)), len(program(jax.grad(loss), params)), len(program(hvp, params, params))]

    assert lengths(4) == lengths(64)
    if not collapse:  # written out, layers do grow
        few, many = (
            len(program(qj.statevector(written_out(6, d), options=qj.PlanOptions(scan=False)), {"w": weights(d, 6)}))
            for d in (2, 4)
        )
        assert many > few


@pytest.mark.parametrize("collapse", [True, False])
def test_weights_are_prepared_once_for_the_whole_batch(collapse):
    n_qubits, depth = 6, 5
    run = qj.statevector(layered(n_qubits, depth), options=qj.PlanOptions(collapse=collapse))
    steps = program(run, shapes(n_qubits, depth))
    outputs = [out.aval for equation in steps for out in equation.outvars]
    carrying = [aval for aval in outputs if BATCH in getattr(aval, "shape", ())]
    assert carrying
    # Nothing that carries the batch is larger than the states themselves.
    assert max(aval.size for aval in carrying) <= 2 * 2**n_qubits * BATCH
    trigonometry = [e.outvars[0].aval for e in steps if e.primitive.name in ("cos", "sin")]
    with_batch = sum(aval.size for aval in trigonometry if BATCH in aval.shape)
    without = sum(aval.size for aval in trigonometry if BATCH not in aval.shape)
    assert with_batch == 2 * n_qubits * BATCH  # cosine and sine of every angle of data
    assert without == 2 * 3 * n_qubits * depth  # of every weight, all iterations at once
    products = [e for e in steps if e.primitive.name == "dot_general" and BATCH in e.outvars[0].aval.shape]
    for product in products:  # the batch is never an axis of stacked products of matrices from weights
        (_, (left, _)) = product.params["dimension_numbers"]
        assert not left or product.invars[0].aval.size <= 4 * n_qubits * BATCH


def test_each_set_of_weights_is_prepared_once_for_its_own_batch():
    """Weights (P, 1, ...) against data (B, ...): P sets of matrices, not P * B."""
    n_qubits, depth, sets = 5, 3, 3
    run = qj.statevector(layered(n_qubits, depth), options=qj.PlanOptions(collapse=False))
    params = shapes(n_qubits, depth)
    params["w"] = jax.ShapeDtypeStruct((sets, 1, depth, n_qubits, 3), np.float64)
    trigonometry = [e.outvars[0].aval for e in program(run, params) if e.primitive.name in ("cos", "sin")]
    assert sum(aval.size for aval in trigonometry if BATCH not in aval.shape) == sets * 2 * 3 * n_qubits * depth


def test_weights_before_the_data_run_on_one_column():
    n = 8
    circuit = written_out(n, 3).ry(qj.Parameter("x"), 0)
    sizes = {"x": (BATCH,), "w": (3, n, 3)}
    steps = program(qj.statevector(circuit), {k: jax.ShapeDtypeStruct(v, np.float64) for k, v in sizes.items()})
    wide = [e for e in steps if e.primitive.name == "dot_general" and BATCH in e.outvars[0].aval.shape]
    assert sum(e.outvars[0].aval.size == 2 * 2**n * BATCH for e in wide) == 1  # only the data's own product


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_states_that_do_not_fit_are_refused_before_anything_is_allocated():
    circuit = qj.Circuit(40).h(range(40))
    # Two copies of 2**40 amplitudes of 16 bytes.
    for make in (qj.statevector, qj.probabilities, lambda c: qj.expectation(c, qj.Z(0))):
        with pytest.raises(MemoryError, match=r"Running 1 state of 40 qubits needs 32768.0 GiB, but .* GiB are free"):
            make(circuit)()
    with pytest.raises(MemoryError, match=r"1048576 states of 20 qubits needs 32768.0 GiB.*; use fewer qubits"):
        qj.unitary(qj.Circuit(20).h(0))()


def test_the_refusal_counts_the_batch_and_the_precision(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**20)
    run = qj.statevector(layered(8, 1))
    small, exact = shapes(8, 1, (128,)), shapes(8, 1, (129,))
    assert jax.eval_shape(run, small).shape == (128, 256)  # 2 * 16 bytes * 2**8 * 128 is all there is
    with pytest.raises(MemoryError, match=r"129 states of 8 qubits needs [0-9.e-]+ GiB, but [0-9.e-]+ GiB are free"):
        jax.eval_shape(run, exact)
    single = {name: jax.ShapeDtypeStruct(leaf.shape, np.float32) for name, leaf in exact.items()}
    assert jax.eval_shape(run, single).dtype == np.complex64


def test_importing_the_package_is_light():
    code = (
        "import sys, qjaxsim; print('jax' in sys.modules); "
        "[getattr(qjaxsim, name) for name in qjaxsim.__all__ if name != 'load_run']; "  # that one brings the studies
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    at_import, names = done.stdout.splitlines()
    loaded = set(names.split())
    assert at_import == "False" and "jax" in loaded
    heavy = {"qiskit", "matplotlib", "sklearn", "tensorflow_datasets", "tensorflow", "optax", "pandas", "typer", "rich"}
    assert not loaded & heavy
