"""Circuits as data: building, comparing, inverting, drawing, refusing."""

import copy
import subprocess
import sys

import numpy as np
import pytest

import qjaxsim as qj
from qjaxsim.circuits import reference
from qjaxsim.circuits.gates import GATES

a, b, s = qj.Parameter("a", (2,)), qj.Parameter("b", (3,)), qj.Parameter("s")
ANGLES = (0.7, -1.3, 2.1, 0.4)


def asymmetric(n_qubits):
    """A state without any symmetry between its qubits."""
    circuit = qj.Circuit(n_qubits)
    for q in range(n_qubits):
        circuit.u(0.3 + 0.4 * q, 0.2 - 0.5 * q, 0.9 * q, q)
    for q in range(n_qubits - 1):
        circuit.cx(q, q + 1).t(q + 1)
    return circuit


# --- against Qiskit ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(GATES.keys() - {"global_phase", "delay_dt"}))
def test_methods_take_arguments_in_qiskits_order(name):
    info = pytest.importorskip("qiskit.quantum_info", reason="compares with Qiskit")
    from qiskit import QuantumCircuit
    from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

    spec = GATES[name]
    n_qubits, targets = 5, [3, 0, 4, 1][: spec.n_qubits]
    theirs = QuantumCircuit(n_qubits)
    for q in range(n_qubits):
        theirs.u(0.3 + 0.4 * q, 0.2 - 0.5 * q, 0.9 * q, q)
    for q in range(n_qubits - 1):
        theirs.cx(q, q + 1)
        theirs.t(q + 1)
    angles = (3,) if name == "delay" else ANGLES[: spec.n_angles]
    if hasattr(theirs, name):
        getattr(theirs, name)(*angles, *targets)
    else:  # no method in Qiskit: the gate class with its arguments
        theirs.append(get_standard_gate_name_mapping()[name].base_class(*angles), targets)
    ours = getattr(asymmetric(n_qubits), name)(*angles, *targets)
    want = info.Statevector(theirs).reverse_qargs().data
    np.testing.assert_allclose(reference.statevector(ours), want, atol=1e-13)


def test_broadcasting_over_sequences_of_qubits_is_qiskits():
    info = pytest.importorskip("qiskit.quantum_info", reason="compares with Qiskit")
    from qiskit import QuantumCircuit

    theirs, ours = QuantumCircuit(4), qj.Circuit(4)
    for circuit in (theirs, ours):
        circuit.h(range(4))
        circuit.rx(0.3, [0, 2])
        circuit.cx([0, 1], [2, 3])
        circuit.cp(0.7, 0, [1, 3])
        circuit.crx(0.2, [1, 2], 0)
        circuit.swap([3, 0], [1, 2])
    want = info.Statevector(theirs).reverse_qargs().data
    np.testing.assert_allclose(reference.statevector(ours), want, atol=1e-14)


# --- building ---------------------------------------------------------------------------------------------------------


def test_any_iterable_of_qubits_will_do():
    want = qj.Circuit(3).h(0).h(1).h(2).cx(0, 2).cx(1, 2)
    for of in (list, tuple, np.array, iter, lambda q: (i for i in q)):
        assert qj.Circuit(3).h(of([0, 1, 2])).cx(of([0, 1]), 2) == want
    assert qj.Circuit(2).h([]) == qj.Circuit(2)
    assert qj.Circuit(3).append("cx", np.array([2, 0])) == qj.Circuit(3).cx(2, 0)
    assert qj.Circuit(np.int64(3)).project([0, 2], 1) == qj.Circuit(3).project(0, 1).project(2, 1)


def test_parameters_are_listed_in_order_of_first_use():
    circuit = qj.Circuit(2).rx(b[1] + s, 0).ry(a[0], 1).repeat(qj.Circuit(2).rz(s, 0), 5, shared="s")
    assert list(circuit.parameters.items()) == [("b", (3,)), ("s", ()), ("a", (2,))]
    assert circuit.n_parameters == 6
    assert qj.Circuit(2).delay(s, 0).parameters == {"s": ()}
    circuit.parameters["x"] = ()  # a copy
    assert "x" not in circuit.parameters


