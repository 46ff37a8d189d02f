"""How the engine works, not only what it gives: plans, sharing of work, size of programs, refusals, imports."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim import memory
from qjaxsim.plan import make_plan
from qjaxsim.steps import Collapsed, Dense, Diagonal, Loop, Monomial, is_linear

BATCH = 37  # a size that nothing else has


def layered(n_qubits, depth, entangler="cx"):
    """RY encoding, then RX RY RZ on every qubit and entanglers on neighbours, `depth` times."""
    x, w = qj.Parameter("x", (n_qubits,)), qj.Parameter("w", (n_qubits, 3))
    layer, circuit = qj.Circuit(n_qubits), qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.ry(x[q], q)
        layer.rx(w[q, 0], q).ry(w[q, 1], q).rz(w[q, 2], q)
    for q in range(0, n_qubits - 1, 2):
        layer.append(entangler, (q, q + 1))
    return circuit.repeat(layer, depth)


def shapes(n_qubits, depth, batch=(BATCH,)):
    return {
        "x": jax.ShapeDtypeStruct((*batch, n_qubits), np.float64),
        "w": jax.ShapeDtypeStruct((depth, n_qubits, 3), np.float64),
    }


def equations(jaxpr):
    """All equations of a program, those of inner programs (scans, jits) included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def program(function, *arguments):
    return list(equations(jax.make_jaxpr(function)(*arguments).jaxpr))


def kinds(plan):
    return [type(step) for step in plan.steps]


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_qubits", "blocks"), [(3, 1), (5, 1), (8, 2), (12, 3), (16, 4), (20, 5)])
def test_a_layer_with_pairs_inside_blocks_is_one_product_per_block(n_qubits, blocks):
    plan = make_plan(layered(n_qubits, 3), {"x"}, 4, qj.PlanOptions(collapse=False))
    *encoding, loop = plan.steps
    assert all(isinstance(step, Dense) and step.data for step in encoding)
    assert isinstance(loop, Loop)
    assert kinds(loop.body) == [Dense] * blocks
    assert sorted(q for step in loop.body.steps for q in step.qubits) == list(range(n_qubits))


def test_permutations_between_blocks_are_one_step_however_many():
    circuit, w = qj.Circuit(8), qj.Parameter("w", (8,))
    for q in range(8):
        circuit.rx(w[q], q)
    for q in (0, 2, 4, 6, 1, 3, 5):
        circuit.cx(q, q + 1)
    assert kinds(make_plan(circuit.cx(7, 0))) == [Dense, Dense, Monomial]  # of all CX, 3-4 and 7-0 leave their blocks
    ring = qj.Circuit(8)
    for _ in range(5):
        for q in range(8):
            ring.cx(q, (q + 3) % 8).cz(q, (q + 2) % 8).swap(q, (q + 1) % 8)
    assert kinds(make_plan(ring)) == [Monomial]


def test_diagonal_gates_between_blocks_are_one_step_however_many():
    w = qj.Parameter("w", (8, 8))
    circuit = qj.Circuit(8).h(range(8))
    for i in range(8):
        for j in range(i):
            circuit.rzz(w[i, j], i, j).cp(w[j, i], j, i)
    plan = make_plan(circuit)
    assert kinds(plan)[-1] is Diagonal and kinds(plan).count(Diagonal) == 1
    assert set(kinds(plan)) == {Dense, Diagonal}


def test_constant_gates_are_multiplied_before_anything_runs():
    constant = qj.Circuit(4)
    for q in range(4):
        constant.h(q).t(q).sx(q).rx(0.3, q).y(q)
    plan = make_plan(constant.copy().compose(constant).compose(constant))
    (step,) = plan.steps
    assert [len(leaf.factors) for layer in step.layers for leaf in layer] == [1] * 4


@pytest.mark.parametrize(("max_block", "widest"), [(1, 1), (2, 2), (3, 3), (None, 4)])
def test_no_block_is_wider_than_allowed(max_block, widest):
    plan = make_plan(layered(8, 1, "ecr"), options=qj.PlanOptions(max_block=max_block))
    widths = [len(step.qubits) for step in plan.steps[-1].body.steps if isinstance(step, Dense)]
    assert max(widths) == max(widest, 2)  # a gate is never cut


def test_a_stretch_is_collapsed_where_the_batch_and_the_depth_pay_for_it():
    def last(depth, batch, **options):
        return kinds(make_plan(layered(8, depth), {"x"}, batch, qj.PlanOptions(**options)))[-1]

    assert last(50, 1000) is Collapsed
    assert last(50, 4) is Loop  # too few samples
    assert last(1, 1000) is Loop  # too shallow
    assert last(1, 2, collapse=True) is Collapsed
    (loop,) = make_plan(layered(8, 50), {"x"}, 1000, qj.PlanOptions(collapse=True)).steps[-1].steps
    assert set(kinds(loop.body)) == {Dense}  # the loop is collapsed as a whole, not its layer within
    assert last(50, 1000, collapse=False) is Loop
    # No square matrix of a wide register is ever formed.
    assert kinds(make_plan(layered(14, 2), {"x"}, 10**6, qj.PlanOptions(collapse=True)))[-1] is Loop


def test_nothing_is_collapsed_before_the_first_data_or_over_a_projection():
    w, x = qj.Parameter("w", (3,)), qj.Parameter("x", (3,))
    weights = qj.Circuit(3).repeat(qj.Circuit(3).rx(w[0], 0).cx(0, 1).ry(w[1], 2).cx(2, 0), 4)
    data = qj.Circuit(3).ry(x[0], 0).ry(x[1], 1).ry(x[2], 2)
    options = qj.PlanOptions(collapse=True)
    plan = make_plan(qj.Circuit(3).compose(weights).compose(data).compose(weights), {"x"}, 50, options)
    assert Collapsed not in kinds(plan)[:-1] and kinds(plan)[-1] is Collapsed
    assert Collapsed not in kinds(make_plan(weights, (), 1, options))
    measured = qj.Circuit(3).compose(data).repeat(qj.Circuit(3).ry(w[2], [0, 2]).cx(0, 1).project(1, 0), 2)
    plan = make_plan(measured, {"x"}, 50, options)
    assert kinds(plan)[-1] is Loop and not is_linear(plan.steps[-1])


# --- programs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("collapse", [True, False])
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
            len(program(qj.statevector(_written_out(6, d)), {"w": jax.ShapeDtypeStruct((d, 6, 3), np.float64)}))
            for d in (2, 4)
        )
        assert many > few


def _written_out(n_qubits, depth):
    w, circuit = qj.Parameter("w", (depth, n_qubits, 3)), qj.Circuit(n_qubits)
    for i in range(depth):
        for q in range(n_qubits):
            circuit.rx(w[i, q, 0], q).ry(w[i, q, 1], q).rz(w[i, q, 2], q)
        for q in range(i % 2, n_qubits - 1, 2):
            circuit.cx(q, q + 1)
    return circuit


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
    circuit = _written_out(n, 3).ry(qj.Parameter("x"), 0)
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
    code = "import sys, qjaxsim; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "qjaxsim" in loaded and "jax" in loaded
    heavy = {"qiskit", "matplotlib", "sklearn", "tensorflow_datasets", "tensorflow", "optax", "pandas", "typer", "rich"}
    assert not loaded & heavy
