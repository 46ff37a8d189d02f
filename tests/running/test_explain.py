"""What `explain` says: steps, operations and bytes counted by hand, memory, refusals."""

import pytest

import qjaxsim as qj


def one_block(n_qubits=3):
    w, circuit = qj.Parameter("w", (n_qubits,)), qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.rx(w[q], q)
    return circuit.cx(0, 1)


def layered(n_qubits, depth):
    x, w = qj.Parameter("x", (n_qubits,)), qj.Parameter("w", (n_qubits,))
    layer, circuit = qj.Circuit(n_qubits), qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.ry(x[q], q)
        layer.rx(w[q], q).cx(q, (q + 1) % n_qubits)
    return circuit.repeat(layer, depth)


def test_a_block_on_qubits_in_zero_is_its_first_column():
    plan = qj.explain(one_block())
    (line,) = [line for line in plan.lines if line.kind == "dense"]
    assert line.qubits == "0,1,2" and line.role == "weights"
    assert line.flops == 8 * 1 * 2**3  # one column of the matrix for each of the 8 amplitudes
    assert line.bytes == 2 * 8 * 2**3  # complex64, read and written
    assert plan.products == 1


def test_a_loop_counts_its_iterations_and_the_batch():
    batch, depth, n = 10, 7, 4
    options = qj.PlanOptions(collapse=False, max_block=4)
    plan = qj.explain(layered(n, depth), batch, ("x",), options=options, dtype="complex128")
    inside = [line for line in plan.lines if line.depth == 1 and line.kind == "dense"]
    assert sum(line.flops for line in inside) == depth * len(inside) * 8 * 2**n * batch * 2**n
    assert all(line.bytes == depth * 2 * 16 * batch * 2**n for line in inside)
    assert plan.memory["forward"] == 2 * 16 * batch * 2**n
    assert plan.flops == sum(line.flops for line in plan.lines)
    assert "loop x 7" in str(plan) and "widen" in str(plan)


def test_collapsed_stretches_show_what_is_in_them():
    plan = qj.explain(layered(4, 30), 1000, "x", options=qj.PlanOptions(collapse=True))
    kinds = [(line.kind, line.depth) for line in plan.lines]
    at = kinds.index(("collapsed", 0))
    assert ("loop x 30", 1) in kinds[at:]
    assert plan.lines[at].flops == 8 * 16 * 1000 * 16
    assert max(map(len, str(plan).splitlines()[:-1])) <= 120


def test_the_way_of_the_gradient_is_named_with_its_reason():
    assert qj.explain(layered(10, 10**4), 1).gradient == "adjoint"
    assert qj.explain(layered(10, 2), 1).gradient == "backprop"
    projected = qj.explain(one_block().project(0, 1))
    assert projected.gradient == "backprop" and "adjoint" not in projected.memory
    assert "cannot be run backwards" in str(projected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 5}, "Argument `data` must name the parameters that carry the batch of 5, but is empty"),
        ({"batch": 5, "data": ("y",)}, r"Argument `data` names \['y'\], but the circuit's parameters are"),
        ({"batch": 0}, "Argument `batch` must be a positive integer, but is 0"),
        ({"dtype": "float32"}, "Argument `dtype` must be 'complex64' or 'complex128', but is 'float32'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        qj.explain(layered(3, 2), **arguments)