def test_repeat_adds_a_leading_axis_unless_shared():
    layer = qj.Circuit(2).rx(a[0], 0).ry(b[2], 1).cx(0, 1)
    inner = qj.Circuit(2).repeat(layer, 3, shared=("b",))
    assert inner.parameters == {"a": (3, 2), "b": (3,)}
    assert qj.Circuit(2).repeat(inner, 4).parameters == {"a": (4, 3, 2), "b": (4, 3)}
    assert qj.Circuit(2).repeat(layer, 5, shared="a").parameters == {"a": (2,), "b": (5, 3)}
    # The layer is a snapshot.
    outer = qj.Circuit(2).repeat(layer, 2)
    layer.h(0)
    assert outer == qj.Circuit(2).repeat(qj.Circuit(2).rx(a[0], 0).ry(b[2], 1).cx(0, 1), 2)


def test_repeat_is_the_layers_written_out():
    params = {"a": np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]), "s": 0.7}
    layer = qj.Circuit(3).rx(a[0] * s, 2).cry(a[1], 2, 0).h(1).ccx(0, 1, 2)
    by_hand = asymmetric(3)
    for row in params["a"]:
        by_hand.rx(row[0] * 0.7, 2).cry(row[1], 2, 0).h(1).ccx(0, 1, 2)
    looped = asymmetric(3).repeat(layer, 3, shared="s")
    np.testing.assert_allclose(reference.statevector(looped, params), reference.statevector(by_hand), atol=1e-14)


def test_compose_moves_every_kind_of_operation():
    part = qj.Circuit(2).h(0).rx(s, 1).unitary(np.diag([1, 1, 1, 1j]), [1, 0], "CS").project(1, 0)
    part.repeat(qj.Circuit(2).cx(1, 0), 3).compose(qj.Circuit(2).repeat(qj.Circuit(2).rx(b[2], 0), 2).inverse())
    want = qj.Circuit(4).h(3).rx(s, 0).unitary(np.diag([1, 1, 1, 1j]), [0, 3], "CS").project(0, 0)
    want.repeat(qj.Circuit(4).cx(0, 3), 3).compose(qj.Circuit(4).repeat(qj.Circuit(4).rx(b[2], 3), 2).inverse())
    assert want.operations[-1].reverse
    assert qj.Circuit(4).compose(part, [3, 0]) == want
    assert qj.Circuit(2).compose(part) == part
    assert len(part.copy().compose(part)) == len(part.compose(part)) == 12  # with itself


@pytest.mark.parametrize("copied", [qj.Circuit.copy, copy.copy, copy.deepcopy])
def test_a_copy_is_independent(copied):
    circuit = qj.Circuit(2).h(0)
    other = copied(circuit)
    assert other == circuit and other is not circuit
    other.x(1)
    assert len(circuit) == 1 and len(other) == 2


def test_inverse_undoes_every_gate_and_twice_is_the_same_map():
    weights = qj.Parameter("weights", (60,))
    layer = asymmetric(4).unitary(np.diag([1, 1j]), 2)
    for i, (name, spec) in enumerate(sorted(GATES.items())):
        angles = [weights[i] - 0.3 * i if j % 2 else weights[-i] for j in range(spec.n_angles)]
        layer.append(name, [(i + j * 3) % 4 for j in range(spec.n_qubits)], angles)
    circuit = asymmetric(4).repeat(layer, 2)
    params = {"weights": np.random.default_rng(1).normal(size=(2, 60))}
    there, back = reference.unitary(circuit, params), reference.unitary(circuit.inverse(), params)
    np.testing.assert_allclose(back @ there, np.eye(16), atol=1e-12)
    np.testing.assert_allclose(reference.unitary(circuit.inverse().inverse(), params), there, atol=1e-12)
    only_rotations = qj.Circuit(2).rx(s, 0).cx(0, 1).cu(s, 0.1, a[0], 2 * s, 1, 0).iswap(0, 1).iswap(0, 1)
    assert only_rotations.inverse().operations[-1] == qj.Circuit(2).rx(-s, 0).operations[0]


def test_count_ops_counts_repetitions():
    inner = qj.Circuit(3).h(0).cx(0, 1).project(2, 0)
    outer = qj.Circuit(3).repeat(inner, 3).h(1).unitary(np.eye(2), 0, "mine")
    total = qj.Circuit(3).h(0).repeat(outer, 2).count_ops()
    assert total == {"h": 9, "cx": 6, "project": 6, "unitary": 2}
    assert list(total)[0] == "h"


# --- comparing --------------------------------------------------------------------------------------------------------


def variants():
    layer = qj.Circuit(2).rx(a[0], 0)
    return [
        qj.Circuit(2),
        qj.Circuit(3),
        qj.Circuit(2).h(0),
        qj.Circuit(2).h(1),
        qj.Circuit(2).h(0).h(1),
        qj.Circuit(2).h(1).h(0),
        qj.Circuit(2).rx(0.5, 0),
        qj.Circuit(2).rx(0.5 + 1e-12, 0),
        qj.Circuit(2).rx(s, 0),
        qj.Circuit(2).rx(1.00000001 * s, 0),
        qj.Circuit(2).rx(1.00000002 * s, 0),
        qj.Circuit(2).rx(a[0], 0),
        qj.Circuit(2).rx(a[1], 0),
        qj.Circuit(2).rx(qj.Parameter("a", (3,))[0], 0),
        qj.Circuit(2).cx(0, 1),
        qj.Circuit(2).cx(1, 0),
        qj.Circuit(2).project(0, 0),
        qj.Circuit(2).project(0, 1),
        qj.Circuit(2).unitary(np.eye(2), 0),
        qj.Circuit(2).unitary(np.eye(2), 0, "other"),
        qj.Circuit(2).unitary(np.diag([1, -1]), 0),
        qj.Circuit(2).repeat(layer, 2),
        qj.Circuit(2).repeat(layer, 2, shared="a"),
        qj.Circuit(2).repeat(layer, 3),
        qj.Circuit(2).repeat(layer, 2).inverse(),
    ]


def test_equality_and_hash_tell_structures_apart():
    first, second = variants(), variants()
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            assert (left == right) == (i == j)
            assert (left.structure_hash() == right.structure_hash()) == (i == j)
    assert first[0] != "circuit"
    with pytest.raises(TypeError, match="unhashable"):
        hash(first[0])


def test_equal_circuits_hash_alike_whatever_the_sign_of_zero():
    real = np.array([[0, 1], [1, 0]])
    pairs = [
        (qj.Circuit(1).rx(0.0, 0), qj.Circuit(1).rx(-0.0, 0)),
        (qj.Circuit(1).rx(0, 0), qj.Circuit(1).rx(0.0, 0).inverse()),
        (qj.Circuit(1).unitary(real, 0), qj.Circuit(1).unitary(real * np.array([[-0.0, 1], [1, 0]]), 0)),
        (qj.Circuit(1).unitary(real, 0), qj.Circuit(1).unitary(real, 0).inverse().inverse()),
    ]
    for left, right in pairs:
        assert left == right
        assert left.structure_hash() == right.structure_hash()


def test_structure_hash_is_the_same_in_another_process():
    make = (
        "import qjaxsim as qj; a, s = qj.Parameter('a', (2,)), qj.Parameter('s');"
        "layer = qj.Circuit(3).rx(a[0] * s, 0).u(a[1], 0.1, s**2, 2).cx(0, 1);"
        "c = qj.Circuit(3).repeat(layer, 2, shared=('s', 'a')).unitary([[0, 1], [1, 0]], 1).project(2, 1);"
    )
    here = {"__builtins__": __builtins__}
    exec(make, here)
    for seed in ("1", "2"):
        code = make + "print(c.structure_hash())"
        done = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, text=True
        )
        assert done.stdout.strip() == here["c"].structure_hash(), done.stderr


# --- drawing ----------------------------------------------------------------------------------------------------------


def wires(circuit):
    """The drawing's rows without their margins, wires and links in turn, padded to one length."""
    margin = len(f"q{circuit.n_qubits - 1}: ")
    rows = [line[margin:] for line in str(circuit).split("\n")]
    width = max(map(len, rows))
    return [row.ljust(width) for row in rows]


def test_drawing_has_a_wire_for_every_qubit_and_links_between():
    lines = str(asymmetric(12)).split("\n")
    assert len(lines) == 23
    assert [line.split(":")[0] for line in lines[::2]] == [f"q{q}" for q in range(12)]
    assert len({len(line) for line in lines[::2]}) == 1
    assert all(set(line) <= set(" │") for line in lines[1::2])


def test_drawing_puts_controls_targets_and_links_in_one_column():
    rows = wires(qj.Circuit(4).ccx(3, 0, 2))
    (column,) = [i for i, mark in enumerate(rows[0]) if mark == "●"]
    assert [row[column] for row in rows] == list("●│┼│X│●")
    rows = wires(qj.Circuit(4).h(3).rx(0.1, 3).t(1).cy(3, 1).s(0).cx(1, 3))  # on wires of different lengths
    assert rows[6].index("●") == rows[4].index("┼") == rows[2].index("Y") > rows[6].index("RX(0.1)")
    assert rows[6].index("X", rows[6].index("●")) == rows[2].index("●")
    rows = wires(qj.Circuit(4).cx(2, 1))
    (column,) = [i for i, mark in enumerate(rows[4]) if mark == "●"]
    assert [row[column] for row in rows] == list("─ X│● ─")
    rows = wires(qj.Circuit(3).cswap(1, 0, 2))
    assert [row[rows[0].index("x")] for row in rows] == list("x│●│x")


def test_links_end_in_marks_of_one_column():
    rng = np.random.default_rng(3)
    circuit = qj.Circuit(5)
    for name in rng.permutation(sorted(GATES.keys() - {"global_phase", "delay_dt"})):
        spec = GATES[name]
        circuit.append(name, rng.permutation(5)[: spec.n_qubits], ANGLES[: spec.n_angles])
    rows = wires(circuit)
    links = [(row, column) for row in range(1, 9, 2) for column, mark in enumerate(rows[row]) if mark == "│"]
    assert len(links) >= sum(spec.n_qubits - 1 for spec in GATES.values() if spec.n_qubits)
    for row, column in links:
        assert rows[row - 1][column] not in "─ " and rows[row + 1][column] not in "─ "


def test_drawing_shows_labels_angles_and_the_order_of_qubits():
    circuit = qj.Circuit(3).rx(0.25, 1).crz(2 * a[1], 2, 0).ecr(1, 0).unitary(np.eye(4), [2, 1], "V").project(0, 1)
    rows = wires(circuit)
    assert "RX(0.25)" in rows[2] and "RZ(2*a[1])" in rows[0] and "●" in rows[4]
    assert "ECR:0" in rows[2] and "ECR:1" in rows[0]
    assert "V:0" in rows[4] and "V:1" in rows[2]
    assert rows[0].rstrip("─").endswith("|1><1|")


def test_gates_on_one_wire_are_drawn_in_time_order_and_never_overlap():
    circuit = qj.Circuit(3).h(0).cx(0, 2).ry(0.5, 1).cx(1, 2).s(0).x(2)
    rows = wires(circuit)
    assert [mark for mark in rows[0] if mark not in "─"] == ["H", "●", "S"]
    assert [mark for mark in rows[4] if mark not in "─"] == ["X", "X", "X"]
    assert rows[2].index("┼") < rows[2].index("RY(0.5)") < rows[2].index("●")


def test_drawing_of_repeats_and_global_phases():
    layer = qj.Circuit(3).rx(a[0], 0).cx(0, 2)
    circuit = qj.Circuit(3).global_phase(s).repeat(layer, 4, shared="a").repeat(layer, 2, shared="a").inverse()
    first, *rest = str(circuit).split("\n")
    assert first == "global phase: GLOBAL_PHASE(-s)"
    assert "[4 x 2 operations, shared a, reversed]" in rest[0] and "[4 x 2 operations" in rest[4]
    assert "┼" in rest[2] and "[" not in rest[2]
    # Layers that touch no qubit.
    assert "[3 x 0 operations]" in str(qj.Circuit(2).repeat(qj.Circuit(2), 3))
    assert "[3 x 1 operation]" in str(qj.Circuit(2).repeat(qj.Circuit(2).global_phase(s), 3))


def test_drawing_an_empty_circuit_and_repr():
    assert str(qj.Circuit(1)).startswith("q0: ─")
    assert repr(qj.Circuit(3).rx(a[0], 0).h(1)) == "<Circuit: 3 qubits, 2 operations, 2 parameters>"


# --- refusing ---------------------------------------------------------------------------------------------------------

two = qj.Circuit(2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: qj.Circuit(0), ValueError, "Argument `n_qubits` must be a positive integer, but is 0"),
        (lambda: qj.Circuit(True), ValueError, "must be a positive integer, but is True"),
        (lambda: qj.Circuit(2.0), ValueError, "must be a positive integer, but is 2.0"),
        (lambda: two.append("foo", 0), ValueError, "Unknown gate 'foo'; known gates: c3sx, ccx, ccz,"),
        (lambda: two.append("cx", 0), ValueError, r"Gate 'cx' acts on 2 qubits, but got 1: \(0,\)"),
        (lambda: two.append("rx", 0), ValueError, "Gate 'rx' takes 1 angles, but got 0"),
        (lambda: two.cx(0), TypeError, "Gate 'cx' takes 0 angles and then 2 qubits, but got 1 arguments"),
        (lambda: two.rx(0), TypeError, "Gate 'rx' takes 1 angles and then 1 qubits, but got 1 arguments"),
        (lambda: two.cx([0], [1, 0]), ValueError, r"sequences of gate 'cx' must have equal lengths, but have \[1, 2\]"),
        (lambda: two.h(2), ValueError, r"Qubit 2 of 'h' is out of range for 2 qubits \(0 to 1\)"),
        (lambda: two.h(-1), ValueError, "Qubit -1 of 'h' is out of range"),
        (lambda: two.h(0.0), TypeError, r"Qubits of 'h' must be integers, but got 0.0 \(float\)"),
        (lambda: two.h(True), TypeError, r"must be integers, but got True \(bool\)"),
        (lambda: two.h("01"), TypeError, r"must be integers, but got '0' \(str\)"),
        (lambda: two.cx(1, 1), ValueError, r"Qubits of 'cx' must differ, but are \(1, 1\)"),
        (lambda: two.rx(a, 0), ValueError, r"Parameter 'a' has shape \(2,\), but an angle is one number"),
        (lambda: two.rx(np.nan, 0), ValueError, "An angle must be finite, but is nan"),
        (
            lambda: two.rx("pi", 0),
            TypeError,
            r"An angle must be a real number or an expression .* but is 'pi' \(str\)\.",
        ),
        (lambda: two.rx("a", 0), TypeError, r"but is 'a' \(str\); write qj.Parameter\('a'\)"),
        (lambda: two.unitary(np.eye(2), [0, 1]), ValueError, r"must have shape \(4, 4\) for .* but has \(2, 2\)"),
        (lambda: two.unitary([[1, 1], [0, 1]], 0), ValueError, "`matrix` must be unitary, but differs from it by 1"),
        (lambda: two.unitary([[np.nan, 0], [0, 1]], 0), ValueError, "must be unitary, but differs from it by nan"),
        (lambda: two.unitary([[1]], []), ValueError, "Argument `qubits` must name at least one qubit"),
        (lambda: two.project(0, 2), ValueError, "Argument `outcome` must be 0 or 1, but is 2"),
        (lambda: two.project(2, 0), ValueError, "Qubit 2 of 'project' is out of range"),
        (lambda: two.repeat(qj.Circuit(3), 2), ValueError, "`layer` must have 2 qubits like the circuit, but has 3"),
        (lambda: two.repeat(two, 0), ValueError, "Argument `times` must be a positive integer, but is 0"),
        (lambda: two.repeat(two, 1.5), ValueError, "Argument `times` must be a positive integer, but is 1.5"),
        (lambda: two.repeat(two, 2, shared="z"), ValueError, r"`shared` names \['z'\], but the layer has \[\]"),
        (lambda: two.compose(qj.Circuit(3)), ValueError, "Qubit 2 of 'compose' is out of range"),
        (lambda: two.compose(two, [0]), ValueError, r"`qubits` must name 2 qubits, but names 1: \(0,\)"),
        (lambda: two.extend(two), TypeError, r"`operations` must hold operations, .* \(Circuit\); `compose` adds a"),
        (lambda: two.extend([*two.copy().h(0).operations, "h"]), TypeError, r"but holds 'h' \(str\); `compose` adds"),
        (lambda: two.copy().project(0, 1).inverse(), ValueError, r"no inverse \(qubit 0, outcome 1\)"),
        (lambda: qj.PlanOptions(max_block=0), ValueError, "`max_block` must be at least 1, but is 0"),
        (lambda: qj.PlanOptions(unroll=0), ValueError, "`unroll` must be at least 1, but is 0"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_parameter_with_two_shapes_is_refused_and_nothing_is_added():
    other = qj.Parameter("a", (3,))
    message = r"Parameter 'a' is used with shape \(3,\), but the circuit already has it with shape \(2,\)"
    circuit = qj.Circuit(2).rx(a[0], 0)
    before = circuit.copy()
    refused = [
        lambda: circuit.u(b[0], other[0], s, 1),
        lambda: circuit.compose(qj.Circuit(2).h(0).rx(s, 0).rx(other[1], 0)),
        lambda: qj.Circuit(2).rx(other[0] * a[0], 0),
    ]
    for add in refused[:2]:
        with pytest.raises(ValueError, match=message):
            add()
        assert circuit == before and circuit.parameters == {"a": (2,)}
    for first, second in ((s, qj.Parameter("s", (3,))[0]), (qj.Parameter("s", (3,))[0], s)):
        one_after_the_other = qj.Circuit(2).rx(first, 0)
        gates = [*one_after_the_other.operations, *qj.Circuit(2).ry(second, 1).operations]
        with pytest.raises(ValueError, match="Parameter 's' is used with shape"):
            one_after_the_other.extend(gates[1:])
        at_once = qj.Circuit(2)
        with pytest.raises(ValueError, match="Parameter 's' is used with shape"):
            at_once.extend(gates)
        assert len(one_after_the_other) == 1 and at_once == qj.Circuit(2) and at_once.parameters == {}
    with pytest.raises(ValueError, match="give one of them another name"):
        refused[2]()
    with pytest.raises(ValueError, match=r"used with shape \(4, 2\), but the circuit already has it with shape \(2,\)"):
        circuit.repeat(qj.Circuit(2).rx(a[1], 0), 4)
    assert circuit.repeat(qj.Circuit(2).rx(a[1], 0), 4, shared="a").parameters == {"a": (2,)}
